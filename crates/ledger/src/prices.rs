//! What cloud models cost: rates with source and date.
//!
//! ```text
//! own file (`[prices] file`, `cutover prices import`)       wins, for dated names, too
//! genai-prices, compiled in                                the catalogue
//! data/second-opinion.csv                                  never used, only compared with
//! ```
//!
//! # Invariants
//! - Rates are integers, a cost is linear in tokens: [`FullRates::femto_usd`] is exact, rounding is the
//!   reader's, once.
//! - A price that is older than [`STALE_DAYS`], or that the second opinion disagrees with, is said by
//!   [`Prices::doubt`].
//! - A usual price is never taken for a batch: what no list has is told by a named rule, or unpriced.

mod batch;
mod dated;
mod files;
mod list;
mod pricing;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use cutover_units::{Millis, Utc};
use genai_prices::{Calculator, PriceRequest, Usage, UsageKey};

pub use batch::BATCH_PRICE_RULE;
pub use dated::{Catalogued, undated};
pub use files::{Imported, read_file, write_file};
pub use list::PriceList;
pub use pricing::{PriceSource, Pricing};

use crate::audit::{Tier, TokenCounts, identity};
use crate::money::usd_text;
use crate::time::day_start;

/// When the youngest entry of the compiled-in catalogue was checked by its authors.
pub const CATALOGUE_DATE: &str = "2026-10-30";

/// A price that nobody looked at for so long is called stale.
pub const STALE_DAYS: u64 = 90;

/// Two prices that differ by more than this many percent disagree.
const AGREE_PERCENT: u64 = 1;

/// Rates in billionths of a US dollar per million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FullRates {
    /// Of prompt tokens.
    pub input: u64,
    /// Of prompt tokens read from a cache.
    pub cached: u64,
    /// Of prompt tokens written to a cache.
    pub cache_write: u64,
    /// Of prompt tokens written to a cache for an hour.
    pub cache_write_hour: u64,
    /// Of answer tokens.
    pub output: u64,
}

impl FullRates {
    /// What tokens cost, in millionths of a billionth of a dollar: exact, so that sums have no drift.
    pub fn femto_usd(&self, tokens: &TokenCounts) -> i128 {
        let input = tokens.input.unwrap_or(0);
        let apart = tokens.cached.saturating_add(tokens.cache_write);
        let part = |n: u64, rate: u64| i128::from(n) * i128::from(rate);
        part(input.saturating_sub(apart), self.input)
            + part(tokens.cached, self.cached)
            + part(tokens.cache_write.saturating_sub(tokens.cache_write_hour), self.cache_write)
            + part(tokens.cache_write_hour, self.cache_write_hour)
            + part(tokens.output.unwrap_or(0), self.output)
    }
}

/// One price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRow {
    /// The provider; empty for any.
    pub provider: String,
    /// The model's name at the provider.
    pub model: String,
    /// Its rates.
    pub rates: FullRates,
    /// Rates of prompts of more tokens than this, where those are others.
    pub long: Option<(u64, FullRates)>,
    /// Who says so.
    pub source: Arc<str>,
    /// When that was read, such as `2026-11-21`.
    pub date: String,
}

/// A price that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its rates.
    pub rates: FullRates,
    /// Who says so.
    pub source: Arc<str>,
    /// When that was read.
    pub date: String,
    /// The provider it is of.
    pub provider: String,
    /// The row of the user's own that priced it, where that has another name: the one without its date.
    pub row: Option<String>,
    /// Whether long prompts cost more per token.
    pub tiered: bool,
    /// By which part of [`BATCH_PRICE_RULE`] it was made of that price, if it was.
    pub rule: Option<&'static str>,
}

impl Found {
    /// Why it is to be doubted for its age alone.
    pub fn stale(&self, now: Millis) -> Option<String> {
        let age = day_start(&self.date).map(|read| now.0.saturating_sub(read.0) / 86_400_000);
        match age {
            Some(days) if days > STALE_DAYS => {
                Some(format!("is {days} days old ({}, {})", self.source, self.date))
            }
            None => Some(format!("has no date ({})", self.source)),
            Some(_) => None,
        }
    }

    /// Who says so, by which row and which rule.
    pub fn said(&self) -> String {
        let row = self.row.as_ref().map_or(String::new(), |row| format!(" (row {row})"));
        let rule = self.rule.map_or(String::new(), |rule| format!(" ({rule})"));
        format!("{}{row}{rule}", self.source)
    }
}

/// What is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The provider, if it is known.
    pub provider: Option<&'a str>,
    /// The model.
    pub model: &'a str,
    /// When it was used.
    pub at: Millis,
    /// At which of the provider's rates.
    pub tier: Tier,
    /// The prompt's length, of one request; none for a sum of many.
    pub prompt: Option<u64>,
}

/// Prices: the user's own over the catalogue's.
#[derive(Debug, Default)]
pub struct Prices {
    own: Vec<PriceRow>,
    cache: HashMap<u64, Option<Found>>,
}

static SECOND_OPINION: LazyLock<Vec<PriceRow>> = LazyLock::new(|| {
    // A test reads the same file: here it cannot fail.
    read_file(include_str!("../data/second-opinion.csv")).unwrap_or_default()
});

/// The rows that prices are compared with.
pub fn second_opinion() -> &'static [PriceRow] {
    &SECOND_OPINION
}

/// Entries of the cache; a look-up costs some tens of microseconds.
const CACHE_MAX: usize = 20_000;

/// Longer than where any long-prompt rate begins.
const LONG_PROMPT: u64 = 3_000_000;

/// Below this length no long-prompt rates begin.
const SHORT_PROMPT: u64 = 8_000;

impl Prices {
    /// With the user's own rows, which win.
    pub fn with_own(own: Vec<PriceRow>) -> Self {
        Self { own, cache: HashMap::new() }
    }

    /// The user's own rows.
    pub fn own(&self) -> &[PriceRow] {
        &self.own
    }

    /// The price of a model at a time; none if nobody knows.
    pub fn find(&mut self, asked: Asked<'_>) -> Option<Found> {
        const HOUR_MS: u64 = 3_600_000;
        let long = asked.prompt.filter(|prompt| *prompt > SHORT_PROMPT);
        let base = Asked { prompt: None, ..asked };
        let key = identity((asked.provider, asked.model, asked.at.0 / HOUR_MS, asked.tier));
        let found = match self.cache.get(&key) {
            Some(found) => found.clone(),
            None => {
                if self.cache.len() >= CACHE_MAX {
                    self.cache.clear();
                }
                let found = self.price(&base);
                self.cache.insert(key, found.clone());
                found
            }
        };
        match found {
            Some(found) if found.tiered && long.is_some() => self.price(&asked).or(Some(found)),
            found => found,
        }
    }

    fn price(&self, asked: &Asked<'_>) -> Option<Found> {
        match asked.tier {
            Tier::Batch => self.batch_price(asked),
            Tier::Standard | Tier::Other => self.own_price(asked).or_else(|| catalogue(asked)),
        }
    }

    fn own_price(&self, asked: &Asked<'_>) -> Option<Found> {
        // Own rows say nothing of other rates.
        if self.own.is_empty() || asked.tier != Tier::Standard {
            return None;
        }
        let named = self.own_row(asked, asked.model);
        let (row, by) = match named {
            Some(row) => (row, None),
            None => {
                let provider = asked.provider.map(canonical);
                let whose = Catalogued::Of(provider.as_deref());
                let bare = undated(whose, asked.model, asked.at)?;
                (self.own_row(asked, bare)?, Some(bare.to_owned()))
            }
        };
        let long = row.long.filter(|(above, _)| asked.prompt.is_some_and(|prompt| prompt > *above));
        Some(Found {
            rates: long.map_or(row.rates, |(_, rates)| rates),
            source: Arc::clone(&row.source),
            date: row.date.clone(),
            provider: row.provider.clone(),
            row: by,
            tiered: asked.prompt.is_none() && row.long.is_some(),
            rule: None,
        })
    }

    /// The user's row of a model. Of a provider that nobody names it is the one that the catalogue has the model
    /// of; where that has no row, the rows must all say the same.
    fn own_row(&self, asked: &Asked<'_>, model: &str) -> Option<&PriceRow> {
        let found = best(&self.own, asked.provider, model);
        if found.is_some() || asked.provider.is_some() {
            return found;
        }
        let named = || self.own.iter().filter(|row| row.model.eq_ignore_ascii_case(model));
        let first = named().next()?;
        if named().all(|row| (row.rates, row.long) == (first.rates, first.long)) {
            return Some(first);
        }
        let usage = Usage::from([(UsageKey::INPUT_TOKENS, 1_000.0)]);
        let (_, provider) = ask(asked, None, &usage)?;
        best(&self.own, Some(&provider), model)
    }

    /// The user's own rows of a model, whoever's it is.
    pub fn own_rows(&self, model: &str) -> impl Iterator<Item = &PriceRow> {
        self.own.iter().filter(move |row| row.model.eq_ignore_ascii_case(model))
    }

    /// Why a price is to be doubted: it is stale, or the second opinion disagrees. None: neither.
    pub fn doubt(&self, found: &Found, model: &str, now: Millis) -> Option<String> {
        let mut why = found.stale(now).unwrap_or_default();
        if let Some(other) = best(second_opinion(), Some(&found.provider), model)
            && let Some(text) = disagreement(&found.rates, &other.rates)
        {
            let and = if why.is_empty() { "" } else { "; it " };
            let _ = write!(why, "{and}disagrees with {} of {}: {text}", other.source, other.date);
        }
        (!why.is_empty()).then_some(why)
    }
}

/// Where two prices differ: `input 2 here, 4 there`.
pub fn disagreement(here: &FullRates, there: &FullRates) -> Option<String> {
    let mut out = String::new();
    for (name, a, b) in [("input", here.input, there.input), ("output", here.output, there.output)]
    {
        if a.abs_diff(b) * 100 > a.max(b) * AGREE_PERCENT {
            let comma = if out.is_empty() { "" } else { ", " };
            let _ = write!(out, "{comma}{name} {} here, {} there", usd_text(a), usd_text(b));
        }
    }
    (!out.is_empty()).then_some(out)
}

/// The row of a model: of this provider, else one that stands for any.
fn best<'r>(rows: &'r [PriceRow], provider: Option<&str>, model: &str) -> Option<&'r PriceRow> {
    let named = |row: &&PriceRow| row.model.eq_ignore_ascii_case(model);
    let provider = provider.map(canonical);
    rows.iter()
        .filter(named)
        .find(|row| provider.as_deref().is_some_and(|p| row.provider == p))
        .or_else(|| rows.iter().filter(named).find(|row| row.provider.is_empty()))
}

/// One name for a provider that exports call by several: the catalogue's.
pub fn canonical(provider: &str) -> String {
    let lower = provider.to_ascii_lowercase();
    let name = match lower.as_str() {
        "azure_ai" | "azure.ai.openai" | "azure.ai.inference" | "azure_openai" | "az.ai.openai" => {
            "azure"
        }
        "bedrock" | "aws.bedrock" | "bedrock_converse" | "amazon" => "aws",
        "gemini" | "vertex_ai" | "gcp.gemini" | "gcp.vertex_ai" | "vertexai" | "gcp.gen_ai" => {
            "google"
        }
        "mistral_ai" | "mistralai" => "mistral",
        "xai" | "x_ai" => "x-ai",
        "text-completion-openai" => "openai",
        other => other,
    };
    name.to_owned()
}

/// The catalogue's rates: asked with amounts of tokens, since it has no list of rates.
fn catalogue(asked: &Asked<'_>) -> Option<Found> {
    if asked.tier == Tier::Other {
        return None;
    }
    // Short enough for the lowest tier, long enough for the smallest rate to be seen.
    let length = asked.prompt.unwrap_or(1_000).max(1_000);
    let provider = asked.provider.map(canonical);
    let rate = |key: UsageKey, beside: bool, n: u64| -> Option<(u64, String)> {
        let mut usage = Usage::from([(key.clone(), n as f64)]);
        if beside {
            // Cached tokens are a part of the prompt.
            usage.insert(UsageKey::INPUT_TOKENS, n as f64);
        }
        if key == UsageKey::CACHE_WRITE_1H_TOKENS {
            // And those kept for an hour a part of the written ones.
            usage.insert(UsageKey::CACHE_WRITE_TOKENS, n as f64);
        }
        let (usd, provider) = ask(asked, provider.as_deref(), &usage)?;
        Some((per_mtok(usd, n)?, provider))
    };
    let (input, by) = rate(UsageKey::INPUT_TOKENS, false, length)?;
    let part = |key| rate(key, true, length).map(|found| found.0);
    let output = output_rate(asked, provider.as_deref(), (length, input))?;
    // What the catalogue has no rate for is not free: it costs what other input costs.
    let or_input = |found: Option<u64>| found.filter(|rate| *rate > 0).unwrap_or(input);
    let cache_write = or_input(part(UsageKey::CACHE_WRITE_TOKENS));
    let hour = part(UsageKey::CACHE_WRITE_1H_TOKENS).filter(|rate| *rate > 0);
    let rates = FullRates {
        input,
        cached: or_input(part(UsageKey::CACHE_READ_TOKENS)),
        cache_write,
        cache_write_hour: hour.unwrap_or(cache_write),
        output,
    };
    if rates.input == 0 && rates.output == 0 {
        // Included in a subscription: no price per token.
        return None;
    }
    let tiered = asked.prompt.is_none()
        && rate(UsageKey::INPUT_TOKENS, false, LONG_PROMPT).is_some_and(|found| found.0 != input);
    Some(Found {
        rates,
        source: crate::CATALOGUE.into(),
        date: CATALOGUE_DATE.to_owned(),
        provider: by,
        row: None,
        tiered,
        rule: None,
    })
}

/// The tier of the answer's rate depends on the prompt, so both are asked for at once.
fn output_rate(
    asked: &Asked<'_>,
    provider: Option<&str>,
    (length, input): (u64, u64),
) -> Option<u64> {
    let usage = Usage::from([
        (UsageKey::INPUT_TOKENS, length as f64),
        (UsageKey::OUTPUT_TOKENS, length as f64),
    ]);
    let (usd, _) = ask(asked, provider, &usage)?;
    Some(per_mtok(usd, length)?.saturating_sub(input))
}

/// Asks the catalogue. Where it knows no provider by the model's name alone, as of embeddings, it is the one who made a
/// model of exactly this name: a reseller's price is nobody else's.
fn ask(asked: &Asked<'_>, provider: Option<&str>, usage: &Usage) -> Option<(f64, String)> {
    let named = |(usd, provider, _)| (usd, provider);
    if provider.is_some() {
        return ask_of(asked, provider, usage).map(named);
    }
    ask_of(asked, None, usage).map(named).or_else(|| {
        MAKERS.iter().find_map(|maker| {
            let found = ask_of(asked, Some(maker), usage)?;
            found.2.eq_ignore_ascii_case(asked.model).then(|| named(found))
        })
    })
}

/// Providers of models of their own, in the catalogue's words.
const MAKERS: &[&str] = &[
    "openai",
    "anthropic",
    "google",
    "mistral",
    "cohere",
    "deepseek",
    "x-ai",
    "meta",
    "moonshotai",
    "minimax",
    "zhipuai",
    "voyageai",
    "perplexity",
    "arcee",
];

/// Dollars, the provider and what it calls the model.
fn ask_of(
    asked: &Asked<'_>,
    provider: Option<&str>,
    usage: &Usage,
) -> Option<(f64, String, String)> {
    let at = UNIX_EPOCH + Duration::from_millis(asked.at.0);
    let mut request = PriceRequest::new(asked.model, usage).with_timestamp(at);
    if let Some(provider) = provider {
        request = request.with_provider_id(provider);
    }
    if asked.tier == Tier::Batch {
        request = request.with_price_context("processing", "batch");
    }
    let price = Calculator::bundled().calculate(&request).ok()?;
    Some((price.total_price, price.provider_id, price.model_id))
}

/// Dollars for `n` tokens as an integer rate. Published rates have at most six decimals, so that rounding
/// there takes the noise of floating point off and nothing else.
fn per_mtok(usd: f64, n: u64) -> Option<u64> {
    let micro = (usd * 1e12 / n as f64).round();
    if !(0.0..1e15).contains(&micro) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked")]
    Some(micro as u64 * 1_000)
}

/// A line of `cutover prices list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Its price now; none if the catalogue has the model without one.
    pub found: Option<Found>,
}

impl Prices {
    /// Own rows, then the catalogue's models whose provider or name holds `like`.
    pub fn list(&mut self, like: &str, now: Millis) -> Vec<Listed> {
        let like = like.to_ascii_lowercase();
        let fits = |provider: &str, model: &str| {
            format!("{provider}/{model}").to_ascii_lowercase().contains(&like)
        };
        let mut names: Vec<(String, String)> =
            self.own.iter().map(|row| (row.provider.clone(), row.model.clone())).collect();
        for provider in Calculator::bundled().providers() {
            for model in provider.models() {
                let name = (provider.id().to_owned(), model.id().to_owned());
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names.retain(|(provider, model)| fits(provider, model));
        names
            .into_iter()
            .map(|(provider, model)| {
                let named = Some(provider.as_str()).filter(|provider| !provider.is_empty());
                let found = self.find(Asked {
                    provider: named,
                    model: &model,
                    at: now,
                    tier: Tier::Standard,
                    prompt: None,
                });
                Listed { provider, model, found }
            })
            .collect()
    }
}

/// Today's date, as rows have it.
pub fn date(now: Millis) -> String {
    let Utc { year, month, day, .. } = Utc::at(now);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests;

//! Price files: our own CSV, LiteLLM's JSON, genai-prices' JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use cutover_units::Millis;
use serde_json::{Map, Value};

use super::{FullRates, PriceRow, canonical, date};
use crate::imports::whole;
use crate::money::{nano, scaled, usd_text};

/// The columns of a price file, as it is written.
const HEADING: &str = "provider,model,input_usd_per_mtok,cached_input_usd_per_mtok,\
                       cache_write_usd_per_mtok,cache_write_1h_usd_per_mtok,\
                       output_usd_per_mtok,source,date";

/// The same with rates of long prompts.
const LONG_HEADING: &str = "long_prompt_tokens,long_input_usd_per_mtok,\
                            long_cached_input_usd_per_mtok,long_cache_write_usd_per_mtok,\
                            long_cache_write_1h_usd_per_mtok,long_output_usd_per_mtok";

/// Columns without which a row says no price.
const NEEDED: &[&str] =
    &["provider", "model", "input_usd_per_mtok", "output_usd_per_mtok", "source", "date"];

/// The dearest rate that is believed, in dollars per million tokens.
const USD_PER_MTOK_MAX: u64 = 100_000;

/// What an import found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What the file is.
    pub kind: &'static str,
    /// Its prices.
    pub rows: Vec<PriceRow>,
    /// Entries that were refused, each with the reason.
    pub refused: Vec<String>,
    /// Entries that have no price per token, such as images.
    pub aside: u64,
}

impl Imported {
    /// Reads a file of any of the three kinds.
    pub fn read(text: &str, name: &str, now: Millis) -> Result<Self, String> {
        if !matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'[')) {
            let rows = read_file(text)?;
            return Ok(Self { kind: "price file", rows, refused: Vec::new(), aside: 0 });
        }
        let value: Value = serde_json::from_str(text).map_err(|e| format!("no valid JSON: {e}"))?;
        let stamp = Stamp { name, date: date(now) };
        match value {
            Value::Object(entries) => litellm(&entries, &stamp),
            Value::Array(providers) => genai(&providers, &stamp),
            _ => Err("neither LiteLLM's prices nor genai-prices' data".to_owned()),
        }
    }
}

struct Stamp<'a> {
    name: &'a str,
    date: String,
}

/// Reads a price file; every row must be good. Columns are known by their names, in any order.
pub fn read_file(text: &str) -> Result<Vec<PriceRow>, String> {
    // Spreadsheets begin "CSV UTF-8" with a mark that no editor shows.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines =
        text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
    let heading = lines.next().map(|(_, line)| line.trim()).unwrap_or_default();
    let columns: Vec<&str> = heading.split(',').map(str::trim).collect();
    let known = |name: &&str| HEADING.split(',').chain(LONG_HEADING.split(',')).any(|c| c == *name);
    let is_heading = NEEDED.iter().all(|name| columns.contains(name)) && columns.iter().all(known);
    if !is_heading {
        return Err(format!("line 1 must be the heading {HEADING} (or with {LONG_HEADING}, too)"));
    }
    let read = |line| row(line, &columns);
    lines.map(|(at, line)| read(line).map_err(|why| format!("line {}: {why}", at + 1))).collect()
}

/// Five rates; what is empty costs what stands for it: the input's, for an hour the other written ones.
fn rates(
    cell: &dyn Fn(&str) -> Result<Option<u64>, String>,
    of: &str,
) -> Result<Option<FullRates>, String> {
    let cell = |name: &str| cell(&format!("{of}{name}_usd_per_mtok"));
    let (Some(input), Some(output)) = (cell("input")?, cell("output")?) else { return Ok(None) };
    let cache_write = cell("cache_write")?.unwrap_or(input);
    Ok(Some(FullRates {
        input,
        cached: cell("cached_input")?.unwrap_or(input),
        cache_write,
        cache_write_hour: cell("cache_write_1h")?.unwrap_or(cache_write),
        output,
    }))
}

fn row(line: &str, columns: &[&str]) -> Result<PriceRow, String> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    if cells.len() != columns.len() {
        return Err(format!("{} cells, the heading has {}", cells.len(), columns.len()));
    }
    let text = |name: &str| {
        let at = columns.iter().position(|column| *column == name);
        at.and_then(|at| cells.get(at)).copied().unwrap_or_default()
    };
    if text("model").is_empty() {
        return Err("the model is missing".to_owned());
    }
    let date = text("date");
    if crate::time::day_start(date).is_none() {
        return Err(format!("{date:?} is no date such as 2026-11-21"));
    }
    let cell = |name: &str| match text(name) {
        "" => Ok(None),
        text => rate(nano(text)?).map(Some),
    };
    let above = match text("long_prompt_tokens") {
        "" => None,
        tokens => Some(whole(tokens).map_err(|why| format!("long_prompt_tokens: {why}"))?),
    };
    let long = rates(&cell, "long_")?;
    if above.is_some() != long.is_some() {
        return Err(
            "rates of long prompts need their length and the rates of both sides".to_owned()
        );
    }
    Ok(PriceRow {
        provider: canonical(text("provider")),
        model: text("model").to_owned(),
        rates: rates(&cell, "")?.ok_or("a rate is missing")?,
        long: above.zip(long),
        source: Arc::from(text("source")),
        date: date.to_owned(),
    })
}

fn rate(nano: i64) -> Result<u64, String> {
    let rate = u64::try_from(nano).map_err(|_| "a price is negative".to_owned())?;
    if rate > USD_PER_MTOK_MAX * 1_000_000_000 {
        return Err(format!("more than {USD_PER_MTOK_MAX} USD per million tokens"));
    }
    Ok(rate)
}

/// Writes a price file that [`read_file`] reads back equal.
pub fn write_file(rows: &[PriceRow]) -> String {
    let any_long = rows.iter().any(|row| row.long.is_some());
    let mut out = HEADING.to_owned();
    if any_long {
        let _ = write!(out, ",{LONG_HEADING}");
    }
    out.push('\n');
    let plain = |text: &str| text.replace([',', '\n', '\r'], " ");
    let five = |rates: &FullRates| {
        let FullRates { input, cached, cache_write, cache_write_hour, output } = *rates;
        [input, cached, cache_write, cache_write_hour, output].map(usd_text).join(",")
    };
    for PriceRow { provider, model, rates, long, source, date } in rows {
        let (provider, model, source) = (plain(provider), plain(model), plain(source));
        // Writing to a String cannot fail.
        let _ = write!(out, "{provider},{model},{},{source},{date}", five(rates));
        match long {
            Some((above, rates)) => {
                let _ = write!(out, ",{above},{}", five(rates));
            }
            None if any_long => out.push_str(",,,,,,"),
            None => {}
        }
        out.push('\n');
    }
    out
}

/// `model_prices_and_context_window.json`: dollars per token by model.
fn litellm(entries: &Map<String, Value>, stamp: &Stamp<'_>) -> Result<Imported, String> {
    if !entries.values().any(|entry| entry.get("litellm_provider").is_some()) {
        return Err("an object, but not LiteLLM's: no entry has a litellm_provider".to_owned());
    }
    let mut found = Imported { kind: "LiteLLM", rows: Vec::new(), refused: Vec::new(), aside: 0 };
    for (name, entry) in entries {
        let sold = |side: &str| {
            let members = entry.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null());
            let of_side =
                |(name, _): &(&String, &Value)| name.starts_with(&format!("{side}_cost_per_"));
            let by_token = entry.get(format!("{side}_cost_per_token")).is_some();
            (by_token, members.filter(of_side).count() > 0)
        };
        // Embeddings have no answer; an answer that is sold by the second or the image is not free.
        let (input, output) = (sold("input"), sold("output"));
        if name == "sample_spec" || !input.0 || (!output.0 && output.1) {
            found.aside += 1;
            continue;
        }
        match litellm_row(name, entry, stamp) {
            Ok(row) => found.add(name, row),
            Err(why) => found.refused.push(format!("{name}: {why}")),
        }
    }
    Ok(found)
}

impl Imported {
    /// A row; a second one for the same model of a provider is one too many.
    fn add(&mut self, name: &str, row: PriceRow) {
        let same =
            |known: &&PriceRow| (&known.provider, &known.model) == (&row.provider, &row.model);
        match self.rows.iter().find(same) {
            _ if row.model.contains(',') => {
                self.refused.push(format!("{name}: a price file can hold no name with a comma"));
            }
            None => self.rows.push(row),
            Some(known) if (known.rates, known.long) == (row.rates, row.long) => {}
            Some(_) => {
                let (provider, model) = (&row.provider, &row.model);
                let why = format!("{name}: another entry has other rates for {provider}/{model}");
                self.refused.push(why);
            }
        }
    }

    /// Dates the prices with when the file was made, where it has no dates of its own.
    #[must_use]
    pub fn dated(mut self, made: Millis) -> Self {
        if self.kind != "price file" {
            self.rows.iter_mut().for_each(|row| row.date = date(made));
        }
        self
    }
}

fn litellm_row(name: &str, entry: &Value, stamp: &Stamp<'_>) -> Result<PriceRow, String> {
    let cost = |member: &str| -> Result<Option<u64>, String> {
        let number = match entry.get(member) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => return Err(format!("{member} is no number")),
        };
        // Dollars per token are billionths per million tokens shifted by fifteen places.
        let nano = scaled(&number, 15).map_err(|why| format!("{member}: {why}"))?;
        rate(nano).map(Some)
    };
    let provider = entry.get("litellm_provider").and_then(Value::as_str).unwrap_or_default();
    // `azure/gpt-4o`: the provider stands before the model's own name.
    let bare = name.strip_prefix(&format!("{provider}/")).unwrap_or(name);
    let input = cost("input_cost_per_token")?.ok_or("input_cost_per_token is missing")?;
    let cache_write = cost("cache_creation_input_token_cost")?.unwrap_or(input);
    let hour = cost("cache_creation_input_token_cost_above_1hr")?;
    let usual = FullRates {
        input,
        cached: cost("cache_read_input_token_cost")?.unwrap_or(input),
        cache_write,
        cache_write_hour: hour.unwrap_or(cache_write),
        output: cost("output_cost_per_token")?.unwrap_or(0),
    };
    Ok(PriceRow {
        provider: canonical(provider.strip_suffix("-language-models").unwrap_or(provider)),
        model: bare.to_owned(),
        rates: usual,
        long: litellm_long(entry, &cost, usual)?,
        source: format!("LiteLLM {}", stamp.name).into(),
        date: stamp.date.clone(),
    })
}

/// Rates of prompts above a length: `input_cost_per_token_above_200k_tokens` and its like. With several
/// lengths nobody's table here can hold them.
fn litellm_long(
    entry: &Value,
    cost: &dyn Fn(&str) -> Result<Option<u64>, String>,
    usual: FullRates,
) -> Result<Option<(u64, FullRates)>, String> {
    let length = |name: &str| {
        let (_, rest) = name.split_once("_cost_per_token_above_")?;
        rest.strip_suffix("k_tokens").map(str::to_owned)
    };
    let names = entry.as_object().into_iter().flatten();
    let mut lengths: Vec<String> = names.filter_map(|(name, _)| length(name)).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let [thousands] = lengths.as_slice() else {
        let several = || Err("it has rates for prompts of several lengths".to_owned());
        return if lengths.is_empty() { Ok(None) } else { several() };
    };
    let above = |member: &str, otherwise: u64| -> Result<u64, String> {
        Ok(cost(&format!("{member}_above_{thousands}k_tokens"))?.unwrap_or(otherwise))
    };
    let tokens: u64 = thousands.parse().map_err(|_| format!("no length: {thousands}k tokens"))?;
    let input = above("input_cost_per_token", usual.input)?;
    let or_input = |rate: u64| if rate == usual.input { input } else { rate };
    let cache_write = above("cache_creation_input_token_cost", or_input(usual.cache_write))?;
    let rates = FullRates {
        input,
        cached: above("cache_read_input_token_cost", or_input(usual.cached))?,
        cache_write,
        cache_write_hour: above(
            "cache_creation_input_token_cost_above_1hr",
            usual.cache_write_hour.max(cache_write),
        )?,
        output: above("output_cost_per_token", usual.output)?,
    };
    Ok(Some((tokens.saturating_mul(1_000), rates)))
}

/// genai-prices' `data.json`: providers with models; of several prices the last that has begun counts.
fn genai(providers: &[Value], stamp: &Stamp<'_>) -> Result<Imported, String> {
    if !providers.iter().any(|provider| provider.get("models").is_some_and(Value::is_array)) {
        return Err("an array, but not genai-prices': no element has models".to_owned());
    }
    let mut found =
        Imported { kind: "genai-prices", rows: Vec::new(), refused: Vec::new(), aside: 0 };
    for provider in providers {
        let id = provider.get("id").and_then(Value::as_str).unwrap_or_default();
        let models = provider.get("models").and_then(Value::as_array);
        for model in models.into_iter().flatten() {
            let name = model.get("id").and_then(Value::as_str).unwrap_or_default();
            let prices = current(model.get("prices"), &stamp.date);
            let Some(prices) = prices.filter(|p| p.get("input_mtok").is_some()) else {
                found.aside += 1;
                continue;
            };
            let both = genai_rates(prices, None).and_then(|rates| {
                Ok((rates, genai_start(prices)?.map(|at| (at, genai_rates(prices, Some(at))))))
            });
            let both = both.and_then(|(rates, long)| match long {
                None => Ok((rates, None)),
                Some((at, long)) => Ok((rates, Some((at, long?)))),
            });
            match both {
                Ok((rates, long)) if !name.is_empty() => {
                    let row = PriceRow {
                        provider: canonical(id),
                        model: name.to_owned(),
                        rates,
                        long,
                        source: format!("genai-prices {}", stamp.name).into(),
                        date: stamp.date.clone(),
                    };
                    found.add(&format!("{id}/{name}"), row);
                }
                Ok(_) => found.refused.push(format!("{id}: a model without an id")),
                Err(why) => found.refused.push(format!("{id}/{name}: {why}")),
            }
        }
    }
    Ok(found)
}

/// The prices in force on a day: an object, or a list of objects with constraints.
fn current<'v>(prices: Option<&'v Value>, today: &str) -> Option<&'v Value> {
    let list = match prices? {
        Value::Array(list) => list,
        object => return Some(object),
    };
    let begun = |entry: &&Value| {
        let constraint = entry.get("constraint").filter(|constraint| !constraint.is_null());
        let start = constraint.map(|c| c.get("start_date").and_then(Value::as_str));
        // A time of day is no start: the price without a constraint holds.
        start.is_none_or(|start| start.is_some_and(|start| start <= today))
    };
    list.iter().rev().find(begun)?.get("prices")
}

/// Where the rates of long prompts begin; none where every length costs the same.
fn genai_start(prices: &Value) -> Result<Option<u64>, String> {
    let members = prices.as_object().into_iter().flatten();
    let tiers = members.filter_map(|(_, value)| value.get("tiers")?.as_array());
    let mut starts: Vec<u64> = tiers.flatten().filter_map(|t| t.get("start")?.as_u64()).collect();
    starts.sort_unstable();
    starts.dedup();
    match starts.as_slice() {
        [] => Ok(None),
        [start] => Ok(Some(*start)),
        _ => Err("it has rates for prompts of several lengths".to_owned()),
    }
}

/// The rates of usual prompts, or of those that are longer than where a tier begins.
fn genai_rates(prices: &Value, long: Option<u64>) -> Result<FullRates, String> {
    let cost = |member: &str| -> Result<Option<u64>, String> {
        let value = prices.get(member);
        let tiers =
            value.and_then(|value| value.get("tiers")?.as_array()).filter(|_| long.is_some());
        let tier = tiers.and_then(|tiers| tiers.first()?.get("price"));
        let value = tier.or_else(|| value.map(|value| value.get("base").unwrap_or(value)));
        let number = match value {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => return Err(format!("{member} is no number")),
        };
        rate(nano(&number).map_err(|why| format!("{member}: {why}"))?).map(Some)
    };
    let input = cost("input_mtok")?.ok_or("input_mtok is missing")?;
    let cache_write = cost("cache_write_mtok")?.unwrap_or(input);
    Ok(FullRates {
        input,
        cached: cost("cache_read_mtok")?.unwrap_or(input),
        cache_write,
        cache_write_hour: cost("cache_write_1h_mtok")?.unwrap_or(cache_write),
        output: cost("output_mtok")?.unwrap_or(0),
    })
}

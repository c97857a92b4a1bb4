//! What a lane's tokens cost: by the variant's rates, by the user's price file, by the catalogue, or
//! unpriced.

use std::sync::Arc;

use cutover_config::{Upstream, Variant};
use cutover_ledger::prices::{PriceList, PriceSource, Pricing};
use cutover_ledger::{Cost, Price, Rates, Tokens};
use cutover_units::{Arm, Millis, NanoUsd};
use cutover_wire::Usage;

use crate::build::{BuildError, Materials};
use crate::continuation::Part;
use crate::exchange::Exchange;
use crate::live::Lane;
use cutover_telemetry::marks::Mark;

/// The variant's own price, else the price file's, else the catalogue's.
pub(crate) fn of_variant(
    variant: &Variant,
    (upstream, list): (&Upstream, &Arc<PriceList>),
    now: Millis,
) -> Pricing {
    Pricing::Fixed(match variant.price {
        Some(price) => Price::Own(Rates {
            input_nano_usd_per_mtok: price.input_nano_usd_per_mtok,
            cached_input_nano_usd_per_mtok: price.cached_input_nano_usd_per_mtok,
            output_nano_usd_per_mtok: price.output_nano_usd_per_mtok,
        }),
        None => source_of(upstream, list).look_up(&variant.model, now),
    })
}

/// The price of whatever model a client asks an upstream for.
pub(crate) fn by_model(upstream: &Upstream, list: &Arc<PriceList>, now: Millis) -> Pricing {
    Pricing::by_model(source_of(upstream, list), now)
}

/// What an upstream told, as it is priced.
pub(crate) fn tokens(usage: &Usage) -> Tokens {
    Tokens {
        prompt: usage.prompt_tokens,
        cached: usage.cached_tokens.unwrap_or(0),
        completion: usage.completion_tokens,
    }
}

/// The same for metrics.
pub(crate) fn counted(Tokens { prompt, cached, completion }: Tokens) -> cutover_telemetry::Tokens {
    cutover_telemetry::Tokens { prompt, cached, completion }
}

impl Exchange {
    /// What tokens cost at the lane that answered, or was tried last.
    pub(crate) fn priced(&self, tokens: Tokens) -> Option<Cost> {
        let (lane, ..) = self.lane()?;
        lane.price.cost(&self.head.model, tokens, self.started_at)
    }

    /// What is known of the cost is a part of it, if there is a price.
    pub(crate) fn mark_part_of_cost(&mut self) {
        let bills = |lane: &Lane| lane.bills(&self.head.model, self.started_at);
        if self.lane().is_some_and(|(lane, _, _)| bills(lane)) {
            self.trail.marks.add(Mark::CostPartial);
        }
    }

    /// An attempt at a lane was given up while it was under way: it may be billed all the same, which nobody tells.
    pub(crate) fn may_be_billed(&mut self, (lane, arm): (&Lane, Arm)) {
        if lane.bills(&self.head.model, self.started_at) {
            self.trail.marks.add(Mark::CostPartial);
            if let Some(bill) = self.admission.bill.as_mut().filter(|_| arm == Arm::Baseline) {
                bill.doubt();
            }
        }
    }

    /// The tokens of the lane that answered, and what they cost. What came before an answer broke off is
    /// its own lane's.
    pub(crate) fn last_part(&self) -> (Option<Tokens>, Option<Cost>) {
        let Some(usage) = self.trail.usage else { return (None, None) };
        let mut taken = tokens(&usage);
        if let Some(before) = &self.trail.before {
            taken.prompt = taken.prompt.saturating_sub(before.usage.prompt_tokens);
            taken.completion = taken.completion.saturating_sub(before.usage.completion_tokens);
            taken.cached = taken.cached.min(taken.prompt);
        }
        // Writing into a vendor's cache has a price of its own, which is not known here.
        let wrote = usage.cache_write_tokens.is_some_and(|written| written > 0);
        (Some(taken), self.priced(taken).filter(|_| !wrote))
    }

    /// What came before the answer broke off, if anybody told what it took.
    pub(crate) fn first_part(&self) -> Option<Part> {
        self.trail.usage.and(self.trail.before)
    }

    /// What all of it cost, as far as is known.
    pub(crate) fn cost_with(&self, last: Option<Cost>) -> Option<Cost> {
        let first = self.first_part().and_then(|before| before.cost);
        let (Some(first), Some(last)) = (first, last) else { return last.or(first) };
        let amount = NanoUsd(first.amount.0.saturating_add(last.amount.0));
        Some(Cost { amount, ..last })
    }
}

/// The price file's rows; none without one.
pub(crate) fn list(materials: &Materials<'_>) -> Result<Arc<PriceList>, BuildError> {
    let Some(path) = &materials.checked.prices.file else { return Ok(Arc::default()) };
    let wrong = |why| BuildError { key: "prices.file".to_owned(), why };
    let bytes = materials.surroundings.file(path).map_err(wrong)?;
    let at = |why: String| wrong(format!("{}: {why}", path.display()));
    let text = String::from_utf8(bytes).map_err(|_| at("it is not UTF-8".to_owned()))?;
    PriceList::read(&text).map(Arc::new).map_err(at)
}

/// Self-hosted engines are in no catalogue: what their tokens cost is the user's to say. So it is for whatever answers
/// at an address of one's own, whichever dialect it speaks.
fn source_of(upstream: &Upstream, list: &Arc<PriceList>) -> PriceSource {
    let name = upstream.provider.name;
    let catalogued = upstream.catalogued();
    let own = [upstream.name.as_str(), name];
    PriceSource {
        list: Arc::clone(list),
        names: catalogued.into_iter().chain(own).map(str::to_owned).collect(),
        provider: catalogued.map(str::to_owned),
        url: upstream.instances.first().map(ToString::to_string).unwrap_or_default(),
        priced: upstream.may_be_listed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_ledger::CATALOGUE;

    /// 2026-11-01.
    const NOW: Millis = Millis(1_793_491_200_000);

    fn priced(upstream: &str) -> bool {
        priced_as("gpt-4o", upstream)
    }

    fn priced_as(model: &str, upstream: &str) -> bool {
        let text = format!("default_upstream = \"u\"\n[upstreams.u]\n{upstream}\n");
        let checked = cutover_config::check(&text, "test.toml", &|_| Some("key".to_owned()));
        let checked = checked.expect("a good configuration");
        let list = Arc::new(PriceList::default());
        let pricing = by_model(checked.default_upstream(), &list, Millis(0));
        let tokens = Tokens { prompt: 10, cached: 0, completion: 1 };
        pricing.cost(&model.into(), tokens, NOW).is_some()
    }

    #[test]
    fn only_services_at_public_addresses_are_looked_up() {
        assert!(priced("provider = \"openai\""));
        assert!(priced_as("claude-sonnet-4-6", "provider = \"anthropic\""));
        assert!(priced_as("gemini-2.5-pro", "provider = \"gemini\""));
        for own in [
            "provider = \"openai\"\nbase_url = \"http://127.0.0.1:1\"",
            "provider = \"openai-compatible\"\nbase_url = \"http://10.0.0.7:8000\"",
            "provider = \"vllm\"\nbase_url = \"http://8.8.8.8:8000\"",
            "provider = \"ollama\"",
        ] {
            assert!(!priced(own), "{own}");
        }
    }

    /// What a request of 1,000 + 100 tokens costs at the default upstream with a price file, and who says so.
    fn listed(model: &str, upstream: &str) -> Option<(u64, &'static str)> {
        let file = "provider,model,input_usd_per_mtok,cached_input_usd_per_mtok,\
            cache_write_usd_per_mtok,output_usd_per_mtok,source,date\n\
            openai,gpt-4o,2,,,8,contract,2026-11-01\nu,qwen,0.1,,,0.2,tco,2026-11-01\n";
        let list = Arc::new(PriceList::read(file).expect("a good file"));
        let text = format!("default_upstream = \"u\"\n[upstreams.u]\n{upstream}\n");
        let checked = cutover_config::check(&text, "test.toml", &|_| Some("key".to_owned()));
        let checked = checked.expect("a good configuration");
        let pricing = by_model(checked.default_upstream(), &list, Millis(0));
        let tokens = Tokens { prompt: 1_000, cached: 0, completion: 100 };
        pricing.cost(&model.into(), tokens, NOW).map(|cost| (cost.amount.0, cost.source))
    }

    #[test]
    fn a_price_file_wins_and_what_nobody_lists_stays_unpriced() {
        let (cloud, engine) = ("provider = \"openai\"", "provider = \"ollama\"");
        assert_eq!(listed("gpt-4o", cloud), Some((2_800_000, "price file")));
        let undated = Some((2_800_000, "price file, row without the date"));
        assert_eq!(listed("gpt-4o-2024-08-06", cloud), undated);
        assert_eq!(listed("qwen-2026-01-31", engine).map(|(cost, _)| cost), Some(120_000));
        let apart = listed("gpt-4o-2024-05-13", cloud);
        assert_eq!(apart, Some((6_500_000, CATALOGUE)), "it has a price of its own");
        assert_eq!(listed("gpt-4o-mini", cloud).map(|(_, source)| source), Some(CATALOGUE));
        assert_eq!(listed("qwen", engine), Some((120_000, "price file")), "by the upstream's name");
        assert_eq!(listed("gpt-4o", engine), None, "what OpenAI takes is not what an engine costs");
        assert_eq!(listed("llama", engine), None);
    }
}

//! Prices: exact, linear, compared.

use super::*;
use proptest::prelude::*;

/// 2026-11-21.
const NOW: Millis = Millis(1_795_219_200_000);

fn asked<'a>(provider: Option<&'a str>, model: &'a str) -> Asked<'a> {
    Asked { provider, model, at: NOW, tier: Tier::Standard, prompt: None }
}

#[test]
fn the_catalogue_gives_exact_rates() {
    let mut prices = Prices::default();
    let found = prices.find(asked(Some("openai"), "gpt-4o")).unwrap();
    let rates = FullRates {
        input: 2_500_000_000,
        cached: 1_250_000_000,
        cache_write: 2_500_000_000,
        cache_write_hour: 2_500_000_000,
        output: 10_000_000_000,
    };
    assert_eq!((found.rates, found.tiered), (rates, false));
    assert_eq!(found.source.as_ref(), crate::CATALOGUE);
    let batch =
        prices.find(Asked { tier: Tier::Batch, ..asked(Some("openai"), "gpt-4o") }).unwrap();
    assert_eq!((batch.rates.input, batch.rates.output), (1_250_000_000, 5_000_000_000));
    let none = prices.find(Asked { tier: Tier::Other, ..asked(Some("openai"), "gpt-4o") });
    assert_eq!(none, None, "priority has other rates: nobody knows");
    assert_eq!(prices.find(asked(None, "no-such-model-anywhere")), None);
}

#[test]
fn a_long_prompt_has_its_own_rates_and_a_sum_of_many_has_not() {
    let mut prices = Prices::default();
    let base = asked(Some("openai"), "gpt-5.4");
    let found = prices.find(base).unwrap();
    assert!(found.tiered);
    assert_eq!((found.rates.input, found.rates.output), (2_500_000_000, 15_000_000_000));
    let long = prices.find(Asked { prompt: Some(300_000), ..base }).unwrap();
    assert_eq!((long.rates.input, long.rates.output), (5_000_000_000, 22_500_000_000));
    assert_eq!(prices.find(Asked { prompt: Some(100_000), ..base }).unwrap().rates, found.rates);
}

#[test]
fn own_rows_win_and_are_doubted_when_stale_or_alone() {
    let text =
        format!("{}\nopenai,gpt-4o,5,,,,20,my contract,2026-08-01\n", write_file(&[]).trim());
    let mut prices = Prices::with_own(read_file(&text).unwrap());
    let found = prices.find(asked(Some("openai"), "gpt-4o")).unwrap();
    assert_eq!((found.rates.input, found.source.as_ref()), (5_000_000_000, "my contract"));
    let doubt = prices.doubt(&found, "gpt-4o", NOW).unwrap();
    assert!(doubt.contains("112 days old") && doubt.contains("input 5 here, 2.5 there"), "{doubt}");
    let catalogue = Prices::default().find(asked(Some("openai"), "gpt-4o")).unwrap();
    assert_eq!(prices.doubt(&catalogue, "gpt-4o", NOW), None);
}

/// The line that a reader sees was refused with the words of that line.
#[test]
fn a_file_that_a_spreadsheet_saved_with_a_byte_order_mark_is_read() {
    let text = format!("{}\nopenai,m,5,,,,20,contract,2026-08-01\n", write_file(&[]).trim());
    let rows = read_file(&format!("\u{feff}{text}").replace('\n', "\r\n")).unwrap();
    assert_eq!((rows.len(), &rows), (1, &read_file(&text).unwrap()));
}

#[test]
fn the_second_opinion_is_a_good_file() {
    let rows = read_file(include_str!("../../data/second-opinion.csv")).unwrap();
    assert_eq!(rows.len(), 390);
    assert!(rows.iter().all(|row| !row.provider.is_empty() && !row.source.is_empty()));
    // As published: gpt-4-turbo 10/30, gpt-6-luna 0.10/0.50, claude-opus-5-5 4/20 per million.
    for (model, input, output) in
        [("gpt-4-turbo", "10", "30"), ("gpt-6-luna", "0.1", "0.5"), ("claude-opus-5-5", "4", "20")]
    {
        let row = rows.iter().find(|row| row.model == model && row.provider != "azure").unwrap();
        assert_eq!(
            (usd_text(row.rates.input), usd_text(row.rates.output)),
            (input.into(), output.into())
        );
    }
}

#[test]
fn files_of_litellm_and_genai_prices_are_imported_row_by_row() {
    let litellm = r#"{"sample_spec": {"input_cost_per_token": 0},
        "gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06, "cache_creation_input_token_cost": 3.125e-06, "cache_creation_input_token_cost_above_1hr": 5e-06},
        "azure/gpt-x": {"litellm_provider": "azure", "input_cost_per_token": 1e-7, "output_cost_per_token": 5e-7},
        "bad": {"litellm_provider": "openai", "input_cost_per_token": -1},
        "picture": {"litellm_provider": "openai", "output_cost_per_image": 0.04}}"#;
    let found = Imported::read(litellm, "prices.json", NOW).unwrap();
    assert_eq!((found.kind, found.rows.len(), found.aside), ("LiteLLM", 2, 2));
    assert_eq!(found.refused, ["bad: a price is negative"]);
    let row = &found.rows[0];
    assert_eq!(
        (row.rates.input, row.rates.cached, row.rates.output),
        (2_500_000_000, 1_250_000_000, 10_000_000_000)
    );
    let written = [row.rates.cache_write, row.rates.cache_write_hour];
    assert_eq!(written, [3_125_000_000, 5_000_000_000]);
    assert_eq!((found.rows[1].provider.as_str(), found.rows[1].model.as_str()), ("azure", "gpt-x"));
    assert_eq!(found.rows[1].rates.input, 100_000_000);
    assert!(found.rows.iter().all(|row| row.long.is_none() && row.date == "2026-11-21"));
    let genai = r#"[{"id": "openai", "models": [
        {"id": "a", "prices": {"input_mtok": {"base": 3, "tiers": [{"start": 200000, "price": 6}]}, "output_mtok": 15, "cache_write_mtok": 3.75, "cache_write_1h_mtok": 6}},
        {"id": "b", "prices": [{"prices": {"input_mtok": 1, "output_mtok": 2}},
            {"constraint": {"start_date": "2026-11-01"}, "prices": {"input_mtok": 0.5, "output_mtok": 1}},
            {"constraint": {"start_date": "2027-01-01"}, "prices": {"input_mtok": 9, "output_mtok": 9}}]},
        {"id": "c", "prices": {"requests_kcount": 5}}]}]"#;
    let found = Imported::read(genai, "data.json", NOW).unwrap();
    assert_eq!((found.kind, found.rows.len(), found.aside), ("genai-prices", 2, 1));
    assert_eq!(
        (found.rows[0].rates.input, found.rows[1].rates.input),
        (3_000_000_000, 500_000_000)
    );
    assert_eq!(found.rows[0].rates.cache_write_hour, 6_000_000_000);
    let (above, long) = found.rows[0].long.unwrap();
    assert_eq!((above, long.input, long.output), (200_000, 6_000_000_000, 15_000_000_000));
    for bad in ["{}", "[]", "7", "{\"a\": 1}", "model\nx\n"] {
        assert!(Imported::read(bad, "x", NOW).is_err(), "{bad}");
    }
}

#[test]
fn an_own_price_reaches_dated_names_unless_they_have_one_of_their_own() {
    let text = format!(
        "{}\nopenai,gpt-4o,2,,,,8,contract,2026-11-01\nopenai,gpt-4o-2024-11-20,1,,,,4,contract,2026-11-01\n",
        write_file(&[]).trim()
    );
    let mut prices = Prices::with_own(read_file(&text).unwrap());
    let mut input = |model| {
        let found = prices.find(asked(Some("openai"), model)).unwrap();
        (found.rates.input / 1_000_000, found.said())
    };
    assert_eq!(input("gpt-4o-2024-08-06"), (2_000, "contract (row gpt-4o)".to_owned()));
    assert_eq!(input("gpt-4o-2024-11-20"), (1_000, "contract".to_owned()));
    assert_eq!(input("gpt-4o-2024-05-13"), (5_000, crate::CATALOGUE.to_owned()));
    assert_eq!(input("gpt-4o-mini-2024-07-18"), (150, crate::CATALOGUE.to_owned()));
}

#[test]
fn a_file_without_the_rate_of_an_hour_is_read_with_one_rate_for_both() {
    let head =
        "provider,model,input_usd_per_mtok,cached_input_usd_per_mtok,cache_write_usd_per_mtok";
    let row = |rest: &str| read_file(&format!("{head},{rest}")).map(|rows| rows[0].rates);
    let old = row("output_usd_per_mtok,source,date\n,m,3,0.3,3.75,15,s,2026-11-01").unwrap();
    assert_eq!((old.cache_write, old.cache_write_hour), (3_750_000_000, 3_750_000_000));
    let hour = "cache_write_1h_usd_per_mtok,output_usd_per_mtok,source,date\n";
    let new = row(&format!("{hour},m,3,0.3,3.75,6,15,s,2026-11-01")).unwrap();
    assert_eq!((new.cache_write, new.cache_write_hour), (3_750_000_000, 6_000_000_000));
    assert_eq!((new.output, old.output), (15_000_000_000, 15_000_000_000));
    let short = row(&format!("{hour},m,3,0.3,3.75,15,s,2026-11-01")).unwrap_err();
    assert_eq!(short, "line 2: 8 cells, the heading has 9");
}

/// Rates of long prompts, sold by the second, and two entries of one model: each was lost or free.
#[test]
fn an_import_loses_no_rate_and_says_what_it_cannot_hold() {
    let litellm = r#"{
        "gemini/pro": {"litellm_provider": "gemini", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
            "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05},
        "pro": {"litellm_provider": "vertex_ai-language-models", "input_cost_per_token": 1.3e-06, "output_cost_per_token": 1.1e-05},
        "pro-same": {"litellm_provider": "gemini", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
        "gemini/pro-same": {"litellm_provider": "gemini", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
        "a,b": {"litellm_provider": "x", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
        "embedding": {"litellm_provider": "x", "input_cost_per_token": 1e-06},
        "speech": {"litellm_provider": "x", "input_cost_per_token": 1e-6, "output_cost_per_second": 0.01}}"#;
    let found = Imported::read(litellm, "prices.json", NOW).unwrap();
    let names: Vec<_> = found.rows.iter().map(|row| (&*row.provider, &*row.model)).collect();
    for name in [("x", "embedding"), ("google", "pro-same"), ("google", "pro")] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!((found.rows.len(), found.aside, found.refused.len()), (3, 1, 2), "{found:?}");
    assert!(found.refused.iter().any(|why| why.contains("other rates for google/pro")));
    let rows = read_file(&write_file(&found.rows)).unwrap();
    assert_eq!(rows, found.rows, "the long rates are in the file, too");
    let old = found.dated(Millis(NOW.0 - 200 * 86_400_000));
    let mut prices = Prices::with_own(old.rows);
    let base = asked(Some("google"), "pro");
    let usual = prices.find(base).unwrap();
    let doubt = prices.doubt(&usual, "pro", NOW).unwrap();
    assert!(doubt.contains("200 days old"), "{doubt}");
    let long = prices.find(Asked { prompt: Some(300_000), ..base }).unwrap();
    assert_eq!((long.rates.input, long.rates.output), (2_500_000_000, 15_000_000_000));
    let short = prices.find(Asked { prompt: Some(200_000), ..base }).unwrap();
    assert_eq!((short.rates, usual.tiered), (usual.rates, true));
}

/// The first row of the alphabet won: an OpenAI log without a provider was Azure's and dearer.
#[test]
fn a_model_without_a_provider_is_priced_by_the_row_of_whom_it_is() {
    let file = |azure: u64| {
        let head = write_file(&[]);
        read_file(&format!(
            "{head}azure,gpt-4o,{azure},,,,8,list,2026-11-01\nopenai,gpt-4o,2.5,,,,10,list,2026-11-01\n"
        ))
    };
    let mut prices = Prices::with_own(file(3).unwrap());
    let found = prices.find(asked(None, "gpt-4o")).unwrap();
    assert_eq!((found.provider.as_str(), found.rates.input), ("openai", 2_500_000_000));
    assert_eq!(prices.own_rows("GPT-4o").count(), 2);
    // Two rows that differ, of a model that the catalogue does not know: nobody knows.
    let own = format!(
        "{}a,mine,1,,,,1,list,2026-11-01\nb,mine,2,,,,2,list,2026-11-01\n",
        write_file(&[])
    );
    let mut prices = Prices::with_own(read_file(&own).unwrap());
    assert_eq!(prices.find(asked(None, "mine")), None);
    assert_eq!(prices.find(asked(Some("b"), "mine")).unwrap().rates.input, 2_000_000_000);
}

/// Before the catalogue's first batch prices, of 2026-10-14, the usual ones were taken for batches: twice too much.
#[test]
fn a_batch_is_never_priced_at_the_usual_price() {
    /// 2026-09-01.
    const EARLIER: Millis = Millis(1_788_220_800_000);
    let mut prices = Prices::default();
    let mut batch = |at, provider, model| {
        let asked = Asked { tier: Tier::Batch, at, ..asked(Some(provider), model) };
        let found = prices.find(asked)?;
        let rates = [found.rates.input, found.rates.cached, found.rates.output];
        Some((rates.map(|rate| rate / 1_000_000), found.rule.is_some()))
    };
    assert_eq!(batch(NOW, "openai", "gpt-4o"), Some(([1_250, 1_250, 5_000], false)));
    assert_eq!(batch(EARLIER, "openai", "gpt-4o"), Some(([1_250, 1_250, 5_000], true)));
    // Cached input of Anthropic's batches costs half, too; no list has this model's batches on any day.
    let sonnet = Some(([1_500, 150, 7_500], true));
    assert_eq!(batch(EARLIER, "anthropic", "claude-sonnet-4-5"), sonnet);
    assert_eq!(batch(NOW, "anthropic", "claude-opus-4-1"), Some(([7_500, 750, 37_500], true)));
    assert_eq!(batch(NOW, "azure", "gpt-4o"), Some(([1_250, 1_250, 5_000], true)));
    // A fifth off, which the catalogue says of a later day, and a provider of which nobody says anything.
    let grok = Asked { at: EARLIER, ..asked(Some("x-ai"), "grok-4.3") };
    let usual = Prices::default().find(grok).unwrap().rates.input / 1_000_000;
    assert_eq!(batch(EARLIER, "x-ai", "grok-4.3").unwrap().0[0], usual * 8 / 10);
    assert_eq!(batch(NOW, "deepseek", "deepseek-chat"), None);
}

/// A contract of 1 USD was passed by: batches cost the list's 2.50.
#[test]
fn an_own_price_reaches_batches_by_the_same_share() {
    let text = format!(
        "{}\nopenai,gpt-4o,1,,,,4,contract,2026-11-01\nopenai,tuned,3,1,,,6,contract,2026-11-01\n",
        write_file(&[]).trim()
    );
    let mut prices = Prices::with_own(read_file(&text).unwrap());
    for (model, input, output) in [("gpt-4o", 500, 2_000), ("tuned", 1_500, 3_000)] {
        let asked = Asked { tier: Tier::Batch, ..asked(Some("openai"), model) };
        let found = prices.find(asked).unwrap();
        let rates = (found.rates.input / 1_000_000, found.rates.output / 1_000_000);
        assert_eq!((rates, found.rule.is_some()), ((input, output), true), "{model}");
        assert!(found.said().starts_with("contract (") && found.said().contains("batch"));
    }
}

/// The catalogue names a provider by the name's beginning, and of these there is none.
#[test]
fn a_model_whose_name_says_no_provider_is_its_makers() {
    let mut prices = Prices::default();
    for (model, provider) in [
        ("text-embedding-3-small", "openai"),
        ("text-embedding-3-large", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("davinci-002", "openai"),
        ("embed-v4.0", "cohere"),
        ("gemma-4-26b-a4b-it-maas", "google"),
    ] {
        let found = prices.find(asked(None, model)).unwrap_or_else(|| panic!("{model}"));
        assert_eq!(found.provider, provider, "{model}");
        assert_eq!(Some(found), prices.find(asked(Some(provider), model)), "{model}");
    }
    assert_eq!(prices.find(asked(None, "text-embedding-of-mine")), None, "no name but the same");
}

fn any_rates() -> impl Strategy<Value = FullRates> {
    prop::array::uniform5(0u64..1_000_000_000_000).prop_map(
        |[input, cached, cache_write, cache_write_hour, output]| FullRates {
            input,
            cached,
            cache_write,
            cache_write_hour,
            output,
        },
    )
}

fn any_row() -> impl Strategy<Value = PriceRow> {
    let long = prop::option::of((1u64..2_000_000, any_rates()));
    ("[a-z]{0,5}", "[a-z0-9.-]{1,9}", any_rates(), long).prop_map(
        |(provider, model, rates, long)| PriceRow {
            provider: canonical(&provider),
            model,
            rates,
            long,
            source: "somebody".into(),
            date: "2026-11-21".into(),
        },
    )
}

proptest! {
    #[test]
    fn a_price_file_reads_back_equal(rows in prop::collection::vec(any_row(), 0..8)) {
        prop_assert_eq!(read_file(&write_file(&rows)).unwrap(), rows);
    }

    #[test]
    fn cost_is_linear_in_tokens_without_drift(
        row in any_row(), parts in prop::collection::vec(prop::array::uniform5(0u64..900_000), 1..50),
    ) {
        let tokens = |[plain, cached, minutes, hour, output]: [u64; 5]| TokenCounts {
            input: Some(plain + cached + minutes + hour), cached, cache_write: minutes + hour,
            cache_write_hour: hour, output: Some(output), reasoning: 0,
        };
        let mut whole = [0; 5];
        for part in &parts {
            whole.iter_mut().zip(part).for_each(|(sum, n)| *sum += n);
        }
        let sum: i128 = parts.iter().map(|part| row.rates.femto_usd(&tokens(*part))).sum();
        prop_assert_eq!(sum, row.rates.femto_usd(&tokens(whole)));
        prop_assert_eq!(row.rates.femto_usd(&tokens(whole.map(|n| n * 2))), 2 * sum);
    }

    #[test]
    fn no_file_makes_the_import_panic(text in ".{0,200}") {
        let _ = Imported::read(&text, "x", NOW);
    }
}

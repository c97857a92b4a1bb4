//! `[variants.NAME]`.

use cutover_units::VariantName;
use cutover_wire::providers::claude;

use crate::checked::{
    OllamaSettings, Price, StructuredOutput, Think, Unsupported, Upstream, Variant,
};
use crate::loading;
use crate::reader::{NamedTable, Table, Weight};
use crate::sections::{Names, adaptation, shapes};
use crate::values::{self, Wrong};

pub(crate) fn read(
    entry: &NamedTable<'_>,
    upstream_names: &Names<'_>,
    upstreams: &[Option<Upstream>],
) -> Option<Variant> {
    let table = &entry.table;
    let name = match VariantName::new(entry.name) {
        Ok(name) => Some(name),
        Err(why) => {
            table.note_self(Weight::Wrong, Wrong::new(why.to_string()));
            None
        }
    };
    let position = upstream_names.reference(table, "upstream");
    let model = table.read("model", values::text);
    let system_prompt = shapes::prompt(table, "system_prompt");
    let adaptation = adaptation::read(table);
    let temperature = table.read("temperature", values::number);
    let top_p = table.read("top_p", values::number);
    let max_tokens = table.read("max_tokens", values::count);
    let seed = table.read("seed", values::integer);
    let unsupported = table.read("unsupported", values::choice);
    let tools = table.read("tools", values::boolean);
    let images = table.read("images", values::boolean);
    let ollama = ollama(table);
    let warm = table.read("warm", values::boolean);
    let prefill = table.read("prefill", values::boolean);
    let price = table.given_child("price").map(|table| price(&table));

    let position = position?;
    let upstream = upstreams.get(position)?.as_ref();
    if let (Some(upstream), Some(adaptation)) = (upstream, &adaptation) {
        adaptation::note_grammar(table, upstream, adaptation);
    }
    let model = model.or_else(|| default_model(table, upstream));
    if let Some(upstream) = upstream
        && upstream.provider.name != "ollama"
        && table.given("ollama").is_some()
    {
        let message = format!("ignored: the upstream's provider is {}", upstream.provider.name);
        table.warn("ollama", message, None);
    }
    if let (Some(upstream), Some(true)) = (upstream, warm) {
        warn_of_warm(table, upstream);
    }
    let variant = Variant {
        name: name?,
        upstream: position,
        model: model?.into(),
        system_prompt,
        temperature,
        top_p,
        max_tokens,
        seed,
        unsupported: Unsupported::from_word(unsupported?)?,
        tools,
        images,
        prefill,
        adaptation: adaptation?,
        ollama: ollama?,
        warm: warm?,
        price: price.map_or(Some(None), |price| price.map(Some))?,
    };
    if upstream.is_some_and(|upstream| upstream.provider.name == "anthropic") {
        warn_of_anthropic(table, &variant);
    }
    Some(variant)
}

/// Models that nobody keeps in memory, although it is wanted.
fn warn_of_warm(table: &Table<'_>, upstream: &Upstream) {
    let provider = upstream.provider.name;
    let why = if provider == "ollama" {
        loading::knows_no_models(upstream)
    } else {
        Some(format!("provider {provider} has its model always in memory or elsewhere"))
    };
    if let Some(why) = why {
        table.warn("warm", format!("without effect: {why}"), None);
    }
}

/// Settings that Anthropic would refuse: they are left out of each request, and reported there.
fn warn_of_anthropic(table: &Table<'_>, variant: &Variant) {
    let warn = |key, why: &str| table.warn(key, format!("left out of each request: {why}"), None);
    if variant.seed.is_some() {
        warn("seed", "Anthropic has no seed");
    }
    let samples = claude::of(&variant.model).samples;
    let sampling = [("temperature", variant.temperature), ("top_p", variant.top_p)];
    let given = sampling.iter().filter(|(_, value)| value.is_some());
    for (index, (key, _)) in given.enumerate() {
        if !samples {
            warn(key, &format!("{} takes no sampling", variant.model));
        } else if index > 0 {
            warn(key, "of temperature and top_p Anthropic takes one");
        }
    }
    if variant.adaptation.stop.iter().any(|stop| stop.trim().is_empty()) {
        warn("stop", "Anthropic stops at no white space alone");
    }
    if variant.adaptation.structured == Some(StructuredOutput::JsonMode) {
        let message = "Anthropic has no JSON without a schema: the words alone are sent";
        let hint = "\"native\" or \"instruct-and-repair\"".to_owned();
        table.warn("structured_output", message, Some(hint));
    }
}

fn default_model(table: &Table<'_>, upstream: Option<&Upstream>) -> Option<String> {
    if table.given("model").is_some() {
        return None;
    }
    match upstream {
        Some(Upstream { embedded: Some(embedded), .. }) => Some(embedded.model.clone()),
        Some(_) => {
            table.missing("model");
            None
        }
        // The upstream has problems of its own; whether a model is needed shows when they are mended.
        None => None,
    }
}

fn ollama(table: &Table<'_>) -> Option<OllamaSettings> {
    let table = table.child("ollama");
    let num_ctx = table.read("num_ctx", values::count);
    let keep_alive = table.read("keep_alive", shapes::keep_alive);
    let think = table.read("think", values::choice).and_then(Think::from_word);
    let truncate = table.read("truncate", values::boolean);
    let completions_use_template = table.read("completions_use_template", values::boolean);
    Some(OllamaSettings {
        num_ctx,
        keep_alive,
        think,
        truncate: truncate?,
        completions_use_template: completions_use_template?,
    })
}

fn price(table: &Table<'_>) -> Option<Price> {
    let input = table.read("input_usd_per_mtok", values::price);
    let cached = table.read("cached_input_usd_per_mtok", values::price);
    let output = table.read("output_usd_per_mtok", values::price);
    let input = input?;
    Some(Price {
        input_nano_usd_per_mtok: input,
        cached_input_nano_usd_per_mtok: cached.unwrap_or(input),
        output_nano_usd_per_mtok: output?,
    })
}

//! What engines hold and take at a time: the values, and how they are read.

use crate::checked::{Upstream, UseCase, Variant};
use crate::providers::Provider;
use crate::reader::{NamedTable, Table};
use crate::values;

/// What cutover sends to an Ollama instance before it counts as full, unless the file says: one request
/// that is answered, as Ollama does by default, and three that wait.
const OLLAMA_IN_FLIGHT: u32 = 4;

/// How an upstream's instances are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// So many requests at once make an instance full; None: only what it tells does.
    pub in_flight_limit: Option<u32>,
}

/// What becomes of a candidate's request while no instance has its model in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cold {
    /// It waits until the model is read in.
    #[default]
    Wait,
    /// The baseline answers, and the model is read in meanwhile.
    Baseline,
}

impl Cold {
    pub(crate) const WORDS: &'static [&'static str] = &["wait", "baseline"];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Baseline => "baseline",
        }
    }
}

pub(crate) fn loading(table: &Table<'_>, provider: Option<&Provider>) -> Loading {
    let in_flight_limit = table.read("in_flight_limit", values::count);
    let is_ollama = provider.is_some_and(|provider| provider.name == "ollama");
    Loading { in_flight_limit: in_flight_limit.or(is_ollama.then_some(OLLAMA_IN_FLIGHT)) }
}

pub(crate) fn cold(table: &Table<'_>) -> Option<Cold> {
    let word = table.read("cold", values::choice)?;
    Some(if word == "baseline" { Cold::Baseline } else { Cold::Wait })
}

/// Why nobody knows which models its instances have in memory. None: its probes tell.
pub(crate) fn knows_no_models(upstream: &Upstream) -> Option<String> {
    let (name, provider) = (&upstream.name, upstream.provider.name);
    if provider != "ollama" {
        return Some(format!(
            "upstream {name} is of provider {provider}, which loads none on demand"
        ));
    }
    let is_blind = upstream.probing.is_none();
    is_blind.then(|| format!("nobody knows what upstream {name} has in memory: its probes = false"))
}

/// Warns of what an upstream is given that changes nothing there.
pub(crate) fn warn_of_idle(table: &Table<'_>, upstream: &Upstream) {
    let warn = |key, message: String, hint: Option<&str>| {
        if table.given(key).is_some() {
            table.warn(key, message, hint.map(str::to_owned));
        }
    };
    if !upstream.provider.probes.is_empty() && upstream.probing.is_none() {
        for key in ["probe_interval", "waiting_limit"] {
            warn(key, "without effect, because probes = false".to_owned(), None);
        }
    }
    if upstream.balance.name == "model-aware"
        && let Some(why) = knows_no_models(upstream)
    {
        warn("balance", format!("the same as \"least-outstanding\": {why}"), None);
    }
    let most = upstream.connections_max;
    if upstream.loading.in_flight_limit.is_some_and(|limit| limit > most) {
        let message = format!("never reached: max_connections allows {most} at once");
        warn("in_flight_limit", message, Some("make max_connections at least as large"));
    }
}

/// Warns where nobody ever knows that a candidate's model is cold.
pub(crate) fn note_never_cold(
    tables: &[NamedTable<'_>],
    use_cases: &[Option<UseCase>],
    (variants, upstreams): (&[Option<Variant>], &[Option<Upstream>]),
) {
    for (entry, use_case) in tables.iter().zip(use_cases) {
        let Some(use_case) = use_case.as_ref().filter(|it| it.cold == Cold::Baseline) else {
            continue;
        };
        let Some(at) = use_case.candidate else {
            let message = "without effect: there is no candidate, whose model could be cold";
            entry.table.warn("cold", message, None);
            continue;
        };
        let variant = variants.get(at).and_then(Option::as_ref);
        let upstream = variant.and_then(|variant| upstreams.get(variant.upstream)?.as_ref());
        if let Some(why) = upstream.and_then(knows_no_models) {
            entry.table.warn("cold", format!("without effect: {why}"), None);
        }
    }
}

/// Tells of variants of one model that ask for different context lengths: the largest holds for all.
pub(crate) fn note_contexts(
    tables: &[NamedTable<'_>],
    variants: &[Option<Variant>],
    upstreams: &[Option<Upstream>],
) {
    let known = || tables.iter().zip(variants).filter_map(|(entry, v)| Some((entry, v.as_ref()?)));
    for (entry, variant) in known() {
        let Some(own) = variant.ollama.num_ctx else { continue };
        let is_ollama = |upstream: &Upstream| upstream.provider.name == "ollama";
        if !upstreams.get(variant.upstream).and_then(Option::as_ref).is_some_and(is_ollama) {
            continue;
        }
        let same = |other: &Variant| {
            let tagged = cutover_wire::probe::with_tag;
            other.upstream == variant.upstream && tagged(&other.model) == tagged(&variant.model)
        };
        let largest =
            known().filter(|(_, other)| same(other)).filter_map(|(_, v)| v.ollama.num_ctx);
        let Some(largest) = largest.max().filter(|&largest| largest != own) else { continue };
        let message = format!(
            "{own} is not used: another variant of this model asks for {largest}, and a change would make Ollama load the model anew"
        );
        let hint = Some(format!("give both num_ctx = {largest}"));
        entry.table.child("ollama").warn("num_ctx", message, hint);
    }
}

//! What is told to Ollama alone.
//!
//! One context length per model of an upstream: a request with another one makes Ollama read the model
//! in anew. So the largest that a variant asks for holds for all that name the model, and for traffic
//! that names it itself.

use std::sync::Arc;

use cutover_config::{Checked, KeepAlive, Think as Configured, Upstream, Variant};
use cutover_wire::probe::with_tag;
use cutover_wire::{OllamaSettings, Think};

/// The context length of each model for which one was given, by its name with its tag.
pub(super) fn pins(checked: &Checked, upstream: &Upstream) -> Arc<[(String, u32)]> {
    let mut pins: Vec<(String, u32)> = Vec::new();
    for variant in &checked.variants {
        if checked.upstreams[variant.upstream].name != upstream.name {
            continue;
        }
        let Some(tokens) = variant.ollama.num_ctx else { continue };
        let model = with_tag(&variant.model);
        match pins.iter_mut().find(|(name, _)| *name == model) {
            Some((_, most)) => *most = tokens.max(*most),
            None => pins.push((model.into_owned(), tokens)),
        }
    }
    pins.into()
}

/// A variant's settings.
pub(super) fn settings(checked: &Checked, variant: &Variant) -> OllamaSettings {
    let configured = &variant.ollama;
    OllamaSettings {
        num_ctx: None,
        pins: pins(checked, &checked.upstreams[variant.upstream]),
        keep_alive: configured.keep_alive.map(|keep| match keep {
            KeepAlive::Forever => "-1".to_owned(),
            KeepAlive::For(duration) => format!("{}s", duration.as_secs()),
        }),
        think: configured.think.map(|think| match think {
            Configured::Off => Think::Off,
            Configured::On => Think::On,
            Configured::Low => Think::Low,
            Configured::Medium => Think::Medium,
            Configured::High => Think::High,
        }),
        truncate: configured.truncate,
        completions_use_template: configured.completions_use_template,
    }
}

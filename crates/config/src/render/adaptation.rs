//! What a variant changes in requests.

use serde_json::Value;

use super::{Toml, inline, list, quote};
use crate::prompts::Adaptation;

impl Toml {
    /// The keys that are not as they are without being given.
    pub(super) fn adaptation(&mut self, adaptation: &Adaptation) {
        self.optional("prompt", adaptation.prompt.as_ref().map(|r| quote(&r.to_string())));
        if !adaptation.vars.is_empty() {
            let vars = adaptation.vars.iter().map(|(name, value)| (name.clone(), var(value)));
            self.line("vars", inline(&vars.collect::<Vec<_>>()));
        }
        if !adaptation.prompt_metadata.is_empty() {
            self.line("prompt_metadata", list(&adaptation.prompt_metadata));
        }
        if adaptation.folds_system {
            self.text("system_role", "user");
        }
        if !adaptation.stop.is_empty() {
            self.line("stop", list(&adaptation.stop));
        }
        if let Some(structured) = adaptation.structured {
            self.text("structured_output", structured.as_str());
        }
        self.optional("format_instruction", adaptation.format_instruction.as_deref().map(quote));
    }
}

fn var(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(texts) => {
            let texts: Vec<_> =
                texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect();
            list(&texts)
        }
        // Numbers and truth are written alike in both notations.
        other => other.to_string(),
    }
}

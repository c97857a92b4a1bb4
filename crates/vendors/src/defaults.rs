//! What a variant says where its client says nothing: nobody's fault if a target cannot do it.

use cutover_wire::{StructuredOutput, VariantSettings};

use crate::split;

/// Fields of a request that its variant has set, with their names in reports.
#[derive(Debug, Clone, Default)]
pub struct Defaults(Vec<(&'static str, &'static str)>);

impl Defaults {
    /// Those of a request that was sent like this, with a variant's settings.
    pub fn of(sent: &[u8], settings: &VariantSettings) -> Self {
        let json_mode = settings.structured == Some(StructuredOutput::JsonMode);
        let blank_stop = settings.stop.iter().any(|stop| stop.trim().is_empty());
        let set = [
            ("temperature", "variant.temperature", settings.temperature.is_some()),
            ("top_p", "variant.top_p", settings.top_p.is_some()),
            ("seed", "variant.seed", settings.seed.is_some()),
            ("response_format", "variant.structured_output", json_mode),
            ("stop", "variant.stop", blank_stop),
        ];
        if !set.iter().any(|(_, _, set)| *set) {
            return Self::default();
        }
        let text = std::str::from_utf8(sent).unwrap_or_default().trim_ascii();
        let said: Vec<&str> = split::members(text)
            .into_iter()
            .flatten()
            .filter(|(_, raw)| *raw != "null")
            .map(|(key, _)| key.trim_matches('"'))
            .collect();
        // With the mode the client's schema is put into words, and what is left of its field is the mode's. Stops
        // are sent besides the client's.
        let ours =
            |field: &str| matches!(field, "response_format" | "stop") || !said.contains(&field);
        let list = set.into_iter().filter(|(field, _, set)| *set && ours(field));
        Self(list.map(|(field, shown, _)| (field, shown)).collect())
    }

    /// A field's name in reports, if it is the variant's.
    pub(crate) fn shown(&self, path: &str) -> Option<&'static str> {
        let field = path.split('.').next();
        self.0.iter().find(|(own, _)| Some(*own) == field).map(|(_, shown)| *shown)
    }
}

//! The settings that an answer repeats, as they were really sent: the client's, unless they were lost on the way, else
//! the variant's. Where neither says anything nobody here knows what the model used, and the answer says null.

use cutover_wire::providers::Dialect;
use cutover_wire::{Loss, LossAction, Provider, Target, VariantSettings};

use crate::write::Json;

/// What is known of a request once it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// To whom.
    pub provider: &'static Provider,
    /// What the variant says where its client says nothing.
    pub settings: &'a VariantSettings,
    /// What of the two did not arrive, by the client's names.
    pub losses: &'a [Loss],
}

impl<'a> Sent<'a> {
    /// To this target, with these losses.
    pub fn to(target: &'a Target, losses: &'a [Loss]) -> Self {
        Self { provider: target.provider, settings: &target.settings, losses }
    }

    fn lost(&self, field: &str) -> bool {
        self.losses.iter().any(|loss| loss.field == field && loss.action == LossAction::Dropped)
    }

    /// What stands for a field of which the client says nothing. Ollama is always sent the two, since what it does by
    /// itself is not what clients of this dialect are used to.
    fn in_its_place(&self, field: &str) -> Option<String> {
        let said = match field {
            "temperature" => self.settings.temperature.map(|value| value.to_string()),
            "top_p" => self.settings.top_p.map(|value| value.to_string()),
            _ => return self.settings.max_tokens.map(|value| value.to_string()),
        };
        let said = said.filter(|_| !self.lost(&format!("variant.{field}")));
        said.or_else(|| (self.provider.dialect == Dialect::Ollama).then(|| "1.0".to_owned()))
    }
}

/// What an answer repeats of them, as JSON.
#[derive(Clone)]
pub(crate) struct Sampled([(&'static str, Option<String>); 3]);

impl Sampled {
    /// As the client says. `said` tells what that is of a field.
    pub(crate) fn said<'a>(said: impl Fn(&str) -> Option<&'a str>) -> Self {
        let fields = ["temperature", "top_p", "max_output_tokens"];
        Self(fields.map(|field| (field, said(field).map(str::to_owned))))
    }

    /// As it was sent.
    pub(crate) fn was_sent(&mut self, sent: Sent<'_>) {
        for (field, value) in &mut self.0 {
            if sent.lost(field) {
                *value = None;
            } else if value.is_none() {
                *value = sent.in_its_place(field);
            }
        }
    }

    pub(crate) fn write(&self, json: &mut Json) {
        for (field, value) in &self.0 {
            json.put_raw(field, value.as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(said: [Option<&str>; 3], sent: Option<Sent<'_>>) -> String {
        let fields = ["temperature", "top_p", "max_output_tokens"];
        let of = |field: &str| said[fields.iter().position(|own| *own == field).unwrap()];
        let mut sampled = Sampled::said(of);
        if let Some(sent) = sent {
            sampled.was_sent(sent);
        }
        crate::write::object(|j| sampled.write(j))
    }

    #[test]
    fn what_was_lost_on_the_way_is_not_repeated() {
        let settings = VariantSettings {
            temperature: Some(0.3),
            top_p: Some(0.9),
            max_tokens: Some(5),
            ..VariantSettings::default()
        };
        let lost = |field: &str| {
            let why = "of two it takes one";
            vec![Loss { field: field.to_owned(), action: LossAction::Dropped, why }]
        };
        let said = [Some("0.7"), None, None];
        for (losses, wanted) in [
            (vec![], r#"{"temperature":0.7,"top_p":0.9,"max_output_tokens":5}"#),
            (lost("temperature"), r#"{"temperature":null,"top_p":0.9,"max_output_tokens":5}"#),
            (lost("variant.top_p"), r#"{"temperature":0.7,"top_p":null,"max_output_tokens":5}"#),
        ] {
            let provider = Provider::by_name("anthropic").unwrap();
            let sent = Sent { provider, settings: &settings, losses: &losses };
            assert_eq!(told(said, Some(sent)), wanted);
        }
        let before = r#"{"temperature":0.7,"top_p":null,"max_output_tokens":null}"#;
        assert_eq!(told(said, None), before, "before it is sent");
    }
}

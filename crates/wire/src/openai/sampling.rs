//! Fields that chat and completions share: stop sequences, logit bias, the answer's form, the
//! stream's options.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Stop sequences: one text, or a list of up to four (the count is the engine's to judge).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Stop(pub Vec<String>);

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stop({} sequences)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Stop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Stop;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }
            fn visit_str<E>(self, text: &str) -> Result<Stop, E> {
                Ok(Stop(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Stop, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = items.next_element()? {
                    all.push(text);
                }
                Ok(Stop(all))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// `stream_options`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct StreamOptions {
    /// Whether a chunk with the usage ends the stream.
    #[serde(default)]
    pub include_usage: Option<bool>,
}

/// `response_format`.
#[derive(Debug, Clone, Deserialize)]
pub struct ResponseFormat {
    /// Which form.
    #[serde(rename = "type")]
    pub kind: FormatKind,
    /// The schema with its name, for [`FormatKind::JsonSchema`].
    #[serde(default)]
    pub json_schema: Option<JsonSchema>,
}

/// The forms an answer can be held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatKind {
    /// Free text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema,
}

/// A named JSON schema.
#[derive(Debug, Clone, Deserialize)]
pub struct JsonSchema {
    /// The name given to the schema.
    #[serde(default)]
    pub name: Option<String>,
    /// What the model shall know of it.
    #[serde(default)]
    pub description: Option<String>,
    /// The schema itself, as the client wrote it.
    #[serde(default)]
    pub schema: Option<Box<RawValue>>,
    /// Whether the answer must fit exactly.
    #[serde(default)]
    pub strict: Option<bool>,
}

/// `logit_bias`: token id (as text) to bias.
pub type LogitBias = BTreeMap<String, f64>;

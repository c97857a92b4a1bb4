//! Names of labels, and references to a version: `NAME@LABEL` or `NAME@3`.

use std::fmt;

use cutover_units::{NameError, PromptName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is no label or no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// A name breaks the rule of names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The label could be taken for a version's number.
    #[error("a label holds at least one character that is no digit, or it would read as a version")]
    Digits,
    /// There is no `@`.
    #[error("write NAME@LABEL or NAME@NUMBER")]
    NoSelector,
    /// Versions are counted from 1.
    #[error("versions are numbered from 1 to {}", u32::MAX)]
    Number,
}

/// The name of a label, such as `production`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelName(PromptName);

impl LabelName {
    /// Checks the text and makes the name.
    pub fn new(text: &str) -> Result<Self, NameProblem> {
        let name = PromptName::new(text)?;
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NameProblem::Digits);
        }
        Ok(Self(name))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for LabelName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for LabelName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Which version of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// The one that a label is on.
    Label(LabelName),
    /// This one, for ever.
    Number(u32),
}

/// A prompt and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The prompt.
    pub name: PromptName,
    /// Which version.
    pub selector: Selector,
}

impl Reference {
    /// Reads `NAME@LABEL` or `NAME@3`.
    pub fn parse(text: &str) -> Result<Self, NameProblem> {
        let (name, selector) = text.split_once('@').ok_or(NameProblem::NoSelector)?;
        let name = PromptName::new(name)?;
        let digits = !selector.is_empty() && selector.bytes().all(|b| b.is_ascii_digit());
        let selector = if digits {
            let number = selector.parse().ok().filter(|&number| number > 0);
            Selector::Number(number.ok_or(NameProblem::Number)?)
        } else {
            Selector::Label(LabelName::new(selector)?)
        };
        Ok(Self { name, selector })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Label(label) => write!(f, "{}@{label}", self.name),
            Selector::Number(number) => write!(f, "{}@{number}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reference_is_a_name_and_a_label_or_a_number() {
        for text in ["extraction@production", "a.b-c@3", "a@v3"] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), text);
        }
        let wrong = |text| Reference::parse(text).unwrap_err();
        assert_eq!(wrong("extraction"), NameProblem::NoSelector);
        assert_eq!(wrong("a@0"), NameProblem::Number);
        assert_eq!(wrong("a@99999999999"), NameProblem::Number);
        assert_eq!(wrong("a@"), NameProblem::Name(NameError::Empty));
        assert_eq!(wrong("a@b@c"), NameProblem::Name(NameError::Character('@', 1)));
        assert_eq!(LabelName::new("12"), Err(NameProblem::Digits));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
            }
        }
    }
}

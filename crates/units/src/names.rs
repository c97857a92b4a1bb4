//! Names that users give to things. One rule for all of them, so that a name can stand in a header,
//! a metric label, a file name and a URL path without escaping.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name accepted, in bytes: long enough for `team.product-feature`, short enough for a
/// metric label.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The text is empty.
    Empty,
    /// The text has more than [`NAME_BYTES_MAX`] bytes.
    TooLong(usize),
    /// The text holds a character that is not allowed, at this byte.
    Character(char, usize),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a name must not be empty"),
            Self::TooLong(n) => {
                write!(f, "a name has at most {NAME_BYTES_MAX} bytes, this one has {n}")
            }
            Self::Character(c, at) => write!(
                f,
                "a name starts with a letter or digit and holds only letters, digits, '.', '_' and '-'; \
                 found {c:?} at byte {at}"
            ),
        }
    }
}

impl std::error::Error for NameError {}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong(text.len()));
    }
    let bad = text
        .char_indices()
        .find(|&(at, c)| !(c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '.' | '_' | '-'))));
    match bad {
        Some((at, c)) => Err(NameError::Character(c, at)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the text and makes the name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// A kind of request that migrates as one unit.
    UseCaseName
}
name! {
    /// Upstream, model, prompt and sampling under one name: what is compared.
    VariantName
}
name! {
    /// One configured service, cloud or self-hosted.
    UpstreamName
}
name! {
    /// A prompt that is kept in versions.
    PromptName
}

/// One address of an upstream: `upstream/0`, `upstream/1` in the order in which config files named them;
/// `upstream/0.1` and so on for the addresses that such a name leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// The id of an upstream's instance with this number.
    pub fn new(upstream: &UpstreamName, number: usize) -> Self {
        Self(format!("{upstream}/{number}").into())
    }

    /// The id of an address of the name with this number.
    pub fn of_address(upstream: &UpstreamName, name: usize, number: u32) -> Self {
        Self(format!("{upstream}/{name}.{number}").into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which side of a use case served a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The variant that serves the use case today.
    Baseline,
    /// The variant that shall take over.
    Candidate,
    /// No use case matched: the default upstream, untouched.
    Default,
}

impl Arm {
    /// All arms, in the order reports print them.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Candidate, Self::Default];

    /// The arm's word in headers, labels, records and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Candidate => "candidate",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_checked_at_the_door() {
        assert!(UseCaseName::new("pr-summary.v2_x").is_ok());
        assert_eq!(UseCaseName::new(""), Err(NameError::Empty));
        assert_eq!(UseCaseName::new("a b"), Err(NameError::Character(' ', 1)));
        assert_eq!(UseCaseName::new("-a"), Err(NameError::Character('-', 0)));
        assert_eq!(UseCaseName::new(&"a".repeat(65)), Err(NameError::TooLong(65)));
    }

    proptest! {
        #[test]
        fn an_accepted_name_needs_no_escaping_anywhere(text in ".{0,80}") {
            if let Ok(name) = VariantName::new(&text) {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
                prop_assert_eq!(name.as_str(), text);
            }
        }
    }
}

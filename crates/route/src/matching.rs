//! From a request to its use case.

use crate::decide::Ask;
use crate::snapshot::UseCaseIx;

/// What makes a request belong to a use case. All parts given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Header name (lower case) and value.
    pub headers: Vec<(String, String)>,
    /// The caller's key name.
    pub key: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// Metadata name and value.
    pub metadata: Vec<(String, String)>,
}

impl Matcher {
    fn is_empty(&self) -> bool {
        self.headers.is_empty()
            && self.metadata.is_empty()
            && self.key.is_none()
            && self.model.is_none()
    }

    /// Whether a request fits. A matcher without parts fits nothing: it would swallow all traffic.
    pub fn fits(&self, ask: &Ask<'_>) -> bool {
        !self.is_empty()
            && self.model.as_deref().is_none_or(|m| m == ask.model)
            && self.key.as_deref().is_none_or(|k| ask.caller.key_name == Some(k))
            && self.headers.iter().all(|(name, value)| (ask.header)(name) == Some(value.as_str()))
            && self.metadata.iter().all(|(name, value)| {
                (ask.metadata)(name).is_some_and(|found| found.as_ref() == value.as_str())
            })
    }
}

/// Use cases in the order they are asked: as the draft has them. `config` sorts them by precedence,
/// so that one rule, written in one place, says which of two matching use cases wins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    order: Vec<(UseCaseIx, Matcher)>,
}

impl Index {
    pub(crate) fn build<'a>(matchers: impl Iterator<Item = &'a Matcher>) -> Self {
        let order = (0u16..).zip(matchers).map(|(at, matcher)| (UseCaseIx(at), matcher.clone()));
        Self { order: order.collect() }
    }

    pub(crate) fn find(&self, ask: &Ask<'_>) -> Option<UseCaseIx> {
        self.order.iter().find(|(_, matcher)| matcher.fits(ask)).map(|(at, _)| *at)
    }
}

//! The loss report of one request: each field once, with the reason its table row gives.

use cutover_wire::{Fault, Loss, LossAction, Unsupported};

use crate::Defaults;
use crate::read::{At, Obj};
use crate::{Fate, Field};

/// Why a field is dropped that no row names.
const UNKNOWN: &str = "no field of the dialect that cutover knows";

/// Most lines of a report. A request with more unknown fields is not ours to list.
const LINES_MAX: usize = 64;

/// What was refused of a request while its reading went on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// What a strict caller refuses first.
    pub by_strict: Option<Fault>,
    /// What every caller refuses first.
    pub by_all: Option<Fault>,
}

/// Collects what is lost.
pub struct Losses {
    fields: &'static [Field],
    /// Before the paths of rows that belong to one route.
    scope: &'static str,
    unsupported: Unsupported,
    /// Whether what no conversion carries is left out all the same.
    is_own: bool,
    /// What was refused, where that is noted and ends no reading.
    refused: Option<Refused>,
    /// What no client is refused for.
    defaults: Defaults,
    /// Whether a member of the request itself that no row names is refused, too: the target has no place for it.
    nothing_else: bool,
    list: Vec<Loss>,
}

impl Losses {
    /// A report by the rows of a table.
    pub fn new(fields: &'static [Field], unsupported: Unsupported) -> Self {
        let (scope, defaults, list) = ("", Defaults::default(), Vec::new());
        let (is_own, refused, nothing_else) = (false, None, false);
        Self { fields, scope, unsupported, is_own, refused, defaults, nothing_else, list }
    }

    /// Members of the request itself that no row names are refused like those that a row says cannot be sent: what is
    /// known of a target's API is all that can be sent to it.
    pub(crate) fn and_nothing_else(self) -> Self {
        Self { nothing_else: true, ..self }
    }

    /// Whether the vendor itself is sent what the client wrote, so that nothing is refused here: what is made besides
    /// is read for its settings alone.
    pub fn of_own(self, is_own: bool) -> Self {
        Self { is_own, ..self }
    }

    /// Notes what is refused, and leaves it out as it would be for a lenient caller.
    pub fn noting(self, notes: bool) -> Self {
        Self { refused: notes.then(Refused::default), ..self }
    }

    /// What was refused and noted.
    pub fn take_refused(&mut self) -> Refused {
        self.refused.take().unwrap_or_default()
    }

    /// Rows that start with `/api/x: ` count for this route alone.
    pub fn of_route(self, scope: &'static str) -> Self {
        Self { scope, ..self }
    }

    /// What a variant has set is reported in its name, and never refused.
    pub fn with_defaults(self, defaults: &Defaults) -> Self {
        Self { defaults: defaults.clone(), ..self }
    }

    /// Whether a field is the variant's.
    pub fn is_default(&self, field: &str) -> bool {
        self.defaults.shown(field).is_some()
    }

    /// The report.
    pub fn into_list(self) -> Vec<Loss> {
        self.list
    }

    fn row(&self, path: &str) -> Option<&'static Field> {
        let own = |f: &&Field| {
            f.path.strip_prefix(self.scope).and_then(|rest| rest.strip_prefix(": ")) == Some(path)
        };
        let scoped = self.fields.iter().filter(|_| !self.scope.is_empty()).find(own);
        scoped.or_else(|| self.fields.iter().find(|f| f.path == path))
    }

    fn add(&mut self, field: &str, action: LossAction, why: &'static str) {
        let known = self.list.iter().any(|loss| loss.field == field);
        if !known && self.list.len() < LINES_MAX {
            self.list.push(Loss { field: field.to_owned(), action, why });
        }
    }

    /// Reports a field by its row.
    pub fn note(&mut self, path: &str) {
        let row = self.row(path);
        debug_assert!(row.is_some(), "{path} has no row");
        let action = match row.map(|r| r.fate) {
            Some(Fate::Approximated(_)) => LossAction::Approximated,
            _ => LossAction::Dropped,
        };
        self.add(path, action, row.map_or(UNKNOWN, |r| r.why));
    }

    /// Refuses a field by its row, or drops and reports it where the caller is lenient and the row lets
    /// it.
    pub fn refuse(&mut self, path: &str, at: At<'_>) -> Result<(), Fault> {
        let row = self.row(path);
        debug_assert!(row.is_some(), "{path} has no row");
        let why = row.map_or(UNKNOWN, |r| r.why);
        if let Some(shown) = self.defaults.shown(&at.path()) {
            self.add(shown, LossAction::Dropped, why);
            return Ok(());
        }
        let always = row.is_none_or(|r| r.fate == Fate::Refused);
        let strict = self.unsupported == Unsupported::Strict;
        match &mut self.refused {
            Some(refused) => {
                if refused.by_strict.is_none() && (always || strict) {
                    refused.by_strict = Some(at.unsupported(why));
                }
                if refused.by_all.is_none() && always {
                    refused.by_all = Some(at.unsupported(why));
                }
                if always && !self.is_own {
                    return Err(at.unsupported(why));
                }
            }
            None if !self.is_own && (always || strict) => return Err(at.unsupported(why)),
            None => {}
        }
        self.add(path, LossAction::Dropped, why);
        Ok(())
    }

    /// Sees to what a conversion did not ask for: dropped and reported, or refused, by row. `prefix`
    /// is where the object's fields stand in the table, such as `tools[].`.
    pub fn rest(&mut self, obj: &Obj<'_>, prefix: &str, at: At<'_>) -> Result<(), Fault> {
        for key in obj.rest() {
            let path = format!("{prefix}{key}");
            match self.row(&path).map(|r| r.fate) {
                Some(Fate::Unsupported | Fate::Refused) => self.refuse(&path, at.key(key))?,
                Some(_) => self.note(&path),
                None if self.nothing_else
                    && prefix.is_empty()
                    && self.unsupported == Unsupported::Strict =>
                {
                    return Err(at.key(key).unsupported(UNKNOWN));
                }
                // A client's own word: shown in a header, so it is kept short and plain.
                None => self.add(&plain(&path), LossAction::Dropped, UNKNOWN),
            }
        }
        Ok(())
    }
}

/// A path that is safe in a header.
fn plain(path: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '[' | ']');
    path.chars().map(|c| if safe(c) { c } else { '?' }).take(80).collect()
}

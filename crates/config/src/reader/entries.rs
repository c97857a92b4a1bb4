//! Lists whose entries are texts or tables, and tables with keys beyond their section's.

use toml::Spanned;

use super::{Context, Place, Table, Value, Weight};
use crate::fields::{Kind, SCORER, Section};
use crate::values::Wrong;

/// Most entries of such a list: more than anyone watches.
const ENTRIES_MAX: usize = 50;

/// One entry of a list, in one of its two forms.
pub(crate) struct Entry<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) path: String,
    pub(crate) at: usize,
    pub(crate) form: Form<'a>,
}

/// The forms of an entry.
pub(crate) enum Form<'a> {
    /// The short one.
    Text(&'a str),
    /// The full one.
    Table(Table<'a>),
}

/// A key beyond the section's, and where it stands.
pub(crate) type Extra<'a> = (&'a str, usize, &'a Value<'a>);

impl Entry<'_> {
    /// Notes something wrong with a field of the entry, at the field if it is written.
    pub(crate) fn note(&self, field: &str, weight: Weight, wrong: Wrong) {
        let (mut path, mut at) = (self.path.clone(), self.at);
        if let Form::Table(table) = &self.form
            && let Some(known) = table.section.field(field)
        {
            path = table.key_path(known.key);
            at = table.place(known.key);
        }
        // A short form is looked for by its text.
        let wrong = match &self.form {
            Form::Text(text) if !wrong.message.starts_with('`') => {
                let message = format!("{} {}", quoted(text), wrong.message);
                Wrong { message, ..wrong }
            }
            _ => wrong,
        };
        self.context.note(Place::new(wrong.at.unwrap_or(at), path), weight, wrong);
    }
}

/// The text in quotes, or its beginning, with a colon.
fn quoted(text: &str) -> String {
    const CHARS: usize = 60;
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(CHARS).collect();
    let more = if chars.next().is_some() { " ..." } else { "" };
    format!("{:?}:", format!("{start}{more}"))
}

impl<'a> Table<'a> {
    /// The entries of a list of texts or tables. `None` after something was noted.
    pub(crate) fn entries(
        &self,
        key: &'static str,
        section: &'static Section,
    ) -> Option<Vec<Entry<'a>>> {
        let (_, value) = self.given(key)?;
        let Some(values) = value.get_ref().as_array() else {
            let kind = self.field(key).map_or(Kind::Text, |field| field.kind);
            self.wrong(key, Wrong::kind(&kind, value).message, None);
            return None;
        };
        if values.len() > ENTRIES_MAX {
            self.wrong(key, format!("expected at most {ENTRIES_MAX} entries"), None);
            return None;
        }
        let read = values.iter().enumerate().map(|(position, value)| {
            let path = format!("{}[{position}]", self.key_path(key));
            self.entry(section, path, value)
        });
        read.collect()
    }

    fn entry(
        &self,
        section: &'static Section,
        path: String,
        value: &'a Value<'a>,
    ) -> Option<Entry<'a>> {
        let at = value.span().start;
        let form = match value.get_ref().as_str() {
            Some(text) => Form::Text(text),
            None => match self.nested_shape(section, &path, value) {
                Some(table) => Form::Table(table),
                None => {
                    let wrong = Wrong::new(format!(
                        "expected a text or a table, found {}",
                        super::found(value)
                    ));
                    self.context.note(Place::new(at, path), Weight::Wrong, wrong);
                    return None;
                }
            },
        };
        Some(Entry { context: self.context, path, at, form })
    }

    /// Where a key stands, written or not, and its path; none if the section has no such key.
    pub(crate) fn known_key(&self, name: &str) -> Option<(usize, String)> {
        let key = self.section.field(name)?.key;
        Some((self.place(key), self.key_path(key)))
    }

    /// The scorer's table, and its keys beyond those that every kind has.
    pub(crate) fn scorer(&self, key: &'static str) -> Option<(Self, Vec<Extra<'a>>)> {
        let (span, value) = self.given(key)?;
        let entries = self.as_table(key, value)?;
        let table = Self {
            context: self.context,
            section: &SCORER,
            path: self.key_path(key),
            at: span.start,
            entries: Some(entries),
        };
        let extra = |name: &'a Spanned<std::borrow::Cow<'a, str>>| -> &'a str { name.get_ref() };
        let mut extras: Vec<Extra<'a>> = entries
            .iter()
            .filter(|(name, _)| SCORER.field(name.get_ref()).is_none())
            .map(|(name, value)| (extra(name), name.span().start, value))
            .collect();
        extras.sort_by_key(|(name, ..)| *name);
        Some((table, extras))
    }
}

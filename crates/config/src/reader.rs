//! Reads sections by the table of fields and keeps every problem with its place.
//!
//! A reader never stops at a problem: it notes it and goes on with the key's default, so that one
//! run shows all there is to mend. The values made on the way are thrown away if anything was noted.

mod entries;
mod other_names;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::Range;

use cutover_units::did_you_mean;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fields::{Field, Kind, Preset, Section};
use crate::problem::{Lines, Problem};
use crate::values::Wrong;
use other_names::known_by_another_name;

pub(crate) use entries::{Entry, Extra, Form};

pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// Most upstreams, variants or use cases: thousands of times what anyone runs, and positions fit
/// into 16 bits.
const NAMED_MAX: usize = 10_000;

/// Most entries of a list: the longest are pilot units, and a longer list of them is a weight.
const LIST_MAX: usize = 1_000;

/// Most notes kept: nobody reads more, and a damaged file must not cost minutes.
const NOTES_MAX: usize = 1_000;

/// What one run over a file shares.
pub(crate) struct Context<'a> {
    file: &'a str,
    lines: Lines<'a>,
    env: &'a dyn Fn(&str) -> Option<String>,
    /// What is wrong.
    notes: RefCell<Vec<Note>>,
    /// What is worth a look. Kept apart so that many of these never crowd out one of those.
    warnings: RefCell<Vec<Note>>,
    /// Every section and key that was read: compared with the table by a test.
    #[cfg(test)]
    pub(crate) asked: RefCell<std::collections::BTreeSet<(&'static str, &'static str)>>,
}

struct Note {
    at: usize,
    weight: Weight,
    problem: Problem,
}

/// How much a note counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Allowed, but worth a look.
    Warning,
    /// The text is not TOML here.
    Syntax,
    /// Wrong, wherever else the file is broken.
    Wrong,
    /// Wrong, unless the text that could mend it was lost in a syntax error.
    Missing,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        file: &'a str,
        text: &'a str,
        env: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self {
            file,
            lines: Lines::new(text),
            env,
            notes: RefCell::default(),
            warnings: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    pub(crate) fn has_env(&self, name: &str) -> bool {
        (self.env)(name).is_some_and(|value| !value.is_empty())
    }

    pub(crate) fn note(&self, place: Place, weight: Weight, wrong: Wrong) {
        let Place { path, at } = place;
        let notes = if weight == Weight::Warning { &self.warnings } else { &self.notes };
        if notes.borrow().len() >= NOTES_MAX {
            return;
        }
        let (line, column) = self.lines.position(at);
        let problem = Problem {
            file: self.file.to_owned(),
            line,
            column,
            key: path,
            message: wrong.message,
            hint: wrong.hint,
        };
        notes.borrow_mut().push(Note { at, weight, problem });
    }

    /// The warnings if nothing is wrong; else everything that is wrong, in the order of the file.
    ///
    /// Where the text is not TOML, what it would have said is in part a guess: only what is wrong
    /// for certain is kept, and nothing on the lines that could not be read.
    pub(crate) fn finish(self) -> Result<Vec<Problem>, Vec<Problem>> {
        let sorted = |notes: RefCell<Vec<Note>>| {
            let mut notes = notes.into_inner();
            notes.sort_by_key(|note| note.at);
            notes
        };
        let wrong = sorted(self.notes);
        if wrong.is_empty() {
            return Ok(sorted(self.warnings).into_iter().map(|note| note.problem).collect());
        }
        let broken: Vec<_> = wrong
            .iter()
            .filter(|note| note.weight == Weight::Syntax)
            .map(|note| note.problem.line)
            .collect();
        let is_certain = |note: &Note| match note.weight {
            Weight::Syntax => true,
            Weight::Wrong => !broken.contains(&note.problem.line),
            Weight::Missing | Weight::Warning => broken.is_empty(),
        };
        Err(wrong.into_iter().filter(is_certain).map(|note| note.problem).collect())
    }
}

/// A section of the file, or the absence of one, in which every key has its default.
#[derive(Clone)]
pub(crate) struct Table<'a> {
    pub(crate) context: &'a Context<'a>,
    section: &'static Section,
    path: String,
    at: usize,
    entries: Option<&'a DeTable<'a>>,
}

/// A table under a name of the user's choice.
pub(crate) struct NamedTable<'a> {
    pub(crate) name: &'a str,
    pub(crate) table: Table<'a>,
}

impl<'a> Table<'a> {
    /// The file's own table.
    pub(crate) fn root(context: &'a Context<'a>, entries: &'a DeTable<'a>) -> Self {
        Self::open(context, &crate::fields::ROOT, Place { path: String::new(), at: 0 }, entries)
    }

    fn open(
        context: &'a Context<'a>,
        section: &'static Section,
        place: Place,
        entries: &'a DeTable<'a>,
    ) -> Self {
        let table =
            Self { context, section, path: place.path, at: place.at, entries: Some(entries) };
        for key in entries.keys() {
            if section.field(key.get_ref()).is_none() {
                table.note_unknown(key);
            }
        }
        table
    }

    fn note_unknown(&self, key: &Spanned<std::borrow::Cow<'_, str>>) {
        let word = key.get_ref();
        let known = || self.section.fields.iter().map(|f| f.key);
        let hint = known_by_another_name(self.section, word)
            .map(|k| format!("did you mean {k:?}?"))
            .or_else(|| did_you_mean(word, known()))
            .or_else(|| {
                let keys: Vec<_> = known().collect();
                (keys.len() <= 12).then(|| format!("known here: {}", keys.join(", ")))
            });
        let wrong = Wrong { message: "unknown key".to_owned(), hint, at: None };
        // After a broken `[header]` the keys of its table seem to stand at the top level.
        let weight = if self.path.is_empty() { Weight::Missing } else { Weight::Wrong };
        self.context.note(Place::new(key.span().start, self.key_path(word)), weight, wrong);
    }

    /// A section inside this one, given or not.
    pub(crate) fn child(&self, key: &'static str) -> Self {
        self.given_child(key).unwrap_or_else(|| Self {
            context: self.context,
            section: self.section_of(key),
            path: self.key_path(key),
            at: self.at,
            entries: None,
        })
    }

    /// A section inside this one, if given.
    pub(crate) fn given_child(&self, key: &'static str) -> Option<Self> {
        let (span, value) = self.given(key)?;
        let entries = self.as_table(key, value)?;
        let place = Place { path: self.key_path(key), at: span.start };
        Some(Self::open(self.context, self.section_of(key), place, entries))
    }

    /// A shape that stands in a value, such as a secret reference.
    pub(crate) fn shape(
        &self,
        section: &'static Section,
        key: &str,
        value: &'a Value<'a>,
    ) -> Option<Self> {
        self.nested_shape(section, &self.key_path(key), value)
    }

    /// A shape at a path of its own, such as the value of one header.
    pub(crate) fn nested_shape(
        &self,
        section: &'static Section,
        path: &str,
        value: &'a Value<'a>,
    ) -> Option<Self> {
        let entries = value.get_ref().as_table()?;
        let place = Place { path: path.to_owned(), at: value.span().start };
        Some(Self::open(self.context, section, place, entries))
    }

    /// The tables inside this key by their names, sorted; at most [`NAMED_MAX`].
    pub(crate) fn named(&self, key: &'static str) -> Vec<NamedTable<'a>> {
        let Some((_, value)) = self.given(key) else { return Vec::new() };
        let Some(entries) = self.as_table(key, value) else { return Vec::new() };
        if entries.len() > NAMED_MAX {
            self.wrong(key, format!("expected at most {NAMED_MAX} entries"), None);
            return Vec::new();
        }
        let section = self.section_of(key);
        let mut tables: Vec<_> = entries
            .iter()
            .filter_map(|(name, value)| {
                let path = format!("{}.{}", self.key_path(key), bare_or_quoted(name.get_ref()));
                let place = Place { path, at: name.span().start };
                let Some(entries) = value.get_ref().as_table() else {
                    let wrong = Wrong::kind(&Kind::Table(section), value);
                    self.context.note(
                        Place::new(value.span().start, place.path),
                        Weight::Wrong,
                        wrong,
                    );
                    return None;
                };
                let table = Self::open(self.context, section, place, entries);
                Some(NamedTable { name: name.get_ref(), table })
            })
            .collect();
        tables.sort_by_key(|entry| entry.name);
        tables
    }

    fn as_table(&self, key: &str, value: &'a Value<'a>) -> Option<&'a DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let wrong = Wrong {
                message: format!("expected a table, found {}", found(value)),
                hint: None,
                at: None,
            };
            self.context.note(
                Place::new(value.span().start, self.key_path(key)),
                Weight::Wrong,
                wrong,
            );
        }
        table
    }

    /// The key's place and value, if the file has it.
    pub(crate) fn given(&self, key: &'static str) -> Option<(Range<usize>, &'a Value<'a>)> {
        #[cfg(test)]
        self.context.asked.borrow_mut().insert((self.section.path, key));
        let (name, value) = self.entries?.get_key_value(key)?;
        Some((name.span(), value))
    }

    /// Reads a key. Absent or wrong, it has its default, if it has one.
    pub(crate) fn read<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&Value<'_>, &Kind) -> Result<T, Wrong>,
    ) -> Option<T> {
        let field = self.field(key)?;
        if let Some((_, value)) = self.given(key) {
            match parse(value, &field.kind) {
                Ok(read) => return Some(read),
                Err(wrong) => {
                    let at = wrong.at.unwrap_or(value.span().start);
                    self.context.note(Place::new(at, self.key_path(key)), Weight::Wrong, wrong);
                }
            }
        } else if field.preset == Preset::Required {
            self.missing(key);
        }
        let Preset::Value(toml) = field.preset else { return None };
        let value = DeValue::parse(toml).ok()?;
        parse(&value, &field.kind).ok()
    }

    /// Reads a list without repetitions. Every bad entry is noted, at its own place.
    pub(crate) fn read_set<T: PartialEq>(
        &self,
        key: &'static str,
        one: impl Fn(&Value<'_>, &Kind) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let Some((_, value)) = self.given(key) else { return Some(Vec::new()) };
        let kind = &self.field(key)?.kind;
        let (Some(values), Kind::List(of)) = (value.get_ref().as_array(), kind) else {
            self.wrong(key, Wrong::kind(kind, value).message, None);
            return None;
        };
        if values.len() > LIST_MAX {
            self.wrong(key, format!("expected at most {LIST_MAX} entries"), None);
            return None;
        }
        let mut read = Vec::with_capacity(values.len());
        for (position, value) in values.iter().enumerate() {
            let entry = match one(value, of) {
                Ok(entry) if read.contains(&entry) => Err(Wrong::new("this entry stands twice")),
                other => other,
            };
            match entry {
                Ok(entry) => read.push(entry),
                Err(wrong) => {
                    let path = format!("{}[{position}]", self.key_path(key));
                    self.context.note(Place::new(value.span().start, path), Weight::Wrong, wrong);
                }
            }
        }
        (read.len() == values.len()).then_some(read)
    }

    /// Notes that a key must be given.
    pub(crate) fn missing(&self, key: &'static str) {
        let expected = self.field(key).map(|f| format!("expected {}", f.kind.words()));
        let wrong =
            Wrong { message: "required, but not given".to_owned(), hint: expected, at: None };
        self.context.note(Place::new(self.at, self.key_path(key)), Weight::Missing, wrong);
    }

    /// Notes something wrong with a key's value.
    pub(crate) fn wrong(
        &self,
        key: &'static str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let wrong = Wrong { message: message.into(), hint, at: None };
        self.context.note(Place::new(self.place(key), self.key_path(key)), Weight::Wrong, wrong);
    }

    /// Notes that a key's value does not go with the rest of the file.
    pub(crate) fn conflict(
        &self,
        key: &'static str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let wrong = Wrong { message: message.into(), hint, at: None };
        self.context.note(Place::new(self.place(key), self.key_path(key)), Weight::Missing, wrong);
    }

    /// Notes something worth a look.
    pub(crate) fn warn(&self, key: &'static str, message: impl Into<String>, hint: Option<String>) {
        let wrong = Wrong { message: message.into(), hint, at: None };
        self.context.note(Place::new(self.place(key), self.key_path(key)), Weight::Warning, wrong);
    }

    /// Notes something about the table as a whole.
    pub(crate) fn note_self(&self, weight: Weight, wrong: Wrong) {
        self.context.note(Place::new(self.at, self.path.as_str()), weight, wrong);
    }

    /// Notes something about the table as a whole that is worth a look.
    pub(crate) fn warn_self(&self, message: &str) {
        self.note_self(Weight::Warning, Wrong::new(message));
    }

    /// Where the key's value stands, or else where its table begins.
    fn place(&self, key: &'static str) -> usize {
        self.given(key).map_or(self.at, |(_, value)| value.span().start)
    }

    /// Where the table begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The key with its tables' names before it.
    pub(crate) fn key_path(&self, key: &str) -> String {
        let key = bare_or_quoted(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn field(&self, key: &'static str) -> Option<&'static Field> {
        let field = self.section.field(key);
        debug_assert!(field.is_some(), "{}.{key} is read but not in the table", self.section.path);
        field
    }

    fn section_of(&self, key: &'static str) -> &'static Section {
        match self.field(key).map(|f| f.kind) {
            Some(Kind::Table(section) | Kind::Named(section)) => section,
            Some(Kind::Scorer) => &crate::fields::SCORER,
            _ => self.section,
        }
    }
}

/// A key with its tables' names before it, and where in the text it stands.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    path: String,
    at: usize,
}

impl Place {
    pub(crate) fn new(at: usize, path: impl Into<String>) -> Self {
        Self { path: path.into(), at }
    }
}

/// What a value is, in words. Never the value itself: it could be a misplaced secret.
pub(crate) fn found(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A key as it can stand in TOML.
pub(crate) fn bare_or_quoted(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { quote(key) }
}

/// A text as a TOML basic string on one line.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

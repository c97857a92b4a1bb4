//! The one table of everything the file can hold.
//!
//! The reader takes its defaults and limits from here, unknown keys are those that are not here, and
//! `docs/reference/config.md` and its JSON Schema are printed from here; so none of them can differ
//! from the others. A key is added by a row here and a line where its section is read.

mod failover;
mod instances;
mod kinds;
mod loading;
mod numbers;
mod overflow;
mod rollouts;
mod routing;
mod service;
mod surface;

pub(crate) use rollouts::{GATE, SCORER, STEP};
pub(crate) use routing::{PROMPT, SECRET, SHAPES, UNIT};
pub(crate) use service::ROOT;

/// A table of the file: `[server]`, `[upstreams.NAME]`, or an inline one such as a secret reference.
#[derive(Debug)]
pub(crate) struct Section {
    /// Where it stands, with `NAME` for the user's names; for inline shapes a word of its own.
    pub(crate) path: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Its keys in the order of the reference.
    pub(crate) fields: &'static [Field],
}

impl Section {
    pub(crate) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.key == key)
    }
}

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) preset: Preset,
    pub(crate) doc: &'static str,
    pub(crate) since: &'static str,
}

/// What holds while a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preset {
    /// The key must be given.
    Required,
    /// This value, in TOML.
    Value(&'static str),
    /// What absence means, in words, because it depends on something else.
    Words(&'static str),
}

/// The type of a key's value, with its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    Number {
        min: f64,
        max: f64,
    },
    Text,
    Choice(&'static [&'static str]),
    Duration {
        min_ms: u64,
        max_ms: u64,
    },
    Size {
        min: u64,
        max: u64,
    },
    Percent,
    Price,
    Listen,
    Url,
    Path,
    /// The name of something in another table: the table's key at the top level.
    Name(&'static str),
    List(&'static Kind),
    TextMap,
    /// Values of a prompt.
    Vars,
    HeaderMap,
    Secret,
    UpstreamKey,
    Prompt,
    Unit,
    KeepAlive,
    /// US dollars.
    Usd,
    /// A URL with anything a URL may have.
    WebUrl,
    /// A gate of a rollout, short or full.
    Gate,
    /// A step of a rollout, short or full.
    Step,
    /// A scorer: `SCORER` and the options of its kind.
    Scorer,
    Table(&'static Section),
    /// A table whose keys are names that the user chooses.
    Named(&'static Section),
}

impl Kind {
    /// What the value is, in words, for messages and the reference: `a duration, such as "10 s"`.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer { .. } => "a whole number".to_owned(),
            Self::Number { .. } => "a number".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Choice(words) => {
                format!("one of {}", quoted(words))
            }
            Self::Duration { .. } => "a duration, such as \"10 s\"".to_owned(),
            Self::Size { .. } => "a size, such as \"32 MiB\"".to_owned(),
            Self::Percent => "a percentage, such as \"25%\"".to_owned(),
            Self::Price => "US dollars per million tokens, such as \"0.15\"".to_owned(),
            Self::Listen => "an IP address and a port, such as \"127.0.0.1:4000\"".to_owned(),
            Self::Url => "a URL, such as \"http://gpu-1:8000\"".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Name(table) => format!("a name from [{table}]"),
            Self::List(of) => match of {
                Self::Url => "a list of URLs".to_owned(),
                Self::Gate | Self::Step => "a list of texts or tables".to_owned(),
                Self::Choice(words) => format!("a list of {}", quoted(words)),
                _ => "a list of texts".to_owned(),
            },
            Self::TextMap => "a table of texts".to_owned(),
            Self::Vars => "a table of texts, numbers, true or false, or lists of texts".to_owned(),
            Self::HeaderMap => "a table of texts or secret references".to_owned(),
            Self::Secret => {
                "a secret reference, { env = \"NAME\" } or { file = \"PATH\" }".to_owned()
            }
            Self::UpstreamKey => {
                "a secret reference, { env = \"NAME\" } or { file = \"PATH\" }, or \"client\" or \
                 \"none\""
                    .to_owned()
            }
            Self::Prompt => "a text or { file = \"PATH\" }".to_owned(),
            Self::Unit => {
                "{ header = \"NAME\" }, { metadata = \"NAME\" }, \"user\", \"key\" or \"request\""
                    .to_owned()
            }
            Self::KeepAlive => "a duration, such as \"10 min\", or \"forever\"".to_owned(),
            Self::Usd => "US dollars, such as \"5.00\", or \"unlimited\"".to_owned(),
            Self::WebUrl => "a URL, such as \"https://example.com/hook\"".to_owned(),
            Self::Gate => "a gate, such as \"errors <= baseline + 0.5 pp\", or a table".to_owned(),
            Self::Step => "a step, such as \"canary 5% for 1 h\", or a table".to_owned(),
            Self::Table(_) | Self::Scorer => "a table".to_owned(),
            Self::Named(_) => "a table of tables, one per name".to_owned(),
        }
    }
}

/// `"a", "b" or "c"`.
pub(crate) fn quoted(words: &[&str]) -> String {
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        let gap = match at {
            0 => "",
            _ if at + 1 == words.len() => " or ",
            _ => ", ",
        };
        text.push_str(gap);
        text.push('"');
        text.push_str(word);
        text.push('"');
    }
    text
}

//! Reader, table, reference and schema say the same.

use std::collections::BTreeSet;

use cutover_evals::{OptionType, SCORERS};
use toml::de::{DeTable, DeValue};

use super::{EVERYTHING, docs, good, set};
use crate::fields::{Field, Kind, PROMPT, Preset, ROOT, SCORER, SECRET, SHAPES, Section};
use crate::reader::{Context, Table};
use crate::{json_schema, reference_markdown, sections};

/// All sections of the table, each once.
fn all_sections() -> Vec<&'static Section> {
    fn below(section: &'static Section, into: &mut Vec<&'static Section>) {
        into.push(section);
        for field in section.fields {
            if let Kind::Table(inner) | Kind::Named(inner) = field.kind {
                below(inner, into);
            }
            if matches!(field.kind, Kind::Scorer) {
                into.push(&SCORER);
            }
        }
    }
    let mut sections = Vec::new();
    below(&ROOT, &mut sections);
    sections.extend(SHAPES);
    sections
}

fn all_fields() -> impl Iterator<Item = (&'static Section, &'static Field)> {
    all_sections().into_iter().flat_map(|s| s.fields.iter().map(move |f| (s, f)))
}

#[test]
fn the_reader_asks_for_exactly_the_keys_in_the_table() {
    let parsed = DeTable::parse(EVERYTHING).expect("valid TOML");
    let context = Context::new("everything.toml", EVERYTHING, &set);
    assert!(sections::read(&Table::root(&context, parsed.get_ref())).is_some());
    let asked = context.asked.borrow().clone();
    let known: BTreeSet<_> = all_fields().map(|(s, f)| (s.path, f.key)).collect();
    assert_eq!(asked, known);
}

#[test]
fn the_file_that_gives_every_key_gives_every_key() {
    // `base_url` and `instances`, and so on, stand in different entries of it.
    let words: BTreeSet<_> =
        EVERYTHING.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    for (section, field) in all_fields() {
        assert!(words.contains(field.key), "{}.{}", section.path, field.key);
    }
}

/// Whether the value of a key may be a path, or hold one.
fn takes_a_path(kind: &Kind) -> bool {
    match kind {
        Kind::Path | Kind::Secret | Kind::UpstreamKey | Kind::HeaderMap | Kind::Prompt => true,
        Kind::List(of) => takes_a_path(of),
        Kind::Bool
        | Kind::Integer { .. }
        | Kind::Number { .. }
        | Kind::Text
        | Kind::Choice(_)
        | Kind::Duration { .. }
        | Kind::Size { .. }
        | Kind::Percent
        | Kind::Price
        | Kind::Listen
        | Kind::Url
        | Kind::Name(_)
        | Kind::TextMap
        | Kind::Vars
        | Kind::Unit
        | Kind::KeepAlive
        | Kind::Usd
        | Kind::WebUrl
        | Kind::Gate
        | Kind::Step
        // Their own keys are gone through.
        | Kind::Scorer
        | Kind::Table(_)
        | Kind::Named(_) => false,
    }
}

/// A schema that was missing was found at the start, and not by `cutover check`.
#[test]
fn each_key_that_takes_a_path_is_among_the_files_that_a_config_names() {
    // Each secret is in a file, too.
    let checked = good(&EVERYTHING.replace("env = \"", "file = \""));
    let named: Vec<_> = checked.files().into_iter().map(|file| file.key).collect();
    let is_named = |path: &str| {
        let wanted: Vec<_> = path.trim_start_matches('.').split('.').collect();
        named.iter().any(|key| {
            let words: Vec<_> = key.split('.').collect();
            let fits = |(wanted, word): (&&str, &&str)| *wanted == "NAME" || wanted == word;
            words.len() >= wanted.len() && wanted.iter().zip(&words).all(fits)
        })
    };
    // These two stand in the keys that hold them.
    let inner = [SECRET.path, PROMPT.path];
    let keys = all_fields().filter(|(section, _)| !inner.contains(&section.path));
    let mut paths: Vec<_> = keys
        .filter(|(_, field)| takes_a_path(&field.kind))
        .map(|(section, field)| format!("{}.{}", section.path, field.key))
        .collect();
    assert!(paths.len() >= 8, "{paths:?}");
    // A text that may be a path, and what a scorer may read.
    paths.push("upstreams.NAME.model".to_owned());
    let options = SCORERS.iter().flat_map(|row| row.options);
    let documents = options.filter(|option| option.kind == OptionType::Document);
    paths.extend(documents.map(|option| format!("use_cases.NAME.scorer.{}", option.name)));
    for path in paths {
        assert!(is_named(&path), "{path} is not among {named:?}");
    }
}

#[test]
fn each_row_is_written_out() {
    let mut seen = BTreeSet::new();
    for (section, field) in all_fields() {
        assert!(seen.insert((section.path, field.key)), "{}.{} twice", section.path, field.key);
        assert!(field.doc.ends_with('.'), "{}.{}: {}", section.path, field.key, field.doc);
        assert!(!field.since.is_empty());
        if let Preset::Value(toml) = field.preset {
            assert!(DeValue::parse(toml).is_ok(), "{}.{} = {toml}", section.path, field.key);
        }
    }
}

#[test]
fn generated_files_are_as_the_table_says() {
    let files = [
        ("reference/config.md", reference_markdown()),
        ("reference/config.schema.json", json_schema()),
    ];
    for (path, text) in files {
        let path = docs(path);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &text).expect("docs can be written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} differs from the table: run the tests with UPDATE_DOCS=1",
            path.display()
        );
    }
}

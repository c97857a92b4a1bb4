//! Reader, table, reference and schema say the same.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::{EVERYTHING, docs, set};
use crate::fields::{Field, Kind, Preset, ROOT, SCORER, SHAPES, Section};
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

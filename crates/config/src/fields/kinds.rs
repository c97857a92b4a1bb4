//! Short forms for writing rows.

use super::{Field, Kind, Preset, Section};

pub(super) const fn row(key: &'static str, kind: Kind, preset: Preset, doc: &'static str) -> Field {
    Field { key, kind, preset, doc, since: "0.1.0" }
}

pub(super) const fn required(key: &'static str, kind: Kind, doc: &'static str) -> Field {
    row(key, kind, Preset::Required, doc)
}

pub(super) const fn value(
    key: &'static str,
    kind: Kind,
    toml: &'static str,
    doc: &'static str,
) -> Field {
    row(key, kind, Preset::Value(toml), doc)
}

pub(super) const fn words(
    key: &'static str,
    kind: Kind,
    words: &'static str,
    doc: &'static str,
) -> Field {
    row(key, kind, Preset::Words(words), doc)
}

pub(super) const fn table(key: &'static str, section: &'static Section) -> Field {
    row(key, Kind::Table(section), Preset::Words("the section's own defaults"), section.doc)
}

pub(super) const fn named(key: &'static str, section: &'static Section) -> Field {
    row(key, Kind::Named(section), Preset::Words("none"), section.doc)
}

/// The most of anything that costs memory or a descriptor each.
pub(super) const COUNT_MAX: i64 = 1_000_000;
/// The largest context or answer length that is believable, in tokens.
pub(super) const TOKENS_MAX: i64 = 16_777_216;

pub(super) const fn count(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

/// A deadline: at least long enough for a timer to mean something, at most a day.
pub(super) const fn deadline() -> Kind {
    Kind::Duration { min_ms: 1, max_ms: 86_400_000 }
}

pub(super) const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

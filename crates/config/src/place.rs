//! Where in a file a key stands, for what shows only when something outside of the file is looked at.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Lines;

/// Line and column, from 1, of a key such as `upstreams.gpus.key`, however it is written; of what holds it, if the
/// file does not give it. None: the file says nothing of all that, or is no TOML.
pub fn place_of(text: &str, key: &str) -> Option<(usize, usize)> {
    let root = DeTable::parse(text).ok()?;
    let (mut table, mut rest, mut found) = (root.get_ref(), key, None);
    while let Some((at, value, deeper)) = step(table, rest) {
        found = Some(at);
        let DeValue::Table(inner) = value else { break };
        (table, rest) = (inner, deeper);
    }
    found.map(|at| Lines::new(text).position(at))
}

/// The member that a path begins with: where it is named, its value, and the rest of the path. Names may hold dots.
fn step<'t, 'k>(
    table: &'t DeTable<'t>,
    path: &'k str,
) -> Option<(usize, &'t DeValue<'t>, &'k str)> {
    let named = |(name, value): (&'t Spanned<_>, &'t Spanned<DeValue<'t>>)| {
        let text: &str = AsRef::<str>::as_ref(name.get_ref());
        let rest = path.strip_prefix(text)?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('.')? };
        Some((name.span().start, value.get_ref(), rest))
    };
    table.iter().find_map(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_whatever_way_it_is_written() {
        let text = "\
[upstreams.a]
key = { env = \"A\" }
headers = { \"x-a.b\" = { file = \"f\" } }

[upstreams]
b.key = 1
c = { key = 2, base_url = 3 }
[use_cases.x.match]
  key = \"team\"
";
        for (key, place) in [
            ("upstreams.a.key", Some((2, 1))),
            ("upstreams.a.headers.x-a.b", Some((3, 13))),
            ("upstreams.b.key", Some((6, 3))),
            ("upstreams.c.base_url", Some((7, 16))),
            ("use_cases.x.match.key", Some((9, 3))),
            // What the file leaves open is told where it would stand.
            ("upstreams.a.timeout", Some((1, 12))),
            ("admin.token", None),
        ] {
            assert_eq!(place_of(text, key), place, "{key}");
        }
        assert_eq!(place_of("[upstreams.a", "upstreams.a"), None);
    }
}

//! Where the members of a request lie.

use std::fmt;

use cutover_units::Code;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Key, Member, Words};
use crate::errors::Fault;
use crate::json;
use crate::json::walk::{Stop, Walk};

/// Where a body's members lie, and what is known of what stands in them.
pub(super) struct Outline {
    pub(super) members: Vec<Member>,
    pub(super) nesting: usize,
    pub(super) words: Words,
}

impl Outline {
    /// Of members of which nothing is known.
    pub(super) fn of(members: Vec<Member>) -> Self {
        Self { members, nesting: json::DEPTH_MAX, words: Words::ANY }
    }
}

/// Outlines a body in which nothing is wrong: [`scan`] without its errors, in a fraction of its time.
pub(super) fn walk(text: &str) -> Result<Outline, Stop> {
    let mut members = Vec::with_capacity(16);
    let mut seen = 0_u128;
    let mut walk = Walk::noting(text, Words::of);
    walk.object(|walk, name| {
        let key = Key::from_name(name);
        if key != Key::Other {
            let bit = 1_u128 << (key as u32);
            if seen & bit != 0 {
                return Err(Stop);
            }
            seen |= bit;
        }
        members.push(Member { key, value: json::range_in(text, walk.value()?) });
        Ok(())
    })?;
    let words = Words::met(walk.met());
    Ok(Outline { members, nesting: walk.end()?, words })
}

/// Lists the members of a body that is JSON. `None`: a known one comes twice, or a name is written with escapes.
pub(super) fn made(text: &str) -> Option<Vec<Member>> {
    let mut members: Vec<Member> = Vec::with_capacity(16);
    for (literal, raw) in json::cut::members(text)? {
        let name = literal.get(1..literal.len().saturating_sub(1))?;
        let key = Key::from_name(name);
        let again = key != Key::Other && members.iter().any(|member| member.key == key);
        if again || json::cut::has_escape(name) {
            return None;
        }
        members.push(Member { key, value: json::range_in(text, raw) });
    }
    Some(members)
}

/// Lists the members; checks syntax, and that no known one comes twice.
pub(super) fn scan(text: &str) -> Result<Vec<Member>, Fault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let scan = Scan { text, repeated: None };
    let result = serde::Deserializer::deserialize_map(&mut reader, scan)
        .and_then(|found| reader.end().map(|()| found));
    match result {
        Ok((_, Some(key))) => Err(json::repeated(key.name())),
        Ok((members, None)) => Ok(members),
        Err(e) if e.is_data() => {
            Err(Fault::new(Code::InvalidType, "the body must be a JSON object"))
        }
        Err(e) => Err(json::fault_of(text, "", &e)),
    }
}

struct Scan<'a> {
    text: &'a str,
    repeated: Option<Key>,
}

impl<'de> Visitor<'de> for Scan<'de> {
    type Value = (Vec<Member>, Option<Key>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(16);
        let mut seen = 0_u128;
        while let Some(key) = map.next_key_seed(json::KeySeed(Key::from_name))? {
            let raw: &'de RawValue = map.next_value()?;
            if key != Key::Other {
                let bit = 1_u128 << (key as u32);
                if seen & bit != 0 {
                    self.repeated = Some(key);
                }
                seen |= bit;
            }
            members.push(Member { key, value: json::range_in(self.text, raw.get()) });
        }
        Ok((members, self.repeated))
    }
}

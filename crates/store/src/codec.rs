//! A window in few bytes: about 23 per request instead of 280 as JSON, because windows
//! are kept for replays and a busy use case makes millions of observations in a rollout.
//!
//! ```text
//!   version | from to lost unscored shadow_cost blind | n exposures | n pairs | n votes | grader
//!           | lost_pairs | part of each pair | watched
//! ```
//! Numbers are LEB128, times are differences to the observation before (zigzag), a share is written
//! only where it changes, what is not known takes one bit. Units are hashes and stay eight bytes.
//! Each struct is taken apart field by field: a field that is added to `rollout` does not compile
//! here until the form has room for it, and a new version.

mod read;
mod write;

use cutover_rollout::{Grader, Part, Window};
use cutover_units::{Millis, NanoUsd};

use read::Reader;
use write::Writer;

/// The forms written: the second one has a grader at its end; the third one has pairs in parts, and says
/// whether it has a grader. Any of them may end with how long it was watched. Every form ever written stays readable.
const VERSION: u8 = 1;
const WITH_GRADER: u8 = 2;
const WITH_PARTS: u8 = 3;
const WATCHED: u8 = 1 << 7;

/// The compact form.
pub(crate) fn encode(window: &Window) -> Vec<u8> {
    let Window { from, to, exposures, pairs, votes, lost, unscored, .. } = window;
    let Window { watched, .. } = window;
    let Window { lost_pairs, awaited, shadow_cost, blind, instances, grader, .. } = window;
    let in_parts = *lost_pairs + *awaited > 0 || pairs.iter().any(|pair| pair.part != Part::Whole);
    let version = match grader {
        _ if in_parts => WITH_PARTS,
        Some(_) => WITH_GRADER,
        None => VERSION,
    };
    let version = version | if watched.is_some() { WATCHED } else { 0 };
    let mut to_bytes = Writer::new(version, *from);
    // What nobody looked at takes no room, and is what older windows have.
    let flags = u64::from(*blind) | instances.map_or(0, |count| (u64::from(count) + 1) << 1);
    for number in [from.0, to.0, *lost, *unscored, shadow_cost.0, flags] {
        to_bytes.number(number);
    }
    to_bytes.number(exposures.len() as u64);
    for exposure in exposures {
        to_bytes.exposure(exposure);
    }
    to_bytes.number(pairs.len() as u64);
    for pair in pairs {
        to_bytes.pair(pair);
    }
    to_bytes.number(votes.len() as u64);
    for vote in votes {
        to_bytes.vote(vote);
    }
    if in_parts {
        // The other bits are what is awaited: none in what was written before it was counted.
        to_bytes.number(u64::from(grader.is_some()) | *awaited << 1);
    }
    if let Some(Grader { distrusted, why }) = grader {
        to_bytes.number(u64::from(*distrusted));
        to_bytes.number(why.len() as u64);
        to_bytes.bytes.extend_from_slice(why.as_bytes());
    }
    if in_parts {
        to_bytes.number(*lost_pairs);
        to_bytes.bytes.extend(pairs.iter().map(|pair| part_byte(pair.part)));
    }
    if let Some(watched) = watched {
        to_bytes.number(watched.0);
    }
    to_bytes.bytes
}

/// The window; none if these bytes are not one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Window> {
    let (&version, rest) = bytes.split_first()?;
    let (version, is_watched) = (version & !WATCHED, version & WATCHED != 0);
    if ![VERSION, WITH_GRADER, WITH_PARTS].contains(&version) {
        return None;
    }
    let mut reader = Reader::new(rest);
    let mut window = Window {
        from: Millis(reader.number()?),
        to: Millis(reader.number()?),
        lost: reader.number()?,
        unscored: reader.number()?,
        shadow_cost: NanoUsd(reader.number()?),
        ..Window::default()
    };
    let flags = reader.number()?;
    window.blind = flags & 1 != 0;
    window.instances = (flags >> 1).checked_sub(1).and_then(|count| u32::try_from(count).ok());
    reader.begin(window.from);
    window.exposures = reader.several(Reader::exposure)?;
    window.pairs = reader.several(Reader::pair)?;
    window.votes = reader.several(Reader::vote)?;
    let last = match version {
        WITH_PARTS => reader.number()?,
        version => u64::from(version == WITH_GRADER),
    };
    window.awaited = last >> 1;
    if last & 1 != 0 {
        window.grader = Some(reader.grader()?);
    }
    if version == WITH_PARTS {
        window.lost_pairs = reader.number()?;
        for pair in &mut window.pairs {
            pair.part = part(reader.byte()?)?;
        }
    }
    if is_watched {
        window.watched = Some(Millis(reader.number()?));
    }
    reader.rest.is_empty().then_some(window)
}

fn part_byte(part: Part) -> u8 {
    match part {
        Part::Whole => 0,
        Part::Returned => 1,
        Part::Scored => 2,
    }
}

fn part(byte: u8) -> Option<Part> {
    [Part::Whole, Part::Returned, Part::Scored].into_iter().find(|part| part_byte(*part) == byte)
}

mod served {
    pub(super) const FAILED: u8 = 1;
    pub(super) const CHECKED: u8 = 1 << 1;
    pub(super) const INVALID: u8 = 1 << 2;
    pub(super) const FIRST_TOKEN: u8 = 1 << 3;
    pub(super) const TOKENS: u8 = 1 << 4;
    pub(super) const COST: u8 = 1 << 5;
    pub(super) const SCORE: u8 = 1 << 6;
}

mod live {
    /// The two lowest bits are the arm.
    pub(super) const ARM: u8 = 0b11;
    pub(super) const RANDOM: u8 = 1 << 2;
    pub(super) const CLIENT_ENDED: u8 = 1 << 3;
    pub(super) const FELL_BACK: u8 = 1 << 4;
    pub(super) const LEAKED: u8 = 1 << 5;
    pub(super) const SHARE: u8 = 1 << 6;
    pub(super) const EXCLUDED: u8 = 1 << 7;
}

#[cfg(test)]
mod tests;

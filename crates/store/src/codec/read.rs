//! The compact form, read. Bytes of any kind may stand there: each step says whether it found what it expects,
//! and nothing is reserved on the word of a count.

use cutover_rollout::{ArmSide, Exposure, Grader, Part, ScoredPair, Served, Vote};
use cutover_units::{Arm, Millis, NanoUsd, WeightBp};

use super::{live, served};

/// Bytes that the smallest observation takes: a count that says more is a lie.
const OBSERVATION_BYTES_MIN: usize = 11;

pub(super) struct Reader<'a> {
    /// What has not been read yet.
    pub(super) rest: &'a [u8],
    /// The time of the observation before.
    at: u64,
    /// Its share.
    share: Option<WeightBp>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest, at: 0, share: None }
    }

    /// The first observation's time is told from here on.
    pub(super) fn begin(&mut self, from: Millis) {
        self.at = from.0;
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// The outer option is whether these bytes can be read, the inner one is the value.
    #[expect(clippy::option_option, reason = "`?` in the callers takes the outer one off")]
    fn optional<T>(&mut self, there: bool, read: impl Fn(u64) -> Option<T>) -> Option<Option<T>> {
        if !there {
            return Some(None);
        }
        read(self.number()?).map(Some)
    }

    pub(super) fn several<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        if count > self.rest.len() / OBSERVATION_BYTES_MIN {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn head(&mut self) -> Option<(Millis, u64)> {
        let zigzag = self.number()?;
        let step = (zigzag >> 1) ^ 0_u64.wrapping_sub(zigzag & 1);
        self.at = self.at.wrapping_add(step);
        let (unit, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some((Millis(self.at), u64::from_le_bytes(*unit)))
    }

    fn share(&mut self, flags: u8) -> Option<WeightBp> {
        if flags & live::SHARE != 0 {
            self.share = Some(WeightBp::new(u16::try_from(self.number()?).ok()?).ok()?);
        }
        self.share
    }

    fn served(&mut self) -> Option<(Served, Option<u8>)> {
        let flags = self.byte()?;
        let has = |bit: u8| flags & bit != 0;
        let small = |number: u64| u32::try_from(number).ok();
        let seen = Served {
            failed: has(served::FAILED),
            invalid: has(served::CHECKED).then_some(has(served::INVALID)),
            total_ms: small(self.number()?)?,
            first_token_ms: self.optional(has(served::FIRST_TOKEN), small)?,
            completion_tokens: self.optional(has(served::TOKENS), small)?,
            cost: self.optional(has(served::COST), |number| Some(NanoUsd(number)))?,
        };
        let score = self.optional(has(served::SCORE), |number| u8::try_from(number).ok())?;
        Some((seen, score))
    }

    pub(super) fn exposure(&mut self) -> Option<Exposure> {
        let flags = self.byte()?;
        let has = |bit: u8| flags & bit != 0;
        let (at, unit) = self.head()?;
        let bucket = u16::try_from(self.number()?).ok()?;
        let share = self.share(flags)?;
        let (served, _) = self.served()?;
        Some(Exposure {
            at,
            unit,
            bucket,
            arm: arm(flags)?,
            share,
            random: has(live::RANDOM),
            client_ended: has(live::CLIENT_ENDED),
            fell_back: has(live::FELL_BACK),
            leaked: has(live::LEAKED),
            excluded: has(live::EXCLUDED),
            served,
        })
    }

    pub(super) fn pair(&mut self) -> Option<ScoredPair> {
        let (at, unit) = self.head()?;
        let (served, score) = self.served()?;
        let baseline = ArmSide { served, score };
        let (served, score) = self.served()?;
        let candidate = ArmSide { served, score };
        Some(ScoredPair { part: Part::Whole, at, unit, baseline, candidate })
    }

    pub(super) fn vote(&mut self) -> Option<Vote> {
        let flags = self.byte()?;
        let (at, unit) = self.head()?;
        let share = self.share(flags)?;
        let random = flags & live::RANDOM != 0;
        Some(Vote { at, unit, arm: arm(flags)?, share, random, score: self.byte()? })
    }

    pub(super) fn grader(&mut self) -> Option<Grader> {
        let distrusted = self.number()? != 0;
        let length = usize::try_from(self.number()?).ok()?;
        let (why, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Grader { distrusted, why: std::str::from_utf8(why).ok()?.to_owned() })
    }
}

fn arm(flags: u8) -> Option<Arm> {
    match flags & live::ARM {
        0 => Some(Arm::Baseline),
        1 => Some(Arm::Candidate),
        2 => Some(Arm::Default),
        _ => None,
    }
}

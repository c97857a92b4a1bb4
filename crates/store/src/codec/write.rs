//! The compact form, written: what an observation has in common with the one before takes no room.

use cutover_rollout::{ArmSide, Exposure, ScoredPair, Served, Vote};
use cutover_units::{Arm, Millis, WeightBp};

use super::{live, served};

pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    /// The time of the observation before.
    at: u64,
    /// Its share.
    share: Option<WeightBp>,
}

impl Writer {
    /// Bytes of this version, of a window that begins then.
    pub(super) fn new(version: u8, from: Millis) -> Self {
        Self { bytes: vec![version], at: from.0, share: None }
    }

    pub(super) fn number(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.bytes.push(low);
            }
            // Seven bits, and the mark that more follow.
            self.bytes.push(low | 0x80);
        }
    }

    fn head(&mut self, at: Millis, unit: u64) {
        let step = at.0.wrapping_sub(self.at).cast_signed();
        self.number(((step << 1) ^ (step >> 63)).cast_unsigned());
        self.at = at.0;
        self.bytes.extend_from_slice(&unit.to_le_bytes());
    }

    fn share(&mut self, share: WeightBp) {
        if self.share != Some(share) {
            self.number(u64::from(share.basis_points()));
            self.share = Some(share);
        }
    }

    fn served(&mut self, seen: &Served, score: Option<u8>) {
        let Served { failed, invalid, total_ms, first_token_ms, completion_tokens, cost } = *seen;
        let flags = bit(failed, served::FAILED)
            | bit(invalid.is_some(), served::CHECKED)
            | bit(invalid == Some(true), served::INVALID)
            | bit(first_token_ms.is_some(), served::FIRST_TOKEN)
            | bit(completion_tokens.is_some(), served::TOKENS)
            | bit(cost.is_some(), served::COST)
            | bit(score.is_some(), served::SCORE);
        self.bytes.push(flags);
        self.number(u64::from(total_ms));
        let optional = [
            first_token_ms.map(u64::from),
            completion_tokens.map(u64::from),
            cost.map(|cost| cost.0),
            score.map(u64::from),
        ];
        optional.into_iter().flatten().for_each(|number| self.number(number));
    }

    pub(super) fn exposure(&mut self, exposure: &Exposure) {
        let &Exposure {
            at,
            unit,
            bucket,
            arm,
            share,
            random,
            client_ended,
            fell_back,
            leaked,
            excluded,
            served,
        } = exposure;
        let flags = arm_bits(arm)
            | bit(random, live::RANDOM)
            | bit(client_ended, live::CLIENT_ENDED)
            | bit(fell_back, live::FELL_BACK)
            | bit(leaked, live::LEAKED)
            | bit(excluded, live::EXCLUDED)
            | bit(self.share != Some(share), live::SHARE);
        self.bytes.push(flags);
        self.head(at, unit);
        self.number(u64::from(bucket));
        self.share(share);
        self.served(&served, None);
    }

    pub(super) fn pair(&mut self, pair: &ScoredPair) {
        // The parts stand behind all else, where there are any.
        let ScoredPair { part: _, at, unit, baseline, candidate } = pair;
        self.head(*at, *unit);
        for ArmSide { served, score } in [baseline, candidate] {
            self.served(served, *score);
        }
    }

    pub(super) fn vote(&mut self, vote: &Vote) {
        let Vote { at, unit, arm, share, random, score } = *vote;
        let flags =
            arm_bits(arm) | bit(random, live::RANDOM) | bit(self.share != Some(share), live::SHARE);
        self.bytes.push(flags);
        self.head(at, unit);
        self.share(share);
        self.bytes.push(score);
    }
}

fn bit(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn arm_bits(arm: Arm) -> u8 {
    match arm {
        Arm::Baseline => 0,
        Arm::Candidate => 1,
        Arm::Default => 2,
    }
}

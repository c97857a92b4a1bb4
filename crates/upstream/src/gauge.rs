//! How many bytes of text the tokens of a model's prompts have, as its own answers tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cutover_wire::context::{MILLIBYTES_PER_TOKEN, MILLIBYTES_PER_TOKEN_LEAST};

/// The most that is believed of one answer: beyond it something else was counted.
const MILLIBYTES_PER_TOKEN_MOST: u32 = 16_000;
/// Prompts of fewer tokens are mostly the template's.
const LEARNT_TOKENS_LEAST: u64 = 64;
/// So many answers are seen before their figure is used.
const LEARNT_LEAST: u64 = 16;
/// What a token usually has: how near a prompt is to its context before any answer told.
const MILLIBYTES_PER_TOKEN_USUAL: u64 = 4_000;

/// Bytes per token of one model's prompts: a running mean and mean deviation, as TCP keeps them of
/// round-trip times, in one word. Two answers at the same moment may count as one.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// An answer to a prompt of so many solid bytes counted so many tokens. Where the prompt is known to be read
    /// into a context of so many, one that was expected to fill three quarters of it or more may have been cut,
    /// and teaches nothing that makes prompts shorter than they were taken to be.
    pub fn learn(&self, solid_bytes: u64, tokens: u64, context: Option<u64>) {
        if tokens < LEARNT_TOKENS_LEAST {
            return;
        }
        let sample = solid_bytes.saturating_mul(1_000) / tokens;
        let sample = sample.min(u64::from(MILLIBYTES_PER_TOKEN_MOST));
        let (count, mean, deviation) = unpacked(self.0.load(Relaxed));
        let usual = if count == 0 { MILLIBYTES_PER_TOKEN_USUAL } else { mean };
        let expected = solid_bytes.saturating_mul(1_000) / usual.max(1);
        let is_near = context.is_some_and(|context| expected / 3 >= context / 4);
        if is_near && sample > usual {
            return;
        }
        let next = match count {
            0 => (1, sample, sample / 2),
            _ => {
                let off = sample.abs_diff(mean);
                let mean = (mean * 7 + sample) / 8;
                ((count + 1).min(LEARNT_LEAST), mean, (deviation * 3 + off) / 4)
            }
        };
        self.0.store(packed(next), Relaxed);
    }

    /// The most solid bytes that a token of such prompts has, in thousandths.
    pub fn millibytes_per_token(&self) -> u32 {
        let (count, mean, deviation) = unpacked(self.0.load(Relaxed));
        if count < LEARNT_LEAST {
            return MILLIBYTES_PER_TOKEN;
        }
        let most = (mean + 4 * deviation).max(mean * 5 / 4);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        most.clamp(MILLIBYTES_PER_TOKEN_LEAST, MILLIBYTES_PER_TOKEN_MOST)
    }

    /// The same for prompts of the kind that was measured alone: what another kind may have is not allowed for.
    /// None: too few were measured.
    pub fn millibytes_per_token_of_its_kind(&self) -> Option<u32> {
        let (count, mean, deviation) = unpacked(self.0.load(Relaxed));
        let most = (mean + 4 * deviation).max(mean * 9 / 8);
        (count >= LEARNT_LEAST).then(|| u32::try_from(most).unwrap_or(u32::MAX))
    }
}

fn packed((count, mean, deviation): (u64, u64, u64)) -> u64 {
    count << 48 | mean << 24 | deviation
}

fn unpacked(word: u64) -> (u64, u64, u64) {
    const FIELD: u64 = (1 << 24) - 1;
    (word >> 48, word >> 24 & FIELD, word & FIELD)
}

/// The gauges of these models, in their places: those that they had before where they had one.
pub fn gauges(models: &[String], before: Option<(&[String], &[Arc<Gauge>])>) -> Box<[Arc<Gauge>]> {
    let known = |model: &String| {
        let (names, gauges) = before?;
        gauges.get(names.iter().position(|known| known == model)?).cloned()
    };
    models.iter().map(|model| known(model).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_believed_before_enough_was_seen() {
        let gauge = Gauge::default();
        for _ in 1..LEARNT_LEAST {
            gauge.learn(12_000, 1_000, None);
            assert_eq!(gauge.millibytes_per_token(), MILLIBYTES_PER_TOKEN);
        }
        gauge.learn(12_000, 1_000, None);
        assert!((15_000..=16_000).contains(&gauge.millibytes_per_token()));
    }

    #[test]
    fn steady_traffic_sharpens_the_figure_and_never_below_what_text_has() {
        let gauge = Gauge::default();
        for _ in 0..100 {
            gauge.learn(5_200, 1_000, None);
        }
        assert_eq!(gauge.millibytes_per_token(), 6_500, "a quarter above its mean");
        for _ in 0..100 {
            gauge.learn(2_000, 1_000, None);
        }
        assert_eq!(gauge.millibytes_per_token(), MILLIBYTES_PER_TOKEN_LEAST);
    }

    #[test]
    fn mixed_traffic_keeps_a_wide_margin() {
        let gauge = Gauge::default();
        for turn in 0..100 {
            gauge.learn(if turn % 2 == 0 { 2_000 } else { 5_000 }, 1_000, None);
        }
        assert!(gauge.millibytes_per_token() > 8_000, "{}", gauge.millibytes_per_token());
    }

    #[test]
    fn short_prompts_and_odd_counts_teach_nothing_wrong() {
        let gauge = Gauge::default();
        for _ in 0..100 {
            gauge.learn(1_000, 10, None);
        }
        assert_eq!(gauge.millibytes_per_token(), MILLIBYTES_PER_TOKEN);
        for _ in 0..100 {
            gauge.learn(u64::MAX, 100, None);
        }
        assert_eq!(gauge.millibytes_per_token(), MILLIBYTES_PER_TOKEN_MOST);
    }

    #[test]
    fn what_may_have_been_cut_teaches_no_looser_figure() {
        let gauge = Gauge::default();
        for _ in 0..60 {
            gauge.learn(4_200, 1_000, Some(4_096));
        }
        let before = gauge.millibytes_per_token_of_its_kind();
        // Histories of more and more tokens, of which an engine keeps what fits.
        for tokens in (3_100..9_000).step_by(100) {
            gauge.learn(tokens * 42 / 10, tokens.min(4_000), Some(4_096));
        }
        assert_eq!(gauge.millibytes_per_token_of_its_kind(), before);
        assert_eq!(gauge.millibytes_per_token(), MILLIBYTES_PER_TOKEN_LEAST);
        // One that counts more than was expected teaches: nothing was cut.
        gauge.learn(4_200 * 4, 5_000, Some(4_096));
        assert_ne!(gauge.millibytes_per_token_of_its_kind(), before);
        // And before anything was learnt.
        let gauge = Gauge::default();
        for _ in 0..60 {
            gauge.learn(30_000, 4_000, Some(4_096));
        }
        assert_eq!(gauge.millibytes_per_token(), MILLIBYTES_PER_TOKEN);
        assert_eq!(gauge.millibytes_per_token_of_its_kind(), None);
    }
}

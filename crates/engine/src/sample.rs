//! Choosing the next token from the model's scores.

use crate::kernels::narrow;

/// How the next token is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 takes the most probable token always; higher spreads the choice. Range 0 to 2.
    pub temperature: f32,
    /// Only the most probable tokens that together reach this probability are considered. Range
    /// above 0 to 1.
    pub top_p: f32,
    /// Subtracted from a token's score once it has been used in the answer. Range -2 to 2.
    pub presence_penalty: f32,
    /// Subtracted from a token's score for each use in the answer. Range -2 to 2.
    pub frequency_penalty: f32,
    /// Added to the scores of single tokens, by token id.
    pub logit_bias: Vec<(u32, f32)>,
    /// The same seed with the same request gives the same answer. None draws one.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    /// What suits a small model when the request says nothing: less random than 1.0 and 1.0, with
    /// which a model of this size rambles.
    fn default() -> Self {
        Self {
            temperature: 0.7,
            top_p: 0.95,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

/// A token with the natural logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    pub(crate) token: u32,
    pub(crate) logprob: f32,
}

/// The state of one answer's choices.
pub(crate) struct Sampler {
    sampling: Sampling,
    random: SplitMix,
    used: Vec<(u32, u16)>,
    adjusted: Vec<f32>,
    ranked: Vec<(f32, u32)>,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling, seed: u64) -> Self {
        let random = SplitMix(seed);
        Self { sampling, random, used: Vec::new(), adjusted: Vec::new(), ranked: Vec::new() }
    }

    /// Picks a token among those that `allowed` lets through (all, if none).
    pub(crate) fn choose(&mut self, logits: &[f32], allowed: Option<&dyn Fn(u32) -> bool>) -> u32 {
        self.adjusted.clear();
        self.adjusted.extend_from_slice(logits);
        self.adjust();
        if let Some(allowed) = allowed {
            for (token, score) in (0..).zip(&mut self.adjusted) {
                if !allowed(token) {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
        let token = if self.sampling.temperature <= 0.0 {
            most_probable(&self.adjusted)
        } else {
            self.draw()
        };
        match self.used.iter_mut().find(|(t, _)| *t == token) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.used.push((token, 1)),
        }
        token
    }

    fn adjust(&mut self) {
        let s = &self.sampling;
        if s.presence_penalty != 0.0 || s.frequency_penalty != 0.0 {
            for (token, count) in &self.used {
                self.adjusted[*token as usize] -=
                    s.presence_penalty + s.frequency_penalty * f32::from(*count);
            }
        }
        for (token, bias) in &s.logit_bias {
            if let Some(score) = self.adjusted.get_mut(*token as usize) {
                *score += bias;
            }
        }
    }

    fn draw(&mut self) -> u32 {
        let best = most_probable(&self.adjusted);
        let max = self.adjusted[best as usize];
        let inverse = 1.0 / self.sampling.temperature;
        self.ranked.clear();
        self.ranked.extend((0..).zip(&self.adjusted).filter_map(|(token, score)| {
            let weight = ((score - max) * inverse).exp();
            (weight > 0.0).then_some((weight, token))
        }));
        let sum = |ranked: &[(f32, u32)]| ranked.iter().map(|(w, _)| f64::from(*w)).sum::<f64>();
        if self.sampling.top_p < 1.0 {
            self.ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let wanted = sum(&self.ranked) * f64::from(self.sampling.top_p);
            let mut reached = 0.0;
            let keep = self.ranked.iter().take_while(|(w, _)| {
                let more = reached < wanted;
                reached += f64::from(*w);
                more
            });
            let keep = keep.count().max(1);
            self.ranked.truncate(keep);
        }
        let mut left = self.random.unit() * sum(&self.ranked);
        for (weight, token) in &self.ranked {
            left -= f64::from(*weight);
            if left < 0.0 {
                return *token;
            }
        }
        best
    }
}

/// The token with the highest score, the lowest id among equals.
fn most_probable(scores: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, score) in (0..).zip(scores) {
        if *score > best.1 {
            best = (token, *score);
        }
    }
    best.0
}

/// The logarithm of `token`'s probability and the `top` most probable tokens, from raw scores:
/// before temperature, penalties and constraints.
pub(crate) fn logprobs(logits: &[f32], token: u32, top: usize) -> (f32, Vec<Scored>) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from((x - max).exp())).sum();
    let total = max + narrow(sum.ln());
    let mut ranked: Vec<(f32, u32)> = Vec::new();
    if top > 0 {
        ranked.extend((0..).zip(logits).map(|(t, x)| (*x, t)));
        let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if top < ranked.len() {
            ranked.select_nth_unstable_by(top, order);
            ranked.truncate(top);
        }
        ranked.sort_unstable_by(order);
    }
    let top = ranked.into_iter().map(|(x, token)| Scored { token, logprob: x - total }).collect();
    (logits[token as usize] - total, top)
}

/// A small generator with a full period of 2^64: quality enough for drawing tokens, and the same
/// on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_p: f32, seed: u64) -> Sampler {
        Sampler::new(Sampling { temperature, top_p, ..Sampling::default() }, seed)
    }

    #[test]
    fn temperature_zero_takes_the_best_and_the_lowest_id_among_equals() {
        assert_eq!(sampler(0.0, 1.0, 1).choose(&[1.0, 3.0, 3.0], None), 1);
    }

    #[test]
    fn a_tiny_top_p_leaves_only_the_best() {
        let mut s = sampler(2.0, 0.01, 1);
        assert!((0..50).all(|_| s.choose(&[0.0, 0.1, 0.05], None) == 1));
    }

    #[test]
    fn one_seed_gives_one_sequence_and_frequencies_follow_the_scores() {
        let logits = [0.0, 2.0f32.ln(), f32::NEG_INFINITY];
        let draw = |seed| {
            let mut s = sampler(1.0, 1.0, seed);
            (0..3000).map(|_| s.choose(&logits, None)).collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
        let ones = draw(5).iter().filter(|t| **t == 1).count();
        assert!((1900..2100).contains(&ones), "{ones} of 3000, expected about 2000");
        assert!(!draw(5).contains(&2));
    }

    #[test]
    fn a_constraint_beats_the_scores() {
        let only_two = |t: u32| t == 2;
        for temperature in [0.0, 1.0] {
            assert_eq!(sampler(temperature, 0.9, 3).choose(&[9.0, 8.0, -5.0], Some(&only_two)), 2);
        }
    }

    #[test]
    fn penalties_and_bias_move_the_choice() {
        let s = Sampling { temperature: 0.0, frequency_penalty: 1.5, ..Sampling::default() };
        let mut s = Sampler::new(s, 0);
        assert_eq!([s.choose(&[1.0, 0.0], None), s.choose(&[1.0, 0.0], None)], [0, 1]);
        let s = Sampling { temperature: 0.0, logit_bias: vec![(1, 5.0)], ..Sampling::default() };
        assert_eq!(Sampler::new(s, 0).choose(&[1.0, 0.0], None), 1);
    }

    #[test]
    fn logprobs_are_the_log_of_softmax() {
        let (own, top) = logprobs(&[0.0, 3.0f32.ln(), f32::NEG_INFINITY], 0, 2);
        assert!((own - 0.25f32.ln()).abs() < 1e-6);
        assert_eq!(top.iter().map(|s| s.token).collect::<Vec<_>>(), [1, 0]);
        assert!((top[0].logprob - 0.75f32.ln()).abs() < 1e-6);
    }
}

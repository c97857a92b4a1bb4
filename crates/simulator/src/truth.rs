//! How the arms really are: what no controller can see, and what each of its claims is worth.

use cutover_stats::{normal_cdf, normal_quantile};
use cutover_units::Millis;
use serde::{Deserialize, Serialize};

use super::items::{Items, Reading};
use cutover_rollout::text::TextError;
use cutover_rollout::{Gate, Metric, Spec, Test};

/// The 95 % point of a standard normal variable.
pub(super) const Z95: f64 = 1.644_853_626_951_472;

/// A claim that is exactly true or false by less than this is on the boundary.
const BOUNDARY: f64 = 1e-9;

/// One arm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ArmTruth {
    /// Mean score, 0 to 1.
    pub quality: f64,
    /// Share of requests that fail.
    pub errors: f64,
    /// Share of answers that break their format.
    pub invalid: f64,
    /// Share of requests that the other arm has to answer.
    pub fallback: f64,
    /// Mean vote, 0 to 1.
    pub feedback: f64,
    /// 95 % of answers are complete after so many milliseconds.
    pub p95_ms: f64,
    /// 95 % of streams begin after so many milliseconds.
    pub p95_first_token_ms: f64,
    /// US dollars per 1,000 requests.
    pub cost: f64,
}

impl ArmTruth {
    /// The share of answers that failed or are wrong.
    pub(super) fn bad(&self) -> f64 {
        1.0 - (1.0 - self.errors) * self.quality
    }
}

/// A unit that makes a large share of the requests and fails in its own way, whoever serves it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Heavy {
    /// Its share of all requests.
    pub share: f64,
    /// The share of its requests that fail.
    pub errors: f64,
}

/// Both arms, and what goes wrong around them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// What serves today.
    pub baseline: ArmTruth,
    /// What shall take over, from `onset` on; before it is like the baseline.
    pub candidate: ArmTruth,
    /// Share of pairs whose scores differ.
    pub discordance: f64,
    /// Spread of latencies: the sigma of a lognormal distribution.
    pub spread: f64,
    /// When the candidate becomes what it is, after the rollout's begin.
    pub onset: Millis,
    /// How far errors and invalid answers of both arms swing over a day, as a share of the baseline's.
    pub drift: f64,
    /// From when to when nothing is measured, after the rollout's begin.
    pub outage: Option<(Millis, Millis)>,
    /// Share of the candidate's requests that are counted once more as another unit's.
    pub double_count: f64,
    /// Share of requests that are rated.
    pub votes: f64,
    /// One heavy unit.
    pub heavy: Option<Heavy>,
}

impl Default for Truth {
    /// Two equal arms of an ordinary service.
    fn default() -> Self {
        let arm = ArmTruth {
            quality: 0.92,
            errors: 0.003,
            invalid: 0.005,
            fallback: 0.0,
            feedback: 0.8,
            p95_ms: 2_500.0,
            p95_first_token_ms: 600.0,
            cost: 2.5,
        };
        Self {
            baseline: arm,
            candidate: arm,
            discordance: 0.12,
            spread: 0.6,
            onset: Millis(0),
            drift: 0.0,
            outage: None,
            double_count: 0.0,
            votes: 0.02,
            heavy: None,
        }
    }
}

const EXAMPLE: &str = "quality=0.95x,errors=+0.5pp,p95=1.5x";

/// One figure of an arm: how its baseline and its candidate are called, how it is read, where it is.
type Figure = (&'static str, &'static str, Reading, fn(&mut ArmTruth) -> &mut f64);

const FIGURES: [Figure; 8] = [
    ("baseline_quality", "quality", Reading::Number, |arm| &mut arm.quality),
    ("baseline_errors", "errors", Reading::Share, |arm| &mut arm.errors),
    ("baseline_invalid", "invalid", Reading::Share, |arm| &mut arm.invalid),
    ("baseline_fallback", "fallback", Reading::Share, |arm| &mut arm.fallback),
    ("baseline_feedback", "feedback", Reading::Share, |arm| &mut arm.feedback),
    ("baseline_p95", "p95", Reading::Duration, |arm| &mut arm.p95_ms),
    ("baseline_first_token", "first_token", Reading::Duration, |arm| &mut arm.p95_first_token_ms),
    ("baseline_cost", "cost", Reading::Number, |arm| &mut arm.cost),
];

const OTHERS: [&str; 9] = [
    "discordance",
    "spread",
    "onset",
    "drift",
    "outage",
    "double_count",
    "votes",
    "heavy",
    "heavy_errors",
];

impl Truth {
    /// Reads `quality=0.95x,errors=+0.5pp,p95=1.5x,onset=6h`; what is left out is as in an ordinary
    /// service, the candidate like the baseline. `baseline_...` sets the baseline's figures.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let mut items = Items::read(text, EXAMPLE)?;
        let mut truth = Self::default();
        for (baseline, _, reading, figure) in FIGURES {
            if let Some(value) = items.take(baseline, reading)? {
                *figure(&mut truth.baseline) = value;
            }
        }
        truth.candidate = truth.baseline;
        for (_, candidate, reading, figure) in FIGURES {
            if let Some(value) = items.take_relative(candidate, reading)? {
                let own = *figure(&mut truth.baseline);
                *figure(&mut truth.candidate) = value.of(own);
            }
        }
        let share = |items: &mut Items<'_>, key| items.take(key, Reading::Share);
        truth.discordance = share(&mut items, "discordance")?.unwrap_or(truth.discordance);
        truth.drift = share(&mut items, "drift")?.unwrap_or(truth.drift);
        truth.double_count = share(&mut items, "double_count")?.unwrap_or(truth.double_count);
        truth.votes = share(&mut items, "votes")?.unwrap_or(truth.votes);
        truth.spread = items.take("spread", Reading::Number)?.unwrap_or(truth.spread);
        if let Some(onset) = items.take("onset", Reading::Duration)? {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "read from a whole number of milliseconds"
            )]
            let onset = onset as u64;
            truth.onset = Millis(onset);
        }
        truth.outage = items.take_span("outage")?.map(|(from, to)| (Millis(from), Millis(to)));
        let heavy = share(&mut items, "heavy")?;
        let errors = share(&mut items, "heavy_errors")?;
        truth.heavy = heavy.map(|share| Heavy { share, errors: errors.unwrap_or(0.3) });
        let names: Vec<&str> =
            FIGURES.iter().flat_map(|(b, c, ..)| [*b, *c]).chain(OTHERS).collect();
        items.finish(&names)?;
        truth.checked(text)
    }

    /// Shares stay shares, times and prices positive.
    fn checked(self, text: &str) -> Result<Self, TextError> {
        if self.spread <= 0.0 {
            return Err(TextError::new(text, "spread is above 0", EXAMPLE));
        }
        for arm in [self.baseline, self.candidate] {
            for (name, share) in [
                ("quality", arm.quality),
                ("errors", arm.errors),
                ("invalid", arm.invalid),
                ("fallback", arm.fallback),
                ("feedback", arm.feedback),
            ] {
                if !(0.0..=1.0).contains(&share) {
                    let problem = format!("{name} of {share} is not between 0 and 1");
                    return Err(TextError::new(text, problem, EXAMPLE));
                }
            }
            if !(arm.p95_ms > 0.0 && arm.p95_first_token_ms > 0.0 && arm.cost >= 0.0) {
                let problem = "latencies are positive and costs not negative";
                return Err(TextError::new(text, problem, EXAMPLE));
            }
        }
        Ok(self)
    }

    /// The candidate at a time after the rollout's begin.
    pub(super) fn candidate_at(&self, since: Millis) -> ArmTruth {
        if since < self.onset { self.baseline } else { self.candidate }
    }

    /// How many more of the candidate's answers are bad (failed, or wrong) than of the baseline's, once
    /// it is what it is.
    pub(super) fn excess_bad(&self) -> f64 {
        self.candidate.bad() - self.baseline.bad()
    }

    /// What each gate's claim is worth, with the candidate as it is at that time.
    pub fn standings(&self, spec: &Spec, since: Millis) -> Vec<Standing> {
        let now = Self { candidate: self.candidate_at(since), ..*self };
        spec.gates.iter().map(|gate| now.standing(spec, gate)).collect()
    }

    fn standing(&self, spec: &Spec, gate: &Gate) -> Standing {
        let (b, c) = (&self.baseline, &self.candidate);
        let judged_apart = spec.gates.iter().any(|gate| gate.metric == Metric::Fallback);
        // A request that the baseline had to answer counts as failed unless a gate judges that.
        let failed = |arm: &ArmTruth| {
            if judged_apart { arm.errors } else { arm.errors + (1.0 - arm.errors) * arm.fallback }
        };
        let bad = |arm: &ArmTruth| match gate.metric {
            Metric::Invalid => arm.invalid,
            Metric::Feedback => 1.0 - arm.feedback,
            Metric::Fallback => arm.fallback,
            _ => failed(arm),
        };
        let slow = |arm: &ArmTruth| match gate.metric {
            Metric::FirstToken => arm.p95_first_token_ms,
            _ => arm.p95_ms,
        };
        // Positive: the claim holds, by so much. None: the simulator does not know.
        let room = match gate.test {
            _ if gate.metric == Metric::TokenRate => None,
            Test::RatioAtLeast { ratio } => Some(c.quality / b.quality - ratio),
            Test::WorseByLessThan { margin } => Some(margin - (bad(c) - bad(b))),
            Test::RateRatioAtMost { ratio } => (bad(b) > 0.0).then(|| ratio - bad(c) / bad(b)),
            Test::FractionAtMost { limit } => Some(limit - bad(c)),
            Test::QuantileWithin { quantile, limit } => {
                let over = c.errors + (1.0 - c.errors) * self.share_above(slow(c), limit);
                Some(1.0 - quantile - over)
            }
            Test::QuantileRatioAtMost { quantile, factor } => {
                let at = |arm: &ArmTruth| self.quantile(slow(arm), arm.errors, quantile);
                Some(factor - at(c) / at(b)).filter(|room| room.is_finite())
            }
            Test::BudgetAtMost { limit } => {
                let per_thousand = c.cost / (1.0 - c.errors).max(f64::MIN_POSITIVE);
                Some(limit.0 as f64 / 1e9 - per_thousand)
            }
            Test::Never => Some(1.0),
        };
        Standing { gate: gate.id.clone(), room }
    }

    /// The share of a lognormal variable with this 95 % point that lies above a limit.
    fn share_above(&self, p95: f64, limit: f64) -> f64 {
        normal_cdf(-(Z95 + (limit / p95).ln() / self.spread))
    }

    /// A quantile of latencies when failed requests never end.
    fn quantile(&self, p95: f64, errors: f64, p: f64) -> f64 {
        let within = p / (1.0 - errors);
        if within >= 1.0 {
            return f64::INFINITY;
        }
        p95 * (self.spread * (normal_quantile(within) - Z95)).exp()
    }
}

/// What a gate's claim is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The gate.
    pub gate: String,
    /// By how much the claim is true (positive) or false (negative), in its own quantity; none: the
    /// simulator does not know.
    pub room: Option<f64>,
}

impl Standing {
    /// Whether the claim is true, beyond the boundary.
    pub fn holds(&self) -> bool {
        self.room.is_some_and(|room| room > BOUNDARY)
    }

    /// Whether the claim's opposite is true, beyond the boundary.
    pub fn harms(&self) -> bool {
        self.room.is_some_and(|room| room < -BOUNDARY)
    }
}

#[cfg(test)]
mod tests;

//! From truth and traffic to what a controller gets to see.

use cutover_stats::Draws;
use cutover_units::{Arm, Millis, NanoUsd, WeightBp};

use super::traffic::{Arrival, Arrivals, DAY_MS, Traffic, mixed};
use super::truth::{ArmTruth, Truth};
use cutover_rollout::{ArmSide, Exposure, Part, ScoredPair, Served, Vote, Window};

/// The 95 % point of a standard normal variable.
const Z95: f64 = 1.644_853_626_951_472;

/// Separates the buckets of shadow sampling from those of the arms.
const SHADOW_SALT: u64 = 0x5368_6164_6f77;

/// What the candidate is given at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    /// Its share of units.
    pub weight: WeightBp,
    /// The share of units whose requests are copied to it.
    pub shadow: WeightBp,
}

/// What the candidate's traffic did to users, seen or not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Damage {
    /// Requests of both arms.
    pub requests: u64,
    /// Requests that the candidate served.
    pub candidate: u64,
    /// Of these, how many more were bad (failed, or wrong) than the baseline's would have been,
    /// in expectation.
    pub excess_bad: f64,
}

/// One simulated use case.
#[derive(Debug)]
pub(super) struct World {
    truth: Truth,
    streams: f64,
    began: Millis,
    arrivals: Arrivals,
    pub damage: Damage,
}

impl World {
    pub(super) fn new((traffic, truth): (&Traffic, &Truth), began: Millis, draws: Draws) -> Self {
        let heavy = truth.heavy.map_or(0.0, |heavy| heavy.share);
        let arrivals = Arrivals::new(*traffic, heavy, began.0 as f64, draws);
        let streams = traffic.streams;
        Self { truth: *truth, streams, began, arrivals, damage: Damage::default() }
    }

    /// When something happens next.
    pub(super) fn next_ms(&self) -> f64 {
        self.arrivals.next_ms()
    }

    /// When the source goes silent.
    pub(super) fn outage_begins(&self) -> Option<Millis> {
        self.truth.outage.map(|(from, _)| Millis(self.began.0 + from.0))
    }

    /// Fills an empty window with what happens in it.
    pub(super) fn fill(&mut self, window: &mut Window, setting: Setting) {
        let Self { truth, streams, began, arrivals, damage } = self;
        let scene = Scene { truth, streams: *streams, began: *began, setting };
        window.blind = scene.is_out(window.from) && scene.is_out(Millis(window.to.0 - 1));
        // Each request has draws of its own, so that the same request meets the same fate whatever the
        // controller did before it: policies are compared on the same traces.
        arrivals.until(window.to.0 as f64, |arrival| {
            let mut draws = Draws::new(arrival.seed);
            scene.request(&arrival, &mut draws, (window, damage));
        });
    }
}

struct Scene<'a> {
    truth: &'a Truth,
    streams: f64,
    began: Millis,
    setting: Setting,
}

impl Scene<'_> {
    fn is_out(&self, at: Millis) -> bool {
        self.truth.outage.is_some_and(|(from, to)| {
            let since = at.0.saturating_sub(self.began.0);
            (from.0..to.0).contains(&since)
        })
    }

    /// How many times as many errors as on average there are at this time of day.
    fn weather(&self, at_ms: f64) -> f64 {
        1.0 + self.truth.drift * (2.0 * std::f64::consts::PI * at_ms / DAY_MS).sin()
    }

    fn request(
        &self,
        arrival: &Arrival,
        draws: &mut Draws,
        (window, damage): (&mut Window, &mut Damage),
    ) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time of this century"
        )]
        let at = Millis(arrival.at_ms as u64);
        let since = Millis(at.0.saturating_sub(self.began.0));
        let weather = self.weather(arrival.at_ms);
        let baseline = self.under(self.truth.baseline, weather);
        let candidate = self.under(self.truth.candidate_at(since), weather);
        let bucket = bucket(arrival.unit);
        let to_candidate = bucket < self.setting.weight.basis_points();
        let figures = if to_candidate { &candidate } else { &baseline };
        let served = self.serve(figures, arrival, draws);
        damage.requests += 1;
        if to_candidate {
            damage.candidate += 1;
            damage.excess_bad += candidate.bad() - baseline.bad();
        }
        let blind = self.is_out(at);
        let arm = if to_candidate { Arm::Candidate } else { Arm::Baseline };
        let exposure = Exposure {
            at,
            unit: arrival.unit,
            bucket,
            arm,
            share: self.setting.weight,
            random: true,
            client_ended: false,
            fell_back: figures.fallback > 0.0 && draws.chance(figures.fallback),
            leaked: false,
            excluded: false,
            served,
        };
        if !blind {
            window.exposures.push(exposure);
            if to_candidate && draws.chance(self.truth.double_count) {
                window.exposures.push(Exposure { unit: draws.word(), ..exposure });
            }
        }
        if !to_candidate && self.shadowed(arrival.unit) {
            let copy =
                self.serve(&candidate, &Arrival { luck: draws.uniform(), ..*arrival }, draws);
            let (better, worse) = self.scores((&candidate, &baseline), draws);
            if !blind {
                window.pairs.push(ScoredPair {
                    part: Part::Whole,
                    at,
                    unit: arrival.unit,
                    baseline: ArmSide { served, score: Some(worse) },
                    candidate: ArmSide { served: copy, score: Some(better) },
                });
            }
        }
        if self.truth.votes > 0.0 && draws.chance(self.truth.votes) && !blind {
            let score = if draws.chance(figures.feedback) { 100 } else { 0 };
            let share = self.setting.weight;
            window.votes.push(Vote { at, unit: arrival.unit, arm, share, random: true, score });
        }
    }

    /// The arm at this time of day: the baseline's errors swing, the candidate's difference stays.
    fn under(&self, arm: ArmTruth, weather: f64) -> ArmTruth {
        let swing = |own: f64, base: f64| (own + base * (weather - 1.0)).clamp(0.0, 1.0);
        let Truth { baseline, .. } = self.truth;
        ArmTruth {
            errors: swing(arm.errors, baseline.errors),
            invalid: swing(arm.invalid, baseline.invalid),
            ..arm
        }
    }

    fn serve(&self, arm: &ArmTruth, arrival: &Arrival, draws: &mut Draws) -> Served {
        let errors = match self.truth.heavy {
            Some(heavy) if arrival.heavy => heavy.errors,
            _ => arm.errors,
        };
        let failed = arrival.luck < errors;
        let spread = self.truth.spread;
        let mut latency = |p95: f64| {
            let ms = p95 * (spread * (draws.normal() - Z95)).exp();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive, and a cast saturates"
            )]
            let ms = ms.round() as u32;
            ms
        };
        let (total_ms, first) = (latency(arm.p95_ms), latency(arm.p95_first_token_ms));
        let invalid = (!failed).then(|| draws.chance(arm.invalid));
        let streams = draws.chance(self.streams);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a price per thousand, and a cast saturates"
        )]
        let cost = NanoUsd((arm.cost * 1e6).round() as u64);
        Served {
            failed,
            invalid,
            total_ms,
            first_token_ms: streams.then_some(first.min(total_ms)),
            completion_tokens: None,
            cost: Some(cost),
        }
    }

    /// Scores of candidate and baseline: right or wrong, different in as many pairs as the truth says.
    fn scores(&self, (candidate, baseline): (&ArmTruth, &ArmTruth), draws: &mut Draws) -> (u8, u8) {
        let (c, b) = (candidate.quality, baseline.quality);
        let most = (c + b).min(2.0 - c - b);
        let differ = self.truth.discordance.min(most).max((c - b).abs());
        let candidate_only = f64::midpoint(differ, c - b);
        let u = draws.uniform();
        if u < candidate_only {
            (100, 0)
        } else if u < differ {
            (0, 100)
        } else if u < differ + c - candidate_only {
            (100, 100)
        } else {
            (0, 0)
        }
    }

    fn shadowed(&self, unit: u64) -> bool {
        let share = self.setting.shadow.basis_points();
        share > 0 && bucket(mixed(SHADOW_SALT, unit)) < share
    }
}

/// 0 to 9,999, evenly.
fn bucket(unit: u64) -> u16 {
    let scaled = (u128::from(unit) * 10_000) >> 64;
    u16::try_from(scaled).unwrap_or(9_999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(truth: &str, traffic: &str, weight: u16) -> (Window, Damage) {
        let truth = Truth::parse(truth).unwrap();
        let traffic = Traffic::parse(traffic).unwrap();
        let mut world = World::new((&traffic, &truth), Millis(0), Draws::new(8));
        let to = Millis(24 * 3_600_000);
        // Machines do not fail here.
        let instances = Some(u32::MAX);
        let mut window = Window { to, instances, ..Window::default() };
        let weight = WeightBp::new(weight).unwrap();
        world.fill(&mut window, Setting { weight, shadow: WeightBp::new(5_000).unwrap() });
        (window, world.damage)
    }

    fn share(window: &Window, arm: Arm, of: impl Fn(&Exposure) -> bool) -> f64 {
        let own: Vec<_> = window.exposures.iter().filter(|seen| seen.arm == arm).collect();
        own.iter().filter(|seen| of(seen)).count() as f64 / own.len() as f64
    }

    #[test]
    fn what_is_seen_has_the_rates_of_the_truth() {
        let truth = "baseline_errors=2%,errors=3x,baseline_p95=2s,p95=1.5x,quality=0.9x";
        let (window, damage) = day(truth, "40/min", 2_500);
        let near = |got: f64, want: f64, by: f64| assert!((got - want).abs() < by, "{got} {want}");
        near(window.exposures.len() as f64, 57_600.0, 1_000.0);
        near(share(&window, Arm::Baseline, |seen| seen.served.failed), 0.02, 0.003);
        near(share(&window, Arm::Candidate, |seen| seen.served.failed), 0.06, 0.006);
        near(share(&window, Arm::Baseline, |seen| seen.served.total_ms > 2_000), 0.05, 0.006);
        near(share(&window, Arm::Candidate, |seen| seen.served.total_ms > 3_000), 0.05, 0.008);
        near(damage.candidate as f64 / damage.requests as f64, 0.25, 0.01);
        let excess = (1.0 - 0.94 * 0.828) - (1.0 - 0.98 * 0.92);
        near(damage.excess_bad / damage.candidate as f64, excess, 1e-9);
        let mean = |side: fn(&ScoredPair) -> ArmSide| {
            let sum: f64 =
                window.pairs.iter().filter_map(|pair| side(pair).score).map(f64::from).sum();
            sum / 100.0 / window.pairs.len() as f64
        };
        near(mean(|pair| pair.baseline), 0.92, 0.01);
        near(mean(|pair| pair.candidate), 0.828, 0.01);
        let differ = window.pairs.iter().filter(|p| p.baseline.score != p.candidate.score).count();
        near(differ as f64 / window.pairs.len() as f64, 0.12, 0.01);
        near(window.pairs.len() as f64 / 43_200.0, 0.5, 0.02);
    }

    #[test]
    fn an_outage_hides_and_a_double_count_adds() {
        let (window, _) = day("outage=6h..12h", "40/min", 5_000);
        assert!(window.exposures.iter().all(|seen| !(6..12).contains(&(seen.at.0 / 3_600_000))));
        let (window, damage) = day("double_count=50%", "40/min", 5_000);
        let counted = share(&window, Arm::Candidate, |_| true);
        assert!(counted > 0.99 && window.exposures.len() as f64 > 1.2 * damage.requests as f64);
    }

    #[test]
    fn a_session_fails_as_one() {
        let (window, _) = day("baseline_errors=10%", "40/min,session=8", 0);
        let mut by_unit = std::collections::BTreeMap::<u64, (u32, u32)>::new();
        for seen in &window.exposures {
            let unit = by_unit.entry(seen.unit).or_default();
            unit.0 += u32::from(seen.served.failed);
            unit.1 += 1;
        }
        assert!(by_unit.values().all(|(failed, n)| *failed == 0 || failed == n));
        let failed = share(&window, Arm::Baseline, |seen| seen.served.failed);
        assert!((failed - 0.1).abs() < 0.02, "{failed}");
    }
}

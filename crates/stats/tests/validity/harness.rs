//! Runs, looks, rates.

use cutover_stats::{Alpha, Arm, Betting, CanaryClaim, Draws, Share};

pub(crate) const ALPHA: Alpha = Alpha::FIVE_PERCENT;

/// How often each boundary is walked.
pub(crate) const RUNS: u32 = 4_000;

/// When the runs stopped.
pub(crate) struct Stops {
    runs: u32,
    at: Vec<u64>,
}

impl Stops {
    /// Walks `runs` times; a walk answers after how many observations it stopped, if it did.
    pub(crate) fn of(runs: u32, mut walk: impl FnMut(&mut Draws) -> Option<u64>) -> Self {
        let seed = Draws::new(2_027);
        let mut at: Vec<u64> =
            (0..runs).filter_map(|run| walk(&mut seed.fork(u64::from(run)))).collect();
        at.sort_unstable();
        Self { runs, at }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.at.len() as f64 / f64::from(self.runs)
    }

    /// The median over all runs, endless where fewer than half stopped.
    pub(crate) fn median(&self) -> u64 {
        self.at.get(self.runs as usize / 2).copied().unwrap_or(u64::MAX)
    }
}

/// The largest rate of false proofs that chance explains.
pub(crate) fn limit(alpha: Alpha, runs: u32) -> f64 {
    alpha.get() + 3.0 * (alpha.get() * (1.0 - alpha.get()) / f64::from(runs)).sqrt()
}

/// Fails unless false proofs are as rare as promised.
pub(crate) fn is_valid(name: &str, stops: &Stops) {
    println!("boundary: {name}: {:.4}", stops.rate());
    let limit = limit(ALPHA, stops.runs);
    assert!(stops.rate() <= limit, "{name}: {} false proofs, at most {limit}", stops.rate());
}

/// Fails unless half of the runs were proved within 1.3 times the table's number.
pub(crate) fn is_fast(name: &str, table: u64, stops: &Stops) {
    println!("power: {name}: median {} (table {table})", stops.median());
    assert!(stops.median() as f64 <= 1.3 * table as f64, "{name}: {}", stops.median());
}

/// Fails if the harness would let it pass.
pub(crate) fn is_caught(name: &str, stops: &Stops) {
    println!("control: {name}: {:.4}", stops.rate());
    let limit = limit(ALPHA, stops.runs);
    assert!(stops.rate() > limit, "{name} passed the harness: {}", stops.rate());
}

pub(crate) fn share(bp: u16) -> Share {
    Share::from_bp(bp).unwrap()
}

pub(crate) fn score(hit: bool) -> f64 {
    f64::from(u8::from(hit))
}

/// Probabilities of the four outcomes of a pair: both right, candidate only, baseline only, neither.
#[derive(Clone, Copy)]
pub(crate) struct Cells(pub(crate) [f64; 4]);

impl Cells {
    /// Candidate's and baseline's rate with the probability that they differ.
    pub(crate) fn new(candidate: f64, baseline: f64, discordance: f64) -> Self {
        let candidate_only = (discordance + candidate - baseline) / 2.0;
        let baseline_only = discordance - candidate_only;
        let both = candidate - candidate_only;
        let cells = [both, candidate_only, baseline_only, 1.0 - both - discordance];
        assert!(cells.iter().all(|p| *p >= 0.0), "{cells:?}");
        Self(cells)
    }

    /// The scores of candidate and baseline.
    pub(crate) fn draw(self, draws: &mut Draws) -> (f64, f64) {
        let (mut u, mut cell) = (draws.uniform(), 0);
        while cell < 3 && u >= self.0[cell] {
            u -= self.0[cell];
            cell += 1;
        }
        (score(cell < 2), score(cell % 2 == 0))
    }
}

/// Randomised traffic: per stretch the share in force, its units, the candidate's and the baseline's
/// rate.
pub(crate) type Stretch = (u16, u64, (f64, f64));

/// What a look window of one arm saw: the arm, the share, units, events.
pub(crate) type Seen = (Arm, Share, u64, u64);

/// Feeds windows of units through `look` until it stops; answers with the units until then.
pub(crate) fn walk_ramp(
    draws: &mut Draws,
    ramp: &[Stretch],
    window: u64,
    mut look: impl FnMut(&[Seen; 2]) -> bool,
) -> Option<u64> {
    let mut units = 0;
    for (bp, length, (candidate, baseline)) in ramp {
        let share = share(*bp);
        for _ in 0..length / window {
            let mine = draws.binomial(window, share.fraction());
            let seen = [
                (Arm::Candidate, share, mine, draws.binomial(mine, *candidate)),
                (Arm::Baseline, share, window - mine, draws.binomial(window - mine, *baseline)),
            ];
            units += window;
            if look(&seen) {
                return Some(units);
            }
        }
    }
    None
}

/// A canary process over a ramp.
pub(crate) fn walk_canary(
    draws: &mut Draws,
    claim: CanaryClaim,
    ramp: &[Stretch],
    window: u64,
) -> Option<u64> {
    let mut process = Betting::default();
    walk_ramp(draws, ramp, window, |seen| {
        for (arm, share, units, events) in *seen {
            for (x, times) in [(1.0, events), (0.0, units - events)] {
                process.observe_many(claim.stake(arm, share, x).unwrap(), times).unwrap();
            }
        }
        process.log_e().proves_at(ALPHA)
    })
}

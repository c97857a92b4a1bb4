//! The null holds with equality.

use cutover_stats::{
    Betting, CanaryClaim, Count, Direction, Draws, FractionClaim, PairClaim, Quantile, RateRatio,
    RatioClaim, Relation, SampleRatio,
};

use crate::harness::{ALPHA, Cells, RUNS, Stops, is_valid, score, share, walk_canary, walk_ramp};

/// Pairs to a proof; every pair is a look at first, then every tenth.
pub(crate) fn pairs(
    draws: &mut Draws,
    claim: PairClaim,
    cells: Cells,
    horizon: u64,
) -> Option<u64> {
    let mut process = Betting::default();
    (1..=horizon).find(|n| {
        let (candidate, baseline) = cells.draw(draws);
        process.observe(claim.stake(candidate, baseline).unwrap()).unwrap();
        (*n < 200 || n % 10 == 0) && process.log_e().proves_at(ALPHA)
    })
}

#[test]
fn quality_on_pairs() {
    // 0.92 against 0.95 times 0.92, different in 12 % of pairs.
    let cells = Cells::new(0.95 * 0.92, 0.92, 0.12);
    for (name, claim, horizon) in [
        ("quality retains 0.95", PairClaim::Retains(0.95), 4_140),
        ("quality falls short of 0.95", PairClaim::FallsShortOf(0.95), 3_720),
    ] {
        is_valid(name, &Stops::of(RUNS, |draws| pairs(draws, claim, cells, horizon)));
    }
}

#[test]
fn format_errors_on_pairs() {
    let cells = Cells::new(0.03, 0.02, 0.04);
    for (name, claim) in [
        ("invalid less than 1 pp above, pairs", PairClaim::ExcessBelow(0.01)),
        ("invalid more than 1 pp above, pairs", PairClaim::ExcessAbove(0.01)),
    ] {
        is_valid(name, &Stops::of(RUNS, |draws| pairs(draws, claim, cells, 6_000)));
    }
}

#[test]
fn errors_under_a_ramp_and_drift() {
    // The level of errors in both arms drifts by a factor of six while the weight goes up.
    let ramp = [
        (100, 10_000, (0.008, 0.003)),
        (500, 20_000, (0.023, 0.018)),
        (2_500, 15_000, (0.011, 0.006)),
        (7_500, 15_000, (0.008, 0.003)),
    ];
    for (name, direction) in [
        ("errors less than 0.5 pp above, ramp", Direction::Below),
        ("errors more than 0.5 pp above, ramp", Direction::Above),
    ] {
        let claim = CanaryClaim { direction, margin: 0.005 };
        is_valid(name, &Stops::of(RUNS, |draws| walk_canary(draws, claim, &ramp, 100)));
    }
}

#[test]
fn error_counts_under_a_ramp_and_drift() {
    let ramp = [
        (500, 20_000, (0.008, 0.008)),
        (1_000, 10_000, (0.040, 0.040)),
        (5_000, 14_000, (0.004, 0.004)),
    ];
    for (name, direction) in
        [("error ratio above 1", Direction::Above), ("error ratio below 1", Direction::Below)]
    {
        let claim = RatioClaim::new(direction, 1.0).unwrap();
        let stops = Stops::of(RUNS, |draws| {
            let mut process = RateRatio::new(claim);
            walk_ramp(draws, &ramp, 100, |seen| {
                for (arm, share, _, events) in *seen {
                    process.observe_many(arm, share, events);
                }
                process.log_e().proves_at(ALPHA)
            })
        });
        is_valid(name, &stops);
    }
}

/// Trials to a proof about a share; every trial is a look.
pub(crate) fn fraction(
    draws: &mut Draws,
    claim: FractionClaim,
    truth: f64,
    horizon: u64,
) -> Option<u64> {
    let mut count = Count::default();
    (1..=horizon).find(|_| {
        let hit = draws.chance(truth);
        count.trials += 1;
        count.hits += u64::from(hit);
        claim.log_e(count).proves_at(ALPHA)
    })
}

#[test]
fn a_share_over_a_limit() {
    for (name, direction, horizon) in
        [("share below 5 %", Direction::Below, 4_060), ("share above 5 %", Direction::Above, 1_570)]
    {
        let claim = FractionClaim::new(direction, 0.05).unwrap();
        is_valid(name, &Stops::of(RUNS, |draws| fraction(draws, claim, 0.05, horizon)));
    }
}

#[test]
fn the_split_of_units() {
    let ramp =
        [(500, 100_000, (0.0, 0.0)), (2_500, 70_000, (0.0, 0.0)), (5_000, 66_000, (0.0, 0.0))];
    let stops = Stops::of(RUNS, |draws| {
        let mut split = SampleRatio::new(share(500));
        walk_ramp(draws, &ramp, 1_000, |seen| {
            for (arm, share, units, _) in *seen {
                split.reweight(share);
                split.observe(arm, units);
            }
            split.log_e().proves_at(ALPHA)
        })
    });
    is_valid("units are split as intended", &stops);
}

/// Looks at a quantile: the counts at which it is looked at, with their ranks.
pub(crate) struct Looks(Vec<(u64, Option<u64>, Option<u64>)>);

impl Looks {
    pub(crate) fn new(n_opt: u64, horizon: u64) -> Self {
        let quantile = Quantile::new(0.95, n_opt).unwrap();
        let alpha = ALPHA.shared_by(2);
        let steps = (1..=horizon / 50).map(|k| k * 50);
        Self(
            steps
                .map(|n| (n, quantile.ranks(n, alpha).unwrap()))
                .map(|(n, ranks)| (n, ranks.low, ranks.high))
                .collect(),
        )
    }
}

/// The largest values of an arm: only they matter for a high quantile.
struct Tail {
    values: Vec<f64>,
    below: u64,
}

impl Tail {
    /// Adds observations whose 85 % quantile is the least that is kept. Lognormal, sigma 0.6.
    fn grow(&mut self, draws: &mut Draws, n: u64, scale: f64) {
        let kept = draws.binomial(n, 0.15);
        self.below += n - kept;
        self.values.extend((0..kept).map(|_| {
            // Beyond the 85 % quantile a normal variable is 1.036 + about exponential; the exact
            // shape does not matter for ranks, equal shapes in both arms do.
            scale * (0.6 * (1.036 + 0.42 * draws.exponential())).exp()
        }));
        self.values.sort_by(f64::total_cmp);
    }

    fn at(&self, rank: Option<u64>) -> Option<f64> {
        let index = rank?.checked_sub(self.below + 1)?;
        self.values.get(usize::try_from(index).ok()?).copied()
    }
}

/// Candidate's observations until the relation of the two 95 % quantiles is `wanted`. The baseline has
/// nine times as many.
pub(crate) fn relation(
    draws: &mut Draws,
    (candidate, baseline): (&Looks, &Looks),
    ratio: f64,
    wanted: Relation,
) -> Option<u64> {
    let empty = || Tail { values: Vec::new(), below: 0 };
    let (mut mine, mut theirs) = (empty(), empty());
    let mut seen = 0;
    candidate.0.iter().enumerate().find_map(|(k, (n, low, high))| {
        let (more, at) = (n - seen, *n);
        seen = at;
        mine.grow(draws, more, ratio);
        theirs.grow(draws, 9 * more, 1.0);
        let (_, base_low, base_high) = baseline.0[9 * (k + 1) - 1];
        let interval = |tail: &Tail, low, high| cutover_stats::Interval {
            low: tail.at(low).unwrap_or(f64::NEG_INFINITY),
            high: tail.at(high).unwrap_or(f64::INFINITY),
        };
        let found = cutover_stats::relate(
            interval(&mine, *low, *high),
            interval(&theirs, base_low, base_high),
            1.25,
        );
        (found == wanted).then_some(at)
    })
}

#[test]
fn a_relative_quantile() {
    let (candidate, baseline) = (Looks::new(750, 3_000), Looks::new(6_750, 27_000));
    for (name, wanted) in
        [("p95 within 1.25x", Relation::Within), ("p95 beyond 1.25x", Relation::Beyond)]
    {
        let stops =
            Stops::of(1_000, |draws| relation(draws, (&candidate, &baseline), 1.25, wanted));
        is_valid(name, &stops);
    }
}

#[test]
fn a_quantile_is_covered_at_every_look() {
    let quantile = Quantile::new(0.95, 500).unwrap();
    let ranks: Vec<_> = (0..=5_000).map(|n| quantile.ranks(n, ALPHA).unwrap()).collect();
    let stops = Stops::of(RUNS, |draws| {
        let mut below = 0;
        (1..=5_000).find(|n| {
            below += u64::from(draws.chance(0.95));
            let ranks = ranks[usize::try_from(*n).unwrap()];
            ranks.low.is_some_and(|low| below < low) || ranks.high.is_some_and(|high| below >= high)
        })
    });
    is_valid("p95 lies between its ranks", &stops);
}

#[test]
fn a_naive_score_would_do_in_one_look() {
    // The harness itself: a plain z-test at a single look has its nominal level.
    let stops = Stops::of(RUNS, |draws| {
        let hits: f64 = (0..400).map(|_| score(draws.chance(0.5))).sum();
        ((hits - 200.0) / 10.0 > 1.645).then_some(400)
    });
    is_valid("naive z, one look", &stops);
}

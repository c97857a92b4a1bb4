//! What the answers of both sides cost, at one volume, and what was saved. Pure.

use cutover_stats::{ClusterSums, Interval};
use cutover_tco::Nano;

use super::figures::{ALPHA, Figure, Line, Mean, Unit, difference, exact, line, scaled};
use super::sides::{Side, good};

pub(super) fn spent(side: &Side) -> Nano {
    side.requests.iter().filter_map(|one| one.cost).map(|cost| Nano(i128::from(cost.0))).sum()
}

/// What an answer costs, with what was spent beside it on requests that became none. Refused requests are free and no
/// answers: counted among those that the cost is multiplied by, they would have been saved on.
fn cost_of_one(side: &Side) -> Option<Mean> {
    let (mut sums, mut n, mut total) = (ClusterSums::default(), 0_u64, 0.0);
    for one in &side.requests {
        let Some(cost) = one.cost else { continue };
        let usd = cost.0 as f64 / 1e9;
        sums.observe(one.unit, usd, f64::from(u8::from(good(one)))).ok()?;
        n += u64::from(good(one));
        total += usd;
    }
    (n > 0 && side.is_priced()).then(|| (total / n as f64, sums.rate(), n))
}

/// Answers of 30 days: of both arms together, or of the period after. None from less than a day: the other hours are
/// not like those that were seen.
pub(super) fn volume([before, after]: [&Side; 2]) -> Option<f64> {
    let answers = after.answers().count() + if after.arm { before.answers().count() } else { 0 };
    (after.days >= 1.0).then(|| answers as f64 * 30.0 / after.days)
}

/// Both sides at one volume, so that the change is what an answer costs and not how many there were.
fn month(sides: [&Side; 2]) -> Line {
    let volume = volume(sides);
    let month = line("cost of 30 days at the same volume", Unit::Usd, sides, |side| {
        let (value, rate, n) = cost_of_one(side)?;
        let interval = rate.map(|rate| rate.interval(ALPHA));
        Some(scaled(Figure { value, interval, n }, volume?))
    });
    let change = volume.and_then(|volume| Some(scaled(difference(sides, cost_of_one)?, volume)));
    Line { change, ..month }
}

pub(super) fn costs(sides: [&Side; 2]) -> [Line; 3] {
    let thousand = line("cost of 1,000 answers", Unit::Usd, sides, |side| {
        let (value, rate, n) = cost_of_one(side)?;
        let interval = rate
            .map(|rate| rate.interval(ALPHA))
            .map(|i| Interval { low: i.low * 1e3, high: i.high * 1e3 });
        Some(Figure { value: value * 1e3, interval, n })
    });
    let change = difference(sides, cost_of_one).map(|found| scaled(found, 1e3));
    [
        line("cost, all priced requests", Unit::Usd, sides, |side| {
            let n = side.requests.iter().filter(|one| one.cost.is_some()).count();
            (n > 0).then(|| exact(spent(side).approx(), n))
        }),
        month(sides),
        Line { change, ..thousand },
    ]
}

/// What the answers after would have cost at the mean of those before, less what they cost. Of the answers that have a
/// price.
pub(super) fn saving(before: &Side, after: &Side) -> Option<Figure> {
    let n = (after.answers().count() - after.unpriced()) as f64;
    let change = difference([before, after], cost_of_one)?;
    let turned = change.interval.map(|i| Interval { low: -i.high, high: -i.low });
    Some(scaled(Figure { value: 0.0 - change.value, interval: turned, n: change.n }, n))
}

//! A figure with its interval, and the line of the table that it stands in. Pure.
//!
//! Intervals are at 95 % and two-sided; those of means and sums are the jackknife's over units.

use cutover_stats::{Alpha, ClusterRate, ClusterSums, Interval};

use super::sides::Side;

pub(super) const ALPHA: Alpha = Alpha::FIVE_PERCENT;

/// A mean, its error by units, and how many values it is of.
pub(super) type Mean = (f64, Option<ClusterRate>, u64);

/// A figure with its interval and what it rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    pub(super) value: f64,
    pub(super) interval: Option<Interval>,
    pub(super) n: u64,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Usd,
    Seconds,
    Share,
    Points,
}

/// One line of the table.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) before: Option<Figure>,
    pub(super) after: Option<Figure>,
    /// After minus before.
    pub(super) change: Option<Figure>,
}

pub(super) fn exact(value: f64, n: usize) -> Figure {
    Figure { value, interval: None, n: n as u64 }
}

pub(super) fn line(
    name: &'static str,
    unit: Unit,
    [before, after]: [&Side; 2],
    of: impl Fn(&Side) -> Option<Figure>,
) -> Line {
    let (before, after) = (of(before), of(after));
    let change = before.zip(after).map(|(b, a)| Figure {
        value: a.value - b.value,
        interval: None,
        n: a.n.min(b.n),
    });
    Line { name, unit, before, after, change }
}

/// A mean over requests with the units' error.
pub(super) fn mean(values: impl Iterator<Item = (u64, f64)>) -> Option<Mean> {
    let (mut sums, mut n, mut total) = (ClusterSums::default(), 0_u64, 0.0);
    for (unit, value) in values {
        sums.observe(unit, value, 1.0).ok()?;
        n += 1;
        total += value;
    }
    (n > 0).then(|| (total / n as f64, sums.rate(), n))
}

/// After minus before, of means.
pub(super) fn difference(
    [before, after]: [&Side; 2],
    of: impl Fn(&Side) -> Option<Mean>,
) -> Option<Figure> {
    let (before, after) = (of(before)?, of(after)?);
    let interval = before.1.zip(after.1).map(|(b, a)| a.minus(b).interval(ALPHA));
    Some(Figure { value: after.0 - before.0, interval, n: before.2.min(after.2) })
}

pub(super) fn scaled(figure: Figure, by: f64) -> Figure {
    let interval = figure.interval.map(|i| Interval { low: i.low * by, high: i.high * by });
    Figure { value: figure.value * by, interval, n: figure.n }
}

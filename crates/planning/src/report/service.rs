//! How both sides were served: latencies, errors, availability, rate limits. Pure.
//!
//! Intervals of shares are Wilson's and of their differences Newcombe's (both take requests as independent); those of
//! percentiles are ranks with the units' error.

use std::collections::BTreeMap;

use cutover_stats::Count;
use cutover_stats::fixed::{Clustered, clustered_quantile, dkw_quantile, newcombe, wilson};
use cutover_store::{Ending, Observed};
use cutover_units::Millis;

use super::figures::{ALPHA, Figure, Line, Unit, line};
use super::sides::{Side, good};

/// Time after which a rate limit begins a new incident.
const INCIDENT_GAP_MS: u64 = 10 * 60_000;
/// A window of availability: it counts as available if at least half of its requests were answered.
const WINDOW_MS: u64 = 5 * 60_000;

/// A request's time of one kind, in microseconds.
type Time<'a> = &'a dyn Fn(&Observed) -> Option<u64>;

/// A share of requests: its name, and how it is counted.
type Share = (&'static str, fn(&Side) -> Count);

pub(super) fn latencies(sides: [&Side; 2]) -> Vec<Line> {
    let total = |one: &Observed| Some(one.total_us);
    let first = |one: &Observed| one.first_token_us;
    let all: [(&'static str, f64, Time<'_>); 6] = [
        ("latency p50", 0.5, &total),
        ("latency p95", 0.95, &total),
        ("latency p99", 0.99, &total),
        ("first token p50", 0.5, &first),
        ("first token p95", 0.95, &first),
        ("first token p99", 0.99, &first),
    ];
    all.into_iter()
        .map(|(name, p, of)| line(name, Unit::Seconds, sides, |side| percentile(side, p, of)))
        .collect()
}

/// Of answered requests only: a fast error is no fast answer.
fn percentile(side: &Side, p: f64, of: &dyn Fn(&Observed) -> Option<u64>) -> Option<Figure> {
    let seconds = |us: u64| us as f64 / 1e6;
    let values: Vec<Clustered> = side
        .requests
        .iter()
        .filter(|one| good(one))
        .filter_map(|one| Some(Clustered { unit: one.unit, value: seconds(of(one)?) }))
        .collect();
    let n = values.len() as u64;
    // Beyond the last few values the units' error shows nothing: the wide band does, and knows no end.
    let enough = values.len() as f64 * p.min(1.0 - p) >= 10.0;
    if enough && let Ok((value, interval)) = clustered_quantile(&values, p, ALPHA) {
        return Some(Figure { value, interval: Some(interval), n });
    }
    let mut sorted: Vec<f64> = values.iter().map(|one| one.value).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (1..=sorted.len()).find(|rank| *rank as f64 >= p * sorted.len() as f64)?;
    let interval = dkw_quantile(&sorted, p, ALPHA).ok();
    Some(Figure { value: sorted[rank - 1], interval, n })
}

pub(super) fn shares(sides: [&Side; 2]) -> Vec<Line> {
    let all: [Share; 4] = [
        ("error rate", errors),
        ("rate limited", |side| count(&side.requests, |one| one.rate_limited)),
        ("availability", available),
        ("fallback rate", |side| {
            let candidates: Vec<Observed> =
                side.requests.iter().filter(|one| one.candidate).copied().collect();
            count(&candidates, |one| one.failed_over)
        }),
    ];
    all.into_iter().map(|(name, of)| share(name, sides, of)).collect()
}

fn count(requests: &[Observed], hit: impl Fn(&Observed) -> bool) -> Count {
    Count {
        hits: requests.iter().filter(|one| hit(one)).count() as u64,
        trials: requests.len() as u64,
    }
}

fn errors(side: &Side) -> Count {
    let ours: Vec<Observed> =
        side.requests.iter().filter(|one| one.ending != Ending::Aside).copied().collect();
    count(&ours, |one| one.ending == Ending::Bad)
}

/// Windows of five minutes with requests, and those of them in which at least half were answered.
fn available(side: &Side) -> Count {
    let mut windows: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for one in side.requests.iter().filter(|one| one.ending != Ending::Aside) {
        let (well, all) = windows.entry(one.at.0 / WINDOW_MS).or_default();
        *well += u64::from(good(one));
        *all += 1;
    }
    let up = windows.values().filter(|(well, all)| well * 2 >= *all).count() as u64;
    Count { hits: up, trials: windows.len() as u64 }
}

fn share(name: &'static str, [before, after]: [&Side; 2], of: fn(&Side) -> Count) -> Line {
    let (before, after) = (of(before), of(after));
    let figure = |count: Count| {
        let value = count.share()?;
        Some(Figure { value, interval: Some(wilson(count, ALPHA)), n: count.trials })
    };
    let (first, second) = (figure(before), figure(after));
    let change = first.zip(second).map(|(b, a)| Figure {
        value: a.value - b.value,
        interval: Some(newcombe(after, before, ALPHA)),
        n: a.n.min(b.n),
    });
    Line { name, unit: Unit::Share, before: first, after: second, change }
}

pub(super) fn incidents(requests: &[Observed]) -> u64 {
    let mut times: Vec<Millis> =
        requests.iter().filter(|one| one.rate_limited).map(|one| one.at).collect();
    times.sort_unstable();
    let apart = times.windows(2).filter(|pair| pair[1].0 - pair[0].0 > INCIDENT_GAP_MS).count();
    apart as u64 + u64::from(!times.is_empty())
}

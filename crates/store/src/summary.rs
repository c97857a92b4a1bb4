//! What a window's records say, per use case, arm and variant.
//!
//! Pure: records go in one by one, the summary comes out. Quantiles are exact (nearest rank) and of
//! successful requests only, because a fast error is no fast answer.

use std::collections::BTreeMap;

use cutover_units::{Arm, Micros, Millis, NanoUsd, Side, UseCaseName, codes};

/// Most records that one summary reads; the newest of a larger window count, and the summary says
/// so. A million takes about a second on the store's thread and 16 MB.
pub const SUMMARY_RECORDS_MAX: usize = 1_000_000;

/// Which records to sum up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// From this time on.
    pub from: Millis,
    /// Up to, not including, this time.
    pub until: Millis,
    /// Only this use case.
    pub use_case: Option<UseCaseName>,
}

/// Median and 95th percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Half of the values are at or below it.
    pub p50: Micros,
    /// 95 of 100 are at or below it.
    pub p95: Micros,
}

/// One line of the summary: requests assigned to one arm and answered by one variant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The use case; none for the default upstream.
    pub use_case: Option<String>,
    /// The assigned arm's word.
    pub arm: String,
    /// The variant that answered or was tried last; none if none was.
    pub variant: Option<String>,
    /// All requests.
    pub requests: u64,
    /// Ended well.
    pub ok: u64,
    /// Ended with an error of the client's making.
    pub client_errors: u64,
    /// Ended with an error of the upstream's or cutover's making, broken streams included.
    pub errors: u64,
    /// Left by the client before the end.
    pub client_gone: u64,
    /// Answered by another arm than the assigned one.
    pub failed_over: u64,
    /// Time to the first content of a stream; none without a successful stream.
    pub first_token: Option<Spread>,
    /// Time to the last byte; none without a success.
    pub total: Option<Spread>,
    /// Prompt tokens.
    pub prompt_tokens: u64,
    /// Completion tokens.
    pub completion_tokens: u64,
    /// Cost of the requests that have a price.
    pub cost: NanoUsd,
    /// Successful requests without a price: `cost` says nothing of them.
    pub unpriced: u64,
}

/// What a window's records say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// In order of use case, arm and variant; the default upstream first.
    pub rows: Vec<Row>,
    /// Whether the window has more than [`SUMMARY_RECORDS_MAX`] records, of which the oldest are not
    /// counted.
    pub truncated: bool,
}

/// What the summary reads of one record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen<'a> {
    pub(crate) use_case: Option<&'a str>,
    pub(crate) arm: &'a str,
    pub(crate) variant: Option<&'a str>,
    pub(crate) outcome: &'a str,
    pub(crate) code: Option<&'a str>,
    pub(crate) failed_over: bool,
    pub(crate) first_token_us: Option<u64>,
    pub(crate) total_us: u64,
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
    pub(crate) cost_nano_usd: Option<u64>,
}

#[derive(Debug, Default)]
struct Group {
    row: Row,
    /// Microseconds; 71 minutes and more count as 71 minutes.
    first_tokens: Vec<u32>,
    totals: Vec<u32>,
}

/// Use case, arm, variant.
type Place = (Option<Box<str>>, Box<str>, Option<Box<str>>);

/// Sums records up.
#[derive(Debug, Default)]
pub(crate) struct Summing {
    groups: BTreeMap<Place, usize>,
    sums: Vec<Group>,
    /// The group of the record before: neighbours are mostly of the same few groups, and this saves
    /// the key's allocation.
    last: Option<usize>,
}

impl Summing {
    pub(crate) fn add(&mut self, seen: &Seen<'_>) {
        let at = self.group(seen);
        let Some(group) = self.sums.get_mut(at) else { return };
        let row = &mut group.row;
        row.requests += 1;
        row.failed_over += u64::from(seen.failed_over);
        // Rows of earlier versions have whatever an upstream told.
        let add = |sum: &mut u64, more: Option<u64>| *sum = sum.saturating_add(more.unwrap_or(0));
        add(&mut row.prompt_tokens, seen.prompt_tokens);
        add(&mut row.completion_tokens, seen.completion_tokens);
        add(&mut row.cost.0, seen.cost_nano_usd);
        match end(seen) {
            End::Ok => {
                row.ok += 1;
                row.unpriced += u64::from(seen.cost_nano_usd.is_none());
                group.totals.push(clamp(seen.total_us));
                group.first_tokens.extend(seen.first_token_us.map(clamp));
            }
            End::ClientError => row.client_errors += 1,
            End::Error => row.errors += 1,
            End::ClientGone => row.client_gone += 1,
        }
    }

    fn group(&mut self, seen: &Seen<'_>) -> usize {
        let same = |row: &Row| {
            row.use_case.as_deref() == seen.use_case
                && row.arm == seen.arm
                && row.variant.as_deref() == seen.variant
        };
        if let Some(at) = self.last.filter(|at| self.sums.get(*at).is_some_and(|g| same(&g.row))) {
            return at;
        }
        let key = (seen.use_case.map(Box::from), Box::from(seen.arm), seen.variant.map(Box::from));
        let at = *self.groups.entry(key).or_insert(self.sums.len());
        if at == self.sums.len() {
            let row = Row {
                use_case: seen.use_case.map(str::to_owned),
                arm: seen.arm.to_owned(),
                variant: seen.variant.map(str::to_owned),
                ..Row::default()
            };
            self.sums.push(Group { row, ..Group::default() });
        }
        self.last = Some(at);
        at
    }

    pub(crate) fn finish(mut self, truncated: bool) -> Summary {
        let mut rows: Vec<Row> = self
            .sums
            .drain(..)
            .map(|group| Row {
                first_token: spread(group.first_tokens),
                total: spread(group.totals),
                ..group.row
            })
            .collect();
        let place = |row: &Row| {
            let arm = Arm::ALL.iter().position(|arm| arm.as_str() == row.arm);
            (row.use_case.clone(), arm, row.variant.clone())
        };
        rows.sort_by_cached_key(place);
        Summary { rows, truncated }
    }
}

enum End {
    Ok,
    ClientError,
    Error,
    ClientGone,
}

/// The code decides, not the status: a stream that broke off had status 200.
fn end(seen: &Seen<'_>) -> End {
    if seen.outcome == "client_gone" {
        return End::ClientGone;
    }
    let Some(code) = seen.code else {
        return if seen.outcome == "ok" { End::Ok } else { End::Error };
    };
    let row = codes::TABLE.iter().find(|row| row.name == code);
    match row.map(|row| row.side) {
        Some(Side::Client) => End::ClientError,
        // A code of another version counts against us rather than nowhere.
        Some(Side::Upstream | Side::Us) | None => End::Error,
    }
}

fn clamp(us: u64) -> u32 {
    u32::try_from(us).unwrap_or(u32::MAX)
}

fn spread(mut values: Vec<u32>) -> Option<Spread> {
    values.sort_unstable();
    Some(Spread { p50: rank(&values, 50)?, p95: rank(&values, 95)? })
}

/// The nearest-rank percentile of sorted values.
fn rank(sorted: &[u32], percent: usize) -> Option<Micros> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|us| Micros(u64::from(*us)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!(spread(values), Some(Spread { p50: Micros(50), p95: Micros(95) }));
        assert_eq!(spread(vec![7]), Some(Spread { p50: Micros(7), p95: Micros(7) }));
        assert_eq!(spread(vec![]), None);
    }

    #[test]
    fn a_broken_stream_is_an_error_and_a_fast_error_does_not_lower_the_latency() {
        let mut summing = Summing::default();
        let seen = Seen { arm: "baseline", outcome: "ok", total_us: 900, ..Seen::default() };
        summing.add(&seen);
        let code = Some("stream_interrupted");
        summing.add(&Seen { outcome: "interrupted", code, total_us: 5, ..seen.clone() });
        let code = Some("invalid_json");
        summing.add(&Seen { outcome: "client_error", code, total_us: 5, ..seen.clone() });
        summing.add(&Seen { outcome: "client_gone", total_us: 5, ..seen });
        let summary = summing.finish(false);
        let row = &summary.rows[0];
        let counts = (row.requests, row.ok, row.errors, row.client_errors, row.client_gone);
        assert_eq!(counts, (4, 1, 1, 1, 1));
        assert_eq!(row.total, Some(Spread { p50: Micros(900), p95: Micros(900) }));
        assert_eq!((row.cost, row.unpriced), (NanoUsd(0), 1));
    }

    #[test]
    fn rows_come_in_order_of_use_case_and_arm() {
        let mut summing = Summing::default();
        for (use_case, arm) in [
            (Some("b"), "candidate"),
            (Some("b"), "baseline"),
            (Some("a"), "baseline"),
            (None, "default"),
        ] {
            summing.add(&Seen { use_case, arm, outcome: "ok", ..Seen::default() });
        }
        let rows = summing.finish(false).rows;
        let places: Vec<_> = rows.iter().map(|r| (r.use_case.as_deref(), r.arm.as_str())).collect();
        let expected = [
            (None, "default"),
            (Some("a"), "baseline"),
            (Some("b"), "baseline"),
            (Some("b"), "candidate"),
        ];
        assert_eq!(places, expected);
    }

    proptest! {
        #[test]
        fn every_request_ends_in_exactly_one_way(
            ends in prop::collection::vec(
                (prop::sample::select(vec!["ok", "client_gone", "interrupted", "upstream_error"]),
                 prop::option::of(prop::sample::select(vec!["invalid_json", "bad_gateway", "unheard"]))),
                0..50)
        ) {
            let mut summing = Summing::default();
            for (outcome, code) in &ends {
                summing.add(&Seen { arm: "baseline", outcome, code: *code, ..Seen::default() });
            }
            let rows = summing.finish(false).rows;
            let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(|r| r.requests), ends.len() as u64);
            prop_assert_eq!(
                sum(|r| r.ok + r.client_errors + r.errors + r.client_gone),
                ends.len() as u64
            );
        }
    }
}

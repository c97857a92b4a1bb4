//! Is the same usage in the files twice?
//!
//! Rows with an identity (a request's id, a bucket's span and names) that come again are refused one by
//! one. What has no common identity is compared by provider and day: a request log beside a usage report,
//! two tools' logs, two groupings of one report.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cutover_units::{Millis, Utc};

use super::record::{Granularity, UsageRecord, identity};

/// Identities that are kept; with more, one in 2, 4, 8 ... is watched, and the report says so.
const IDENTITIES_MAX: usize = 2_000_000;

/// Cells of file, provider and day.
const CELLS_MAX: usize = 300_000;

/// What is known of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// Its name.
    pub name: String,
    /// Its format's name.
    pub format: Option<&'static str>,
    /// Rows that counted.
    pub used: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// Rows that are no usage of a model, by reason.
    pub aside: BTreeMap<&'static str, u64>,
    /// Rows outside of the time asked for.
    pub outside: u64,
    /// Of the refused ones, those that had come before.
    pub repeated: u64,
    /// The first refused rows: line, row and why.
    pub bad: Vec<(u64, u64, String)>,
    /// Its bytes.
    pub bytes: u64,
    /// Its encoding, if it was another than UTF-8.
    pub encoding: Option<&'static str>,
    /// Rows whose time named no offset.
    pub naive_times: u64,
}

impl FileFacts {
    /// All rows.
    pub fn rows(&self) -> u64 {
        self.used + self.refused + self.outside + self.aside.values().sum::<u64>()
    }
}

/// Files that have the same usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The two files.
    pub files: (String, String),
    /// The provider.
    pub provider: String,
    /// The first and the last day of it.
    pub days: (String, String),
    /// How many days.
    pub count: u64,
    /// Why it is the same usage.
    pub why: &'static str,
}

#[derive(Debug, Default)]
struct Cell {
    requests: bool,
    buckets: bool,
    invoices: bool,
    /// Which labels buckets are split by.
    grouping: u8,
    anonymous: u64,
    checksum: u64,
}

/// Watches records of all files.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: HashSet<u64>,
    /// Identities are watched if this many low bits are zero.
    sampled_bits: u32,
    repeated_in_sample: u64,
    cells: HashMap<(u32, Arc<str>, u32), Cell>,
    full: bool,
}

/// One way to say it.
pub(crate) const REPEATED: &str = "it came before: the same request or bucket would count twice";

impl Watch {
    /// Whether the identity came before.
    pub(crate) fn repeats(&mut self, identity: u64) -> bool {
        let mask = (1u64 << self.sampled_bits) - 1;
        if identity & mask != 0 {
            return false;
        }
        if !self.seen.insert(identity) {
            self.repeated_in_sample += 1;
            return true;
        }
        if self.seen.len() > IDENTITIES_MAX {
            self.sampled_bits += 1;
            let mask = (1u64 << self.sampled_bits) - 1;
            self.seen.retain(|identity| identity & mask == 0);
            self.repeated_in_sample = 0;
        }
        false
    }

    /// One in so many identities was watched at the end.
    pub(crate) fn sampling(&self) -> u64 {
        1 << self.sampled_bits
    }

    /// Whether rows were repeated that nobody could refuse one by one.
    pub(crate) fn repeats_unseen(&self) -> bool {
        self.sampled_bits > 0 && self.repeated_in_sample > 0
    }

    /// Whether there were more days and files than are watched.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    pub(crate) fn note(&mut self, file: u32, provider: &Arc<str>, record: &UsageRecord) {
        let key = (file, Arc::clone(provider), day(record.from));
        if self.cells.len() >= CELLS_MAX && !self.cells.contains_key(&key) {
            self.full = true;
            return;
        }
        let cell = self.cells.entry(key).or_default();
        match record.granularity {
            Granularity::Request => cell.requests = true,
            Granularity::Bucket => cell.buckets = true,
            Granularity::Invoice => cell.invoices = true,
        }
        let labels = &record.labels;
        let parts = [
            record.model.is_some(),
            labels.project.is_some(),
            labels.key.is_some(),
            labels.user.is_some(),
            labels.use_case.is_some(),
        ];
        if record.granularity == Granularity::Bucket {
            for (at, is_there) in parts.into_iter().enumerate() {
                cell.grouping |= u8::from(is_there) << at;
            }
        }
        if record.identity.is_none() {
            cell.anonymous += 1;
            cell.checksum = cell.checksum.wrapping_add(record.digest());
        }
    }

    /// What is in two files.
    pub(crate) fn overlaps(&self, files: &[FileFacts]) -> Vec<Overlap> {
        let mut places: BTreeMap<(&str, u32), Vec<(u32, &Cell)>> = BTreeMap::new();
        for ((file, provider, day), cell) in &self.cells {
            places.entry((provider, *day)).or_default().push((*file, cell));
        }
        let mut found: BTreeMap<(u32, u32, &str, &'static str), BTreeSet<u32>> = BTreeMap::new();
        for ((provider, day), mut cells) in places {
            cells.sort_by_key(|(file, _)| *file);
            for (at, (first, a)) in cells.iter().enumerate() {
                for (second, b) in &cells[at + 1..] {
                    let format = |file: u32| {
                        files.get(file as usize).and_then(|facts| facts.format).unwrap_or_default()
                    };
                    if let Some(why) = same(a, b, (format(*first), format(*second))) {
                        found.entry((*first, *second, provider, why)).or_default().insert(day);
                    }
                }
            }
        }
        let name = |file: u32| files.get(file as usize).map(|f| f.name.clone()).unwrap_or_default();
        let shown = |day: Option<&u32>| day.map(|day| day_text(*day)).unwrap_or_default();
        found
            .into_iter()
            .map(|((first, second, provider, why), days)| Overlap {
                files: (name(first), name(second)),
                provider: provider.to_owned(),
                days: (shown(days.first()), shown(days.last())),
                count: days.len() as u64,
                why,
            })
            .collect()
    }
}

/// Why two files' cells of one provider and day are the same usage.
fn same(a: &Cell, b: &Cell, formats: (&str, &str)) -> Option<&'static str> {
    if a.invoices && b.invoices && formats.0 != formats.1 {
        return Some("both have the invoice of the same days");
    }
    if (a.requests && b.buckets) || (a.buckets && b.requests) {
        return Some("one has the requests and the other sums of the same days");
    }
    if a.buckets && b.buckets && (formats.0 != formats.1 || a.grouping != b.grouping) {
        return Some("both have sums of the same days, grouped in another way");
    }
    if a.requests && b.requests && formats.0 != formats.1 {
        return Some("two tools logged requests to the same provider on the same days");
    }
    let twins = a.anonymous > 0 && a.anonymous == b.anonymous && a.checksum == b.checksum;
    twins.then_some("both have exactly the same rows")
}

/// Days since 1970.
pub(crate) fn day(at: Millis) -> u32 {
    u32::try_from(at.0 / 86_400_000).unwrap_or(u32::MAX)
}

/// A day as a calendar shows it.
pub(crate) fn day_text(day: u32) -> String {
    let Utc { year, month, day, .. } = Utc::at(Millis(u64::from(day) * 86_400_000));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Two records of one place in the sums.
pub(crate) fn place(provider: &str, model: &str, use_case: &str) -> u64 {
    identity((provider, model, use_case))
}

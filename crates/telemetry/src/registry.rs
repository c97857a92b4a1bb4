//! Where handles come from and where a scrape finds them.
//!
//! One mutex guards the maps. It is held for a look-up when a handle is taken and for a copy of the
//! list when a scrape begins, never while a number changes and never while text is written.

mod departed;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cutover_units::Micros;

use cutover_units::Millis;

use crate::events::LogLimits;
use crate::handles::{Counter, Gauge, Histogram};
use crate::stderr;
use crate::table::{Family, Kind, Metric, Row, TABLE, families};
use crate::text::{self, Format};

use departed::Departed;
pub use departed::LINGER;

/// The most series one metric may have. A thousand use cases with two arms fit; a label that a
/// client can vary at will does not grow memory without end.
pub const SERIES_MAX: usize = 2_048;

/// The value of every label of the series that counts what is past [`SERIES_MAX`]. A name cannot
/// begin with an underscore, so it is never a use case's own.
pub const OTHER: &str = "_other";

/// The label value for "there is none", such as the use case of a request that none matched. A name
/// cannot be this.
pub const NONE: &str = "-";

pub(crate) type Labels = Arc<[Box<str>]>;

/// A kind's series: for each metric of the table a map from label values.
pub(crate) struct Shelf<T>(Vec<BTreeMap<Labels, T>>);

impl<T: Clone> Shelf<T> {
    fn new() -> Self {
        Self(TABLE.iter().map(|_| BTreeMap::new()).collect())
    }

    /// The series with these label values, made if need be, and whether it had to be [`OTHER`].
    fn take(&mut self, metric: Metric, values: &[&str], make: impl FnOnce() -> T) -> (T, bool) {
        let series = &mut self.0[metric as usize];
        let mut labels: Labels = values.iter().map(|value| Box::from(*value)).collect();
        if let Some(found) = series.get(&labels) {
            return (found.clone(), false);
        }
        let full = series.len() >= SERIES_MAX;
        if full {
            labels = values.iter().map(|_| Box::from(OTHER)).collect();
        }
        (series.entry(labels).or_insert_with(make).clone(), full)
    }

    /// Whether this would be a series too many.
    fn lacks_room(&self, metric: Metric, values: &[&str]) -> bool {
        let series = &self.0[metric as usize];
        series.len() >= SERIES_MAX
            && !series
                .contains_key(&values.iter().map(|value| Box::from(*value)).collect::<Labels>())
    }

    /// Makes a series before its time, if half of the room stays for what really happens.
    fn open(&mut self, metric: Metric, values: &[&str])
    where
        T: Default,
    {
        if self.0[metric as usize].len() < SERIES_MAX / 2 {
            self.take(metric, values, T::default);
        }
    }

    fn forget(&mut self, metric: Metric, values: &[&str]) {
        let are_these =
            |labels: &Labels| labels.iter().map(|label| &**label).eq(values.iter().copied());
        self.0[metric as usize].retain(|labels, _| !are_these(labels));
    }

    fn copy(&self, metric: Metric) -> Vec<(Labels, T)> {
        self.0[metric as usize].iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// What has a shelf of its own kind.
trait Shelved: Clone {
    fn shelf(shelves: &mut Shelves) -> &mut Shelf<Self>;
}

impl Shelved for Counter {
    fn shelf(shelves: &mut Shelves) -> &mut Shelf<Self> {
        &mut shelves.counters
    }
}

impl Shelved for Gauge {
    fn shelf(shelves: &mut Shelves) -> &mut Shelf<Self> {
        &mut shelves.gauges
    }
}

impl Shelved for Histogram {
    fn shelf(shelves: &mut Shelves) -> &mut Shelf<Self> {
        &mut shelves.histograms
    }
}

struct Shelves {
    counters: Shelf<Counter>,
    gauges: Shelf<Gauge>,
    histograms: Shelf<Histogram>,
    departed: Departed,
}

/// One metric's series at the time of a scrape.
pub(crate) enum Series {
    Counters(Vec<(Labels, Counter)>),
    Gauges(Vec<(Labels, Gauge)>),
    Histograms(Vec<(Labels, Histogram)>),
}

type Hook = Arc<dyn Fn() + Send + Sync>;

struct Inner {
    shelves: Mutex<Shelves>,
    /// Held while a scrape has all handles.
    scraping: Mutex<()>,
    hooks: Mutex<Vec<Hook>>,
    limits: LogLimits,
}

/// All series of this process. A clone is the same registry.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

/// A panic elsewhere while the lock was held leaves a map that is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            shelves: Mutex::new(Shelves {
                counters: Shelf::new(),
                gauges: Shelf::new(),
                histograms: Shelf::new(),
                departed: Departed::default(),
            }),
            scraping: Mutex::default(),
            hooks: Mutex::new(Vec::new()),
            limits: LogLimits::default(),
        }))
    }

    /// A counter's handle. The same labels give the same counter.
    pub fn counter<const N: usize>(
        &self,
        family: Family<Counter, N>,
        values: [&str; N],
    ) -> Counter {
        self.take(family.metric, &values, Counter::default)
    }

    /// Makes the series, at 0, that have no label of a name: what Prometheus has never seen at 0 has not risen for
    /// it when it appears as 1.
    pub fn open(&self) {
        let nameless =
            |row: &&Row| row.labels.is_empty() || row.opens.is_some_and(|o| !o.is_empty());
        for row in TABLE.iter().filter(|row| row.labels.len() < 2).filter(nameless) {
            self.open_row(row, &[]);
        }
    }

    /// The same for a name: a use case's, an upstream's, a webhook's.
    pub fn open_for(&self, label: &str, name: &str) {
        for row in TABLE.iter().filter(|row| row.labels.first().is_some_and(|own| *own == label)) {
            self.open_row(row, &[name]);
        }
    }

    fn open_row(&self, row: &Row, names: &[&str]) {
        let Some(values) = row.opens else { return };
        let counters = &mut lock(&self.0.shelves).counters;
        if row.labels.len() == names.len() {
            counters.open(row.metric, names);
        } else {
            for value in values {
                counters.open(row.metric, &[names, &[*value]].concat());
            }
        }
    }

    /// What a family's counters read whose first label has this value: by last label. None is made.
    pub fn counts<const N: usize>(
        &self,
        family: Family<Counter, N>,
        first: &str,
    ) -> BTreeMap<String, u64> {
        let series = lock(&self.0.shelves).counters.copy(family.metric);
        let mine =
            series.into_iter().filter(|(labels, _)| labels.first().is_some_and(|l| **l == *first));
        let mine =
            mine.filter_map(|(labels, counter)| Some((labels.last()?.to_string(), counter.get())));
        mine.filter(|(_, count)| *count > 0).collect()
    }

    /// A gauge's handle. The same labels give the same gauge.
    pub fn gauge<const N: usize>(&self, family: Family<Gauge, N>, values: [&str; N]) -> Gauge {
        self.take(family.metric, &values, Gauge::default)
    }

    /// Forgets one gauge, whose figure is not known any more.
    pub fn forget<const N: usize>(&self, family: Family<Gauge, N>, values: [&str; N]) {
        lock(&self.0.shelves).gauges.forget(family.metric, &values);
    }

    /// A histogram's handle. The same labels give the same histogram.
    pub fn histogram<const N: usize>(
        &self,
        family: Family<Histogram, N>,
        values: [&str; N],
    ) -> Histogram {
        let bounds: &'static [Micros] = match family.row().kind {
            Kind::Histogram(bounds) => bounds,
            Kind::Counter | Kind::Gauge => &[],
        };
        self.take(family.metric, &values, || Histogram::new(bounds))
    }

    fn take<T: Shelved>(&self, metric: Metric, values: &[&str], make: impl FnOnce() -> T) -> T {
        let (handle, overflowed) = {
            let shelves = &mut *lock(&self.0.shelves);
            if T::shelf(shelves).lacks_room(metric, values) {
                shelves.make_room();
            }
            T::shelf(shelves).take(metric, values, make)
        };
        // The overflow counter has one series per metric, so it cannot itself overflow.
        if overflowed {
            self.counter(families::SERIES_OVERFLOWS, [metric.row().name]).inc();
        }
        handle
    }

    /// Runs `hook` before each scrape: for numbers that are kept elsewhere and only mirrored here.
    pub fn on_scrape(&self, hook: impl Fn() + Send + Sync + 'static) {
        lock(&self.0.hooks).push(Arc::new(hook));
    }

    /// All series as text for Prometheus.
    pub fn render(&self, format: Format) -> String {
        let hooks = lock(&self.0.hooks).clone();
        for hook in hooks {
            hook();
        }
        let _scraping = lock(&self.0.scraping);
        text::write(format, &self.copy())
    }

    fn copy(&self) -> Vec<(Metric, Series)> {
        let shelves = &*lock(&self.0.shelves);
        let of = |metric: Metric| match metric.row().kind {
            Kind::Counter => Series::Counters(shelves.counters.copy(metric)),
            Kind::Gauge => Series::Gauges(shelves.gauges.copy(metric)),
            Kind::Histogram(_) => Series::Histograms(shelves.histograms.copy(metric)),
        };
        TABLE.iter().map(|row| (row.metric, of(row.metric))).collect()
    }

    /// Tells how many log lines were left out where no line of their own will. To be called every
    /// second or so.
    pub fn tell_left_out(&self, now: Millis) {
        self.0.limits.tell(self, now);
        let unread = stderr::left_out();
        if unread > 0 {
            self.counter(families::LOG_LINES_LEFT_OUT, ["error_stream"]).raise_to(unread);
        }
    }

    pub(crate) fn limits(&self) -> &LogLimits {
        &self.0.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_labels_give_the_same_series() {
        let registry = Registry::new();
        registry.counter(families::LIMITS_HIT, ["body"]).add(2);
        registry.counter(families::LIMITS_HIT, ["body"]).inc();
        assert_eq!(registry.counter(families::LIMITS_HIT, ["body"]).get(), 3);
    }

    #[test]
    fn counts_are_of_one_use_case_and_make_no_series() {
        let registry = Registry::new();
        registry.counter(families::SHADOW_DROPPED, ["docs", "queue_full"]).add(2);
        registry.counter(families::SHADOW_DROPPED, ["docs", "busy"]).add(0);
        registry.counter(families::SHADOW_DROPPED, ["other", "queue_full"]).inc();
        let found = registry.counts(families::SHADOW_DROPPED, "docs");
        assert_eq!(found, BTreeMap::from([("queue_full".to_owned(), 2)]));
        assert!(registry.counts(families::SHADOW_DROPPED, "nobody").is_empty());
    }

    #[test]
    fn past_the_limit_a_series_goes_to_other_and_is_counted() {
        let registry = Registry::new();
        for n in 0..SERIES_MAX + 10 {
            registry.counter(families::LIMITS_HIT, [&n.to_string()]).inc();
        }
        assert_eq!(registry.counter(families::LIMITS_HIT, [OTHER]).get(), 10);
        let overflows = registry.counter(families::SERIES_OVERFLOWS, ["cutover_limits_hit_total"]);
        assert_eq!(overflows.get(), 10);
        assert_eq!(registry.counter(families::LIMITS_HIT, ["0"]).get(), 1, "old series stay");
    }

    #[test]
    fn a_vanished_use_case_is_forgotten_and_its_handles_stay_usable() {
        let registry = Registry::new();
        let gone = registry.gauge(families::WEIGHT, ["gone"]);
        registry.gauge(families::WEIGHT, ["kept"]).set(5);
        registry.counter(families::ERRORS, [NONE, "default", "not_found"]).inc();
        registry.retain("use_case", |name| name == "kept");
        gone.set(7);
        let text = registry.render(Format::Text);
        assert!(text.contains("{use_case=\"kept\"} 5"), "{text}");
        assert!(text.contains("use_case=\"-\""), "{text}");
        assert!(!text.contains("gone"), "{text}");
    }

    #[test]
    fn a_scrape_shows_what_its_hooks_bring() {
        let registry = Registry::new();
        let written = registry.counter(families::RECORDS_WRITTEN, []);
        registry.on_scrape(move || written.raise_to(41));
        assert!(registry.render(Format::Text).contains("cutover_records_written_total 41\n"));
    }

    #[test]
    fn what_may_happen_is_there_at_zero_before_it_does() {
        let registry = Registry::new();
        registry.open();
        registry.open_for("use_case", "docs");
        registry.open_for("use_case", "docs");
        let text = registry.render(Format::Text);
        for series in [
            "cutover_weight_changes_total{use_case=\"docs\",action=\"rolled_back\"} 0",
            "cutover_rollout_observations_lost_total{use_case=\"docs\"} 0",
            "cutover_records_dropped_total{reason=\"queue_full\"} 0",
            "cutover_responses_dropped_total 0",
        ] {
            assert_eq!(text.matches(series).count(), 1, "{series}: {text}");
        }
        assert!(!text.contains("use_case=\"\""), "{text}");
        assert!(!text.contains("cutover_retries_held_back_total{"), "{text}");
    }

    #[test]
    fn thousands_of_names_leave_room_for_what_happens() {
        let registry = Registry::new();
        for number in 0..SERIES_MAX {
            registry.open_for("use_case", &number.to_string());
        }
        let decided = registry.counter(families::ROLLOUT_DECISIONS, ["late", "roll_back"]);
        decided.inc();
        assert_eq!(registry.counter(families::ROLLOUT_DECISIONS, [OTHER, OTHER]).get(), 0);
    }

    #[test]
    fn only_counters_are_opened_and_all_their_labels_but_a_name_are_known() {
        for row in TABLE.iter().filter(|row| row.opens.is_some()) {
            assert_eq!(row.kind, Kind::Counter, "{}", row.name);
            let values = row.opens.unwrap_or_default();
            let known = usize::from(!values.is_empty());
            assert!(row.labels.len() <= known + 1, "{}", row.name);
        }
    }
}

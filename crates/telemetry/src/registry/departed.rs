//! Series of names that the config has no more: they stay for a while.
//!
//! Requests outlive the config that they began under. Until the last of them has ended they are counted
//! where they began, and what they counted can be scraped for [`LINGER`] afterwards. Whoever counts holds a
//! handle (a request holds the snapshot that has them), so a series without one has nothing under way.
//!
//! Invariants:
//! - a gauge tells what is, so one that no requests move goes at once: a name that has left has no share
//!   and no health;
//! - names that wait here take nobody's room: where a metric is full, those without anything under way go.

use std::collections::{BTreeMap, BTreeSet};

use cutover_units::Millis;

use super::{Labels, NONE, OTHER, Registry, Shelf, Shelves, lock};
use crate::handles::{Counter, Gauge, Histogram};
use crate::table::{Metric, TABLE};

/// How long a series of a name that has left the config stays after the last request under way there has
/// ended. Two scrapes find it, also where they are minutes apart.
pub const LINGER: Millis = Millis(10 * 60 * 1_000);

/// Names that have left, by label, and since when nothing is under way there.
#[derive(Default)]
pub(super) struct Departed(BTreeMap<&'static str, BTreeMap<Box<str>, Option<Millis>>>);

/// Names by label.
type Names = BTreeMap<&'static str, BTreeSet<Box<str>>>;

fn has(names: &Names, label: &str, name: &str) -> bool {
    names.get(label).is_some_and(|names| names.contains(name))
}

/// Whether somebody besides the registry has a handle.
pub(crate) trait Held {
    fn is_held(&self) -> bool;
}

impl Held for Counter {
    fn is_held(&self) -> bool {
        self.handles() > 1
    }
}

impl Held for Gauge {
    fn is_held(&self) -> bool {
        self.handles() > 1
    }
}

impl Held for Histogram {
    fn is_held(&self) -> bool {
        self.handles() > 1
    }
}

/// Gauges that count requests under way.
fn counts_requests(metric: Metric) -> bool {
    matches!(metric, Metric::InFlight | Metric::AttemptsInFlight | Metric::QueueWaiting)
}

impl<T: Held> Shelf<T> {
    /// Each series with each of its labels, but those that stand for no name.
    fn each(&self, mut see: impl FnMut((&'static str, &str), &T)) {
        for (row, series) in TABLE.iter().zip(&self.0) {
            for (labels, handle) in series {
                for (label, value) in row.labels.iter().zip(labels.iter()) {
                    if !matches!(&**value, NONE | OTHER) {
                        see((label, value), handle);
                    }
                }
            }
        }
    }

    /// Lets go of the series that have one of these names and whose metric is one of these.
    fn drop_names(&mut self, gone: &Names, goes: impl Fn(Metric) -> bool) {
        for (row, series) in TABLE.iter().zip(&mut self.0).filter(|(row, _)| goes(row.metric)) {
            if row.labels.iter().any(|label| gone.contains_key(label)) {
                series.retain(|labels: &Labels, _| {
                    let mut names = row.labels.iter().zip(labels.iter());
                    !names.any(|(label, name)| has(gone, label, name))
                });
            }
        }
    }
}

impl Shelves {
    fn depart(&mut self, gone: Names) {
        self.gauges.drop_names(&gone, |metric| !counts_requests(metric));
        for (label, names) in gone {
            let departed = self.departed.0.entry(label).or_default();
            for name in names {
                departed.entry(name).or_default();
            }
        }
    }

    /// The names of a label that are gone.
    fn gone(&self, label: &str, live: impl Fn(&str) -> bool) -> Names {
        let mut gone = Names::new();
        let mut see = |(of, name): (&'static str, &str)| {
            if of == label && !live(name) && !has(&gone, of, name) {
                gone.entry(of).or_default().insert(name.into());
            }
        };
        self.counters.each(|name, _| see(name));
        self.gauges.each(|name, _| see(name));
        self.histograms.each(|name, _| see(name));
        gone
    }

    /// The departed names under which something is held.
    fn held(&self) -> Names {
        let (departed, mut held) = (&self.departed.0, Names::new());
        let mut see = |(label, name): (&'static str, &str), is_held: bool| {
            let is_departed = || departed.get(label).is_some_and(|names| names.contains_key(name));
            if is_held && is_departed() && !has(&held, label, name) {
                held.entry(label).or_default().insert(name.into());
            }
        };
        self.counters.each(|name, handle| see(name, handle.is_held()));
        self.gauges.each(|name, handle| see(name, handle.is_held()));
        self.histograms.each(|name, handle| see(name, handle.is_held()));
        held
    }

    fn sweep(&mut self, now: Millis) {
        let held = self.held();
        for (label, names) in &mut self.departed.0 {
            for (name, idle) in names {
                *idle = (!has(&held, label, name)).then(|| idle.unwrap_or(now));
            }
        }
        self.let_go(|since| now.0.saturating_sub(since.0) >= LINGER.0);
    }

    fn let_go(&mut self, is_over: impl Fn(Millis) -> bool) {
        let mut gone = Names::new();
        self.departed.0.retain(|label, names| {
            names.retain(|name, idle| {
                let goes = idle.is_some_and(&is_over);
                if goes {
                    gone.entry(*label).or_default().insert(name.clone());
                }
                !goes
            });
            !names.is_empty()
        });
        if gone.is_empty() {
            return;
        }
        self.counters.drop_names(&gone, |_| true);
        self.gauges.drop_names(&gone, |_| true);
        self.histograms.drop_names(&gone, |_| true);
    }

    /// Before a series more: where there is no room, nothing waits for its last scrape.
    pub(super) fn make_room(&mut self) {
        self.let_go(|_| true);
    }
}

impl Registry {
    /// Lets go of the series whose `label` has a value that is not `live` any more: called when a new
    /// snapshot has dropped a use case, variant or upstream. What has requests under way goes on to count,
    /// and is shown for [`LINGER`] after the last of them has ended; one that comes back goes on, too.
    pub fn retain(&self, label: &str, live: impl Fn(&str) -> bool) {
        let shelves = &mut *lock(&self.0.shelves);
        if let Some(departed) = shelves.departed.0.get_mut(label) {
            departed.retain(|name, _| !live(name));
        }
        let gone = shelves.gone(label, live);
        shelves.depart(gone);
    }

    /// The same of one name alone: an instance that is not asked any more.
    pub fn leave(&self, label: &'static str, name: &str) {
        lock(&self.0.shelves).depart(Names::from([(label, BTreeSet::from([name.into()]))]));
    }

    /// Forgets what has been gone for long enough. To be called every second or so.
    pub fn sweep(&self, now: Millis) {
        // A scrape under way holds every handle.
        let Ok(_no_scrape) = self.0.scraping.try_lock() else { return };
        let shelves = &mut *lock(&self.0.shelves);
        if !shelves.departed.0.is_empty() {
            shelves.sweep(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::SERIES_MAX;
    use crate::{ArmLabels, ArmMetrics, Finished, Format, Outcome, families};
    use cutover_units::{Arm, Micros, NanoUsd};

    fn arm(registry: &Registry, variant: &str) -> ArmMetrics {
        let labels = ArmLabels { use_case: "docs", arm: Arm::Candidate, variant, upstream: "gpu" };
        ArmMetrics::new(registry, &labels)
    }

    fn ended() -> Finished {
        Finished {
            outcome: Outcome::Ok,
            total: Micros(1_000),
            first_token: None,
            tokens: Some(crate::Tokens { prompt: 1, cached: 0, completion: 1 }),
            cost: Some(NanoUsd(400_000_000)),
            stream_chunks: 0,
        }
    }

    fn figure(registry: &Registry, metric: &str) -> Option<String> {
        let text = registry.render(Format::Text);
        let line = text.lines().find(|line| line.starts_with(metric) && line.contains("\"b\""));
        line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
    }

    const SERIES: [&str; 3] =
        ["cutover_in_flight", "cutover_cost_usd", "cutover_request_duration_seconds_count"];

    fn figures(registry: &Registry) -> [Option<String>; 3] {
        SERIES.map(|series| figure(registry, series))
    }

    fn some(figures: [&str; 3]) -> [Option<String>; 3] {
        figures.map(|figure| Some(figure.to_owned()))
    }

    /// They were in no metric, neither then nor when the arm came back.
    #[test]
    fn requests_under_way_are_counted_where_they_began_though_their_arm_has_left() {
        let registry = Registry::new();
        let snapshot = arm(&registry, "b");
        let under_way = snapshot.clone();
        let in_flight = under_way.in_flight.enter();
        drop(snapshot);
        registry.retain("variant", |name| name != "b");
        // Hours later it runs still.
        for now in [0, LINGER.0, 9 * LINGER.0] {
            registry.sweep(Millis(now));
            assert_eq!(figures(&registry), some(["1", "0", "0"]), "{now}");
        }
        under_way.finish(&ended());
        drop((in_flight, under_way));
        let ended_at = 9 * LINGER.0 + 1_000;
        for now in [ended_at, ended_at + LINGER.0 - 1] {
            registry.sweep(Millis(now));
            assert_eq!(figures(&registry), some(["0", "0.4", "1"]), "{now}");
        }
        registry.sweep(Millis(ended_at + LINGER.0));
        assert_eq!(figures(&registry), [const { None }; 3]);
    }

    #[test]
    fn an_arm_that_comes_back_in_time_goes_on_to_count() {
        let registry = Registry::new();
        let (old, young) = (arm(&registry, "b"), Millis(1_000));
        old.finish(&ended());
        let in_flight = old.in_flight.enter();
        registry.retain("variant", |name| name != "b");
        registry.sweep(young);
        let back = arm(&registry, "b");
        registry.retain("variant", |_| true);
        back.finish(&ended());
        old.finish(&ended());
        let both = back.in_flight.enter();
        assert_eq!(figures(&registry), some(["2", "1.2", "3"]));
        drop((old, in_flight, both, back));
        registry.sweep(Millis(young.0 + 2 * LINGER.0));
        registry.sweep(Millis(young.0 + 4 * LINGER.0));
        assert_eq!(figures(&registry), some(["0", "1.2", "3"]), "it is the config's again");
    }

    #[test]
    fn what_a_name_is_told_to_be_goes_with_it() {
        let registry = Registry::new();
        registry.gauge(families::INSTANCE_WAITING, ["gpu", "gpu:8000"]).set(3);
        registry.counter(families::ATTEMPTS, ["gpu", "gpu:8000", "ok"]).inc();
        registry.counter(families::ATTEMPTS, ["gpu", "gpu:8001", "ok"]).inc();
        registry.leave("upstream_instance", "gpu:8000");
        let text = registry.render(Format::Text);
        assert!(!text.contains("waiting_requests{upstream=\"gpu\""), "{text}");
        assert!(text.contains("gpu:8000"), "{text}");
        registry.sweep(Millis(5));
        registry.sweep(Millis(5 + LINGER.0));
        let text = registry.render(Format::Text);
        assert!(!text.contains("gpu:8000") && text.contains("gpu:8001"), "{text}");
    }

    /// An emitter takes a handle for a moment, after the name has left.
    #[test]
    fn a_series_that_is_made_late_goes_with_its_name() {
        let registry = Registry::new();
        registry.counter(families::ERRORS, ["docs", "candidate", "bad_gateway"]).inc();
        registry.retain("use_case", |_| false);
        registry.sweep(Millis(1));
        registry.counter(families::ERRORS, ["docs", "candidate", "timeout"]).inc();
        registry.sweep(Millis(1 + LINGER.0));
        assert!(!registry.render(Format::Text).contains("docs"));
    }

    /// Reloads that each bring other names, faster than series go.
    #[test]
    fn names_that_left_take_no_room_from_those_that_come() {
        let registry = Registry::new();
        let long = arm(&registry, "long");
        for reload in 0..SERIES_MAX as u64 / 6 {
            let name = format!("v{reload}");
            let live = arm(&registry, &name);
            live.finish(&ended());
            registry.retain("variant", |known| known == name);
            drop(live);
            if reload % 50 == 0 {
                registry.sweep(Millis(reload));
            }
        }
        let text = registry.render(Format::Text);
        assert!(!text.contains(OTHER), "each had its own");
        assert!(text.contains("\"long\""), "something is under way there");
        assert!(text.matches("cutover_cost_usd_total{").count() <= SERIES_MAX);
        drop(long);
        registry.sweep(Millis(1_000_000));
        registry.sweep(Millis(1_000_000 + LINGER.0));
        let text = registry.render(Format::Text);
        assert_eq!(text.matches("cutover_cost_usd_total{").count(), 1, "{text}");
    }
}

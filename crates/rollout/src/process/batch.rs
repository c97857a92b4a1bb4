//! What one window brought, counted before anything is computed: gates then work on a handful of
//! different observations instead of on every unit.
//!
//! Units that differ in nothing but their values form a class. Values that are 0 or 1 are counts per
//! class; means over several requests of a unit may lie between and are kept one by one; times keep
//! their value and the bucket of their histogram, found once for all gates. The order of what comes
//! out depends on the window alone, so a replay adds the same numbers in the same order.

use cutover_stats::Arm;

use super::histogram::{Bucket, bucket};
use super::{Bill, LiveUnit};
use crate::spec::{Metric, Spec, Test};

/// What units have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub arm: Arm,
    pub share: u16,
    pub in_step: bool,
    pub matched: bool,
}

/// A time or a speed, and where it stands in a histogram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    pub value: f64,
    pub bucket: Bucket,
}

/// What is bad about units, 0 to 1.
#[derive(Debug, Default)]
struct Flags {
    /// Per class, how many 0 and how many 1.
    counts: Vec<[u64; 2]>,
    graded: Vec<(usize, f64)>,
}

impl Flags {
    fn add(&mut self, class: usize, x: f64) {
        let place = if x <= 0.0 {
            0
        } else if x >= 1.0 {
            1
        } else {
            return self.graded.push((class, x));
        };
        if self.counts.len() <= class {
            self.counts.resize(class + 1, [0; 2]);
        }
        self.counts[class][place] += 1;
    }
}

/// How many units of a class there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Units {
    /// All that chance assigned.
    pub assigned: u64,
    /// Those of which more is known than that.
    pub observed: u64,
}

/// What the gates ask for. What none of them does is not even written down.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub fallback: bool,
    bills: bool,
    total: bool,
    first_token: bool,
    speed: bool,
}

impl Asked {
    fn of(spec: &Spec) -> Self {
        let asks = |metric| spec.gates.iter().any(|gate| gate.metric == metric);
        Self {
            fallback: asks(Metric::Fallback),
            bills: spec.gates.iter().any(|gate| matches!(gate.test, Test::BudgetAtMost { .. })),
            total: asks(Metric::Duration),
            first_token: asks(Metric::FirstToken),
            speed: asks(Metric::TokenRate),
        }
    }
}

/// One window's units, votes and bills.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    classes: Vec<Class>,
    units: Vec<Units>,
    last: usize,
    failed: Flags,
    fell_back: Flags,
    invalid: Flags,
    discontent: Flags,
    total: Vec<(usize, Timed)>,
    first_token: Vec<(usize, Timed)>,
    speed: Vec<(usize, Timed)>,
    pub(crate) bills: Vec<Bill>,
    pub(crate) asked: Asked,
}

impl Batch {
    /// Room for so many requests.
    pub(crate) fn of(spec: &Spec, requests: usize) -> Self {
        let asked = Asked::of(spec);
        let room = |asks: bool| if asks { requests } else { 0 };
        Self {
            total: Vec::with_capacity(room(asked.total)),
            first_token: Vec::with_capacity(room(asked.first_token)),
            speed: Vec::with_capacity(room(asked.speed)),
            bills: Vec::with_capacity(room(asked.bills)),
            asked,
            ..Self::default()
        }
    }

    pub(crate) fn bill(&mut self, bill: Bill) {
        if self.asked.bills {
            self.bills.push(bill);
        }
    }

    fn class(&mut self, class: Class) -> usize {
        if self.classes.get(self.last) == Some(&class) {
            return self.last;
        }
        let known = self.classes.iter().position(|other| *other == class);
        self.last = known.unwrap_or_else(|| {
            self.classes.push(class);
            self.units.push(Units::default());
            self.classes.len() - 1
        });
        self.last
    }

    pub(crate) fn unit(&mut self, unit: &LiveUnit) {
        let LiveUnit { arm, share, in_step, matched, .. } = *unit;
        let class = self.class(Class { arm, share, in_step, matched });
        self.units[class].assigned += 1;
        if !unit.observed {
            return;
        }
        self.units[class].observed += 1;
        self.failed.add(class, unit.failed);
        self.fell_back.add(class, unit.fell_back);
        if let Some(invalid) = unit.invalid {
            self.invalid.add(class, invalid);
        }
        let times = [
            (&mut self.total, unit.total_ms, self.asked.total),
            (&mut self.first_token, unit.first_token_ms, self.asked.first_token),
            (&mut self.speed, unit.tokens_per_s, self.asked.speed),
        ];
        for (into, value, asked) in times {
            if let Some(value) = value.filter(|_| asked) {
                into.push((class, Timed { value, bucket: bucket(value) }));
            }
        }
    }

    /// What a user said, 1 for the worst.
    pub(crate) fn vote(&mut self, class: Class, discontent: f64) {
        let class = self.class(class);
        self.discontent.add(class, discontent);
    }

    /// A unit of which nothing is known but how long it took.
    #[cfg(test)]
    pub(crate) fn time(&mut self, class: Class, value: f64) {
        let class = self.class(class);
        self.total.push((class, Timed { value, bucket: bucket(value) }));
    }

    /// A unit of which nothing is known but how fast it was.
    #[cfg(test)]
    pub(crate) fn speed(&mut self, class: Class, value: f64) {
        let class = self.class(class);
        self.speed.push((class, Timed { value, bucket: bucket(value) }));
    }

    /// How many units of each class there were.
    pub(crate) fn units(&self) -> impl Iterator<Item = (Class, Units)> + '_ {
        self.classes.iter().copied().zip(self.units.iter().copied())
    }

    /// What is bad about units, and how many had it; zeros come first, as they share their stakes.
    pub(crate) fn flags(&self, metric: Metric) -> impl Iterator<Item = (Class, f64, u64)> + '_ {
        let flags = match metric {
            Metric::Errors => Some(&self.failed),
            Metric::Fallback => Some(&self.fell_back),
            Metric::Invalid => Some(&self.invalid),
            Metric::Feedback => Some(&self.discontent),
            _ => None,
        };
        let counted = move |place: usize, x: f64| {
            let counts = flags.into_iter().flat_map(|flags| &flags.counts).enumerate();
            counts.map(move |(class, counts)| (class, x, counts[place]))
        };
        let graded = flags.into_iter().flat_map(|flags| &flags.graded);
        counted(0, 0.0)
            .chain(counted(1, 1.0))
            .filter(|(_, _, times)| *times > 0)
            .chain(graded.map(|(class, x)| (*class, *x, 1)))
            .map(|(class, x, times)| (self.classes[class], x, times))
    }

    /// Times or speeds, in the order of their units.
    pub(crate) fn times(&self, metric: Metric) -> impl Iterator<Item = (Class, Timed)> + '_ {
        let times = match metric {
            Metric::Duration => self.total.as_slice(),
            Metric::FirstToken => &self.first_token,
            Metric::TokenRate => &self.speed,
            _ => &[],
        };
        times.iter().map(|(class, timed)| (self.classes[*class], *timed))
    }
}

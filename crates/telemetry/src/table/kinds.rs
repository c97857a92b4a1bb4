//! What a row says of its metric, and the type that a handle is made from.

use std::marker::PhantomData;

use cutover_units::Micros;

use super::Metric;

/// What a metric's numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts durations into buckets with these upper bounds.
    Histogram(&'static [Micros]),
}

impl Kind {
    /// The kind's word in the text formats.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// The unit a metric is shown in, and how its stored integers become it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain count.
    Count,
    /// Seconds, stored as microseconds.
    Seconds,
    /// Seconds since the Unix epoch, stored as milliseconds.
    Timestamp,
    /// US dollars, stored as billionths.
    Usd,
    /// Hundredths of a percent.
    BasisPoints,
    /// Natural logarithms of evidence, stored as thousandths.
    Nats,
}

impl Unit {
    /// The unit's word in metric names; a plain count has none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Count => None,
            Self::Seconds | Self::Timestamp => Some("seconds"),
            Self::Usd => Some("usd"),
            Self::BasisPoints => Some("basis_points"),
            Self::Nats => Some("nats"),
        }
    }

    /// How many decimal places the stored integer has.
    pub fn decimals(self) -> u32 {
        match self {
            Self::Count | Self::BasisPoints => 0,
            Self::Timestamp | Self::Nats => 3,
            Self::Seconds => 6,
            Self::Usd => 9,
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The metric itself.
    pub metric: Metric,
    /// Its name in Prometheus.
    pub name: &'static str,
    /// What its numbers do.
    pub kind: Kind,
    /// The unit it is shown in.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// The values of its last label that are there, at 0, before anything happened. `None`: a series appears
    /// with its first event.
    pub opens: Option<&'static [&'static str]>,
    /// What it says, for `# HELP` and the reference.
    pub help: &'static str,
}

/// A metric with its kind and number of labels in the type.
#[derive(Debug)]
pub struct Family<K, const LABELS: usize> {
    pub(crate) metric: Metric,
    kind: PhantomData<K>,
}

impl<K, const LABELS: usize> Clone for Family<K, LABELS> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, const LABELS: usize> Copy for Family<K, LABELS> {}

impl<K, const LABELS: usize> Family<K, LABELS> {
    pub(super) const fn new(metric: Metric) -> Self {
        Self { metric, kind: PhantomData }
    }

    /// The family's row.
    pub fn row(&self) -> &'static Row {
        self.metric.row()
    }
}

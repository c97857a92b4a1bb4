//! The two text formats that scrapers read: Prometheus 0.0.4 and OpenMetrics 1.0.
//!
//! Written here rather than by a library because our histograms are lock-free integers, and because
//! both formats together are smaller than the adapter to one.

use std::fmt::Write;

use crate::registry::{Labels, Series};
use crate::table::{Metric, Row};

/// Which text format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4, which everything reads.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format for a request's `Accept` header: OpenMetrics only where it is asked for by name.
    pub fn from_accept(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Text,
        }
    }

    /// The answer's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writing to a String cannot fail, so results are dropped.
macro_rules! put {
    ($($arg:tt)*) => { { let _ = write!($($arg)*); } };
}

pub(crate) fn write(format: Format, metrics: &[(Metric, Series)]) -> String {
    let mut out = String::with_capacity(64 * 1024);
    for (metric, series) in metrics {
        let row = metric.row();
        match series {
            Series::Counters(series) => {
                head(&mut out, format, row, series.is_empty());
                for (labels, counter) in series {
                    let value = scaled(counter.get().into(), row.unit.decimals());
                    sample(&mut out, row, labels, &Sample { suffix: "", le: None, value });
                }
            }
            Series::Gauges(series) => {
                head(&mut out, format, row, series.is_empty());
                for (labels, gauge) in series {
                    let value = scaled(gauge.get().into(), row.unit.decimals());
                    sample(&mut out, row, labels, &Sample { suffix: "", le: None, value });
                }
            }
            Series::Histograms(series) => {
                head(&mut out, format, row, series.is_empty());
                for (labels, buckets) in series {
                    histogram(&mut out, row, labels, buckets);
                }
            }
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// A metric without series is not mentioned at all.
fn head(out: &mut String, format: Format, row: &Row, empty: bool) {
    if empty {
        return;
    }
    // In OpenMetrics a counter's family is named without the suffix of its samples.
    let name = match format {
        Format::Text => row.name,
        Format::OpenMetrics => row.name.strip_suffix("_total").unwrap_or(row.name),
    };
    put!(out, "# HELP {name} {}\n# TYPE {name} {}\n", row.help, row.kind.as_str());
    if let (Format::OpenMetrics, Some(unit)) = (format, row.unit.name()) {
        put!(out, "# UNIT {name} {unit}\n");
    }
}

fn histogram(out: &mut String, row: &Row, labels: &Labels, histogram: &crate::Histogram) {
    let decimals = row.unit.decimals();
    let reading = histogram.read();
    let les = histogram.bounds().iter().map(|bound| float(scaled(bound.0.into(), decimals)));
    for (le, count) in les.chain(["+Inf".to_owned()]).zip(&reading.cumulative) {
        let value = count.to_string();
        sample(out, row, labels, &Sample { suffix: "_bucket", le: Some(&le), value });
    }
    let sum = scaled(reading.sum_us.into(), decimals);
    sample(out, row, labels, &Sample { suffix: "_sum", le: None, value: sum });
    let count = reading.cumulative.last().copied().unwrap_or_default().to_string();
    sample(out, row, labels, &Sample { suffix: "_count", le: None, value: count });
}

struct Sample<'a> {
    suffix: &'a str,
    le: Option<&'a str>,
    value: String,
}

fn sample(out: &mut String, row: &Row, labels: &Labels, sample: &Sample<'_>) {
    put!(out, "{}{}", row.name, sample.suffix);
    let named = row.labels.iter().copied().zip(labels.iter().map(AsRef::as_ref));
    let mut open = '{';
    for (name, value) in named.chain(sample.le.map(|le| ("le", le))) {
        put!(out, "{open}{name}=\"");
        escape(out, value);
        out.push('"');
        open = ',';
    }
    if open == ',' {
        out.push('}');
    }
    put!(out, " {}\n", sample.value);
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// An integer with `decimals` places as an exact decimal, without needless zeros.
pub(crate) fn scaled(value: i128, decimals: u32) -> String {
    let scale = 10_u128.pow(decimals);
    let (whole, part) = (value.unsigned_abs() / scale, value.unsigned_abs() % scale);
    let sign = if value < 0 { "-" } else { "" };
    if part == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{part:0width$}", width = decimals as usize);
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

/// OpenMetrics wants bounds written as floats; both formats write them alike, so that a change of
/// format does not begin new series.
fn float(text: String) -> String {
    if text.contains('.') { text } else { text + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use crate::table::families;
    use cutover_units::Micros;
    use proptest::prelude::*;

    fn example() -> Registry {
        let registry = Registry::new();
        registry.counter(families::COST, ["a", "baseline", "v", "u"]).add(1_500_000_001);
        registry.gauge(families::WEIGHT, ["a"]).set(2_500);
        registry.gauge(families::CONFIG_LOADED, []).set(1_700_000_000_250);
        let overhead = registry.histogram(families::GATEWAY_OVERHEAD, ["chat"]);
        overhead.observe(Micros(35));
        overhead.observe(Micros(2_000_000));
        registry
    }

    #[test]
    fn prometheus_text_is_what_prometheus_expects() {
        let expected = concat!(
            "# HELP cutover_gateway_overhead_seconds What cutover itself added: a request's time less ",
            "the time its upstreams took.\n",
            "# TYPE cutover_gateway_overhead_seconds histogram\n",
            "cutover_gateway_overhead_seconds_bucket{endpoint=\"chat\",le=\"0.00001\"} 0\n",
            "cutover_gateway_overhead_seconds_bucket{endpoint=\"chat\",le=\"0.00002\"} 0\n",
            "cutover_gateway_overhead_seconds_bucket{endpoint=\"chat\",le=\"0.00003\"} 0\n",
            "cutover_gateway_overhead_seconds_bucket{endpoint=\"chat\",le=\"0.00005\"} 1\n",
        );
        let text = example().render(Format::Text);
        assert!(text.starts_with(expected), "{text}");
        for line in [
            "cutover_gateway_overhead_seconds_bucket{endpoint=\"chat\",le=\"1.0\"} 1\n",
            "cutover_gateway_overhead_seconds_bucket{endpoint=\"chat\",le=\"+Inf\"} 2\n",
            "cutover_gateway_overhead_seconds_sum{endpoint=\"chat\"} 2.000035\n",
            "cutover_gateway_overhead_seconds_count{endpoint=\"chat\"} 2\n",
            "# TYPE cutover_cost_usd_total counter\n",
            "{use_case=\"a\",arm=\"baseline\",variant=\"v\",upstream=\"u\"} 1.500000001\n",
            "cutover_weight_basis_points{use_case=\"a\"} 2500\n",
            "cutover_config_loaded_timestamp_seconds 1700000000.25\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"));
    }

    #[test]
    fn open_metrics_names_families_units_and_its_end() {
        let text = example().render(Format::OpenMetrics);
        assert!(text.contains("# TYPE cutover_cost_usd counter\n# UNIT cutover_cost_usd usd\n"));
        assert!(text.contains("\ncutover_cost_usd_total{"));
        assert!(text.contains("# UNIT cutover_gateway_overhead_seconds seconds\n"));
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn open_metrics_is_given_only_when_asked_for() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::from_accept(Some(prometheus)), Format::OpenMetrics);
        assert_eq!(Format::from_accept(Some("*/*")), Format::Text);
        assert_eq!(Format::from_accept(None), Format::Text);
    }

    #[test]
    fn integers_become_exact_decimals() {
        assert_eq!(scaled(0, 6), "0");
        assert_eq!(scaled(-1_500, 3), "-1.5");
        assert_eq!(scaled(10, 9), "0.00000001");
        assert_eq!(scaled(u64::MAX.into(), 0), u64::MAX.to_string());
    }

    /// Reads one sample line back as a scraper would: name, label values, number.
    fn parse(line: &str) -> Option<(String, Vec<String>, f64)> {
        let (name, rest) = line.split_once('{')?;
        let (mut values, mut chars) = (Vec::new(), rest.chars());
        loop {
            let label: String = chars.by_ref().take_while(|c| *c != '=').collect();
            if label.is_empty() || chars.next() != Some('"') {
                return None;
            }
            let mut value = String::new();
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => value.push(match chars.next()? {
                        'n' => '\n',
                        c @ ('"' | '\\') => c,
                        _ => return None,
                    }),
                    '\n' => return None,
                    c => value.push(c),
                }
            }
            values.push(value);
            match chars.next()? {
                ',' => {}
                '}' => break,
                _ => return None,
            }
        }
        Some((name.to_owned(), values, chars.as_str().trim().parse().ok()?))
    }

    proptest! {
        #[test]
        fn any_label_value_reads_back(value in "(?s).{0,40}", n in 0u64..1 << 50) {
            let registry = Registry::new();
            registry.counter(families::LOSSES, ["a", "b", &value, "c"]).add(n);
            let text = registry.render(Format::Text);
            let line = text.split("counter\n").nth(1).unwrap();
            let read = parse(line).expect("one sample line");
            prop_assert_eq!(read.0, "cutover_losses_total");
            prop_assert_eq!(&read.1[2], &value);
            prop_assert!((read.2 - n as f64).abs() < 0.5);
        }
    }
}

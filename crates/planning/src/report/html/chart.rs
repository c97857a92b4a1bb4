//! One chart for each kind of figure: a dot for the value, a line for its interval, before above after.

use std::fmt::Write as _;

use cutover_tco::html::page::{WIDTH, escape, figure, round_up};

use super::super::compare::Report;
use super::super::figures::{Figure, Line, Unit};
use super::super::show;

const NAMES: f64 = 250.0;
const VALUES: f64 = 240.0;
const TOP: f64 = 14.0;
/// A side's height, and the gap between two metrics.
const ROW: f64 = 22.0;
const GAP: f64 = 12.0;
const AXIS: f64 = 26.0;

/// What is drawn: the caption, and which lines. Counts and sums have no interval and stand in the table alone.
type Chart = (&'static str, fn(&Line) -> bool);

const CHARTS: &[Chart] = &[
    ("Cost of 1,000 answers", |line| line.unit == Unit::Usd && line.name.contains("1,000")),
    ("Seconds until the first token and the end", |line| line.unit == Unit::Seconds),
    ("Shares of requests and of time", |line| line.unit == Unit::Share),
    ("Quality, points of 100", |line| line.unit == Unit::Points),
];

/// The charts of all kinds that have a figure.
pub(super) fn all(report: &Report) -> String {
    let draw = |(caption, wanted): &Chart| {
        let lines: Vec<&Line> = report
            .lines
            .iter()
            .filter(|line| wanted(line) && (line.before.is_some() || line.after.is_some()))
            .collect();
        if lines.is_empty() { String::new() } else { chart(caption, &lines) }
    };
    CHARTS.iter().map(draw).collect()
}

/// Both sides of a line that there are.
fn sides(line: &Line) -> impl Iterator<Item = (&'static str, Figure)> {
    [("before", line.before), ("after", line.after)]
        .into_iter()
        .filter_map(|(side, figure)| Some((side, figure?)))
}

/// Values are drawn from nothing on; ends that are not known do not widen the axis.
fn highest(lines: &[&Line]) -> f64 {
    let ends = lines.iter().flat_map(|line| sides(line)).flat_map(|(_, figure)| {
        [Some(figure.value), figure.interval.map(|i| i.high).filter(|high| high.is_finite())]
    });
    ends.flatten().fold(0.0, f64::max)
}

fn chart(caption: &str, lines: &[&Line]) -> String {
    let unit = lines[0].unit;
    let step = round_up(highest(lines) / 4.0);
    let top = step * (highest(lines) / step).ceil().max(1.0);
    let x = |value: f64| NAMES + (WIDTH - NAMES - VALUES) * (value / top).clamp(0.0, 1.0);
    let rows: f64 =
        lines.iter().map(|line| sides(line).count() as f64 * ROW + GAP).sum::<f64>() + TOP;
    let mut svg = axis((step, top), rows, (unit, &x));
    let (mut y, mut told) = (TOP, Vec::new());
    for line in lines {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{:.1}\">{}</text>",
            y + 16.0,
            escape(line.name.split(" (").next().unwrap_or_default())
        );
        for (side, found) in sides(line) {
            svg.push_str(&row((side, unit, found), y, (&x, top)));
            told.push(format!("{}, {side}: {}", line.name, show::shown(unit, found, true)));
            y += ROW;
        }
        y += GAP;
    }
    figure(caption, &told.join("; "), (&svg, rows + AXIS))
}

fn axis((step, top): (f64, f64), bottom: f64, (unit, x): (Unit, &dyn Fn(f64) -> f64)) -> String {
    let mut svg = String::new();
    let mut level = 0.0;
    while level <= top * 1.000_001 {
        let at = x(level);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>\n\
             <text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            escape(&show::value(unit, level))
        );
        level += step;
    }
    svg
}

/// A dot on a line from end to end. An end that the records do not show is dashed to the border.
fn row(
    (side, unit, found): (&str, Unit, Figure),
    y: f64,
    (x, top): (&dyn Fn(f64) -> f64, f64),
) -> String {
    let (at, middle) = (x(found.value), y + ROW / 2.0);
    let mut svg = format!("<g class=\"{side}\">");
    if let Some(interval) = found.interval {
        for (end, border) in [(interval.low, 0.0), (interval.high, top)] {
            let (to, class) =
                if end.is_finite() { (x(end), "line") } else { (x(border), "line unknown") };
            let _ = write!(
                svg,
                "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{to:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>"
            );
        }
    }
    let _ = writeln!(
        svg,
        "<circle class=\"dot\" cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"5\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" class=\"label\">{side}</text>\
         <text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
        NAMES - 12.0,
        middle + 4.0,
        WIDTH - VALUES + 16.0,
        middle + 4.0,
        escape(&show::shown(unit, found, false)),
    );
    svg
}

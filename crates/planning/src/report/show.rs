//! The report as text and JSON.

use std::fmt::Write as _;

use cutover_console::table::Table;
use cutover_stats::Interval;
use cutover_tco::words;
use serde_json::{Value, json};

use super::compare::{Reconciled, Report};
use super::figures::{Figure, Line, Unit};

pub(super) fn json(report: &Report) -> Value {
    json!({
        "use_case": report.use_case,
        "before": report.sides[0],
        "after": report.sides[1],
        "interval": "95 %, two-sided",
        "metrics": report.lines.iter().map(line).collect::<Vec<_>>(),
        "saving_usd": report.saving.map(figure),
        "saving_by_invoices_usd": report.saving_by_invoices,
        "reconciled": report.reconciled.iter().map(reconciled).collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

fn figure(figure: Figure) -> Value {
    let end = |pick: fn(Interval) -> f64| figure.interval.map(pick).filter(|end| end.is_finite());
    json!({ "value": figure.value, "low": end(|i| i.low), "high": end(|i| i.high), "n": figure.n })
}

fn line(line: &Line) -> Value {
    let unit = match line.unit {
        Unit::Count => "count",
        Unit::Usd => "usd",
        Unit::Seconds => "seconds",
        Unit::Share => "share",
        Unit::Points => "points of 100",
    };
    json!({
        "name": line.name,
        "unit": unit,
        "before": line.before.map(figure),
        "after": line.after.map(figure),
        "change": line.change.map(figure),
    })
}

fn reconciled(one: &Reconciled) -> Value {
    let difference = one.invoice - one.records;
    json!({
        "side": one.side,
        "records_usd": one.records.to_string(),
        "invoice_usd": one.invoice.to_string(),
        "difference_usd": difference.to_string(),
        "answers_without_a_price": one.unpriced,
    })
}

/// Writing to a String cannot fail: the results below are dropped.
pub(super) fn text(report: &Report) -> String {
    let mut out = format!(
        "{}\n  before: {}\n  after:  {}\n\n",
        report.use_case, report.sides[0], report.sides[1]
    );
    let mut table = Table::new(&["", "before", "after", "change"]);
    for line in &report.lines {
        let cell = |figure: Option<Figure>, n: bool| {
            figure.map_or("-".to_owned(), |found| shown(line.unit, found, n))
        };
        table.row([
            line.name.to_owned(),
            cell(line.before, true),
            cell(line.after, true),
            cell(line.change, false),
        ]);
    }
    let _ = writeln!(out, "{table}");
    for sentence in money(report) {
        let _ = writeln!(out, "{sentence}");
    }
    let _ = writeln!(out, "\n- {BRACKETS}");
    for note in &report.notes {
        let _ = writeln!(out, "- {note}");
    }
    out
}

/// What stands in brackets behind a figure.
pub(super) const BRACKETS: &str =
    "in brackets: the 95 % interval; \"?\" where the records show no end of it";

/// What was saved, by records and by invoices, and what differs between them.
pub(super) fn money(report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(saving) = report.saving {
        out.push(format!(
            "Saved on the requests after, by the records: {}",
            shown(Unit::Usd, saving, false)
        ));
    }
    if let Some(saving) = report.saving_by_invoices {
        out.push(format!("The same by the invoices: {}", value(Unit::Usd, saving)));
    }
    for one in &report.reconciled {
        let difference = one.invoice - one.records;
        let mut told = format!(
            "{}: the records say {}, the invoice {}: {} differ",
            one.side,
            words::usd(one.records),
            words::usd(one.invoice),
            words::usd(difference),
        );
        if one.unpriced > 0 {
            let _ = write!(told, " ({} answers have no price)", one.unpriced);
        }
        out.push(told);
    }
    out
}

/// Dollars as the tables have them.
pub(super) fn usd(amount: f64) -> String {
    value(Unit::Usd, amount)
}

/// A figure with its interval, and with what it rests on.
pub(super) fn shown(unit: Unit, figure: Figure, with_n: bool) -> String {
    let end = |end: f64| if end.is_finite() { value(unit, end) } else { "?".to_owned() };
    let interval =
        figure.interval.map_or(String::new(), |i| format!(" [{}, {}]", end(i.low), end(i.high)));
    let n = if with_n && unit != Unit::Count { format!(" n={}", figure.n) } else { String::new() };
    format!("{}{interval}{n}", value(unit, figure.value))
}

pub(super) fn value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count if value.fract() == 0.0 => format!("{value:.0}"),
        Unit::Count | Unit::Points => format!("{value:.1}"),
        // Nothing has no sign.
        Unit::Usd if value.abs() < 0.000_05 => "$0.0000".to_owned(),
        Unit::Usd if value.abs() < 1.0 => format!("${value:.4}"),
        Unit::Usd => format!("${value:.2}"),
        Unit::Seconds => format!("{value:.3} s"),
        Unit::Share => format!("{:.2} %", value * 100.0),
    }
}

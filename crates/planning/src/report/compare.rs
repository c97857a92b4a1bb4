//! The comparison of both sides, line by line, with what must be said beside it. Pure.

use cutover_store::Judged;
use cutover_tco::Nano;

use super::Invoices;
use super::costs::{costs, saving, spent, volume};
use super::figures::{ALPHA, Figure, Line, Mean, Unit, exact, line, mean};
use super::service::{incidents, latencies, shares};
use super::sides::Side;

/// Records beside an invoice.
pub(super) struct Reconciled {
    pub(super) side: &'static str,
    pub(super) records: Nano,
    pub(super) invoice: Nano,
    pub(super) unpriced: u64,
}

/// The whole report.
pub(super) struct Report {
    pub(super) use_case: String,
    pub(super) sides: [String; 2],
    pub(super) lines: Vec<Line>,
    /// USD that the requests after would have cost more before, by records.
    pub(super) saving: Option<Figure>,
    /// The same by invoices.
    pub(super) saving_by_invoices: Option<f64>,
    pub(super) reconciled: Vec<Reconciled>,
    pub(super) notes: Vec<String>,
}

impl Report {
    pub(super) fn new(use_case: &str, [before, after]: &[Side; 2], invoices: Invoices) -> Self {
        let mut lines = vec![line("requests", Unit::Count, [before, after], |side| {
            Some(exact(side.requests.len() as f64, side.requests.len()))
        })];
        lines.extend(costs([before, after]));
        lines.extend(latencies([before, after]));
        lines.extend(shares([before, after]));
        lines.push(line(
            "rate limit incidents per 30 days",
            Unit::Count,
            [before, after],
            |side| {
                let incidents = incidents(&side.requests);
                let n = usize::try_from(incidents).unwrap_or(0);
                (side.days >= 1.0).then(|| exact(incidents as f64 * 30.0 / side.days, n))
            },
        ));
        lines.extend(quality([before, after]));
        let saving = saving(before, after);
        let answers = [before, after].map(|side| side.answers().count() as f64);
        let saving_by_invoices = invoices
            .before
            .zip(invoices.after)
            .filter(|_| answers[0] > 0.0)
            .map(|(first, second)| first.approx() / answers[0] * answers[1] - second.approx());
        let reconcile = |side: &Side, name, invoice: Option<Nano>| {
            let unpriced = side.unpriced() as u64;
            invoice.map(|invoice| Reconciled {
                side: name,
                records: spent(side),
                invoice,
                unpriced,
            })
        };
        let reconciled = [
            reconcile(before, "before", invoices.before),
            reconcile(after, "after", invoices.after),
        ];
        Self {
            use_case: use_case.to_owned(),
            sides: [before.name.clone(), after.name.clone()],
            lines,
            saving,
            saving_by_invoices,
            reconciled: reconciled.into_iter().flatten().collect(),
            notes: notes([before, after]),
        }
    }
}

/// Scorers judge both answers of a pair, so their sides are the arms; users judge what they got.
fn quality(sides: [&Side; 2]) -> Vec<Line> {
    let points = |side: &Side, by_user: bool, candidate: Option<bool>| {
        let of_it = |one: &&Judged| {
            one.by_user == by_user && candidate.is_none_or(|arm| one.candidate == arm)
        };
        mean(side.judged.iter().filter(of_it).map(|one| (one.unit, f64::from(one.percent))))
    };
    let all = [sides[0], sides[1]];
    let pooled = |candidate: bool| {
        points(all[1], false, Some(candidate)).or_else(|| points(all[0], false, Some(candidate)))
    };
    let figure = |found: Option<Mean>| {
        found.map(|(value, rate, n)| Figure {
            value,
            interval: rate.map(|rate| rate.interval(ALPHA)),
            n,
        })
    };
    let make = |name, before: Option<Mean>, after: Option<Mean>| {
        let change = before.zip(after).map(|(b, a)| Figure {
            value: a.0 - b.0,
            interval: b.1.zip(a.1).map(|(b, a)| a.minus(b).interval(ALPHA)),
            n: a.2.min(b.2),
        });
        Line { name, unit: Unit::Points, before: figure(before), after: figure(after), change }
    };
    vec![
        make("quality, scored pairs (baseline, candidate)", pooled(false), pooled(true)),
        make("quality, users", points(sides[0], true, None), points(sides[1], true, None)),
    ]
}

fn notes(sides: [&Side; 2]) -> Vec<String> {
    let volume = match (volume(sides), sides[1].arm) {
        (None, _) => "less than a day was seen, from which no 30 days are told",
        (Some(_), true) => {
            "30 days: with the answers of both arms, all at one arm's cost of an answer"
        }
        (Some(_), false) => "30 days: with the answers of the period after, on both sides",
    };
    let mut notes = vec![
        volume.to_owned(),
        "availability: windows of 5 minutes with requests in which at least half were answered"
            .to_owned(),
        "error rate: without what clients caused or left; a broken stream is an error".to_owned(),
        "a rate limit begins a new incident after 10 minutes without one".to_owned(),
    ];
    for (name, side) in ["before", "after"].into_iter().zip(sides) {
        if side.unfinished {
            notes.push(format!("{name}: the period goes on, and only its days until now count"));
        }
        let unpriced = side.unpriced();
        if unpriced > 0 {
            let told = if side.is_priced() {
                ""
            } else {
                "; from the others no cost of an answer, no month and no saving are told"
            };
            notes.push(format!(
                "{name}: {unpriced} of {} answers have no price: their cost is not in the sums{told}, and a variant's own hardware is not in them at all (`cutover tco`)",
                side.answers().count()
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests;

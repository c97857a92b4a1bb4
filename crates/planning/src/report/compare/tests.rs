use cutover_store::{Ending, Observations, Observed};
use cutover_units::{Millis, NanoUsd};

use super::*;
use crate::report::period::Period;

const HOUR: u64 = 3_600_000;

/// Requests of one cost, an hour apart.
fn requests(candidate: bool, count: u64, usd_thousandths: u64) -> Vec<Observed> {
    let one = |at| Observed {
        at: Millis(at * HOUR),
        candidate,
        unit: at,
        ending: Ending::Good,
        rate_limited: false,
        failed_over: false,
        first_token_us: None,
        total_us: 1_000_000,
        cost: Some(NanoUsd(usd_thousandths * 1_000_000)),
        tokens: 10,
    };
    (0..count).map(one).collect()
}

fn seen(requests: Vec<Observed>) -> Observations {
    Observations { requests, ..Observations::default() }
}

fn month_of(sides: &[Side; 2]) -> Option<[f64; 3]> {
    let report = Report::new("app", sides, Invoices::default());
    let line = report.lines.iter().find(|line| line.name.starts_with("cost of 30 days")).unwrap();
    Some([line.before?.value, line.after?.value, line.change?.value])
}

/// 73 requests of 3 thousandths at the baseline and 25 of 2 at the candidate in 3 days: 980 requests in 30 days
/// cost $2.94 or $1.96. The baseline's 730 and the candidate's 250 were compared: $2.19 and $0.50, by the split.
#[test]
fn arms_of_different_size_are_compared_at_the_same_volume() {
    let both = seen([requests(false, 73, 3), requests(true, 25, 2)].concat());
    let sides = [Side::of_arm(&both, false), Side::of_arm(&both, true)];
    let found = month_of(&sides).unwrap();
    for (found, wanted) in found.into_iter().zip([2.94, 1.96, -0.98]) {
        assert!((found - wanted).abs() < 1e-9, "{found}, not {wanted}");
    }
}

/// Ten days of 240 requests before, five of 48 after: 288 in 30 days, whatever there were before.
#[test]
fn periods_are_compared_at_the_volume_after() {
    let period =
        |days: u64| Period { from: Millis(0), until: Millis(days * 24 * HOUR), unfinished: false };
    let sides = [
        Side::of_period(&seen(requests(false, 240, 3)), period(10)),
        Side::of_period(&seen(requests(true, 48, 2)), period(5)),
    ];
    let found = month_of(&sides).unwrap();
    for (found, wanted) in found.into_iter().zip([0.864, 0.576, -0.288]) {
        assert!((found - wanted).abs() < 1e-9, "{found}, not {wanted}");
    }
}

/// 52 requests of one minute became $6.77 a month.
#[test]
fn no_month_is_told_from_less_than_a_day() {
    let both = seen([requests(false, 20, 3), requests(true, 20, 2)].concat());
    let sides = [Side::of_arm(&both, false), Side::of_arm(&both, true)];
    assert_eq!(month_of(&sides), None);
    let report = Report::new("app", &sides, Invoices::default());
    assert!(report.notes[0].starts_with("less than a day was seen"), "{:?}", report.notes);
}

/// Answers, then requests of another end, an hour apart.
fn with_others(candidate: bool, (good, usd_thousandths): (u64, u64), others: u64) -> Side {
    let mut all = requests(candidate, good, usd_thousandths);
    all.extend(requests(candidate, others, 0).into_iter().map(|one| Observed {
        ending: Ending::Aside,
        cost: None,
        ..one
    }));
    Side::of_arm(&seen(all), candidate)
}

/// 84 refused requests of 184 and 36 of 136, free on both sides: $1.59 were saved on answers that would have cost
/// $1.30 in all, and the invoices, of the same amounts, said $0.83.
#[test]
fn refused_requests_save_nothing() {
    let sides = [with_others(false, (100, 13), 84), with_others(true, (100, 1), 36)];
    let invoices = Invoices {
        before: Some(Nano::parse("1.3").unwrap()),
        after: Some(Nano::parse("0.1").unwrap()),
    };
    let report = Report::new("app", &sides, invoices);
    let (saving, by_invoices) = (report.saving.unwrap(), report.saving_by_invoices.unwrap());
    assert!((saving.value - 1.2).abs() < 1e-9, "{saving:?}");
    assert!((by_invoices - 1.2).abs() < 1e-9, "{by_invoices}");
    let month = month_of(&sides).unwrap();
    // 200 answers in the 99 hours that either arm was seen for.
    assert!((month[0] - 200.0 * 30.0 / (99.0 / 24.0) * 0.013).abs() < 1e-6, "{month:?}");
}

/// Ten answers of a hundred fell back at the old price, the others ran on hardware of one's own: "$-0.0000" saved,
/// and a thousand requests as dear as before.
#[test]
fn no_saving_is_told_from_the_few_answers_that_have_a_price() {
    let mut after = requests(true, 100, 13);
    after.iter_mut().skip(10).for_each(|one| one.cost = None);
    let few = Side::of_arm(&seen(after.clone()), true);
    let before = || with_others(false, (100, 13), 0);
    let report = Report::new("app", &[before(), few], Invoices::default());
    let thousand = report.lines.iter().find(|line| line.name.contains("1,000")).unwrap();
    assert!(report.saving.is_none() && thousand.after.is_none() && thousand.before.is_some());
    let note = report.notes.iter().find(|note| note.contains("90 of 100 answers")).unwrap();
    assert!(note.contains("no saving"), "{note}");
    // One of a hundred is left out, and said.
    after.iter_mut().skip(1).for_each(|one| one.cost = Some(NanoUsd(1_000_000)));
    after[0].cost = None;
    let most = Side::of_arm(&seen(after), true);
    let report = Report::new("app", &[before(), most], Invoices::default());
    assert!((report.saving.unwrap().value - 99.0 * 0.012).abs() < 1e-9);
}

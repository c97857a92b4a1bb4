//! The articles' claims about money: our verdicts and figures, worked out by hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

use cutover_tco::Nano;
use cutover_tco::claims::{Finding, claims};
use cutover_units::claims::Holds;

fn finding(name: &str) -> Finding {
    let claim = claims().find(|claim| claim.name == name).unwrap();
    (claim.check)().unwrap()
}

/// The verdict, and figures to the last digit that is written here.
fn check(name: &str, holds: Holds, figures: &[(&str, &str)]) {
    let found = finding(name);
    assert_eq!(found.holds, holds, "{name}: {}", found.words);
    for (figure, wanted) in figures {
        let Some((_, value)) = found.figures.iter().find(|(known, _)| known == figure) else {
            panic!("{name} has no {figure}");
        };
        let decimals = wanted.split_once('.').map_or(0, |(_, part)| part.len());
        let half = Nano(10_i128.pow(9 - u32::try_from(decimals).unwrap()) / 2);
        let apart = (*value - Nano::parse(wanted).unwrap()).abs();
        assert!(apart <= half, "{name}: {figure} is {value}, not {wanted}");
    }
}

#[test]
fn every_claim_is_checked_once_and_answers() {
    let mut names: Vec<_> = claims().map(|claim| claim.name).collect();
    assert_eq!(names.len(), 30);
    assert!(names.iter().all(|name| !finding(name).words.is_empty()));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 30);
}

#[test]
fn the_playbooks_sums_come_out_where_they_are_sums() {
    check("playbook-tokens", Holds::Yes, &[("input", "50000000"), ("output", "20000000")]);
    check("playbook-sonnet", Holds::Yes, &[("month", "450")]);
    check("playbook-gpt-4-turbo", Holds::Yes, &[("month", "1100")]);
    check("playbook-cloud-3-years", Holds::Yes, &[("total", "16200")]);
    let sums = [("total", "5400.000000000"), ("saving", "10800"), ("share", "0.667")];
    check("playbook-own-3-years", Holds::Partly, &sums);
    check("playbook-electricity", Holds::Partly, &[("kwh", "3942"), ("usd_per_kwh", "0.1015")]);
    check(
        "playbook-tokens-per-second",
        Holds::Partly,
        &[("first_row", "44.4"), ("decode", "47.1")],
    );
}

#[test]
fn the_playbooks_prices_per_million_and_its_break_even_do_not() {
    check("playbook-break-even", Holds::No, &[("months", "9.0")]);
    check("playbook-18-per-million", Holds::No, &[("per_million", "6.43")]);
    check("playbook-40-per-million", Holds::No, &[("per_million", "15.71")]);
    check("playbook-0-per-million", Holds::No, &[("per_million", "2.14")]);
    check("playbook-billion-cloud", Holds::No, &[("mixed", "6429"), ("even", "9000")]);
    check("playbook-billion-own", Holds::No, &[("year", "1800"), ("share", "0.72")]);
    check("playbook-0-a-month", Holds::No, &[("month", "150")]);
}

#[test]
fn the_case_studys_bill_is_three_times_what_its_tokens_cost() {
    let bill = [("turbo", "1350"), ("raised", "1620"), ("gpt4", "3300"), ("implied", "49.4")];
    check("case-4200", Holds::No, &bill);
    check("case-4830", Holds::Yes, &[("month", "4830"), ("year", "57960")]);
    check("case-49092", Holds::Yes, &[("year", "49092")]);
    let parts =
        [("of_4200", "546"), ("of_1350", "175.5"), ("saved", "0.844"), ("share_of_43", "0.010")];
    check("case-fallback", Holds::No, &parts);
    check("case-96-percent", Holds::Partly, &[("share", "0.964")]);
    check("case-145728", Holds::Partly, &[("total", "145728")]);
}

#[test]
fn the_case_study_pays_back_in_three_different_times() {
    check("case-0.7-months", Holds::Partly, &[("months", "0.73")]);
    check("case-six-weeks", Holds::No, &[("project", "5605")]);
    check("case-latency", Holds::Yes, &[("p50", "0.4375"), ("p95", "0.466"), ("p99", "0.661")]);
    check("case-97-percent", Holds::Partly, &[("share", "0.967")]);
    check("case-nps", Holds::No, &[("difference", "0.2")]);
    check("case-50k-tokens", Holds::No, &[("month", "0.79"), ("bought_millions", "3.1")]);
}

#[test]
fn a_price_per_request_hides_the_machine() {
    check("budget-50-times", Holds::Partly, &[("times", "50")]);
    let figures = [("requests", "1200000"), ("month", "360"), ("card", "795.7")];
    check("budget-per-request", Holds::No, &figures);
    let figures = [("total", "5761"), ("share", "0.680"), ("a6000_share", "0.623")];
    check("budget-68-percent", Holds::Partly, &figures);
    check("enterprise-savings", Holds::Partly, &[("turbo", "4500"), ("gpt4o", "1312.5")]);
}

/// $3.49 an hour and 4,129 tokens a second, as a published calculator has it: 0.2348 USD per million.
#[test]
fn a_rented_machine_that_is_always_busy_costs_what_others_compute() {
    let mut draft = cutover_tco::scenario::Draft::default();
    let tokens = 4129_u64 * 3600 * 730;
    for assignment in [
        format!("workload.output_tokens={tokens}"),
        "workload.input_tokens=1".to_owned(),
        "today.input=3".to_owned(),
        "today.output=15".to_owned(),
        "rent.per_hour=3.49".to_owned(),
        "rent.tokens_per_second=4129".to_owned(),
        "rent.utilisation=100%".to_owned(),
    ] {
        draft.assign(&assignment).unwrap();
    }
    let found = cutover_tco::analysis::analyse(draft.finish().unwrap()).unwrap();
    let rent = &found.outcomes[1];
    assert_eq!(rent.flow.replicas.unwrap().0, Nano::ONE);
    assert!((rent.per_million.likely - Nano::parse("0.23479").unwrap()).abs() < Nano(5_000));
}

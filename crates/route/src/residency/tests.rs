//! A hundred thousand random configurations, requests and faults: nobody but local upstreams sees what
//! stays local, whatever fails and whatever is full.

use std::borrow::Cow;

use cutover_units::{Arm, UpstreamName, UseCaseName, VariantName, WeightBp};

use super::*;
use crate::balance::mix;
use crate::matching::Matcher;
use crate::overflow::{self, Class, Excess};
use crate::snapshot::{Draft, Snapshot, UnitSource, UseCase, Variant, VariantIx};
use crate::{Ask, Assignment, Caller, Decision, Priority};

const CASES: u64 = 100_000;

/// Requests sent for one request, at most, as the gateway has it.
const ATTEMPTS_MAX: usize = 4;

/// Chance from a counter: a failing case is found again by its number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn index(&mut self, n: usize) -> u16 {
        u16::try_from(self.below(n as u64)).unwrap()
    }

    fn weight(&mut self) -> WeightBp {
        let bp = match self.below(4) {
            0 => 0,
            1 => 10_000,
            _ => self.below(10_001),
        };
        WeightBp::new(u16::try_from(bp).unwrap()).unwrap()
    }
}

/// What the body says is asked for by half of them, beside a header or alone.
fn matcher(dice: &mut Dice, name: &str) -> Matcher {
    let header = vec![("x-use-case".to_owned(), name.to_owned())];
    let (model, team) = (format!("m{}", dice.below(2)), format!("t{}", dice.below(2)));
    let by_model = Matcher { model: Some(model), ..Matcher::default() };
    let by_team = Matcher { metadata: vec![("team".to_owned(), team)], ..Matcher::default() };
    match dice.below(8) {
        0 => by_model,
        1 => by_team,
        2 => Matcher { headers: header, ..by_model },
        3 => Matcher { headers: header, model: by_model.model, ..by_team },
        _ => Matcher { headers: header, ..Matcher::default() },
    }
}

fn snapshot(dice: &mut Dice) -> Snapshot {
    let variants: Vec<_> = (0..=dice.below(4))
        .map(|at| Variant {
            name: VariantName::new(&format!("v{at}")).unwrap(),
            upstream: UpstreamName::new(&format!("u{at}")).unwrap(),
            local: dice.one_in(2),
        })
        .collect();
    let use_cases = (0..dice.below(3)).map(|at| {
        let name = format!("c{at}");
        UseCase {
            name: UseCaseName::new(&name).unwrap(),
            matcher: matcher(dice, &name),
            unit: if dice.one_in(2) { UnitSource::User } else { UnitSource::Request },
            salt: name,
            baseline: VariantIx(dice.index(variants.len())),
            candidate: (!dice.one_in(4)).then(|| VariantIx(dice.index(variants.len()))),
            weight: dice.weight(),
            shadow: dice.weight(),
            local_only: dice.one_in(2),
            pilot: vec!["ann".into()],
            excluded: vec!["bob".into()],
            failover: dice.one_in(2),
            priority_hint: dice.one_in(2),
        }
    });
    let use_cases = use_cases.collect();
    let default = (!dice.one_in(4)).then(|| VariantIx(dice.index(variants.len())));
    Snapshot::build(Draft { variants, use_cases, default })
}

/// Everything that is sent the request: as the gateway goes over the legs, with every attempt failing or
/// not by chance, and with the candidate full or not.
fn seen_by(on: &Snapshot, decision: &Decision<'_>, dice: &mut Dice) -> Vec<VariantIx> {
    let mut legs = decision.legs.clone();
    let mut seen: Vec<_> = decision.shadow.into_iter().collect();
    if dice.one_in(2) {
        let class = Class::ALL[usize::from(dice.index(2))];
        let (use_case, arm) = (decision.use_case, decision.arm);
        let excess = Excess { use_case, arm, local_only: decision.local_only, class };
        match overflow::spill(on, excess, dice.one_in(2)) {
            Ok(leg) => legs = [leg].into_iter().collect(),
            // It has waited, and nobody took it.
            Err(_) if dice.one_in(2) => legs.clear(),
            Err(_) => {}
        }
    }
    let mut attempts = 0;
    'legs: for leg in legs {
        for _ in 0..=dice.below(2) {
            if attempts == ATTEMPTS_MAX {
                break 'legs;
            }
            attempts += 1;
            seen.push(leg.variant);
            // A hedge asks another instance of the same leg.
            if dice.one_in(3) {
                break 'legs;
            }
        }
    }
    seen
}

#[derive(Debug, Default)]
struct Counts {
    cases: u64,
    restricted: u64,
    tempted: u64,
    sent: u64,
    refused: u64,
    copied: u64,
    /// Of a local-only use case by what stands in the body.
    turned: u64,
    /// Passed on unread although a use case is local-only by what stands in a body.
    spared: u64,
}

#[test]
fn nothing_that_stays_local_is_seen_elsewhere() {
    let mut counts = Counts::default();
    for case in 0..CASES {
        let dice = &mut Dice(mix(case));
        let on = snapshot(dice);
        let name = format!("c{}", dice.below(3));
        let header = |word: &str| (word == "x-use-case").then_some(name.as_str());
        let user = [None, Some("ann"), Some("bob"), Some("carl"), Some("dora")];
        let (model, team) = (["m0", "m1", "m"], ["t0", "t1", "t"]);
        let team = team[usize::from(dice.index(team.len()))];
        let metadata = |name: &str| (name == "team").then_some(Cow::Borrowed(team));
        let ask = Ask {
            model: model[usize::from(dice.index(model.len()))],
            user: user[usize::from(dice.index(user.len()))],
            header: &header,
            metadata: &metadata,
            caller: Caller { key_name: Some("key"), use_case: dice.one_in(8).then_some("c0") },
            use_case: dice.one_in(8).then_some("c1"),
            priority: [None, Some(Priority::Cost), Some(Priority::Quality)]
                [usize::from(dice.index(3))],
            local_only: dice.one_in(2),
            request_id: "req_1",
        };
        let decision = on.decide(&ask);
        let use_case = decision.use_case.and_then(|at| on.use_case(at));
        let restricted = ask.local_only || use_case.is_some_and(|found| found.local_only);
        assert_eq!(decision.local_only, restricted, "case {case}");
        // What is passed on unread goes nowhere else than what has been read.
        let unread = Ask { model: "", metadata: &|_| None::<Cow<'_, str>>, ..ask };
        let told_early = on.decide(&unread).local_only;
        let (turned, may_turn) = (decision.local_only && !told_early, on.may_turn_local(&unread));
        assert!(!turned || may_turn, "case {case}: unread it would go anywhere");
        counts.turned += u64::from(turned);
        counts.spared += u64::from(!on.local_by_body.is_empty() && !told_early && !may_turn);
        let seen = seen_by(&on, &decision, dice);
        counts.cases += 1;
        if !restricted {
            continue;
        }
        counts.restricted += 1;
        counts.tempted += u64::from(on.variants().iter().any(|variant| !variant.local));
        counts.copied += u64::from(decision.shadow.is_some());
        counts.sent += u64::from(!seen.is_empty());
        counts.refused += u64::from(seen.is_empty());
        for at in seen {
            assert!(on.variants()[usize::from(at.0)].local, "case {case}: {at:?} saw {decision:?}");
        }
    }
    assert_eq!(counts.cases, CASES);
    // It would prove nothing if nothing could go wrong.
    let often = [counts.restricted, counts.tempted, counts.sent, counts.refused];
    assert!(often.iter().all(|n| *n > CASES / 10) && counts.copied > 500, "{counts:?}");
    assert!(counts.turned > 500 && counts.spared > 500, "{counts:?}");
}

fn arms(baseline_local: bool, candidate_local: bool, weight: &str) -> Snapshot {
    let variant = |name: &str, local| Variant {
        name: VariantName::new(name).unwrap(),
        upstream: UpstreamName::new(name).unwrap(),
        local,
    };
    let variants = vec![variant("big", baseline_local), variant("small", candidate_local)];
    let use_case = UseCase {
        name: UseCaseName::new("docs").unwrap(),
        matcher: Matcher { model: Some("app".into()), ..Matcher::default() },
        unit: UnitSource::User,
        salt: "docs".into(),
        baseline: VariantIx(0),
        candidate: Some(VariantIx(1)),
        weight: WeightBp::parse(weight).unwrap(),
        shadow: WeightBp::ALL,
        local_only: false,
        pilot: vec!["ann".into()],
        excluded: vec!["bob".into()],
        failover: true,
        priority_hint: true,
    };
    Snapshot::build(Draft { variants, use_cases: vec![use_case], default: Some(VariantIx(0)) })
}

fn decided(on: &Snapshot, (user, model): (&str, &str)) -> (Arm, Assignment, Vec<u16>, bool) {
    let decision = on.decide(&Ask {
        model,
        user: Some(user),
        header: &|_| None,
        metadata: &|_| None,
        caller: Caller::default(),
        use_case: None,
        priority: None,
        local_only: true,
        request_id: "req_1",
    });
    let legs = decision.legs.iter().map(|leg| leg.variant.0).collect();
    (decision.arm, decision.assignment, legs, decision.shadow.is_some())
}

#[test]
fn a_request_that_stays_local_takes_the_local_candidate_and_counts_nowhere() {
    let on = arms(false, true, "1%");
    let kept = (Arm::Candidate, Assignment::Residency, vec![1], false);
    for user in ["carl", "dora", "emil"] {
        assert_eq!(decided(&on, (user, "app")), kept);
    }
    assert!(!Assignment::Residency.is_random());
    // After a rollback the candidate serves nobody, and an excluded unit never.
    let nowhere = (Arm::Baseline, Assignment::Residency, vec![], false);
    assert_eq!(decided(&arms(false, true, "0%"), ("carl", "app")), nowhere);
    let excluded = (Arm::Baseline, Assignment::Excluded, vec![], false);
    assert_eq!(decided(&on, ("bob", "app")), excluded);
}

#[test]
fn a_request_that_stays_local_is_copied_to_nobody() {
    let (arm, assignment, legs, copied) = decided(&arms(true, true, "0%"), ("carl", "app"));
    assert_eq!((arm, assignment, legs), (Arm::Baseline, Assignment::Sticky, vec![0]));
    assert!(!copied, "a scorer of the use case may be anywhere");
}

#[test]
fn the_default_upstream_sees_it_only_if_it_is_local() {
    let fixed = |legs| (Arm::Default, Assignment::Fixed, legs, false);
    assert_eq!(decided(&arms(false, true, "0%"), ("carl", "other")), fixed(vec![]));
    assert_eq!(decided(&arms(true, true, "0%"), ("carl", "other")), fixed(vec![0]));
}

#[test]
fn a_client_can_tighten_and_not_loosen() {
    assert_eq!(parse("local-only"), Some(true));
    for word in ["any", "", "Local-Only", "local", "false"] {
        assert_eq!(parse(word), None);
    }
}

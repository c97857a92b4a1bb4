use cutover_units::{UpstreamName, UseCaseName, VariantName};
use proptest::prelude::*;

use super::*;
use crate::matching::Matcher;
use crate::snapshot::{Draft, Variant};

fn variant(name: &str) -> Variant {
    Variant {
        name: VariantName::new(name).unwrap(),
        upstream: UpstreamName::new("up").unwrap(),
        local: name == "own",
    }
}

fn use_case(name: &str, weight: &str) -> UseCase {
    UseCase {
        name: UseCaseName::new(name).unwrap(),
        matcher: Matcher {
            headers: vec![("x-use-case".into(), name.into())],
            ..Matcher::default()
        },
        unit: UnitSource::Header("x-customer".into()),
        salt: name.into(),
        baseline: VariantIx(0),
        candidate: Some(VariantIx(1)),
        weight: WeightBp::parse(weight).unwrap(),
        shadow: WeightBp::NONE,
        local_only: false,
        pilot: vec!["zoe".into(), "ann".into()],
        excluded: vec!["bob".into()],
        failover: true,
        priority_hint: true,
    }
}

fn snapshot(use_cases: Vec<UseCase>) -> Snapshot {
    let variants = vec![variant("cloud"), variant("own"), variant("default")];
    Snapshot::build(Draft { variants, use_cases, default: Some(VariantIx(2)) })
}

#[derive(Default)]
struct Request {
    headers: Vec<(&'static str, String)>,
    metadata: Vec<(&'static str, String)>,
    model: &'static str,
    user: Option<&'static str>,
    key: Option<&'static str>,
    bound: Option<&'static str>,
    named: Option<&'static str>,
    priority: Option<Priority>,
}

impl Request {
    fn of(use_case: &str, unit: &str) -> Self {
        Self {
            headers: vec![("x-use-case", use_case.into()), ("x-customer", unit.into())],
            ..Self::default()
        }
    }

    fn decide(&self, on: &Snapshot) -> (Option<u16>, Arm, Assignment, Vec<u16>) {
        self.decided(on, |d| {
            let legs = d.legs.iter().map(|l| l.variant.0).collect();
            (d.use_case.map(|u| u.0), d.arm, d.assignment, legs)
        })
    }

    fn decided<T>(&self, on: &Snapshot, read: impl FnOnce(&Decision<'_>) -> T) -> T {
        let find = |list: &'_ [(&'static str, String)], name: &str| {
            list.iter().position(|(n, _)| *n == name)
        };
        let header = |name: &str| find(&self.headers, name).map(|i| self.headers[i].1.as_str());
        let metadata = |name: &str| {
            find(&self.metadata, name).map(|i| Cow::Borrowed(self.metadata[i].1.as_str()))
        };
        let ask = Ask {
            model: self.model,
            user: self.user,
            header: &header,
            metadata: &metadata,
            caller: Caller { key_name: self.key, use_case: self.bound },
            use_case: self.named,
            priority: self.priority,
            local_only: false,
            request_id: "req_1",
        };
        read(&on.decide(&ask))
    }
}

#[test]
fn what_no_use_case_names_goes_to_the_default_untouched() {
    let on = snapshot(vec![use_case("a", "100%")]);
    let got = Request { model: "gpt-4o", ..Request::default() }.decide(&on);
    assert_eq!(got, (None, Arm::Default, Assignment::Fixed, vec![2]));
}

#[test]
fn without_a_default_there_is_no_leg() {
    let on = Snapshot::build(Draft { variants: vec![variant("a")], ..Draft::default() });
    assert_eq!(Request::default().decide(&on).3, Vec::<u16>::new());
}

#[test]
fn the_candidate_fails_over_to_the_baseline_but_never_the_other_way() {
    let on = snapshot(vec![use_case("a", "100%")]);
    assert_eq!(
        Request::of("a", "carl").decide(&on),
        (Some(0), Arm::Candidate, Assignment::Sticky, vec![1, 0])
    );
    let on = snapshot(vec![use_case("a", "0%")]);
    assert_eq!(
        Request::of("a", "carl").decide(&on),
        (Some(0), Arm::Baseline, Assignment::Sticky, vec![0])
    );
    let on = snapshot(vec![UseCase { failover: false, ..use_case("a", "100%") }]);
    assert_eq!(Request::of("a", "carl").decide(&on).3, vec![1]);
}

#[test]
fn lists_and_hints_never_count_as_chance() {
    let on = snapshot(vec![use_case("a", "0.01%")]);
    let arm = |unit, priority| {
        let (_, arm, how, _) = Request { priority, ..Request::of("a", unit) }.decide(&on);
        (arm, how.as_str(), how.is_random())
    };
    assert_eq!(arm("ann", None), (Arm::Candidate, "pilot", false));
    assert_eq!(arm("bob", Some(Priority::Cost)), (Arm::Baseline, "excluded", false));
    assert_eq!(arm("carl", Some(Priority::Cost)), (Arm::Candidate, "hint", false));
    assert_eq!(arm("ann", Some(Priority::Quality)), (Arm::Candidate, "pilot", false));
    assert_eq!(arm("carl", Some(Priority::Quality)), (Arm::Baseline, "hint", false));
    assert_eq!(arm("carl", None), (Arm::Baseline, "sticky", true));
}

#[test]
fn weight_zero_sends_no_one_to_the_candidate() {
    let on = snapshot(vec![use_case("a", "0%")]);
    for unit in ["ann", "bob", "carl"] {
        for priority in [None, Some(Priority::Cost), Some(Priority::Quality)] {
            let (_, arm, _, legs) = Request { priority, ..Request::of("a", unit) }.decide(&on);
            assert_eq!((arm, legs), (Arm::Baseline, vec![0]));
        }
    }
}

#[test]
fn a_missing_unit_is_the_request_itself() {
    let on = snapshot(vec![use_case("a", "50%")]);
    assert_eq!(Request::of("a", "").decide(&on).2, Assignment::Request);
}

#[test]
fn all_parts_of_a_matcher_must_hold_and_the_first_that_fits_wins() {
    let by_model = UseCase {
        matcher: Matcher { model: Some("gpt-4o".into()), ..Matcher::default() },
        ..use_case("wide", "0%")
    };
    let both = UseCase {
        matcher: Matcher {
            model: Some("gpt-4o".into()),
            metadata: vec![("feature".into(), "chat".into())],
            ..Matcher::default()
        },
        ..use_case("narrow", "0%")
    };
    let on = snapshot(vec![both, by_model]);
    let ask = |metadata| Request { model: "gpt-4o", metadata, ..Request::default() };
    assert_eq!(ask(vec![]).decide(&on).0, Some(1));
    assert_eq!(ask(vec![("feature", "chat".into())]).decide(&on).0, Some(0));
    assert_eq!(ask(vec![("feature", "mail".into())]).decide(&on).0, Some(1));
}

#[test]
fn a_bound_key_beats_a_named_use_case_beats_matchers() {
    let on = snapshot(vec![use_case("a", "0%"), use_case("b", "0%"), use_case("c", "0%")]);
    let named = Request { named: Some("b"), ..Request::of("a", "u") };
    assert_eq!(named.decide(&on).0, Some(1));
    let bound = Request { named: Some("b"), bound: Some("c"), ..Request::of("a", "u") };
    assert_eq!(bound.decide(&on).0, Some(2));
    let unknown = Request { named: Some("zzz"), ..Request::of("a", "u") };
    assert_eq!(unknown.decide(&on).0, Some(0));
}

#[test]
fn an_empty_matcher_swallows_nothing() {
    let on = snapshot(vec![UseCase { matcher: Matcher::default(), ..use_case("a", "100%") }]);
    assert_eq!(Request::default().decide(&on).0, None);
}

#[test]
fn copies_are_of_what_chance_gave_to_the_baseline() {
    let copied = |weight, shadow, unit: &str| {
        let shadow = WeightBp::parse(shadow).unwrap();
        let on = snapshot(vec![UseCase { shadow, ..use_case("a", weight) }]);
        Request::of("a", unit).decided(&on, |d| d.shadow.map(|at| at.0))
    };
    assert_eq!(copied("0%", "100%", "carl"), Some(1));
    assert_eq!(copied("0%", "0%", "carl"), None);
    assert_eq!(copied("100%", "100%", "carl"), None, "the candidate itself answers");
    assert_eq!(copied("0%", "100%", "bob"), None, "excluded");
    assert_eq!(copied("0%", "100%", "ann"), None, "a pilot");
    let units = (0..2_000).map(|n| format!("u{n}"));
    let half = units.filter(|unit| copied("0%", "50%", unit).is_some()).count();
    assert!((900..1_100).contains(&half), "{half}");
}

#[test]
fn a_local_only_use_case_ends_at_local_variants_or_nowhere() {
    let own = |arm: u16| VariantIx(arm);
    let legs = |weight, baseline, candidate| {
        let on = snapshot(vec![UseCase {
            local_only: true,
            baseline,
            candidate,
            ..use_case("a", weight)
        }]);
        Request::of("a", "carl").decided(&on, |d| {
            (d.arm, d.legs.iter().map(|leg| leg.variant.0).collect::<Vec<_>>(), d.local_only)
        })
    };
    assert_eq!(legs("0%", own(1), Some(own(0))), (Arm::Baseline, vec![1], true));
    assert_eq!(legs("100%", own(1), Some(own(0))), (Arm::Baseline, vec![1], true));
    assert_eq!(legs("100%", own(0), Some(own(1))), (Arm::Candidate, vec![1], true));
    assert_eq!(legs("0%", own(0), Some(own(1))), (Arm::Baseline, vec![], true));
    assert_eq!(legs("0%", own(0), None), (Arm::Baseline, vec![], true));
}

#[test]
fn deciding_allocates_nothing() {
    let shadow = WeightBp::ALL;
    let use_cases = (0..50).map(|n| UseCase { shadow, ..use_case(&format!("a{n}"), "50%") });
    let on = snapshot(use_cases.collect());
    let header = |name: &str| match name {
        "x-use-case" => Some("a49"),
        "x-customer" => Some("carl"),
        _ => None,
    };
    let ask = Ask {
        model: "m",
        user: None,
        header: &header,
        metadata: &|_| None,
        caller: Caller::default(),
        use_case: None,
        priority: None,
        local_only: false,
        request_id: "req_1",
    };
    let counted = allocation_counter::measure(|| {
        let decision = std::hint::black_box(on.decide(std::hint::black_box(&ask)));
        assert_eq!(decision.use_case.map(|at| at.0), Some(49));
    });
    assert_eq!(counted.count_total, 0);
}

proptest! {
    #[test]
    fn local_only_requests_are_seen_by_local_variants_alone(
        unit in "[a-z]{0,6}", weight in 0u16..=10_000, shadow in 0u16..=10_000, failover: bool,
        baseline in 0u16..3, candidate in prop::option::of(0u16..3), hint: bool,
    ) {
        let on = snapshot(vec![UseCase {
            weight: WeightBp::new(weight).unwrap(),
            shadow: WeightBp::new(shadow).unwrap(),
            baseline: VariantIx(baseline),
            candidate: candidate.map(VariantIx),
            local_only: true,
            failover,
            ..use_case("a", "0%")
        }]);
        let priority = hint.then_some(Priority::Cost);
        let seen_by = Request { priority, ..Request::of("a", &unit) }.decided(&on, |d| {
            d.legs.iter().map(|leg| leg.variant).chain(d.shadow).collect::<Vec<_>>()
        });
        for at in seen_by {
            prop_assert!(on.variants()[usize::from(at.0)].local);
        }
    }

    #[test]
    fn legs_are_distinct_and_end_at_the_baseline(
        unit in "[a-z]{0,6}", weight in 0u16..=10_000, failover: bool,
        priority in prop::option::of(prop_oneof![Just(Priority::Cost), Just(Priority::Quality)]),
    ) {
        let weight = WeightBp::new(weight).unwrap();
        let on = snapshot(vec![UseCase { weight, failover, ..use_case("a", "0%") }]);
        let (_, arm, _, legs) = Request { priority, ..Request::of("a", &unit) }.decide(&on);
        match arm {
            Arm::Candidate if failover => prop_assert_eq!(legs, vec![1, 0]),
            Arm::Candidate => prop_assert_eq!(legs, vec![1]),
            _ => prop_assert_eq!(legs, vec![0]),
        }
    }

    #[test]
    fn raising_the_weight_moves_nobody_back(unit in "[a-z0-9]{1,12}", a in 0u16..=10_000, b in 0u16..=10_000) {
        let at = |bp: u16| {
            let on = snapshot(vec![UseCase { weight: WeightBp::new(bp).unwrap(), ..use_case("a", "0%") }]);
            Request::of("a", &unit).decide(&on).1
        };
        if at(a.min(b)) == Arm::Candidate {
            prop_assert_eq!(at(a.max(b)), Arm::Candidate);
        }
    }
}

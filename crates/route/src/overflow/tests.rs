use cutover_units::{Millis, WeightBp};
use proptest::prelude::*;

use super::*;
use crate::health::{FAILURES_MAX, rests};
use crate::matching::Matcher;
use crate::snapshot::{Draft, UnitSource, UseCase, Variant, VariantIx};
use cutover_units::{UpstreamName, UseCaseName, VariantName};

const BOUNDS: Bounds = Bounds {
    in_flight: None,
    engine: Limits { waiting: 8, cache_permille: 950 },
    first_token_us: Some(1_000_000),
    line: false,
};

const LINE: Bounds = Bounds { line: true, first_token_us: None, ..BOUNDS };

fn busy(in_flight: u32, load: Load) -> Figures {
    Figures { in_flight, load, latency_us: 100_000, ..Figures::default() }
}

fn slots(slots: u32) -> Load {
    Load { slots: Some(slots), ..Load::default() }
}

#[test]
fn an_upstream_is_as_full_as_the_least_full_of_its_instances() {
    let waits = |waiting| busy(4, Load { waiting: Some(waiting), ..slots(4) });
    let of = |figures: &[Figures]| fill(figures.iter().copied(), &BOUNDS);
    assert_eq!(of(&[waits(8), waits(2)]), Fill { least: Some(250), places: Some(8), taken: 0 });
    let saturated = Figures { state: State::Saturated, ..waits(0) };
    assert_eq!(of(&[saturated]).least, Some(FULL));
    let down = Figures { state: State::Down, ..waits(0) };
    assert_eq!(of(&[down, waits(8)]), Fill { least: Some(FULL), places: Some(4), taken: 0 });
    assert_eq!(fullness(&of(&[down]), 0), None, "broken, not full");
}

#[test]
fn what_is_under_way_where_nothing_is_sent_any_more_takes_no_place() {
    let bounds = Bounds { in_flight: Some(2), ..BOUNDS };
    let at = |state, placed| Figures { state, placed, ..busy(placed, Load::default()) };
    for state in [State::Draining, State::Down, State::Ejected] {
        let all = fill([at(state, 2), at(State::Healthy, 0)].into_iter(), &bounds);
        assert_eq!((all.places, all.taken), (Some(2), 0), "{state:?}");
        assert_eq!(fullness(&all, 0), Some(0), "{state:?}");
        let all = fill([at(state, 2), at(State::Healthy, 1)].into_iter(), &bounds);
        assert_eq!([0, 1].map(|n| fullness(&all, n)), [500, FULL].map(Some), "{state:?}");
    }
}

/// One whose slots were not known yet, or not read in time, lifted the limit of all: who waited went into engines that
/// were full.
#[test]
fn who_does_not_tell_its_places_has_as_few_as_any_of_those_that_do() {
    let of = |figures: &[Figures]| fill(figures.iter().copied(), &LINE).places;
    let silent = busy(1, Load::default());
    assert_eq!(of(&[silent, silent]), None, "nobody tells");
    assert_eq!(of(&[busy(0, slots(4)), silent, busy(0, slots(2))]), Some(8));
    for state in [State::Down, State::Ejected, State::Draining] {
        let gone = Figures { state, ..busy(0, slots(3)) };
        assert_eq!(of(&[gone, silent]), Some(3), "{state:?}");
    }
}

#[test]
fn where_requests_wait_those_that_rest_are_waited_for() {
    let bounds = Bounds { in_flight: Some(2), ..LINE };
    let at = |state, placed| Figures { state, ..busy(placed, Load::default()) };
    let of =
        |figures: &[Figures], admitted| fullness(&fill(figures.iter().copied(), &bounds), admitted);
    let (rests, down) = (at(State::Ejected, 0), at(State::Down, 0));
    assert_eq!(of(&[rests], 0), Some(FULL));
    assert_eq!(of(&[rests, down], 0), Some(FULL), "the other is tried before it");
    assert_eq!(of(&[at(State::Draining, 2)], 0), None, "nobody will ever be there");
    assert_eq!(of(&[rests, at(State::Healthy, 1)], 0), Some(0), "another can serve");
    let both = Figures { rests: true, ..down };
    assert_eq!(of(&[both], 0), Some(FULL), "requests have found out, too");
    // A probe may be wrong.
    assert_eq!([0, 1, 2].map(|n| of(&[down], n)), [0, 500, FULL].map(Some));
    // It has rested: one tries it, whoever is there from before.
    let tried = |placed| Figures { on_trial: true, placed, ..at(State::Healthy, placed) };
    for placed in [0, 1] {
        assert!(of(&[tried(placed)], 0) < Some(FULL), "{placed}");
        assert_eq!(of(&[tried(placed)], 1), Some(FULL), "{placed}");
    }
    assert_eq!(of(&[tried(2)], 0), Some(FULL));
    let without_limit = fill([tried(7)].into_iter(), &LINE);
    assert_eq!([0, 1].map(|n| fullness(&without_limit, n)), [875, FULL].map(Some));
    // Without a line nobody is held up: who has no other way tries it all the same.
    let without = Bounds { line: false, ..bounds };
    assert_eq!(fullness(&fill([rests].into_iter(), &without), 0), None);
    assert_eq!(fullness(&fill([tried(0)].into_iter(), &without), 1), Some(500));
}

#[test]
fn places_count_what_was_admitted() {
    let fill = Fill { least: Some(0), places: Some(4), taken: 0 };
    let sent = Fill { taken: 3, ..fill };
    assert_eq!([0, 1, 5].map(|n| fullness(&sent, n)), [750, 1_000, 2_000].map(Some));
    assert_eq!([0, 3, 4, 8].map(|n| fullness(&fill, n)), [0, 750, 1_000, 2_000].map(Some));
    assert_eq!(fullness(&Fill { places: None, ..fill }, 9_999), Some(0));
    assert_eq!(fullness(&Fill { places: Some(0), ..fill }, 1), Some(FULL));
}

#[test]
fn what_waits_before_a_request_is_predicted_by_rows() {
    let first = |figures: Figures| predicted_us(&figures, &BOUNDS);
    assert_eq!(first(busy(4, slots(4))), 100_000);
    assert_eq!(first(busy(9, slots(4))), 300_000, "five wait in two rows");
    assert_eq!(
        first(busy(1, Load { waiting: Some(8), ..slots(4) })),
        300_000,
        "others' requests count"
    );
    assert_eq!(first(busy(0, Load { waiting: Some(8), ..slots(4) })), 0);
    let slow = Figures { latency_us: 2_000_000, ..busy(1, Load::default()) };
    assert_eq!(told_of(&slow, &BOUNDS), 2_000);
    assert_eq!(told_of(&Figures { in_flight: 0, ..slow }, &BOUNDS), 0, "it can be tried again");
}

#[test]
fn a_configured_limit_beats_what_the_engine_tells() {
    let bounds = Bounds { in_flight: Some(2), ..BOUNDS };
    assert_eq!(places_of(&busy(0, slots(8)), &bounds), Some(2));
    assert_eq!(places_of(&busy(0, slots(8)), &BOUNDS), Some(8));
}

#[test]
fn requests_spill_until_the_upstream_has_clearly_recovered() {
    let mut stage = Stage::Room.step(Some(FULL), 0);
    assert_eq!(stage, Stage::Queueing);
    stage = Stage::Spilling;
    for fullness in [FULL, 999, RESUME + 1] {
        stage = stage.step(Some(fullness), 0);
        assert_eq!(stage, Stage::Spilling);
    }
    assert_eq!(stage.step(Some(RESUME), 1), Stage::Spilling, "somebody waits still");
    assert_eq!(stage.step(Some(RESUME), 0), Stage::Room);
    assert_eq!(stage.step(None, 7), Stage::Room);
}

fn snapshot(weight: &str, local_only: bool) -> Snapshot {
    let variant = |name: &str| Variant {
        name: VariantName::new(name).unwrap(),
        upstream: UpstreamName::new(name).unwrap(),
        local: true,
    };
    let use_case = UseCase {
        name: UseCaseName::new("docs").unwrap(),
        matcher: Matcher::default(),
        unit: UnitSource::User,
        salt: String::new(),
        baseline: VariantIx(0),
        candidate: Some(VariantIx(1)),
        weight: WeightBp::parse(weight).unwrap(),
        shadow: WeightBp::NONE,
        local_only,
        pilot: Vec::new(),
        excluded: Vec::new(),
        failover: false,
        priority_hint: true,
    };
    let (variants, use_cases) = (vec![variant("big"), variant("small")], vec![use_case]);
    Snapshot::build(Draft { variants, use_cases, default: None })
}

#[test]
fn only_excess_that_may_go_elsewhere_does() {
    let excess = Excess {
        use_case: Some(UseCaseIx(0)),
        arm: Arm::Candidate,
        local_only: false,
        class: Class::Interactive,
    };
    let batch = Excess { class: Class::Batch, ..excess };
    let on = snapshot("99%", false);
    let baseline = Ok(Leg { variant: VariantIx(0), arm: Arm::Baseline });
    assert_eq!(spill(&on, excess, false), baseline);
    assert_eq!((spill(&on, batch, false), spill(&on, batch, true)), (Err(Stays::Batch), baseline));
    let of = |excess| spill(&on, excess, true);
    assert_eq!(of(Excess { arm: Arm::Baseline, ..excess }), Err(Stays::NotCandidate));
    assert_eq!(of(Excess { local_only: true, ..excess }), Err(Stays::LocalOnly));
    assert_eq!(of(Excess { use_case: None, ..excess }), Err(Stays::Off));
    // After the migration, too: a use case that overflows has a baseline that is there for it.
    assert_eq!(spill(&snapshot("100%", false), excess, false), baseline);
    assert_eq!(spill(&snapshot("50%", true), excess, true), Err(Stays::LocalOnly));
}

#[test]
fn a_class_is_read_and_written_by_the_same_word() {
    for class in Class::ALL {
        assert_eq!(Class::parse(class.as_str()), Some(class));
    }
    assert_eq!(Class::parse("low"), None);
    assert!(Class::Interactive < Class::Batch);
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![Just(Stage::Room), Just(Stage::Queueing), Just(Stage::Spilling)]
}

proptest! {
    /// A load that does not change does not make the stage change twice: it does not flap.
    #[test]
    fn a_steady_load_has_a_steady_stage(from in stage(), fullness in 0u32..3_000, waiting in 0u32..3) {
        let once = from.step(Some(fullness), waiting);
        prop_assert_eq!(once.step(Some(fullness), waiting), once);
    }

    /// Between the two bounds everything stays as it is, in whatever order loads come.
    #[test]
    fn between_the_bounds_spilling_goes_on_and_never_begins(
        loads in prop::collection::vec((RESUME + 1)..FULL, 1..50),
    ) {
        let (mut spilling, mut room) = (Stage::Spilling, Stage::Room);
        for load in loads {
            spilling = spilling.step(Some(load), 0);
            room = room.step(Some(load), 0);
            prop_assert_eq!((spilling, room), (Stage::Spilling, Stage::Room));
        }
    }

    /// Only a full upstream, or somebody who waits, keeps new requests from it.
    #[test]
    fn nobody_waits_while_there_is_room(from in stage(), fullness in 0u32..FULL) {
        if from.step(Some(fullness), 0) == Stage::Queueing {
            prop_assert!(false, "{from:?} at {fullness}");
        }
    }

    #[test]
    fn more_requests_never_make_an_upstream_less_full(
        told in prop::option::of(0u32..2_000), places in prop::option::of(0u32..100),
        admitted in 0u32..1_000, more in 0u32..1_000, taken in 0u32..1_000,
    ) {
        let fill = Fill { least: told, places, taken };
        prop_assert!(fullness(&fill, admitted + more) >= fullness(&fill, admitted));
    }

    /// An engine fails for a while, and many wait. Never are more there than it has places, each rest is followed by one
    /// request alone, and in the end all are served.
    #[test]
    fn a_line_before_an_engine_that_fails_tries_it_with_one_at_a_time(
        places in 1u32..6, waiting in 1u32..40, fails in 0u32..30,
        lasts in prop::collection::vec(1u64..3_000, 1..8),
    ) {
        let bounds = Bounds { in_flight: Some(places), ..LINE };
        let (mut waiting, mut fails) = (waiting, fails);
        let (mut failures, mut failed_at, mut now) = (0, Millis(0), 0);
        let mut under_way: Vec<u64> = Vec::new();
        let mut lasts = lasts.iter().cycle();
        for _ in 0..100_000 {
            if waiting == 0 && under_way.is_empty() {
                break;
            }
            // Answers come to their ends.
            while let Some(at) = under_way.iter().position(|ends| *ends <= now) {
                under_way.remove(at);
                if fails > 0 {
                    (fails, failures, failed_at) = (fails - 1, failures + 1, Millis(now));
                } else {
                    failures = 0;
                }
            }
            // All who may are let in before the first of them is sent.
            let rests = rests(failures, failed_at, Millis(now));
            let there = u32::try_from(under_way.len()).unwrap();
            let figures = Figures {
                state: if rests { State::Ejected } else { State::Healthy },
                placed: there,
                on_trial: failures >= FAILURES_MAX,
                ..busy(there, Load::default())
            };
            let fill = fill([figures].into_iter(), &bounds);
            let let_in = (0..waiting).take_while(|n| fullness(&fill, *n) < Some(FULL)).count();
            let let_in = u32::try_from(let_in).unwrap();
            prop_assert!(there + let_in <= places && (let_in == 0 || !rests));
            if failures >= FAILURES_MAX && let_in > 0 {
                prop_assert_eq!(let_in, 1, "a trial");
                failed_at = Millis(now);
            }
            waiting -= let_in;
            under_way.extend((0..let_in).map(|_| now + lasts.next().unwrap()));
            now += 100;
        }
        prop_assert_eq!((waiting, under_way.len()), (0, 0), "all are served");
    }

    #[test]
    fn no_figures_overflow(
        in_flight: u32, latency_us: u64, waiting in prop::option::of(any::<u32>()),
        slots in prop::option::of(any::<u32>()), limit in prop::option::of(any::<u64>()),
        admitted: u32, placed: u32, line: bool, on_trial: bool,
    ) {
        let load = Load { waiting, slots, ..Load::default() };
        let figures = Figures { in_flight, placed, latency_us, load, on_trial, ..Figures::default() };
        let bounds = Bounds { first_token_us: limit, line, ..BOUNDS };
        let fill = fill([figures; 3].into_iter(), &bounds);
        prop_assert!(fullness(&fill, admitted).is_some());
    }
}

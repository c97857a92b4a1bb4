//! The planner's invariants over random specs, observations and commands.

use cutover_units::{Millis, WeightBp};
use proptest::prelude::*;

use super::super::*;
use crate::command::{command, restart};
use crate::evidence::{Absorbed, Evidence};
use crate::observe::Window;
use crate::replay::replay_from;
use crate::report::Verdict;
use crate::spec::{OnInconclusive, OnStale, Role};
use crate::state::Command;
use crate::testing::{MINUTE, T0, exposure, mix, pair, spec, window};

const GATES: [&str; 9] = [
    "quality >= 0.9 x baseline",
    "errors <= baseline + 5 pp",
    "errors <= 1.0 x baseline",
    "errors <= 20%",
    "p95 <= 4 s (rollback)",
    "p50 <= 1.5 x baseline",
    "fallback <= 15% (signal)",
    "cost <= 2.50 USD per 1000",
    "privacy",
];

fn specs() -> impl Strategy<Value = Spec> {
    let weights = prop::collection::btree_set(1u16..10_000, 0..4);
    let gates = prop::sample::subsequence(GATES.to_vec(), 0..GATES.len());
    let settings = (0u64..40, prop::option::of(0u64..80), 0u32..30, any::<[bool; 3]>(), 0u8..3);
    (weights, gates, settings).prop_map(|(weights, gates, settings)| {
        let (min, max, units, [stale, after, shadowed], inconclusive) = settings;
        let mut steps = vec!["shadow 50%".to_owned()];
        let with = if shadowed { " with shadow 20%" } else { "" };
        steps.extend(
            weights.into_iter().map(|bp| format!("ramp {}{with}", WeightBp::new(bp).unwrap())),
        );
        steps.push("100%".to_owned());
        let texts: Vec<&str> = steps.iter().map(String::as_str).collect();
        let mut spec = spec(&texts, &gates);
        for step in &mut spec.steps {
            step.min_duration = Millis(min * MINUTE);
            step.max_duration = max.map(|max| Millis((min + max) * MINUTE));
            step.min_units = units;
        }
        spec.on_stale = if stale { OnStale::RollBack } else { OnStale::Hold };
        spec.roll_back_after_promotion = after;
        spec.alarm_run_length = 1_000;
        spec.on_inconclusive = match inconclusive {
            0 => OnInconclusive::Hold,
            1 => OnInconclusive::RollBack,
            _ => OnInconclusive::Advance,
        };
        spec
    })
}

/// One minute of a rollout's life.
#[derive(Debug, Clone)]
struct Minute {
    seed: u64,
    units: u64,
    fails: u64,
    pairs: u64,
    odd: u8,
    command: Option<Command>,
}

fn minutes() -> impl Strategy<Value = Vec<Minute>> {
    let asked = prop::option::weighted(
        0.08,
        prop::sample::select(vec![
            Command::Pause,
            Command::Resume,
            Command::Advance,
            Command::Approve { step: None },
            Command::Promote,
            Command::RollBack,
        ]),
    );
    let one = (any::<u64>(), 0u64..40, 0u64..4, 0u64..10, 0u8..12, asked).prop_map(
        |(seed, units, fails, pairs, odd, command)| Minute {
            seed,
            units,
            fails,
            pairs,
            odd,
            command,
        },
    );
    prop::collection::vec(one, 1..60)
}

fn seen(minute: &Minute, state: &State, last: Millis) -> Window {
    let length = if minute.odd == 0 { 40 * MINUTE } else { MINUTE };
    let mut window = window(last, length);
    window.blind = minute.odd == 1;
    window.lost = if minute.odd == 2 { minute.seed % 50 } else { 0 };
    window.unscored = if minute.odd == 3 { minute.seed % 5 } else { 0 };
    if window.blind {
        return window;
    }
    for i in 0..minute.units {
        let mut one = exposure(mix(minute.seed) ^ i, last, state.weight);
        one.served.failed = minute.fails == 3 && one.arm == cutover_units::Arm::Candidate;
        one.leaked = minute.odd == 4 && minute.seed.is_multiple_of(7);
        window.exposures.push(one);
    }
    for i in 0..minute.pairs {
        let candidate = if minute.fails == 2 { 0 } else { 100 };
        window.pairs.push(pair(mix(minute.seed) ^ i, last, (100, candidate)));
    }
    window
}

/// What must hold of every plan, told without the planner's own check.
fn holds(spec: &Spec, before: &State, observations: &Observations, made: &Plan) {
    let steps = &spec.steps;
    let now = made.report.at;
    assert!(now >= before.seen && now >= observations.seen, "time runs backwards");
    let Some(after) = &made.next else {
        assert!(matches!(made.action, Action::Hold), "{:?} without a state", made.action);
        return;
    };
    assert_eq!(check_transition(before, after, Some(observations)), Ok(()));
    assert_eq!(after.generation.0, before.generation.0 + 1);
    assert!(!matches!(before.phase, Phase::RolledBack { .. }), "terminal is terminal");
    let here = usize::from(before.step);
    let neighbour = steps.get(here + 1).map(|step| step.weight);
    let allowed = [Some(before.weight), neighbour, Some(WeightBp::NONE)];
    assert!(allowed.contains(&Some(after.weight)), "{:?} > {:?}", before.weight, after.weight);
    let forward = matches!(made.action, Action::Advance | Action::Promote);
    let fails = |role: Role| {
        let gates = spec.gates.iter().zip(&observations.gates);
        gates.filter(|(gate, _)| gate.role == role).any(|(_, it)| it.verdict == Verdict::Fail)
    };
    if fails(Role::Required) || fails(Role::Rollback) {
        assert!(!forward, "harm is judged before proof");
        if before.phase != Phase::Promoted {
            assert_eq!(made.action, Action::RollBack);
        }
    }
    if forward {
        let age = |at: Millis| now.0.saturating_sub(at.max(before.step_since).0);
        let blind = now.0.saturating_sub(observations.last_read.max(before.started).0);
        assert!(blind < spec.stale_after.0, "a blind source advances nothing");
        assert!(age(observations.last_live) < spec.stale_after.0, "a silent one neither");
        assert!(now.0 - before.step_since.0 >= steps[here].min_duration.0);
        assert!(observations.srm.0 < observations.srm.1);
        assert!(!fails(Role::Signal));
        assert_eq!(observations.spec_hash, before.spec_hash);
        let all = steps[here]
            .requires
            .iter()
            .all(|id| observations.gate(id).is_some_and(|found| found.verdict == Verdict::Pass));
        assert_eq!(all, !after.unproved.contains(&before.step), "unproved steps say so");
        assert!(all || spec.on_inconclusive == OnInconclusive::Advance);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_history_breaks_an_invariant(spec in specs(), minutes in minutes()) {
        let mut state = start(&spec, "run-1".to_owned(), T0);
        let mut evidence = Evidence::new(&spec);
        let mut last = T0;
        for minute in &minutes {
            if let Some(asked) = &minute.command {
                let before = state.clone();
                if let Ok((next, decision)) = command(&spec, &state, asked, "ana", last) {
                    prop_assert_eq!(check_transition(&before, &next, None), Ok(()));
                    prop_assert_eq!(decision.weight, next.weight);
                    state = next;
                }
            }
            let window = seen(minute, &state, last);
            last = window.to;
            prop_assert_eq!(evidence.absorb(&spec, &state, &window), Absorbed::Taken);
            let observations = evidence.observations(&spec, &state, last);
            // A clock that stepped back for this one tick.
            let now = if minute.odd == 5 { Millis(T0.0 / 2) } else { last };
            let made = plan(&spec, &state, &observations, now);
            prop_assert_eq!(&made, &plan(&spec, &state, &observations, now));
            holds(&spec, &state, &observations, &made);
            if let Some(next) = made.next {
                state = next;
            }
        }
    }

    #[test]
    fn lost_repeated_and_late_windows_restarts_and_edits_replay_the_same(
        specs in (specs(), specs()),
        minutes in minutes(),
        edited in 0usize..80,
    ) {
        let mut spec = specs.0;
        let mut first = start(&spec, "run-1".to_owned(), T0);
        let (mut state, mut evidence) = (first.clone(), Evidence::new(&spec));
        let (mut events, mut made, mut last) = (Vec::new(), Vec::new(), T0);
        for (at, minute) in minutes.iter().enumerate() {
            if at == edited && specs.1.hash() != spec.hash() {
                // What is stored so far replays; the edit begins anew.
                let again = replay_from(&spec, first.clone(), std::mem::take(&mut events));
                prop_assert_eq!(&again, &std::mem::take(&mut made));
                let Ok((next, _)) = restart(&spec, &specs.1, &state, last) else { return Ok(()) };
                prop_assert!(next.weight <= state.weight, "an edit raises no share");
                (spec, first, state) = (specs.1.clone(), next.clone(), next);
                let old = window(last, MINUTE);
                prop_assert_eq!(evidence.absorb(&spec, &state, &old), Absorbed::OtherSpec);
                evidence = Evidence::new(&spec);
            }
            let window = seen(minute, &state, last);
            if minute.odd == 6 {
                // The window is lost: neither absorbed nor stored. The next one begins after it.
                last = window.to;
                continue;
            }
            prop_assert_eq!(evidence.absorb(&spec, &state, &window), Absorbed::Taken);
            let before = evidence.clone();
            let mut late = window.clone();
            late.to = Millis(late.to.0 + 1);
            prop_assert_eq!(evidence.absorb(&spec, &state, &window), Absorbed::Refused);
            prop_assert_eq!(evidence.absorb(&spec, &state, &late), Absorbed::Refused);
            prop_assert_eq!(&evidence, &before, "what is refused leaves no trace");
            if minute.odd == 7 {
                let text = serde_json::to_string(&evidence).unwrap();
                evidence = serde_json::from_str(&text).unwrap();
            }
            // A store that reads and writes windows keeps every number.
            let text = serde_json::to_string(&window).unwrap();
            events.push(crate::Event::Tick(serde_json::from_str(&text).unwrap()));
            events.push(crate::Event::Tick(window.clone()));
            last = window.to;
            let observations = evidence.observations(&spec, &state, last);
            for (gate, missing) in observations.gates.iter().zip(&observations.missing) {
                if let Some((estimate, (low, high))) = gate.estimate.zip(gate.interval) {
                    prop_assert!(low <= estimate && estimate <= high, "{:?}", gate);
                }
                for gap in [missing.live, missing.pairs] {
                    prop_assert!((0.0..=1.0).contains(&gap.of_run), "{:?}", gap);
                    prop_assert!((0.0..=1.0).contains(&gap.of_step), "{:?}", gap);
                }
            }
            let plan = plan(&spec, &state, &observations, last);
            holds(&spec, &state, &observations, &plan);
            if let Some(next) = &plan.next {
                state.clone_from(next);
            }
            made.push(plan);
        }
        prop_assert_eq!(&replay_from(&spec, first, events), &made);
    }

    #[test]
    fn no_observations_however_odd_break_an_invariant(
        spec in specs(),
        step in 0usize..5,
        verdicts in prop::collection::vec(0u8..4, GATES.len()),
        odds in (any::<[bool; 5]>(), 0u64..100, 0u64..200),
    ) {
        let ([split, silent, other, breach, paused], units, minutes) = odds;
        let mut state = start(&spec, "run-1".to_owned(), T0);
        let step = step.min(spec.steps.len() - 1);
        state.step = u16::try_from(step).unwrap();
        state.weight = spec.steps[step].weight;
        if paused {
            state.phase = Phase::Paused { by: "ana".to_owned() };
        }
        let now = Millis(T0.0 + minutes * MINUTE);
        let mut seen = Evidence::new(&spec).observations(&spec, &state, now);
        for (gate, verdict) in seen.gates.iter_mut().zip(verdicts) {
            gate.verdict =
                [Verdict::Pass, Verdict::Fail, Verdict::Hold, Verdict::NoData][usize::from(verdict)];
        }
        seen.srm.0 = if split { 50.0 } else { 0.0 };
        seen.breaches = u64::from(breach);
        seen.step = (minutes % 3 > 0).then_some(state.step);
        (seen.units, seen.pairs) = ((units, units), units);
        let fresh = if silent { T0 } else { now };
        (seen.last_read, seen.last_live, seen.last_pair) = (fresh, fresh, fresh);
        if other {
            seen.spec_hash = "another".to_owned();
        }
        let made = plan(&spec, &state, &seen, now);
        holds(&spec, &state, &seen, &made);
    }
}

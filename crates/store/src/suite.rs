//! What every database must do: one test per fact, run by each implementation through [`suite!`].

use cutover_units::{
    Arm, Generation, InstanceId, Micros, Millis, NanoUsd, UpstreamName, UseCaseName, VariantName,
    WeightBp,
};

use crate::audit::Action;
use crate::backend::Backend;
use crate::chain::AuditVerdict;
use crate::keys::{
    AddKeyError, FORMER_MAX, KeyRing, NewKey, RevokeKey, RevokeKeyError, RotateKey, RotateKeyError,
    Secret,
};
use crate::record::Record;
use crate::state::{Cause, SetWeight, SetWeightError};
use crate::summary::{Spread, Window};

mod deliveries;
mod drains;
mod pairs;
mod prompts;
mod responses;
mod rollouts;

pub(crate) use deliveries::*;
pub(crate) use drains::*;
pub(crate) use pairs::*;
pub(crate) use prompts::*;
pub(crate) use responses::*;
pub(crate) use rollouts::*;

/// Runs every fact of the suite on the databases that `$fresh` makes: an expression of a value that
/// holds whatever must outlive the test, and the backend.
macro_rules! suite {
    ($fresh:expr, [$($fact:ident),+ $(,)?]) => {
        $(#[test]
        fn $fact() {
            let (_held, mut backend) = $fresh;
            crate::suite::$fact(&mut backend);
        })+
    };
    ($fresh:expr) => {
        crate::suite::suite!($fresh, [
            a_weight_is_set_only_from_the_generation_that_was_read,
            a_rollback_needs_no_generation,
            each_change_adds_one_entry_and_a_refused_one_adds_none,
            a_key_is_found_until_it_is_revoked,
            names_of_keys_are_never_used_twice,
            a_rotated_key_stays_the_same_key_and_both_secrets_open_for_a_while,
            a_key_has_so_many_former_secrets_at_most,
            an_instance_that_was_taken_out_is_out_until_it_is_put_back,
            a_window_is_summed_up_per_use_case_arm_and_variant,
            old_records_are_deleted_in_small_steps,
            every_field_of_a_record_fits,
            what_overflow_has_cost_is_summed_by_use_case,
            a_use_case_has_one_run_at_a_time,
            a_tick_is_committed_whole_and_only_on_what_was_read,
            evidence_that_is_left_as_it_is_comes_with_the_windows_since,
            a_lost_weight_loses_the_whole_tick,
            a_rollback_takes_effect_whatever_the_weight_was,
            decisions_are_chained_and_found_by_run_and_use_case,
            numbers_that_are_none_do_not_make_a_decision_unreadable,
            another_spec_is_kept_beside_the_first,
            windows_come_back_as_they_were_and_old_ones_of_ended_runs_go,
            a_decision_waits_for_each_webhook_until_it_was_told_or_given_up,
            a_commit_that_fails_leaves_nothing_to_tell,
            what_waits_for_a_webhook_that_is_gone_is_given_up_in_time,
            a_pair_is_kept_as_its_setting_says,
            pairs_to_rate_are_listed_without_texts,
            scores_need_their_pair_and_go_with_it,
            votes_are_feedback_whose_request_was_under_rollout,
            the_first_feedback_of_a_key_counts,
            a_kept_answer_is_its_keys_alone,
            kept_answers_expire_in_small_steps,
            versions_are_numbered_and_never_change,
            a_label_moves_only_from_the_generation_that_was_read,
            who_added_and_moved_what_is_in_the_audit_log,
            what_is_kept_of_prompts_has_a_limit,
        ]);
    };
}
pub(crate) use suite;

pub(crate) fn what_overflow_has_cost_is_summed_by_use_case(store: &mut dyn Backend) {
    let of = |at: u64, name: &str, cost: Option<u64>| Record {
        use_case: Some(use_case(name)),
        overflow: Some("waited"),
        cost: cost.map(NanoUsd),
        ..record(at)
    };
    let records = [
        of(1, "a", Some(1_000)),
        of(10, "a", Some(7)),
        of(11, "a", None),
        of(12, "b", Some(5)),
        // What nobody told counts as it was estimated, and what the candidate took of it not at all.
        Record { overflow_cost: Some(NanoUsd(100)), ..of(12, "a", None) },
        Record { overflow_cost: Some(NanoUsd(0)), ..of(12, "b", Some(9)) },
        of(13, "a", Some(8)),
        record(14),
    ];
    store.write_records(&records).unwrap();
    let costs = [(use_case("a"), NanoUsd(115)), (use_case("b"), NanoUsd(5))];
    assert_eq!(store.overflow_costs(Millis(10)).unwrap(), costs);
    assert_eq!(store.overflow_costs(Millis(14)).unwrap(), []);
}

pub(crate) fn use_case(name: &str) -> UseCaseName {
    UseCaseName::new(name).unwrap()
}

pub(crate) fn set(name: &str, expected: Option<u64>, bp: u16) -> SetWeight {
    SetWeight {
        use_case: use_case(name),
        expected: expected.map(Generation),
        weight: WeightBp::new(bp).unwrap(),
        cause: Cause::Set,
        actor: "someone".into(),
        reason: "a test".into(),
        now: Millis(1_000),
        candidate: "digest".into(),
    }
}

pub(crate) fn record(at: u64) -> Record {
    let upstream = UpstreamName::new("gpus").unwrap();
    Record {
        use_case: Some(use_case("statements")),
        arm: Arm::Candidate,
        answered_arm: Some(Arm::Candidate),
        variant: Some(VariantName::new("qwen").unwrap()),
        prompt: Some("extraction@3".into()),
        instance: Some(InstanceId::new(&upstream, 0)),
        upstream: Some(upstream),
        stream: true,
        assignment: "sticky",
        share: Some(WeightBp::new(2_500).unwrap()),
        bucket: Some(17),
        unit_hash: u64::MAX,
        status: 200,
        first_token: Some(Micros(100)),
        total: Micros(1_000),
        overhead: Micros(30),
        prompt_tokens: Some(10),
        completion_tokens: Some(5),
        cost: Some(NanoUsd(7)),
        price_source: Some("config"),
        finish_reason: Some("stop"),
        attempts: 1,
        key_name: Some("team".into()),
        ..Record::of_no_arm(format!("req-{at}"), Millis(at), ("chat", "ok"))
    }
}

pub(crate) fn new_key(name: &str, text: &str) -> NewKey {
    NewKey {
        name: name.into(),
        secret: Secret::new(text).unwrap(),
        use_case: Some(use_case("statements")),
        local_only: true,
        batch: false,
        actor: "someone".into(),
        now: Millis(5),
    }
}

fn everything() -> Window {
    Window { from: Millis(0), until: Millis(u64::MAX), use_case: None }
}

pub(crate) fn a_weight_is_set_only_from_the_generation_that_was_read(store: &mut dyn Backend) {
    let first = store.set_weight(&set("a", Some(0), 500)).unwrap();
    assert_eq!((first.generation, first.previous), (Generation(1), None));
    let second = store.set_weight(&set("a", Some(1), 2_500)).unwrap();
    assert_eq!(second.generation, Generation(2));
    assert_eq!(second.previous, Some(WeightBp::new(500).unwrap()));
    let late = store.set_weight(&set("a", Some(1), 9_000)).unwrap_err();
    let SetWeightError::Conflict { expected, current } = late else { panic!("{late:?}") };
    assert_eq!((expected, current.generation), (Generation(1), Generation(2)));
    let never = store.set_weight(&set("b", Some(3), 9_000)).unwrap_err();
    assert!(matches!(never, SetWeightError::Conflict { current, .. } if current.generation.0 == 0));
    let states = store.load_states().unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].weight, WeightBp::new(2_500).unwrap());
    assert_eq!((states[0].updated, states[0].rolled_back), (Millis(1_000), false));
}

pub(crate) fn a_rollback_needs_no_generation(store: &mut dyn Backend) {
    store.set_weight(&set("a", Some(0), 500)).unwrap();
    let rollback = SetWeight { cause: Cause::Rollback, ..set("a", None, 0) };
    assert_eq!(store.set_weight(&rollback).unwrap().generation, Generation(2));
    let states = store.load_states().unwrap();
    assert_eq!((states[0].weight, states[0].rolled_back), (WeightBp::NONE, true));
}

pub(crate) fn each_change_adds_one_entry_and_a_refused_one_adds_none(store: &mut dyn Backend) {
    store.set_weight(&set("a", Some(0), 500)).unwrap();
    store.set_weight(&set("a", Some(0), 900)).unwrap_err();
    store.set_weight(&SetWeight { cause: Cause::Rollback, ..set("a", None, 0) }).unwrap();
    store.add_key(&new_key("team", &"k".repeat(40))).unwrap();
    store.add_key(&new_key("team", &"l".repeat(40))).unwrap_err();
    let changes = store.changes(10).unwrap();
    let actions: Vec<_> = changes.iter().map(|change| (change.seq, change.action)).collect();
    let expected = [(3, Action::KeyAdded), (2, Action::RolledBack), (1, Action::WeightSet)];
    assert_eq!(actions, expected);
    assert_eq!(changes[1].before.as_deref(), Some("5%"));
    assert_eq!(changes[1].after.as_deref(), Some("0%"));
    assert_eq!(store.changes(1).unwrap().len(), 1);
    let verdict = store.verify_changes().unwrap();
    assert!(matches!(verdict, AuditVerdict::Whole { entries: 3, .. }), "{verdict:?}");
}

pub(crate) fn a_key_is_found_until_it_is_revoked(store: &mut dyn Backend) {
    let text = "ck-0123456789abcdef0123456789abcdef";
    let added = store.add_key(&new_key("team", text)).unwrap();
    assert_eq!(added.prefix, "ck-01234");
    let ring = KeyRing::new(store.load_keys().unwrap());
    let found = ring.find(text.as_bytes(), Millis(9)).unwrap();
    assert_eq!(**found, added);
    assert_eq!(found.use_case, Some(use_case("statements")));
    let revoke = RevokeKey {
        name: "team".into(),
        former: false,
        actor: "someone".into(),
        reason: "leaked".into(),
        now: Millis(9),
    };
    assert_eq!(store.revoke_key(&revoke).unwrap().revoked, Some(Millis(9)));
    let again = RevokeKey { now: Millis(11), ..revoke.clone() };
    assert_eq!(store.revoke_key(&again).unwrap().revoked, Some(Millis(9)));
    let keys = store.load_keys().unwrap();
    assert_eq!(keys.list().count(), 1);
    assert!(KeyRing::new(keys).find(text.as_bytes(), Millis(9)).is_none());
    assert_eq!(store.changes(10).unwrap().len(), 2);
    let unknown = RevokeKey { name: "nobody".into(), ..revoke };
    assert_eq!(store.revoke_key(&unknown), Err(RevokeKeyError::Unknown("nobody".into())));
}

/// Client keys could be replaced only under another name, which no use case matched any more.
pub(crate) fn a_rotated_key_stays_the_same_key_and_both_secrets_open_for_a_while(
    store: &mut dyn Backend,
) {
    let (first, second, third) = ("k".repeat(40), "l".repeat(40), "m".repeat(40));
    let key = store.add_key(&new_key("team", &first)).unwrap();
    let rotate = |secret: &str, overlap: u64, now: u64| RotateKey {
        name: "team".into(),
        secret: Secret::new(secret).unwrap(),
        overlap: Millis(overlap),
        actor: "someone".into(),
        reason: "yearly".into(),
        now: Millis(now),
    };
    let rotated = store.rotate_key(&rotate(&second, 100, 50)).unwrap();
    assert_eq!((rotated.id, rotated.former_until), (key.id, Some(Millis(150))));
    let opens = |store: &mut dyn Backend, secret: &str, now: u64| {
        let ring = KeyRing::new(store.load_keys().unwrap());
        ring.find(secret.as_bytes(), Millis(now)).is_some_and(|found| found.id == key.id)
    };
    assert!(opens(store, &first, 149) && opens(store, &second, 149));
    assert!(!opens(store, &first, 150) && opens(store, &second, 150));
    // Without an overlap nothing that came before opens.
    store.rotate_key(&rotate(&third, 0, 60)).unwrap();
    assert!(!opens(store, &first, 61) && !opens(store, &second, 61) && opens(store, &third, 61));
    // What overlaps can be ended early, and the key stays.
    store.rotate_key(&rotate(&first, 100, 70)).unwrap();
    let end = |former| RevokeKey {
        name: "team".into(),
        former,
        actor: "someone".into(),
        reason: "leaked".into(),
        now: Millis(71),
    };
    assert_eq!(store.revoke_key(&end(true)).unwrap().revoked, None);
    assert!(!opens(store, &third, 71) && opens(store, &first, 71));
    store.rotate_key(&rotate(&second, 100, 72)).unwrap();
    store.revoke_key(&end(false)).unwrap();
    assert!(!opens(store, &first, 73) && !opens(store, &second, 73));
    let refused = store.rotate_key(&rotate(&third, 0, 74));
    assert_eq!(refused, Err(RotateKeyError::Revoked("team".into())));
    let nobody = RotateKey { name: "nobody".into(), ..rotate(&third, 0, 75) };
    assert_eq!(store.rotate_key(&nobody), Err(RotateKeyError::Unknown("nobody".into())));
    let actions: Vec<_> = store.changes(3).unwrap().iter().map(|change| change.action).collect();
    let last = [Action::KeyRevoked, Action::KeyRotated, Action::FormerKeysRevoked];
    assert_eq!(actions, last);
}

pub(crate) fn a_key_has_so_many_former_secrets_at_most(store: &mut dyn Backend) {
    store.add_key(&new_key("team", &"k".repeat(40))).unwrap();
    let mut rotate = |at: usize, now: u64| {
        store.rotate_key(&RotateKey {
            name: "team".into(),
            secret: Secret::new(&format!("{at:040}")).unwrap(),
            overlap: Millis(100),
            actor: String::new(),
            reason: String::new(),
            now: Millis(now),
        })
    };
    for at in 0..FORMER_MAX {
        rotate(at, 1).unwrap();
    }
    assert_eq!(rotate(FORMER_MAX, 1), Err(RotateKeyError::TooMany("team".into())));
    rotate(FORMER_MAX, 101).unwrap();
}

pub(crate) fn names_of_keys_are_never_used_twice(store: &mut dyn Backend) {
    let first = store.add_key(&new_key("team", &"k".repeat(40))).unwrap();
    let revoke = RevokeKey {
        name: "team".into(),
        former: false,
        actor: String::new(),
        reason: String::new(),
        now: Millis(9),
    };
    store.revoke_key(&revoke).unwrap();
    let again = store.add_key(&new_key("team", &"l".repeat(40)));
    assert_eq!(again, Err(AddKeyError::NameTaken("team".into())));
    let second = store.add_key(&new_key("team-2", &"l".repeat(40))).unwrap();
    assert!(second.id > first.id);
    assert!(matches!(store.add_key(&new_key("a b", &"m".repeat(40))), Err(AddKeyError::Name(_))));
}

pub(crate) fn a_window_is_summed_up_per_use_case_arm_and_variant(store: &mut dyn Backend) {
    let mut records: Vec<Record> = (1..=100)
        .map(|at| Record { total: Micros(at * 10), first_token: Some(Micros(at)), ..record(at) })
        .collect();
    records.push(Record { cost: None, ..record(50) });
    records.push(Record {
        outcome: "upstream_error",
        status: 502,
        code: Some("bad_gateway"),
        variant: None,
        cost: None,
        ..record(60)
    });
    records.push(Record { use_case: None, arm: Arm::Default, ..record(70) });
    records.push(record(5_000));
    store.write_records(&records).unwrap();
    let window = Window { from: Millis(1), until: Millis(5_000), use_case: None };
    let summary = store.summarize(&window).unwrap();
    let places: Vec<_> = summary
        .rows
        .iter()
        .map(|r| (r.use_case.as_deref(), r.arm.as_str(), r.variant.as_deref(), r.requests))
        .collect();
    let expected = [
        (None, "default", Some("qwen"), 1),
        (Some("statements"), "candidate", None, 1),
        (Some("statements"), "candidate", Some("qwen"), 101),
    ];
    assert_eq!(places, expected);
    let failed = &summary.rows[1];
    assert_eq!((failed.ok, failed.errors, failed.unpriced, failed.total), (0, 1, 0, None));
    let row = &summary.rows[2];
    assert_eq!((row.ok, row.unpriced, row.cost), (101, 1, NanoUsd(700)));
    assert_eq!((row.prompt_tokens, row.completion_tokens), (1_010, 505));
    assert_eq!(row.first_token, Some(Spread { p50: Micros(51), p95: Micros(96) }));
    assert_eq!(row.total, Some(Spread { p50: Micros(510), p95: Micros(960) }));
    assert!(!summary.truncated);
    let other = Window { use_case: Some(use_case("other")), ..window };
    assert!(store.summarize(&other).unwrap().rows.is_empty());
}

pub(crate) fn old_records_are_deleted_in_small_steps(store: &mut dyn Backend) {
    let records: Vec<Record> = (0..25).map(record).collect();
    store.write_records(&records).unwrap();
    let steps: Vec<u64> = (0..3).map(|_| store.delete_records(Millis(20), 12).unwrap()).collect();
    assert_eq!(steps, [12, 8, 0]);
    assert_eq!(store.summarize(&everything()).unwrap().rows[0].requests, 5);
}

pub(crate) fn every_field_of_a_record_fits(store: &mut dyn Backend) {
    let largest = Record {
        at: Millis(1 << 60),
        bucket: Some(u16::MAX),
        total: Micros(u64::MAX),
        overhead: Micros(u64::MAX),
        first_token: Some(Micros(u64::MAX)),
        prompt_tokens: Some(1 << 40),
        cached_tokens: Some(1 << 40),
        cost: Some(NanoUsd(1 << 60)),
        attempts: u32::MAX,
        sdk_retry: u32::MAX,
        losses: vec!["a,\"b\"".into(), "é".into()],
        ..record(0)
    };
    let smallest = Record {
        use_case: None,
        answered_arm: None,
        variant: None,
        upstream: None,
        instance: None,
        share: None,
        bucket: None,
        code: Some("not_found"),
        first_token: None,
        prompt_tokens: None,
        completion_tokens: None,
        cost: None,
        price_source: None,
        finish_reason: None,
        key_name: None,
        ..record(0)
    };
    store.write_records(&[largest, smallest]).unwrap();
    let rows = store.summarize(&everything()).unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.requests).sum::<u64>(), 2);
}

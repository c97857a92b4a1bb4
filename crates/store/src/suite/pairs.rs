use cutover_rollout::{Served, Vote};
use cutover_units::{Arm, Millis, NanoUsd, WeightBp};

use super::{record, use_case};
use crate::backend::Backend;
use crate::feedback::Feedback;
use crate::pairs::{
    Keep, NewPair, NewScore, PairAnswer, PairQuery, PairText, StoredPair, StoredScore,
};
use crate::record::Record;

pub(crate) fn pair(request: &str, keep: Keep) -> NewPair {
    let answer = |text: &str| PairAnswer {
        text: PairText(text.into()),
        tool_calls: Some(PairText(r#"[{"to":"a@b.org"}]"#.into())),
        finish: Some("stop".into()),
        served: Served { total_ms: 7, cost: Some(NanoUsd(3)), ..Served::default() },
    };
    NewPair {
        request_id: request.into(),
        use_case: use_case("a"),
        run: Some("a-1".into()),
        at: Millis(5),
        unit: u64::MAX,
        endpoint: "chat",
        keep,
        prompt: PairText(r#"{"content":"I am jane@doe.org"}"#.into()),
        baseline: answer("Hello jane@doe.org"),
        candidate: answer("Hello"),
    }
}

fn score(request: &str, scorer: &str, candidate: Option<u8>) -> NewScore {
    NewScore {
        request_id: request.into(),
        score: StoredScore {
            scorer: scorer.into(),
            at: Millis(6),
            baseline: Some(100),
            candidate,
            why: candidate.is_none().then(|| "the scorer hung".into()),
            detail: Some(PairText("better: jane@doe.org".into())),
            cost: Some(NanoUsd(9)),
        },
    }
}

fn all() -> PairQuery {
    PairQuery {
        use_case: use_case("a"),
        run: None,
        from: Millis(0),
        until: Millis(u64::MAX),
        after: 0,
        limit: 100,
    }
}

fn text(text: Option<&PairText>) -> Option<&str> {
    text.map(|text| text.0.as_str())
}

pub(crate) fn a_pair_is_kept_as_its_setting_says(store: &mut dyn Backend) {
    let new: Vec<NewPair> = Keep::ALL.into_iter().map(|keep| pair(keep.as_str(), keep)).collect();
    assert_eq!(store.write_pairs(&new).unwrap(), 3);
    assert_eq!(store.write_pairs(&[pair("text", Keep::None)]).unwrap(), 0, "the first stays");
    let scores: Vec<NewScore> = new.iter().map(|p| score(&p.request_id, "judge@1", None)).collect();
    store.write_scores(&scores).unwrap();
    let pairs = store.pairs(&all()).unwrap();
    let kept: Vec<_> = pairs
        .iter()
        .map(|p| (text(p.prompt.text.as_ref()), text(p.baseline.text.text.as_ref())))
        .collect();
    let expected = [
        (Some(r#"{"content":"I am jane@doe.org"}"#), Some("Hello jane@doe.org")),
        (Some(r#"{"content":"I am [email]"}"#), Some("Hello [email]")),
        (None, None),
    ];
    assert_eq!(kept, expected);
    let calls: Vec<_> = pairs.iter().map(|p| text(p.candidate.tool_calls.as_ref())).collect();
    assert_eq!(calls, [Some(r#"[{"to":"a@b.org"}]"#), Some(r#"[{"to":"[email]"}]"#), None]);
    let details: Vec<_> = pairs.iter().map(|p| text(p.scores[0].detail.as_ref())).collect();
    assert_eq!(details, [Some("better: jane@doe.org"), Some("better: [email]"), None]);
    let StoredPair { prompt, unit, baseline, candidate, .. } = &pairs[2];
    assert_eq!((prompt.bytes, *unit, prompt.digest.len()), (31, u64::MAX, 64));
    assert_eq!(prompt.digest, pairs[0].prompt.digest, "of the same text");
    assert_ne!(baseline.text.digest, candidate.text.digest);
    assert_eq!(baseline.served, new[2].baseline.served);
    assert!(!format!("{pairs:?} {new:?}").contains("doe.org"));
}

pub(crate) fn scores_need_their_pair_and_go_with_it(store: &mut dyn Backend) {
    store.write_pairs(&[pair("r1", Keep::Text), pair("r2", Keep::Text)]).unwrap();
    let scores =
        [score("r1", "exact@1", Some(0)), score("r1", "judge@2", None), score("r9", "x@1", None)];
    assert_eq!(store.write_scores(&scores).unwrap(), 2);
    assert_eq!(store.write_scores(&[score("r1", "exact@1", Some(100))]).unwrap(), 1);
    let pairs = store.pairs(&all()).unwrap();
    let expected = [score("r1", "exact@1", Some(100)).score, score("r1", "judge@2", None).score];
    assert_eq!(pairs[0].scores, expected);
    assert!(pairs[1].scores.is_empty());
    let after = PairQuery { after: pairs[0].id, run: Some("a-1".into()), ..all() };
    assert_eq!(store.pairs(&after).unwrap(), pairs[1..]);
    let elsewhere = PairQuery { run: Some("a-2".into()), ..all() };
    assert!(store.pairs(&elsewhere).unwrap().is_empty());
    let others = use_case("b");
    assert_eq!(store.delete_pairs(Some(&others), (Millis(6), 10)).unwrap(), 0);
    assert_eq!(store.delete_pairs(None, (Millis(6), 10)).unwrap(), 2);
    store.write_pairs(&[pair("r1", Keep::Text)]).unwrap();
    assert!(store.pairs(&all()).unwrap()[0].scores.is_empty());
}

fn feedback(request: &str, key: Option<&str>, score: u8) -> Feedback {
    Feedback {
        request_id: request.into(),
        at: Millis(1),
        key_name: key.map(Into::into),
        score,
        comment: Some("mail jane@doe.org".into()),
    }
}

pub(crate) fn votes_are_feedback_whose_request_was_under_rollout(store: &mut dyn Backend) {
    let said: Vec<Feedback> = (1..=4).map(|at| feedback(&format!("req-{at}"), None, 100)).collect();
    assert_eq!(store.write_feedback(&said).unwrap(), 4);
    assert_eq!(store.join_feedback().unwrap(), 0);
    let name = use_case("statements");
    let none = store.votes(&name, (0, 10)).unwrap();
    assert_eq!((none.votes.len(), none.waiting), (0, 4), "no record yet");
    // The third was pinned to its arm, the fourth is of no rollout, the first comes late.
    store
        .write_records(&[
            record(2),
            Record { assignment: "pilot", ..record(3) },
            Record { share: None, ..record(4) },
        ])
        .unwrap();
    store.join_feedback().unwrap();
    let taken = store.votes(&name, (0, 10)).unwrap();
    let vote = Vote {
        at: Millis(2),
        unit: u64::MAX,
        arm: Arm::Candidate,
        share: WeightBp::new(2_500).unwrap(),
        random: true,
        score: 100,
    };
    let pinned = Vote { at: Millis(3), random: false, ..vote };
    assert_eq!((taken.votes, taken.waiting), (vec![(1, vote), (2, pinned)], 2));
    store.write_records(&[record(1)]).unwrap();
    store.join_feedback().unwrap();
    let late = store.votes(&name, (2, 10)).unwrap();
    assert_eq!(late.votes.len(), 1, "although its feedback came first");
    assert!(store.votes(&use_case("b"), (0, 10)).unwrap().votes.is_empty());
    assert_eq!(store.delete_feedback(Millis(2), 10).unwrap(), 4);
    assert!(store.votes(&name, (0, 10)).unwrap().votes.is_empty());
}

pub(crate) fn the_first_feedback_of_a_key_counts(store: &mut dyn Backend) {
    store.write_records(&[record(1)]).unwrap();
    let said = [
        feedback("req-1", Some("x"), 0),
        feedback("req-1", Some("x"), 100),
        feedback("req-1", Some("y"), 50),
        feedback("req-1", None, 60),
    ];
    assert_eq!(store.write_feedback(&said).unwrap(), 3);
    assert_eq!(store.write_feedback(&said).unwrap(), 0);
    store.join_feedback().unwrap();
    let votes = store.votes(&use_case("statements"), (0, 10)).unwrap().votes;
    assert_eq!(votes.iter().map(|(_, vote)| vote.score).collect::<Vec<_>>(), [0, 50, 60]);
}

pub(crate) fn pairs_to_rate_are_listed_without_texts(store: &mut dyn Backend) {
    let failed = |mut pair: NewPair| {
        pair.candidate.served.failed = true;
        pair
    };
    let at = |n: u64, pair: NewPair| NewPair { at: Millis(n), ..pair };
    let new = [
        at(1, pair("text", Keep::Text)),
        at(2, pair("none", Keep::None)),
        at(3, failed(pair("failed", Keep::Redacted))),
    ];
    store.write_pairs(&new).unwrap();
    let said = |request: &str, scorer: &str, candidate: u8| score(request, scorer, Some(candidate));
    let scores = [
        said("text", "judge@1", 0),
        said("text", "judge@2", 100),
        said("text", "human@ann", 0),
        said("text", "human@ann#2", 100),
        said("text", "humane@x", 100),
    ];
    store.write_scores(&scores).unwrap();
    let rows = store.rating_rows(&use_case("a"), "judge@1").unwrap();
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.request_id.as_str(), row.kept, row.answered, row.scored))
        .collect();
    let expected = [
        ("failed", true, false, None),
        ("none", false, true, None),
        ("text", true, true, Some((100, 0))),
    ];
    assert_eq!(seen, expected);
    let labels: Vec<_> = rows[2].labels.iter().map(|l| (l.rater.as_str(), l.candidate)).collect();
    assert_eq!(labels, [("human@ann", 0), ("human@ann#2", 100)]);
    assert_eq!(store.rating_rows(&use_case("b"), "judge@1").unwrap(), []);
}

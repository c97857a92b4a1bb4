use cutover_store::RatingLabel;

use super::*;

fn row(n: u64, raters: &[&str]) -> RatingRow {
    let label =
        |rater: &&str| RatingLabel { rater: format!("human@{rater}"), baseline: 100, candidate: 0 };
    RatingRow {
        pair: n,
        request_id: format!("req-{n}"),
        kept: true,
        answered: true,
        scored: Some((100, 0)),
        labels: raters.iter().map(label).collect(),
    }
}

fn drawn(rows: &[RatingRow], skipped: &[u64]) -> Drawn {
    let skipped = skipped.iter().map(|pair| ("human@ann".to_owned(), *pair)).collect();
    draw(&rows.iter().collect::<Vec<_>>(), "human@ann", &skipped)
}

#[test]
fn a_side_means_what_it_showed() {
    for left_is_baseline in [true, false] {
        let said = |choice| meaning(choice, left_is_baseline);
        let (left, right) = if left_is_baseline {
            (Outcome::Baseline, Outcome::Candidate)
        } else {
            (Outcome::Candidate, Outcome::Baseline)
        };
        assert_eq!(
            [Choice::Left, Choice::Right, Choice::Tie, Choice::BothBad, Choice::Skip].map(said),
            [Some(left), Some(right), Some(Outcome::Tie), Some(Outcome::BothBad), None]
        );
    }
    for said in Outcome::ALL {
        assert_eq!(outcome(points(said)), said, "it is read back from its points");
    }
}

#[test]
fn pairs_that_nobody_has_labelled_come_first_and_each_rater_has_an_order() {
    let rows: Vec<_> = (1..=40).map(|n| row(n, if n % 2 == 0 { &["bob"] } else { &[] })).collect();
    let first = drawn(&rows, &[]);
    assert_eq!((first.labelled, first.left), (0, 40));
    let (pair, repeat) = first.chosen.unwrap();
    assert!(pair % 2 == 1 && !repeat);
    assert_eq!(drawn(&rows, &[]).chosen, first.chosen, "until it is labelled or skipped");
    assert_ne!(drawn(&rows, &[pair]).chosen, first.chosen);
    let all: Vec<_> = rows.iter().collect();
    let orders: BTreeSet<_> = ["a", "b", "c", "d", "e"]
        .into_iter()
        .map(|rater| draw(&all, rater, &BTreeSet::new()).chosen)
        .collect();
    assert!(orders.len() > 1, "{orders:?}");
}

#[test]
fn every_tenth_pair_is_one_that_the_rater_knows() {
    let mut rows: Vec<_> = (1..=20).map(|n| row(n, if n <= 10 { &["ann"] } else { &[] })).collect();
    let (pair, repeat) = drawn(&rows, &[]).chosen.unwrap();
    assert!(repeat && pair <= 10);
    let at = usize::try_from(pair).unwrap() - 1;
    rows[at] = row(pair, &["ann", "ann#2"]);
    let (pair, repeat) = drawn(&rows, &[]).chosen.unwrap();
    assert!(!repeat && pair > 10);
}

#[test]
fn a_rater_has_a_plain_name() {
    assert_eq!(person("ann.b-2").unwrap(), "human@ann.b-2");
    for wrong in ["", "a@b", "a#2", "a b", "é", &"x".repeat(65)] {
        assert!(matches!(person(wrong), Err(RolloutRefusal::Rater(_))), "{wrong}");
    }
}

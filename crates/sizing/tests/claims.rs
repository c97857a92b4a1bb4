//! The claims of published articles: our verdicts and figures.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

use cutover_sizing::claims::{Finding, claims};
use cutover_units::claims::Holds;

fn finding(name: &str) -> Finding {
    let claim = claims().find(|claim| claim.name == name).unwrap();
    (claim.check)().unwrap()
}

/// The verdict, and figures within a few percent of those worked out by hand.
fn check(name: &str, holds: Holds, figures: &[(&str, f64)]) {
    let found = finding(name);
    assert_eq!(found.holds, holds, "{name}: {}", found.words);
    for (figure, wanted) in figures {
        let Some((_, value)) = found.figures.iter().find(|(known, _)| known == figure) else {
            panic!("{name} has no {figure}");
        };
        assert!((value / wanted - 1.0).abs() < 0.05, "{name}: {figure} is {value}, not {wanted}");
    }
}

#[test]
fn every_claim_is_checked_once_and_answers() {
    let mut names: Vec<_> = claims().map(|claim| claim.name).collect();
    assert_eq!(names.len(), 26);
    for name in &names {
        assert!(!finding(name).words.is_empty());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 26);
}

#[test]
fn a_70b_at_eight_bits_does_not_fit_on_two_4090() {
    check(
        "70b-q8-on-two-4090",
        Holds::No,
        &[
            ("file_gb", 74.97),
            ("q8_gib", 73.0),
            ("q4_k_m_8k_gib", 44.1),
            ("q4_k_m_4x4k_gib", 46.6),
            ("q5_k_m_gib", 49.8),
        ],
    );
    check("70b-q8-in-48-gb", Holds::No, &[("q8_gib", 73.0), ("q4_gib", 42.8)]);
    // 139 tokens at the measured 19.06 a second, and half a second of prompt.
    check("p50-of-1.8-s", Holds::No, &[("total_s", 7.8), ("bound_s", 2.9)]);
}

#[test]
fn the_playbooks_speeds_are_beyond_the_bandwidth() {
    let figures =
        [("needs_gib", 41.8), ("two_cards", 18.6), ("first_s", 0.75), ("iq2_xs_gib", 19.7)];
    check("70b-on-one-4090", Holds::No, &figures);
    check("coder-32b-on-4090", Holds::No, &[("bound", 51.6), ("likely", 36.9)]);
    assert!(finding("coder-32b-on-4090").words.contains("first token"));
    check("mistral-7b-on-4090", Holds::No, &[("bound", 235.0), ("q4_0_bound", 250.0)]);
    assert!(finding("mistral-7b-on-4090").figures.iter().all(|(_, tokens)| *tokens <= 252.0));
}

#[test]
fn the_playbooks_selector_puts_three_of_four_models_where_they_do_not_fit() {
    check("selector-24-gb", Holds::No, &[("needs_gib", 41.8), ("has_gib", 24.0)]);
    check("selector-16-gb-code", Holds::No, &[("needs_gib", 19.5), ("has_gib", 16.0)]);
    check("selector-16-gb", Holds::No, &[("needs_gib", 17.0), ("has_gib", 16.0)]);
    check("8b-in-8-gb", Holds::Yes, &[("needs_gib", 5.8), ("has_gib", 8.0)]);
    assert!(finding("selector-16-gb-code").words.contains("iq3_m would fit"));
}

#[test]
fn memory_is_not_shared_and_processors_are_slow() {
    check("several-70b-on-a100", Holds::No, &[("one_gib", 41.8), ("two_gib", 83.7)]);
    check("70b-on-a-processor", Holds::No, &[("bound", 2.0), ("times", 11.0)]);
    check("72b-below-500-ms", Holds::Partly, &[("slow", 16.5), ("fast", 56.5)]);
}

#[test]
fn tensor_parallelism_over_three_is_refused() {
    check("tensor-parallel-3", Holds::No, &[("two_tokens", 39_000.0), ("four_tokens", 508_000.0)]);
    assert!(finding("tensor-parallel-3").words.contains("64 attention heads do not divide by 3"));
    let seconds = [("four_s", 8.55), ("three_s", 11.4), ("fp8_s", 4.4)];
    check("500-tokens-in-two-seconds", Holds::No, &seconds);
}

#[test]
fn instances_and_slots_take_what_they_take() {
    let sizes = [("short_gib", 18.2), ("long_gib", 27.2), ("slots_gib", 17.1)];
    check("three-mistral-on-a10", Holds::Partly, &sizes);
    let sizes = [("q4", 26.5), ("q5", 31.0), ("q8", 46.2), ("f16", 87.0), ("mistral_f16", 13.5)];
    check("mixtral-48-gb", Holds::Partly, &sizes);
    check("ctx-size-and-parallel", Holds::Partly, &[("layers", 33.0), ("each", 1024.0)]);
    check("models-in-the-image", Holds::Partly, &[("image_gb", 67.0)]);
    check("retry-on-the-next-instance", Holds::No, &[]);
    check("replicas-without-a-volume", Holds::No, &[("needs_gib", 41.8)]);
}

#[test]
fn machines_and_models_are_not_what_they_are_called() {
    check("hetzner-ax102", Holds::No, &[("month_usd", 496.0)]);
    check("ovh-t1-180", Holds::No, &[("month_usd", 482.0)]);
    check("gcp-g2-standard-48", Holds::No, &[("month_usd", 1285.0)]);
    let p4d = [("hour_usd", 39.45), ("month_usd", 23_922.0), ("later_usd", 16_031.0)];
    check("aws-p4d", Holds::No, &p4d);
    check("llama-3.2-8b", Holds::No, &[]);
}

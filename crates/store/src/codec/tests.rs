use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use cutover_rollout::{ArmSide, Exposure, ScoredPair, Served, Vote};
use cutover_units::{Arm, WeightBp};

use super::*;

fn served() -> impl Strategy<Value = Served> {
    let known = (of(any::<u32>()), of(any::<u32>()), of(any::<u64>()));
    (any::<bool>(), of(any::<bool>()), any::<u32>(), known).prop_map(
        |(failed, invalid, total_ms, (first_token_ms, completion_tokens, cost))| Served {
            failed,
            invalid,
            total_ms,
            first_token_ms,
            completion_tokens,
            cost: cost.map(NanoUsd),
        },
    )
}

fn share() -> impl Strategy<Value = WeightBp> {
    (0..=10_000_u16).prop_map(|bp| WeightBp::new(bp).unwrap())
}

fn arms() -> impl Strategy<Value = Arm> {
    (0..3_usize).prop_map(|at| Arm::ALL[at])
}

fn exposures() -> impl Strategy<Value = Exposure> {
    let flags = any::<[bool; 5]>();
    let who = (any::<u64>(), any::<u64>(), any::<u16>());
    (who, arms(), share(), flags, served()).prop_map(
        |((at, unit, bucket), arm, share, flags, served)| Exposure {
            at: Millis(at),
            unit,
            bucket,
            arm,
            share,
            random: flags[0],
            client_ended: flags[1],
            fell_back: flags[2],
            leaked: flags[3],
            excluded: flags[4],
            served,
        },
    )
}

fn pairs() -> impl Strategy<Value = ScoredPair> {
    let side = || (served(), of(any::<u8>())).prop_map(|(served, score)| ArmSide { served, score });
    let part = (0..3_u8).prop_map(|byte| part(byte).unwrap());
    (part, any::<u64>(), any::<u64>(), side(), side()).prop_map(
        |(part, at, unit, baseline, candidate)| ScoredPair {
            part,
            at: Millis(at),
            unit,
            baseline,
            candidate,
        },
    )
}

fn votes() -> impl Strategy<Value = Vote> {
    (any::<u64>(), any::<u64>(), arms(), share(), any::<bool>(), any::<u8>()).prop_map(
        |(at, unit, arm, share, random, score)| Vote {
            at: Millis(at),
            unit,
            arm,
            share,
            random,
            score,
        },
    )
}

fn windows() -> impl Strategy<Value = Window> {
    let seen = (vec(exposures(), 0..8), vec(pairs(), 0..8), vec(votes(), 0..8));
    let grader = (any::<bool>(), ".{0,9}").prop_map(|(distrusted, why)| Grader { distrusted, why });
    let last = (of(any::<u32>()), of(any::<u64>().prop_map(Millis)), of(grader));
    (any::<[u64; 7]>(), seen, any::<bool>(), last).prop_map(
        |(
            [from, to, lost, unscored, lost_pairs, awaited, cost],
            (exposures, pairs, votes),
            blind,
            (instances, watched, grader),
        )| Window {
            from: Millis(from),
            to: Millis(to),
            watched,
            exposures,
            pairs,
            votes,
            lost,
            unscored,
            lost_pairs: lost_pairs % 2,
            // Half of them await nothing; nobody awaits more than a queue holds.
            awaited: (awaited >> 8).saturating_sub(u64::MAX >> 9),
            shadow_cost: NanoUsd(cost),
            blind,
            instances,
            grader,
        },
    )
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(window in windows()) {
        let bytes = encode(&window);
        prop_assert_eq!(decode(&bytes), Some(window));
        for end in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..end]), None);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_a_window_or_none(mut bytes in vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        bytes.insert(0, VERSION);
        let _ = decode(&bytes);
        for version in [WITH_GRADER, WITH_PARTS] {
            bytes[0] = version;
            let _ = decode(&bytes);
        }
    }
}

/// 30 seconds at 100 requests a second with everything known of each.
fn usual() -> Window {
    let exposure = |n: u64| Exposure {
        at: Millis(1_800_000_000_000 + n * 10 + n % 7),
        unit: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        bucket: (n * 7_919 % 10_000) as u16,
        arm: if n.is_multiple_of(4) { Arm::Candidate } else { Arm::Baseline },
        share: WeightBp::new(2_500).unwrap(),
        random: true,
        client_ended: false,
        fell_back: false,
        leaked: false,
        excluded: false,
        served: Served {
            failed: n.is_multiple_of(200),
            invalid: Some(false),
            total_ms: 1_500 + (n * 37 % 4_000) as u32,
            first_token_ms: Some(200 + (n * 13 % 500) as u32),
            completion_tokens: Some(150 + (n * 11 % 300) as u32),
            cost: Some(NanoUsd(2_000_000 + n * 997 % 1_000_000)),
        },
    };
    Window {
        from: Millis(1_800_000_000_000),
        to: Millis(1_800_000_030_000),
        exposures: (0..3_000).map(exposure).collect(),
        ..Window::default()
    }
}

#[test]
fn a_request_takes_less_than_25_bytes() {
    let window = usual();
    let bytes = encode(&window).len();
    let json = serde_json::to_vec(&window).unwrap().len();
    assert!(bytes < 25 * window.exposures.len(), "{}", bytes / window.exposures.len());
    assert!(json > 10 * bytes, "{} as JSON", json / window.exposures.len());
}

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::solid::solid_json;

fn walked(text: &str) -> Option<&str> {
    let mut walk = Walk::new(text);
    let value = walk.value().ok()?;
    walk.end().ok()?;
    Some(value)
}

fn parsed(text: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

/// The top-level members, walked one by one.
fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut found = Vec::new();
    let mut walk = Walk::new(text);
    walk.object(|walk, key| {
        found.push((key, walk.value()?));
        Ok(())
    })
    .ok()?;
    walk.end().ok()?;
    Some(found)
}

#[test]
fn short_strings_without_escapes_are_told_wherever_they_stand() {
    let words: Words = |string| match string {
        b"a" => 1,
        b"twenty bytes are told" => 2,
        b"exactly twenty bytes" => 8,
        _ => 0,
    };
    let met = |text: &str| {
        let mut walk = Walk::noting(text, words);
        walk.value().unwrap();
        let met = walk.met();
        walk.end().unwrap();
        met
    };
    for (text, expect) in [
        (r#""a""#, 1),
        (r#"{"a":0}"#, 1),
        (r#"{"b":[{"c":"a"}]}"#, 1),
        (r#"{"b":" a"}"#, 0),
        (r#"{"b":"\u00e9\u001f"}"#, 0),
        (r#"{"b":"\u0061"}"#, u32::MAX),
        (r#"[{"b":{"x\u005F":0}}]"#, u32::MAX),
        (r#"{"b":"\"a\""}"#, 0),
        (r#"{"exactly twenty bytes":0}"#, 8),
        (r#"["twenty bytes are told"]"#, 0),
        (r#"["exactly twenty bytes",{"x":{"a":1}}]"#, 9),
    ] {
        assert_eq!(met(text), expect, "{text}");
    }
    let far = format!(r#"{{"b":"{}","c":["a"]}}"#, "x".repeat(1000));
    assert_eq!(met(&far), 1);
    assert_eq!(Walk::new("\"a\"").met(), 0);
}

#[test]
fn what_is_json_is_walked() {
    for text in [
        r#" {"a":[1,-0.5e+3,{"b":{}},[]],"c":"\u00e9\"\\x","d":null,"e":true,"f":false} "#,
        "\n[\t]\r",
        "0",
        "\"\u{7f}é\"",
        "-1E5",
        "[[[[]]],{}]",
    ] {
        assert_eq!(walked(text), parsed(text), "{text}");
        assert!(walked(text).is_some(), "{text}");
    }
}

#[test]
fn what_is_no_json_is_not() {
    for text in [
        "",
        " ",
        "{",
        "[1",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "01",
        "-",
        "1.",
        "1e",
        "+1",
        "nul",
        "truex",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "{} {}",
        "[}",
        "{]",
        "{\"a\":1]",
        "'a'",
        "\"\\",
        ",",
        "{\"a\" 1}",
        "\u{b}1",
    ] {
        assert_eq!(walked(text), None, "{text}");
        assert_eq!(parsed(text), None, "{text}");
    }
}

#[test]
fn members_are_given_with_their_values() {
    let found = members(r#"{ "a" : [1, {"x":2}] , "b":"}", "":{} }"#).unwrap();
    assert_eq!(found, [("a", r#"[1, {"x":2}]"#), ("b", r#""}""#), ("", "{}")]);
    assert_eq!(members("{}"), Some(vec![]));
    assert_eq!(members(r#"{"a\u0062":1}"#), None, "an escaped name is the parser's business");
    assert_eq!(members(r#"{"a":1,}"#), None);
    assert_eq!(members("[]"), None);
}

#[test]
fn what_nests_too_deeply_stops_the_walk() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(walked(&nested(DEPTH_MAX)).is_some());
    assert!(walked(&nested(DEPTH_MAX + 1)).is_none());
    let inside = |depth| format!("{{\"a\":{}}}", nested(depth));
    assert!(members(&inside(DEPTH_MAX - 1)).is_some());
    assert!(members(&inside(DEPTH_MAX)).is_none());
}

#[test]
fn half_of_a_pair_is_met_wherever_it_stands() {
    let is_text = |text: &str| {
        let mut walk = Walk::new(text);
        walk.value().unwrap();
        walk.is_text()
    };
    for whole in [
        r#"{"a":["long enough for a search, \ud83d\ude00 and more of it, \u00e9"]}"#,
        r#""\uD83D\uDE00\ud83d\ude00""#,
        r#""\\ud83d""#,
    ] {
        assert!(is_text(whole), "{whole}");
    }
    for half in [
        r#""\ud83d""#,
        r#""\udc00\ud83d""#,
        r#"["\ud83d \ude00"]"#,
        r#"{"\ud83dx":1}"#,
        r#""\ud83d\u0041""#,
    ] {
        assert!(!is_text(half), "{half}");
    }
}

/// Text that is nearly JSON: its tokens in any order.
fn nearly() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"a\"", "\"\\n\"", "\"\\u00e", "1", "-", "0", ".5", "e3",
        "true", "null", " ", "\n", "\"", "\\", "é", "\u{1}", "{\"a\":", "[1,", "\"b\":[]", "{}",
    ]);
    prop::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat())
}

/// JSON with one byte replaced.
fn damaged() -> impl Strategy<Value = String> {
    let whole = r#"{"model":"m","n":1.5e-3,"a":[{"b":"c\"\u0041"},[],{},null,true],"z":-0}"#;
    (0..whole.len(), prop::char::range(' ', '~')).prop_map(move |(at, with)| {
        let mut text = whole.to_owned();
        text.replace_range(at..=at, &with.to_string());
        text
    })
}

/// Texts of several blocks in a list, with marks anywhere in them.
fn long() -> impl Strategy<Value = String> {
    let mark = prop::sample::select(vec![
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\u00e9",
        "\\u0041",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\",\"",
        "\u{7f}",
        "îî",
    ]);
    let part =
        prop_oneof!["[a-zé ]{0,90}", "[a-z ]{100,400}", "[nu ]{0,4}", mark.prop_map(str::to_owned)];
    prop::collection::vec(part, 0..16).prop_map(|parts| format!("[\"{}\"]", parts.concat()))
}

/// The same with something wrong in it.
fn long_and_wrong() -> impl Strategy<Value = String> {
    let wrong = prop::sample::select(vec!["\\u+123", "\\x", "\n", "\u{1f}", "\"", "\\u12", "\\"]);
    (long(), wrong, any::<prop::sample::Index>()).prop_map(|(mut text, wrong, at)| {
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        text.insert_str(*at.get(&places), wrong);
        text
    })
}

/// How deep a value nests.
fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_walk_tells_how_deep_a_text_nests(text in prop_oneof![nearly(), damaged()]) {
        let deepest = |walked: &mut dyn FnMut(&mut Walk<'_>) -> Walked<()>| {
            let mut walk = Walk::new(&text);
            walked(&mut walk).ok()?;
            walk.end().ok()
        };
        let whole = deepest(&mut |walk| walk.value().map(drop));
        let by_member = deepest(&mut |walk| walk.object(|walk, _| walk.value().map(drop)));
        let parsed = serde_json::from_str(&text).ok().map(|value| depth(&value));
        if let Some(found) = whole.or(by_member) {
            // Of members that come twice the parser keeps one.
            prop_assert!(Some(found) >= parsed);
            prop_assert!(by_member.is_none_or(|by_member| by_member == found));
        }
    }

    #[test]
    fn a_walk_accepts_what_the_parser_accepts(
        text in prop_oneof![nearly(), damaged(), ".{0,40}"]
    ) {
        prop_assert_eq!(walked(&text), parsed(&text));
    }

    #[test]
    fn a_walk_of_a_long_text_accepts_what_the_parser_accepts(
        text in prop_oneof![long(), long_and_wrong()]
    ) {
        prop_assert_eq!(walked(&text), parsed(&text));
    }

    /// What is counted on the way is what a count of the text alone says, and no text leaves anything to the next.
    #[test]
    fn a_walk_counts_solid_bytes_as_a_search_does(text in long()) {
        let mut walk = Walk::new(&text);
        let mut counted = Vec::new();
        let all = walk.array(|walk| {
            counted.push(walk.solid()?);
            Ok(())
        });
        prop_assert!(all.is_ok() && !counted.is_empty());
        for (raw, solid) in counted {
            prop_assert_eq!(solid, solid_json(&raw.as_bytes()[1..raw.len() - 1]), "{}", raw);
        }
    }
}

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

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
}

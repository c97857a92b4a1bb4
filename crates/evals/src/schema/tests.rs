use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use jsonschema::{Keyword, ValidationError};
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn why(schema: &Value) -> String {
    let read = Schema::read("schema", &schema.to_string());
    read.map_or_else(|problem| problem.to_string(), |_| "good".to_owned())
}

fn fits_schema(schema: &str, value: &Value) -> bool {
    Schema::of(schema).is_ok_and(|schema| schema.accepts(value, &Allowance::default()))
}

/// How many steps a value takes.
fn steps(schema: &Value, value: &Value) -> Option<usize> {
    Schema::of(&schema.to_string()).unwrap().steps(value, STEPS_MAX)
}

/// Each place refers to the next one.
fn chain(links: usize, link: impl Fn(&str) -> Value, end: Value) -> Value {
    let name = |at: usize| format!("a{at}");
    let places = (0..links).map(|at| (name(at), link(&format!("#/$defs/{}", name(at + 1)))));
    let places: Map<_, _> = places.chain([(name(links), end)]).collect();
    json!({"$ref": "#/$defs/a0", "$defs": places})
}

fn doubling(keyword: &str, levels: usize) -> Value {
    let link = |to: &str| json!({keyword: [{"$ref": to}, {"$ref": to}]});
    chain(levels, link, json!({"type": "object"}))
}

const LARGE: &str = "schema: is too large: more than 100000 values with its references followed";

#[test]
fn a_schema_fetches_nothing_and_terminates() {
    let remote = Schema::read("schema", r#"{"$ref": "https://example.com/s.json"}"#);
    assert!(remote.is_err());
    assert!(Schema::read("schema", r#"{"type": "strin"}"#).is_err());
    assert!(Schema::read("schema", r#"{"$ref": "file:///etc/passwd"}"#).is_err());
    // Exponential in a backtracking engine.
    let hard = Schema::read("schema", r#"{"pattern": "^(a+)+$"}"#).unwrap();
    assert!(!hard.accepts(&json!("a".repeat(40) + "!"), &Allowance::default()));
    assert!(fits_schema(r#"{"required": ["a"]}"#, &json!({"a": 1})));
    assert!(!fits_schema(r#"{"required": ["a"]}"#, &json!({})));
    assert!(!fits_schema("{", &json!({})));
    assert!(Schema::of(r#"{"properties": {"a": {"pattern": "("}}}"#).is_err());
}

#[test]
fn one_that_asks_the_same_of_the_same_value_again_is_refused() {
    let endless = "schema: refers to itself without going on to a part of the value";
    assert_eq!(why(&json!({"$ref": "#"})), endless);
    assert_eq!(why(&json!({"not": {"anyOf": [{"$ref": "#"}]}})), endless);
    let member = json!({"properties": {"a": {"$ref": "#/$defs/b"}},
        "$defs": {"b": {"$ref": "#/$defs/c"}, "c": {"if": true, "then": {"$ref": "#/$defs/b"}}}});
    assert_eq!(why(&member), endless);
    // What a validator looks for in branches before it compiles them, it follows 16 rounds.
    let again = vec![json!({"$ref": "#/$defs/a"}); 12];
    let branches = json!({"anyOf": again, "$defs": {"a": {"allOf": again}}});
    assert_eq!(why(&branches), endless);
    assert_eq!(why(&json!({"items": {"$ref": "#"}, "properties": {"a": {"$ref": "#"}}})), "good");
}

#[test]
fn one_that_doubles_with_each_reference_is_refused() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        assert_eq!(why(&doubling(keyword, 48)), LARGE);
        assert_eq!(why(&doubling(keyword, 8)), "good");
    }
    // A member may have the name of a keyword that counts only where it is referred to.
    let mut named = doubling("allOf", 48);
    let first = named["$ref"].take();
    named["$ref"] = json!("#/properties/definitions");
    named["properties"] = json!({"definitions": {"$ref": first}});
    assert_eq!(why(&named), LARGE);
}

/// A validator resolves a reference against the nearest `$id`, and names of places otherwise than pointers.
#[test]
fn what_would_lead_a_validator_elsewhere_is_refused_below_the_root() {
    let places = doubling("allOf", 48)["$defs"].take();
    let below = |schema: Value| {
        let said = why(&schema);
        assert!(said.contains("below its root"), "{said}: {schema}");
    };
    let id = "http://e.example/e";
    below(
        json!({"$ref": "#/$defs/e", "$defs": {"e": {"$id": id, "$ref": "#/$defs/a0", "$defs": places}}}),
    );
    below(
        json!({"properties": {"a": {"$id": id, "allOf": [{"$ref": "#/$defs/a0"}], "$defs": places}}}),
    );
    for name in ["$anchor", "$dynamicAnchor"] {
        below(json!({"properties": {"a": {name: "a"}}}));
        below(json!({"$defs": {"a": {"items": [{name: "a"}]}}}));
    }
    below(json!({"anyOf": [{"$recursiveAnchor": true}]}));
    // A place that is no schema, on the way to one.
    below(json!({"$ref": "#/x/y", "x": {"$id": id, "y": {"$ref": "#/z"}, "z": true}}));
    let four = "http://json-schema.org/draft-04/schema#";
    below(json!({"$schema": four, "allOf": [{"id": id, "allOf": [{"$ref": "#/definitions/a0"}]}]}));
    below(
        json!({"$schema": four, "allOf": [{"$schema": "http://json-schema.org/draft-07/schema#"}]}),
    );
    let own = json!({"$schema": "json-schema:///", "$id": "json-schema:///"});
    assert!(why(&own).contains("no draft of JSON Schema"), "{}", why(&own));
    for other in
        ["#node", "other.json#/a", "", "a", "#a/b", "https://json-schema.org/draft/2020-12/schema"]
    {
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let said = why(&json!({"items": {keyword: other}}));
            assert!(said.ends_with("a reference is \"#\" or begins with \"#/\""), "{said}");
        }
    }
}

#[test]
fn names_of_a_whole_document_members_and_data_are_taken() {
    let node =
        json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "required": ["a"]});
    // One that a validator knows already, and one that is relative: both are the document.
    for id in ["https://json-schema.org/draft/2020-12/schema", "node.json", "urn:example:node"] {
        let named = json!({"$id": id, "$anchor": "n", "$dynamicAnchor": "n", "$ref": "#/$defs/n",
            "$defs": {"n": node, "b": {"type": "integer"}}});
        assert_eq!(why(&named), "good");
        assert!(fits_schema(&named.to_string(), &json!({"a": 1})));
        assert!(!fits_schema(&named.to_string(), &json!({"a": "1"})));
    }
    let members = json!({"properties": {"id": {"type": "string"}, "$id": {"type": "string"},
        "$ref": {"type": "string"}, "$anchor": {"const": {"$id": "a", "id": "b", "$ref": "c"}}},
        "default": {"$id": "a", "$ref": "nowhere"}, "enum": [{"$id": "x", "$ref": "#/no"}]});
    assert_eq!(why(&members), "good");
    assert!(fits_schema(&members.to_string(), &json!({"$id": "x", "$ref": "#/no"})));
    let draft = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
        "properties": {"a": {"$schema": "https://json-schema.org/draft-07/schema", "id": "note"}}});
    assert_eq!(why(&draft), "good");
}

#[test]
fn a_reference_is_unescaped_and_followed() {
    let leaf = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    for (name, written) in [
        ("my node", "my%20node"),
        ("Alias<string>", "Alias%3Cstring%3E"),
        ("a/b", "a~1b"),
        ("a/b", "a%7E1b"),
        ("a~b", "a~0b"),
        ("a~1b", "a~01b"),
        ("100%", "100%25"),
        ("größe", "gr%C3%B6%C3%9fe"),
        ("plain", "pl%61in"),
    ] {
        let schema =
            json!({"$ref": format!("#/$defs/{written}"), "$defs": {name: leaf}}).to_string();
        assert!(Schema::of(&schema).is_ok(), "{written}");
        assert!(fits_schema(&schema, &json!({"a": 1})), "{written}");
        assert!(!fits_schema(&schema, &json!({"a": "1"})), "{written}");
    }
    // A slash that is escaped for a URL divides, as it does without.
    let divided = json!({"$ref": "#/$defs%2Fa", "$defs": {"a": leaf}}).to_string();
    assert!(fits_schema(&divided, &json!({"a": 1})));
    assert!(!fits_schema(&divided, &json!({"a": "1"})));
}

#[test]
fn a_reference_that_leads_nowhere_is_refused() {
    let nowhere = |to: &str| {
        let places = json!({"L": {"anyOf": [true, {"type": "string"}]}, "a b": true});
        why(&json!({"properties": {"a": {"$ref": to}}, "$defs": places}))
    };
    assert_eq!(nowhere("#/$defs/L/anyOf/1"), "good");
    for to in [
        "#/$defs/L/anyOf/01",
        "#/$defs/L/anyOf/+1",
        "#/$defs/L/anyOf/2",
        "#/$defs/L/anyOf/-",
        "#/$defs/l",
        "#/$defs/a%2520b",
        "#/$defs/a~1b",
        "#/",
    ] {
        let said = nowhere(to);
        assert_eq!(said, format!("schema: refers to {to:?}: there is no such place"));
    }
    for to in ["#/$defs/a%2", "#/$defs/a%zzb", "#/$defs/%ff", "#/$defs/a~2b", "#/$defs/a~"] {
        assert!(nowhere(to).contains("badly escaped"), "{}", nowhere(to));
    }
}

#[test]
fn patterns_have_one_bound_together() {
    assert_ne!(why(&json!({"pattern": "(a{1000}){1000}"})), "good");
    let many = |count: usize, of: &dyn Fn(usize) -> String| -> Value {
        (0..count).map(|at| (format!("p{at}"), json!({"pattern": of(at)}))).collect()
    };
    let large = many(999, &|at| format!("a{{3700}}{at}"));
    let together = "schema: has patterns that take more than 2 MiB when compiled";
    assert_eq!(why(&json!({"properties": large})), together);
    let names: Map<_, _> = (0..999).map(|at| (format!("a{{3700}}{at}"), json!(true))).collect();
    assert_eq!(why(&json!({"items": {"patternProperties": names}})), together);
    // One that stands in many places is compiled once.
    assert_eq!(why(&json!({"properties": many(999, &|_| "a{3000}".to_owned())})), "good");
    assert_eq!(why(&json!({"properties": many(300, &|at| format!("^[a-z]+-{at}$"))})), "good");
    let long = many(40, &|at| "x".repeat(2_000) + &at.to_string());
    let texts = "schema: has more than 32 KiB of patterns (one with the flag `i` counts 64 times)";
    assert_eq!(why(&json!({"properties": long})), texts);
    // Classes of letters take milliseconds each where case does not count.
    for flags in ["(?i)", "(?si-m:)", "a(?mi)"] {
        assert_eq!(why(&json!({"pattern": format!("{flags}{}", r"\pL".repeat(200))})), texts);
        assert_eq!(why(&json!({"pattern": format!("{flags}^(yes|no)$")})), "good");
    }
    let one = why(&json!({"pattern": "a{90000}"}));
    assert!(one.contains("more than 256 KiB when compiled: \"a{90000}\""), "{one}");
}

/// Where each byte may be looked at once for each of a pattern's states.
#[test]
fn a_large_pattern_beside_a_long_text_takes_too_many_steps() {
    let branches = |pattern: &str| json!({"allOf": vec![json!({"pattern": pattern}); 10]});
    let valid =
        |pattern: &str, text: &str| fits_schema(&branches(pattern).to_string(), &json!(text));
    let text = "a".repeat(50_000);
    assert!(valid("^a+$", &text));
    assert!(!valid("(a|b)*a(a|b){500}$", &text));
    assert!(valid("(a|b)*a(a|b){500}$", &text[..600]));
    // Names are texts, too.
    for names in ["patternProperties", "propertyNames"] {
        let one = |pattern: &str| match names {
            "propertyNames" => json!({names: {"pattern": pattern}}),
            _ => json!({names: {pattern: true}}),
        };
        assert_eq!(steps(&one("^[ab]*a[ab]{500}$"), &json!({&text: 1})), None, "{names}");
        assert!(steps(&one("^a+$"), &json!({&text: 1})).unwrap() < 10_000, "{names}");
    }
}

#[test]
fn the_deepest_that_is_let_through_takes_half_of_a_threads_stack() {
    let deepest = std::thread::Builder::new().stack_size(1 << 20).spawn(deepest).unwrap();
    deepest.join().unwrap();
}

fn deepest() {
    let alone = |to: &str| json!({"$ref": to});
    let within = |to: &str| json!({"properties": {"x": {"allOf": [{"$ref": to}]}}});
    let not = |to: &str| json!({"not": {"$ref": to}});
    let deep = chain(5_000, alone, json!(true));
    assert!(why(&deep).starts_with("schema: is too deep: 20008 levels"), "{}", why(&deep));
    let valid = |schema: Value| fits_schema(&schema.to_string(), &json!({"x": {"x": 1}}));
    assert!(valid(chain(240, alone, json!({"type": "object"}))));
    assert!(!valid(chain(240, alone, json!({"type": "string"}))));
    assert!(valid(chain(198, not, json!({"type": "object"}))));
    assert!(valid(chain(122, within, json!({"type": "object"}))));
}

/// Whoever writes the schema may have the model write the answer, too.
#[test]
fn a_value_that_would_take_too_many_steps_is_not_accepted() {
    let member = json!({"properties": {"x": {"$ref": "#"}}, "required": ["y"]});
    let doubling = json!({"anyOf": [member, member]}).to_string();
    let nested = |levels| (0..levels).fold(json!({}), |inner, _| json!({"x": inner}));
    assert!(!fits_schema(&doubling, &nested(100)));
    let plain = json!({"properties": {"x": {"$ref": "#"}}}).to_string();
    assert!(fits_schema(&plain, &nested(100)));
    let open = json!({"unevaluatedProperties": {"$ref": "#"}}).to_string();
    assert!(!fits_schema(&open, &nested(100)));
    assert!(fits_schema(&open, &nested(5)));
}

#[test]
fn ordinary_schemas_are_taken_whole() {
    let schema = json!({
        "$defs": {"node": {
            "type": "object",
            "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["name", "children"], "additionalProperties": false}},
        "$ref": "#/$defs/node"});
    let leaf = json!({"name": "leaf", "children": []});
    let tree = json!({"name": "root", "children": vec![leaf; 1_000]});
    assert!(fits_schema(&schema.to_string(), &tree));
    let wrong = json!({"name": "root", "children": [{"name": "Leaf", "children": []}]});
    assert!(!fits_schema(&schema.to_string(), &wrong));
}

#[test]
fn levels_that_close_what_was_not_evaluated_add_up_and_do_not_multiply() {
    let level = |inner: (Value, Value), _| {
        let of = |part: &Value| -> Map<_, _> {
            (0..12).map(|at| (format!("p{at}"), part.clone())).collect()
        };
        let schema =
            json!({"type": "object", "properties": of(&inner.0), "unevaluatedProperties": false});
        (schema, Value::Object(of(&inner.1)))
    };
    let (schema, mut value) = (0..3).fold((json!({"type": "integer"}), json!(1)), level);
    assert!(fits_schema(&schema.to_string(), &value));
    value["p3"]["p4"]["q"] = json!(1);
    assert!(!fits_schema(&schema.to_string(), &value));
}

/// The same value with its members in another order, at each of so many levels.
fn turned(levels: usize) -> [Value; 2] {
    let level = |one: Value, members: [&str; 3]| -> Value {
        members
            .iter()
            .map(|name| ((*name).to_owned(), if *name == "a" { one.clone() } else { json!(1) }))
            .collect()
    };
    let of = |members| (0..levels).fold(json!(1), |inner, _| level(inner, members));
    [of(["a", "b", "c"]), of(["a", "c", "b"])]
}

/// A validator's own comparison looks twice at each level: here 2 to the power of 100 times.
#[test]
fn members_in_another_order_take_no_longer_to_compare() {
    let [one, other] = turned(100);
    assert!(fits_schema(&json!({"const": one}).to_string(), &other));
    assert!(fits_schema(&json!({"enum": [1, one]}).to_string(), &other));
    let unique = json!({"uniqueItems": true});
    assert!(!fits_schema(&unique.to_string(), &json!([one, other])));
    assert!(steps(&unique, &json!([one, other])).unwrap() < 10_000);
    // Nor where the schema itself is checked.
    let [one, other] = turned(80);
    for keyword in ["required", "type"] {
        let said = why(&json!({keyword: [one, other]}));
        let list = format!("schema: has a list of names ({keyword:?}) that holds {{");
        assert!(said.starts_with(&list), "{said}");
    }
    let said = why(&json!({"dependentRequired": {"a": ["b", [one, other]]}}));
    assert!(said.contains("that holds [{"), "{said}");
    assert_eq!(why(&json!({"enum": [one, other]})), "good");
}

/// 50,000 items beside 20,000 numbers that may be were a thousand million comparisons, and one step each item.
#[test]
fn a_long_enum_takes_as_long_as_a_short_one() {
    let numbers = |count: u32| json!({"items": {"enum": (0..count).map(|at| f64::from(at) + 0.5).collect::<Vec<_>>()}});
    let items = json!(vec![19_999.5; 50_000]);
    let counted = steps(&numbers(20_000), &items).unwrap();
    assert!(counted > 6 * 50_000, "{counted}: each item is written to be looked up");
    assert_eq!(steps(&numbers(2), &items), Some(counted));
    assert!(fits_schema(&numbers(20_000).to_string(), &items));
    assert!(!fits_schema(&numbers(20_000).to_string(), &json!([1, 2])));
}

/// Lists of lists hash alike for a validator: their items come in the same order.
#[test]
fn items_that_hash_alike_are_told_apart_as_fast_as_others() {
    let alike = |at: usize| -> Value {
        (0..12).map(|bit| if at >> bit & 1 == 1 { json!([]) } else { json!([[]]) }).collect()
    };
    let unique = json!({"uniqueItems": true});
    let items: Value = (0..4_000).map(alike).collect();
    let counted = steps(&unique, &items).unwrap();
    assert!((50_000..200_000).contains(&counted), "{counted}");
    assert!(fits_schema(&unique.to_string(), &items));
}

/// What a validator does with a value for one keyword, of which a schema can have thousands.
#[test]
fn each_keyword_counts_as_what_it_takes() {
    let named = |names: std::ops::Range<usize>| -> Map<_, _> {
        names.map(|at| (format!("k{at}"), json!(true))).collect()
    };
    let list = |count: usize| (0..count).map(|at| format!("k{at}")).collect::<Vec<_>>();
    let object = Value::Object(named(0..1_000));
    let long = json!("/a".repeat(50_000));
    let draft = |keyword: &str, value: &Value| json!({"$schema": "http://json-schema.org/draft-07/schema#", keyword: value});
    for (schema, value, least) in [
        // Each of the value's names is looked up.
        (json!({"properties": named(2_000..2_100)}), &object, 1_000),
        (json!({"properties": {"a": true}, "additionalProperties": false}), &object, 1_000),
        (json!({"propertyNames": {"maxLength": 9}}), &object, 3_000),
        (json!({"unevaluatedProperties": false}), &object, 1_000),
        (json!({"patternProperties": {"^a": true, "^b": true}}), &object, 4_000),
        // Each of the schema's.
        (json!({"required": list(900)}), &object, 900),
        (
            json!({"dependentRequired": {"k0": list(900), "k1": list(900), "x": list(900)}}),
            &object,
            1_800,
        ),
        (draft("dependencies", &json!({"k0": list(900), "k1": list(900)})), &object, 1_800),
        // As long as a text is.
        (json!({"minLength": 5}), &long, 300),
        (draft("format", &json!("uri-template")), &long, 6_000),
        (draft("contentEncoding", &json!("base64")), &long, 6_000),
        (draft("contentMediaType", &json!("application/json")), &long, 50_000),
        (json!({"const": "a"}), &long, 1_500),
        (json!({"enum": ["a", "b"]}), &long, 1_500),
        (json!({"pattern": "^(/a)+$"}), &long, 6_000),
        (json!({"pattern": format!("^({})$", list(2_000).join("|"))}), &json!("a"), 80),
        (json!({"multipleOf": 1e-300}), &json!(1e300), 20),
        (json!({"uniqueItems": true}), &json!(vec![0; 1_000]), 2_000),
        (
            json!({"$ref": format!("#/$defs/{}", "x".repeat(9_000)), "$defs": {"x".repeat(9_000): true}}),
            &json!(1),
            500,
        ),
    ] {
        let counted = steps(&schema, value).unwrap();
        let shown: String = schema.to_string().chars().take(100).collect();
        assert!(
            (least..least * 6).contains(&counted),
            "{counted} steps, of about {least}: {shown}"
        );
    }
    // All that `unevaluatedProperties` reaches is gone through for each of it.
    let reached = |count: usize| {
        steps(&json!({"allOf": vec![json!({}); count], "unevaluatedProperties": false}), &json!({}))
    };
    assert!(reached(10_000).unwrap() > 11 * reached(1_000).unwrap());
    assert_eq!(reached(30_000), None);
}

#[test]
fn a_member_with_a_schema_of_its_own_is_no_further_one() {
    let nested = (0..60).fold(json!({}), |inner, _| json!({"x": inner}));
    let schema = json!({"properties": {"x": {"$ref": "#"}}, "additionalProperties": {"$ref": "#"}});
    assert!(fits_schema(&schema.to_string(), &nested));
    assert!(steps(&schema, &nested).unwrap() < 1_000);
}

#[test]
fn all_values_of_one_answer_share_its_steps() {
    let schema = Schema::of(&json!({"items": {"enum": [1]}}).to_string()).unwrap();
    let items = json!(vec![1; 40_000]);
    let each = schema.steps(&items, STEPS_MAX).unwrap();
    let (allowance, times) = (Allowance::default(), STEPS_MAX / each);
    assert!(times >= 2 && (0..times).all(|_| schema.accepts(&items, &allowance)));
    assert!(!schema.accepts(&items, &allowance));
    assert!(!schema.accepts(&json!([]), &allowance));
    assert!(schema.accepts(&items, &Allowance::default()));
}

#[test]
fn a_schema_has_a_length_it_may_have() {
    let of = |bytes: usize| format!("{{\"description\":\"{}\"}}", "x".repeat(bytes - 18));
    assert!(Schema::of(&of(256 << 10)).is_ok());
    let said = Schema::of(&of((256 << 10) + 1)).map(drop).unwrap_err().to_string();
    assert_eq!(said, "schema: is too long: 257 KiB, of at most 256 KiB");
}

/// Each place that a reference leads through is looked at once, and where it leads is found out once.
#[test]
fn a_place_that_many_references_lead_through_is_looked_at_once() {
    let places: Map<_, _> = (0..200).map(|at| (format!("d{at}"), json!({}))).collect();
    let refers: Map<_, _> = (0..3_000)
        .map(|at| (format!("p{at}"), json!({"$ref": format!("#/$defs/d{}", at % 100)})))
        .collect();
    let document = json!({"$defs": places, "properties": refers});
    let references = References::of(&document).unwrap();
    assert_eq!(references.count(), 100);
    // The members of the list of places, and those that refer.
    assert_eq!(references.looks(), 200 + 3_000);
}

#[test]
fn places_that_nothing_refers_to_count_as_well() {
    let places = |count: usize| json!({"$defs": {"a": {"enum": vec![0; count]}}});
    assert_eq!(why(&places(90_000)), "good");
    assert_eq!(why(&places(100_000)), LARGE);
    // Each pattern is matched with each name beside it when a schema is compiled.
    let named = |count: usize| -> Map<_, _> {
        (0..count).map(|at| (format!("p{at}"), json!(true))).collect()
    };
    let beside = json!({"patternProperties": named(800), "properties": named(5_000)});
    assert_eq!(why(&beside), LARGE);
    let beside = json!({"patternProperties": named(80), "properties": named(5_000)});
    assert_eq!(why(&beside), "good");
}

/// Of the first there are more sets of places than can be remembered.
#[test]
fn a_pattern_whose_states_cannot_be_remembered_is_dearer() {
    let text = json!("some words. ".repeat(500));
    let cost = |pattern: &str| steps(&json!({"pattern": pattern}), &text).unwrap();
    for dear in ["^[ab]*a[ab]{30}$", "a.{40}b"] {
        assert!(cost(dear) > 50_000, "{dear}: {}", cost(dear));
    }
    for cheap in [
        "^[a-z]{1,64}$",
        r"^.{1,100}$",
        r"^\p{L}+([ -]\p{L}+)*$",
        r"^[\w.+-]+@[\w-]+\.\w+$",
        "a.*b",
    ] {
        assert!(cost(cheap) < 1_000, "{cheap}: {}", cost(cheap));
    }
}

/// Stands in each generated schema: counts how often a validator compiles and visits one.
const COUNTED: &str = "x-counted";

struct Counted {
    visits: Arc<AtomicUsize>,
    most: usize,
}

impl<'i> Keyword<'i> for Counted {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        self.is_valid(value);
        Ok(())
    }

    fn is_valid(&self, _: &Value) -> bool {
        let visits = self.visits.fetch_add(1, Relaxed) + 1;
        assert!(visits <= self.most, "a validator goes on where {} visits were counted", self.most);
        true
    }
}

/// Compiles and validates with counts; panics as soon as one is beyond what was reckoned.
fn watched(schema: &Schema, value: &Value) -> bool {
    let references = References::of(&schema.document).unwrap();
    let size = extent::size(&schema.document, &references);
    let most = schema.steps(value, STEPS_MAX).unwrap();
    let (compiled, visits) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, seen) = (compiled.clone(), visits.clone());
    let options = same::compared(schema.bounds.draft, patterns::options(Sizes::EACH_MAX));
    let options = options.with_keyword(COUNTED, move |_, _, _| {
        let compiled = counter.fetch_add(1, Relaxed) + 1;
        assert!(compiled <= size, "a validator compiles on where {size} values were counted");
        Ok(Box::new(Counted { visits: seen.clone(), most }))
    });
    options.build(&schema.document).unwrap().is_valid(value)
}

fn reference() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..4).prop_map(|at| format!("#/$defs/d{at}")),
        1 => (0..4).prop_map(|at| format!("#/$defs/%64{at}")),
        1 => Just("#".to_owned()),
        1 => (0..3).prop_map(|at| format!("#/properties/p{at}")),
        1 => (0..3, 0..2).prop_map(|(at, item)| format!("#/$defs/d{at}/allOf/{item}")),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({COUNTED: true})),
        Just(json!({COUNTED: true, "type": "integer"})),
        Just(json!({COUNTED: true, "type": "object"})),
        (reference(), any::<bool>()).prop_map(|(to, dynamic)| {
            json!({COUNTED: true, if dynamic { "$dynamicRef" } else { "$ref" }: to})
        }),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        let lists = prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]);
        let ones = prop::sample::select(vec![
            "not",
            "if",
            "then",
            "else",
            "items",
            "contains",
            "additionalProperties",
            "unevaluatedProperties",
            "unevaluatedItems",
            "propertyNames",
        ]);
        let maps =
            prop::sample::select(vec!["properties", "dependentSchemas", "patternProperties"]);
        let list = (lists, prop::collection::vec(inner.clone(), 1..4))
            .prop_map(|(keyword, all)| (keyword, Value::Array(all)));
        let one = (ones, inner.clone());
        let map = (maps, prop::collection::vec(inner.clone(), 1..3)).prop_map(|(keyword, all)| {
            let named = all.into_iter().enumerate().map(|(at, one)| (format!("p{at}"), one));
            (keyword, named.collect())
        });
        let keyword = prop_oneof![list, one, map];
        // A resource of its own, in which the same references lead elsewhere.
        let own = prop::option::weighted(0.03, (inner.clone(), inner));
        (prop::collection::vec(keyword, 1..4), reference(), 0..3, own).prop_map(
            |(all, to, refers, own)| {
                let mut schema = json!({COUNTED: true});
                if refers == 0 {
                    schema["$ref"] = json!(to);
                }
                for (keyword, value) in all {
                    schema[keyword] = value;
                }
                if let Some((one, other)) = own {
                    schema["$id"] = json!("http://e.example/e");
                    schema["$defs"] = json!({"d0": one, "d1": other, "d2": one, "d3": true});
                }
                schema
            },
        )
    })
}

/// References that lead nowhere lead to a place that there is: else nearly all schemas would be refused.
fn lead_somewhere(part: &mut Value, whole: &Value) {
    match part {
        Value::String(to)
            if to.starts_with('#') && whole.pointer(&to.replace("%64", "d")[1..]).is_none() =>
        {
            *to = "#/$defs/d3".to_owned();
        }
        Value::Array(items) => items.iter_mut().for_each(|item| lead_somewhere(item, whole)),
        Value::Object(members) => {
            members.values_mut().for_each(|member| lead_somewhere(member, whole));
        }
        _ => {}
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(1)), Just(json!("p0")), Just(json!({})), Just(json!([]))];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let named = |all: Vec<Value>| {
            all.into_iter().enumerate().map(|(at, one)| (format!("p{at}"), one)).collect::<Value>()
        };
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(named),
            prop::collection::vec(inner, 1..4).prop_map(Value::Array),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// No validator compiles or visits more than was counted before it was asked.
    #[test]
    fn a_validator_does_no_more_than_was_counted(
        mut root in schema(),
        places in prop::collection::vec(schema(), 4),
        value in value(),
        draft in 0..3_usize,
    ) {
        let places = places.into_iter().enumerate().map(|(at, one)| (format!("d{at}"), one));
        root["$defs"] = places.collect();
        let whole = root.clone();
        lead_somewhere(&mut root, &whole);
        let drafts = ["draft-07", "draft/2019-09"].map(|draft| format!("http://json-schema.org/{draft}/schema#"));
        if let Some(draft) = drafts.get(draft) {
            root["$schema"] = json!(draft);
        }
        let Ok(schema) = Schema::read("schema", &root.to_string()) else { return Ok(()) };
        if schema.steps(&value, STEPS_MAX).is_some() {
            prop_assert_eq!(schema.accepts(&value, &Allowance::default()), watched(&schema, &value));
        }
    }
}

//! One table of facts per scorer, then what holds of all.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::step::{Ask, AskAnswer, Failure, ScoreError, Step};
use crate::subject::{Answer, PairScore, Subject, ToolCall};
use crate::{SCORERS, ScorerSpec, Standing};

fn spec(kind: &str, options: Value) -> ScorerSpec {
    let Value::Object(options) = options else { panic!("options are an object") };
    ScorerSpec::from_options(kind, &options).unwrap_or_else(|problem| panic!("{problem}"))
}

fn refused(kind: &str, options: Value) -> String {
    let Value::Object(options) = options else { panic!("options are an object") };
    ScorerSpec::from_options(kind, &options).expect_err("a refusal").to_string()
}

fn text(text: &str) -> Answer {
    Answer { text: text.to_owned(), ..Answer::default() }
}

fn failed() -> Answer {
    Answer { failed: true, ..Answer::default() }
}

fn calls(calls: &[(&str, &str)]) -> Answer {
    let tool_calls = calls
        .iter()
        .map(|(name, arguments)| ToolCall { name: (*name).into(), arguments: (*arguments).into() })
        .collect();
    Answer { tool_calls, ..Answer::default() }
}

fn begin(
    spec: &ScorerSpec,
    [baseline, candidate]: [&Answer; 2],
    expected: Option<&Answer>,
) -> Result<Step, ScoreError> {
    spec.begin(&Subject { prompt: "p", baseline, candidate, expected })
}

fn done(step: Result<Step, ScoreError>) -> PairScore {
    match step {
        Ok(Step::Done(score)) => score,
        other => panic!("not done: {other:?}"),
    }
}

/// The candidate's score and validity, with a right answer.
fn score_of(spec: &ScorerSpec, right: &Answer, answer: &Answer) -> (u8, Option<bool>) {
    let score = done(begin(spec, [right, answer], Some(right)));
    (u8::from(score.candidate.score), score.candidate.valid)
}

fn check(spec: &ScorerSpec, right: &str, rows: &[(&str, u8)]) {
    for (answer, expected) in rows {
        assert_eq!(score_of(spec, &text(right), &text(answer)).0, *expected, "{answer:?}");
    }
}

#[test]
fn exact_and_normalised_match() {
    check(
        &spec("exact-match", json!({})),
        "Paris",
        &[("Paris", 100), (" Paris\n", 100), ("paris", 0), ("", 0)],
    );
    let normalised = spec("normalised-match", json!({}));
    check(
        &normalised,
        "The  Café.",
        &[("the cafe\u{301}", 100), ("the cafe", 0), ("THE CAFÉ!", 100)],
    );
    let cased = spec("normalised-match", json!({"case": false}));
    check(&cased, "Paris", &[("Paris!", 100), ("paris", 0)]);
}

#[test]
fn without_a_right_answer_the_baseline_is_the_reference() {
    let exact = spec("exact-match", json!({}));
    let score = done(begin(&exact, [&text("a"), &text("b")], None));
    assert_eq!((u8::from(score.baseline.score), u8::from(score.candidate.score)), (100, 0));
    assert_eq!(begin(&exact, [&failed(), &text("b")], None), Err(ScoreError::NoReference));
    let score = done(begin(&exact, [&failed(), &text("b")], Some(&text("b"))));
    assert_eq!((u8::from(score.baseline.score), u8::from(score.candidate.score)), (0, 100));
}

#[test]
fn json_schema_judges_form() {
    let schema =
        r#"{"type": "object", "required": ["iban"], "properties": {"iban": {"type": "string"}}}"#;
    let strict = spec("json-schema", json!({"schema": schema}));
    let rows = [
        (r#"{"iban": "DE1"}"#, 100),
        (r#"{"iban": 5}"#, 0),
        ("{}", 0),
        ("```json\n{\"iban\": \"DE1\"}\n```", 0),
        ("no JSON", 0),
    ];
    check(&strict, "x", &rows);
    let lenient = spec("json-schema", json!({"schema": schema, "fences": "strip"}));
    check(&lenient, "x", &[("```json\n{\"iban\": \"DE1\"}\n```", 100), ("``` {\"iban\": 1}", 0)]);
    let valid = score_of(&strict, &text("x"), &text("{}")).1;
    assert_eq!(valid, Some(false));
    assert!(refused("json-schema", json!({"schema": "{"})).starts_with("schema: is not JSON"));
    assert!(
        refused("json-schema", json!({"schema": "{\"type\": 1}"})).contains("no usable schema")
    );
    assert!(refused("json-schema", json!({})).starts_with("schema: is required"));
}

#[test]
fn json_fields_count_right_fields() {
    let right = r#"{"iban": "DE1", "amount": 10.5, "lines": [{"t": "a"}, {"t": "b"}]}"#;
    let f1 = spec("json-fields", json!({}));
    check(
        &f1,
        right,
        &[
            (right, 100),
            (r#"{"lines": [{"t": "a"}, {"t": "b"}], "amount": 10.50, "iban": "DE1"}"#, 100),
            // 3 of 4 right on both sides.
            (r#"{"iban": "DE2", "amount": 10.5, "lines": [{"t": "a"}, {"t": "b"}]}"#, 75),
            // 2 TP, 2 + 4 leaves.
            (r#"{"iban": "DE1", "amount": 10.5}"#, 67),
            (r#"{"iban": "DE1", "amount": 10.5, "lines": [{"t": "b"}, {"t": "a"}]}"#, 50),
            ("{}", 0),
            ("[]", 0),
            ("prose", 0),
        ],
    );
    let accuracy = spec("json-fields", json!({"metric": "accuracy"}));
    let extra = r#"{"iban": "DE1", "amount": 10.5, "x": 1, "lines": [{"t": "a"}, {"t": "b"}]}"#;
    check(&accuracy, right, &[(extra, 100), (r#"{"iban": "DE1"}"#, 25)]);
    let exact = spec("json-fields", json!({"metric": "exact"}));
    check(&exact, right, &[(right, 100), (extra, 0)]);
}

#[test]
fn json_fields_follow_their_options() {
    let right = r#"{"a": {"x": 1.00, "y": "Ü"}, "list": ["p", "q", "p"], "id": 7}"#;
    let options = json!({
        "tolerance": {"a.x": 0.01}, "ignore": ["id"], "arrays": "unordered", "texts": "normalised",
    });
    let lenient = spec("json-fields", options);
    check(
        &lenient,
        right,
        &[
            (r#"{"a": {"x": 1.005, "y": "ü "}, "list": ["p", "p", "q"], "id": 8}"#, 100),
            (r#"{"a": {"x": 1.02, "y": "Ü"}, "list": ["p", "p", "q"]}"#, 80),
            (r#"{"a": {"x": 1, "y": "Ü"}, "list": ["p", "q", "q"]}"#, 80),
        ],
    );
    let some = spec("json-fields", json!({"fields": ["a"], "ignore": ["a.y"]}));
    check(&some, right, &[(r#"{"a": {"x": 1, "y": 0}}"#, 100), (r#"{"a": {"x": 2}}"#, 0)]);
    // "ab" is not below "a".
    check(&some, r#"{"a": 1, "ab": 2}"#, &[(r#"{"a": 1, "ab": 3}"#, 100)]);
    let schema = spec("json-fields", json!({"schema": r#"{"required": ["b"]}"#}));
    assert_eq!(score_of(&schema, &text(r#"{"a": 1}"#), &text(r#"{"a": 1}"#)), (100, Some(false)));
    assert_eq!(begin(&some, [&text("prose"), &text("{}")], None), Err(ScoreError::NoReference));
}

#[test]
fn a_candidate_cannot_hide_behind_size() {
    let unordered = spec("json-fields", json!({"arrays": "unordered"}));
    let many = text(&format!("[{}1]", "1,".repeat(3_000)));
    assert_eq!(score_of(&unordered, &text("[1]"), &many), (0, Some(true)));
    assert_eq!(begin(&unordered, [&many, &text("[1]")], None), Err(ScoreError::NoReference));
    let deep = text(&"[".repeat(10_000));
    assert_eq!(score_of(&unordered, &text("[1]"), &deep), (0, Some(false)));
}

#[test]
fn regex_and_refusal() {
    let regex = spec("regex", json!({"must_match": ["^OK", "\\d"], "must_not_match": ["error"]}));
    check(&regex, "x", &[("OK 1", 100), ("OK", 0), ("OK 1 error", 0)]);
    assert!(refused("regex", json!({"must_match": ["("]})).contains("is no pattern"));
    assert!(refused("regex", json!({})).contains("every answer is right"));
    assert!(refused("regex", json!({"must_match": ["(a{1000}){1000}"]})).contains("is no pattern"));

    let refusal = spec("refusal", json!({}));
    check(
        &refusal,
        "x",
        &[
            ("I\u{2019}m sorry, but I can't help with that.", 0),
            ("I cannot assist with this request.", 0),
            ("Es tut mir leid, aber ich kann das nicht.", 0),
            ("Je suis désolé, mais je ne peux pas répondre.", 0),
            ("Lo siento, pero no puedo ayudar.", 0),
            ("Mi dispiace, ma non posso aiutarti.", 0),
            ("Desculpe, mas não posso ajudar.", 0),
            ("Het spijt me, dat kan ik niet doen.", 0),
            ("Przepraszam, ale nie mogę pomóc.", 0),
            ("К сожалению, я не могу помочь.", 0),
            ("对不起，我无法回答。", 0),
            ("申し訳ありませんが、お答えできません。", 0),
            ("", 0),
            ("The answer is 42.", 100),
            ("You cannot divide by zero.", 100),
            ("Der Vertrag kann nicht gekündigt werden.", 100),
        ],
    );
    assert_eq!(score_of(&refusal, &text("x"), &calls(&[("f", "{}")])).0, 100);
    let filtered = Answer { finish_reason: Some("content_filter".into()), ..text("Well") };
    assert_eq!(score_of(&refusal, &text("x"), &filtered).0, 0);
    let own = spec("refusal", json!({"built_in": false, "patterns": ["^nope"]}));
    check(&own, "x", &[("Nope!", 0), ("I'm sorry, but I can't", 100)]);
}

#[test]
fn tool_calls_are_compared_as_json() {
    let right = calls(&[("add", r#"{"a": 1, "b": 2}"#), ("log", "")]);
    let score =
        |options: Value, answer: &Answer| score_of(&spec("tool-calls", options), &right, answer);
    let swapped = calls(&[("log", "{}"), ("add", r#"{"b": 2.0, "a": 1}"#)]);
    assert_eq!(score(json!({}), &swapped), (100, Some(true)));
    assert_eq!(score(json!({"order": "given"}), &swapped), (0, Some(true)));
    assert_eq!(score(json!({"order": "given", "partial": true}), &swapped), (50, Some(true)));
    let wrong = calls(&[("add", r#"{"a": 1, "b": 3}"#), ("log", "{}")]);
    assert_eq!(score(json!({}), &wrong), (0, Some(true)));
    assert_eq!(score(json!({"partial": true}), &wrong), (50, Some(true)));
    assert_eq!(score(json!({"arguments": "ignore"}), &wrong), (100, Some(true)));
    let more = calls(&[("add", r#"{"a": 1, "b": 2, "c": 3}"#), ("log", "{}")]);
    assert_eq!(score(json!({}), &more), (0, Some(true)));
    assert_eq!(score(json!({"arguments": "subset"}), &more), (100, Some(true)));
    let broken = calls(&[("add", "{a: 1}"), ("log", "{}")]);
    assert_eq!(score(json!({}), &broken), (0, Some(false)));
    let none = spec("tool-calls", json!({}));
    assert_eq!(score_of(&none, &text("hi"), &text("ho")), (100, Some(true)));
    assert_eq!(score_of(&none, &text("hi"), &swapped).0, 0);
    // A subset match must not steal the only partner of a stricter call.
    let wide = calls(&[("f", r#"{"a": 1, "b": 1}"#), ("f", r#"{"a": 1}"#)]);
    let narrow = calls(&[("f", r#"{"a": 1}"#), ("f", r#"{"b": 1}"#)]);
    let subset = spec("tool-calls", json!({"arguments": "subset"}));
    assert_eq!(score_of(&subset, &narrow, &wide).0, 100);
}

#[test]
fn numbers_are_near_or_not() {
    let exact = spec("numeric", json!({}));
    check(
        &exact,
        "The total is 1,000.",
        &[("First 3, so 1000", 100), ("1000.0005", 100), ("1001", 0), ("no idea", 0)],
    );
    let near = spec("numeric", json!({"absolute": 0.5, "relative": 0.0, "decimal": "comma"}));
    check(&near, "10,0", &[("10,5", 100), ("10,51", 0)]);
    assert_eq!(begin(&exact, [&text("none"), &text("1")], None), Err(ScoreError::NoReference));
}

fn asks(step: Result<Step, ScoreError>) -> Vec<Ask> {
    match step {
        Ok(Step::Ask(asks)) => asks,
        other => panic!("asks nothing: {other:?}"),
    }
}

/// Begins, answers, resumes.
fn resume(
    spec: &ScorerSpec,
    [baseline, candidate]: [&Answer; 2],
    answers: &[AskAnswer],
) -> Result<PairScore, ScoreError> {
    let subject = Subject { prompt: "p", baseline, candidate, expected: None };
    asks(spec.begin(&subject));
    spec.resume(&subject, answers)
}

#[test]
fn embeddings_are_compared_by_angle_and_never_gate() {
    let similarity = spec("embedding-similarity", json!({"variant": "e5"}));
    let (a, b) = (text("a"), text("b"));
    let [Ask::Embed { variant, texts }] = &asks(begin(&similarity, [&a, &b], None))[..] else {
        panic!("one embedding")
    };
    assert_eq!((variant.as_str(), texts.len()), ("e5", 2));
    let score = |vectors: Vec<Vec<f32>>| {
        resume(&similarity, [&a, &b], &[AskAnswer::Embedded(vectors)])
            .map(|score| u8::from(score.candidate.score))
    };
    assert_eq!(score(vec![vec![1.0, 0.0], vec![2.0, 0.0]]), Ok(100));
    assert_eq!(score(vec![vec![1.0, 0.0], vec![1.0, 1.0]]), Ok(71));
    assert_eq!(score(vec![vec![1.0, 0.0], vec![-1.0, 0.0]]), Ok(0));
    assert_eq!(score(vec![vec![1.0, 0.0], vec![0.0, 0.0]]), Err(ScoreError::NotANumber));
    assert_eq!(score(vec![vec![1.0], vec![f32::NAN]]), Err(ScoreError::NotANumber));
    assert_eq!(score(vec![vec![1.0], vec![1.0, 0.0]]), Err(ScoreError::UnreadableReply));
    assert_eq!(score(vec![vec![1.0]]), Err(ScoreError::UnreadableReply));
    assert!(similarity.may_gate(None).is_err());
}

#[test]
fn a_program_scores_a_pair() {
    let command = spec("command", json!({"command": ["./score", "--fast"]}));
    let (a, b) = (text("a"), calls(&[("f", "{}")]));
    let [Ask::Run { command: words, stdin, limits }] = &asks(begin(&command, [&a, &b], None))[..]
    else {
        panic!("one run")
    };
    assert_eq!(words, &["./score", "--fast"]);
    assert_eq!(limits.timeout.0, 10_000);
    insta::assert_snapshot!(stdin, @r#"{"version":1,"prompt":"p","baseline":{"text":"a","tool_calls":[],"finish_reason":null,"failed":false},"candidate":{"text":"","tool_calls":[{"name":"f","arguments":"{}"}],"finish_reason":null,"failed":false},"expected":null}"#);
    let told = |code, stdout: &str| {
        let answer = AskAnswer::Exited { code, stdout: stdout.to_owned() };
        resume(&command, [&a, &b], &[answer]).map(|s| u8::from(s.candidate.score))
    };
    let good = r#"{"baseline": 1, "candidate": 0.5}"#;
    assert_eq!(told(Some(0), good), Ok(50));
    assert_eq!(told(Some(1), good), Err(ScoreError::Crashed));
    assert_eq!(told(None, good), Err(ScoreError::Crashed));
    assert_eq!(told(Some(0), "better"), Err(ScoreError::UnreadableReply));
    let hung = [AskAnswer::Failed(Failure::TimedOut)];
    assert_eq!(resume(&command, [&a, &b], &hung), Err(ScoreError::TimedOut));
    assert_eq!(resume(&command, [&a, &b], &[]), Err(ScoreError::UnreadableReply));
    assert!(refused("command", json!({"command": []})).contains("names no program"));
}

#[test]
fn a_failed_answer_scores_nothing_whatever_a_program_says() {
    let command = spec("command", json!({"command": ["x"]}));
    let good =
        AskAnswer::Exited { code: Some(0), stdout: r#"{"baseline":1,"candidate":1}"#.into() };
    let score = resume(&command, [&text("a"), &failed()], &[good]).unwrap();
    assert_eq!(u8::from(score.candidate.score), 0);
    assert_eq!(score.candidate.valid, Some(false));
    assert_eq!(u8::from(score.baseline.score), 100);
}

#[test]
fn a_server_scores_a_pair() {
    let http = spec("http", json!({"url": "https://score.example/v1", "timeout_ms": 500}));
    let (a, b) = (text("a"), text("b"));
    let told = |status, body: &str| {
        let answer = AskAnswer::Replied { status, body: body.to_owned() };
        resume(&http, [&a, &b], &[answer]).map(|s| u8::from(s.candidate.score))
    };
    let good = r#"{"baseline": 1, "candidate": 0.5}"#;
    assert_eq!(told(200, good), Ok(50));
    assert_eq!(told(500, good), Err(ScoreError::Crashed));
    assert_eq!(told(429, good), Err(ScoreError::Refused));
    assert_eq!(told(200, r#"{"baseline": 1, "candidate": NaN}"#), Err(ScoreError::NotANumber));
    for url in ["score.example", "ftp://x", "http://", "https:///x"] {
        assert!(refused("http", json!({"url": url})).contains("must begin"), "{url}");
    }
}

#[test]
fn an_address_holds_no_secret() {
    assert!(refused("http", json!({"url": "https://me:pw@score.example"})).contains("credentials"));
    spec("http", json!({"url": "https://score.example/?mail=a@b"}));
}

#[test]
fn code_runs_only_where_it_is_allowed() {
    let options = json!({"command": ["sandbox"], "allow": true, "language": "python", "checks": "assert f()"});
    let code = spec("code-runs", options);
    assert!(refused("code-runs", json!({"command": ["sandbox"]})).contains("allow = true"));
    let good = text("Here:\n```sh\npip\n```\n```Python\ndef f(): return 1\n```\nDone.");
    let [Ask::Run { stdin, .. }] = &asks(begin(&code, [&good, &text("no code")], None))[..] else {
        panic!("one run")
    };
    assert_eq!(stdin, "def f(): return 1\nassert f()");
    let told = |answers: &[AskAnswer]| {
        let score = resume(&code, [&good, &good], answers)?;
        Ok((u8::from(score.baseline.score), u8::from(score.candidate.score)))
    };
    let exit = |code| AskAnswer::Exited { code, stdout: String::new() };
    assert_eq!(told(&[exit(Some(0)), exit(Some(1))]), Ok((100, 0)));
    assert_eq!(told(&[exit(None), exit(Some(0))]), Ok((0, 100)));
    assert_eq!(told(&[exit(Some(0)), AskAnswer::Failed(Failure::TimedOut)]), Ok((100, 0)));
    assert_eq!(told(&[exit(Some(125)), exit(Some(0))]), Err(ScoreError::Crashed));
    assert_eq!(told(&[exit(Some(0))]), Err(ScoreError::UnreadableReply));
    let score = done(begin(&code, [&text("none"), &text("```\n\n```")], None));
    assert_eq!((score.baseline.valid, score.candidate.valid), (Some(false), Some(false)));
}

#[test]
fn a_judge_is_asked_in_both_orders() {
    let judge = spec("judge", json!({"variant": "umpire"}));
    let (a, b) = (text("first"), text("second"));
    let asked = asks(begin(&judge, [&a, &b], None));
    let shown: Vec<&str> = asked
        .iter()
        .map(|ask| match ask {
            Ask::Chat { messages, .. } => messages[1].content.as_str(),
            other => panic!("no chat: {other:?}"),
        })
        .collect();
    let before = |text: &str| text.find("first") < text.find("second");
    assert_eq!(shown.iter().map(|text| before(text)).collect::<Vec<_>>(), [true, false]);
    let told = |ab: &str, ba: &str| {
        let say = |winner: &str| AskAnswer::Said(format!(r#"{{"winner": "{winner}"}}"#));
        let score = resume(&judge, [&a, &b], &[say(ab), say(ba)])?;
        let points = (u8::from(score.baseline.score), u8::from(score.candidate.score));
        Ok((points, score.order_flipped))
    };
    assert_eq!(told("B", "A"), Ok(((0, 100), Some(false))));
    assert_eq!(told("A", "B"), Ok(((100, 0), Some(false))));
    assert_eq!(told("tie", "tie"), Ok(((100, 100), Some(false))));
    assert_eq!(told("both_bad", "both_bad"), Ok(((0, 0), Some(false))));
    assert_eq!(told("A", "A"), Ok(((100, 100), Some(true))));
    assert_eq!(told("tie", "A"), Ok(((100, 100), Some(true))));
    assert_eq!(told("C", "A"), Err(ScoreError::UnreadableReply));
    let prose = [AskAnswer::Said("A is better".into()), AskAnswer::Said("A".into())];
    assert_eq!(resume(&judge, [&a, &b], &prose), Err(ScoreError::UnreadableReply));
    let lost = done(begin(&judge, [&a, &failed()], None));
    assert_eq!((u8::from(lost.baseline.score), u8::from(lost.candidate.score)), (100, 0));
    assert_eq!(begin(&judge, [&failed(), &b], None), Err(ScoreError::NoReference));
    assert!(judge.may_gate(None).is_err());
}

/// Each kind with the options it needs; compiling their patterns takes longer than scoring.
static EVERYTHING: LazyLock<Vec<ScorerSpec>> = LazyLock::new(everything);

fn everything() -> Vec<ScorerSpec> {
    SCORERS
        .iter()
        .map(|row| {
            spec(
                row.kind,
                match row.kind {
                    "json-schema" => json!({"schema": r#"{"type": "object"}"#}),
                    "json-fields" => json!({"arrays": "unordered"}),
                    "regex" => json!({"must_match": ["a"]}),
                    "embedding-similarity" | "judge" => json!({"variant": "v"}),
                    "command" => json!({"command": ["x"]}),
                    "http" => json!({"url": "http://x"}),
                    "code-runs" => json!({"command": ["x"], "allow": true}),
                    _ => json!({}),
                },
            )
        })
        .collect()
}

#[test]
fn the_table_is_in_order() {
    for scorer in &*EVERYTHING {
        let row = scorer.row();
        for option in row.options {
            assert_eq!(
                option.default.is_some(),
                option.default_value().is_some(),
                "{}",
                option.name
            );
            assert!(!(option.required && option.default.is_some()));
            assert!(option.doc.ends_with('.') && !option.doc.contains('|'), "{}", option.name);
        }
        // Defaults are values of their own type.
        let again = ScorerSpec::from_options(row.kind, scorer.options());
        assert_eq!(again.as_ref(), Ok(scorer), "{}", row.kind);
        assert!(row.doc.ends_with('.') && row.revision > 0);
        assert_eq!(row.standing == Standing::MayGate, scorer.may_gate(None).is_ok());
        // Its meaning tells what "valid" is, if it says so of answers.
        assert_eq!(row.judges_form(), row.meaning.contains("valid"), "{}", row.kind);
    }
    let mut kinds: Vec<&str> = SCORERS.iter().map(|row| row.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), SCORERS.len());
    assert_eq!(
        refused("jsonfields", json!({})),
        "kind: there is no scorer \"jsonfields\"; did you mean \"json-fields\"?"
    );
}

#[test]
fn the_digest_sees_meaning_and_survives_storage() {
    let plain = spec("numeric", json!({}));
    let spelled = spec("numeric", json!({"decimal": "point", "absolute": 0}));
    let other = spec("numeric", json!({"absolute": 0.5}));
    assert_eq!(plain.version_digest(), spelled.version_digest());
    assert_ne!(plain.version_digest(), other.version_digest());
    // Versions outlive releases: when this changes, all evidence of this scorer begins anew.
    insta::assert_snapshot!(plain.version_digest(), @"0c1bafb606bcf3fc27d61f81424e221680acfe7face05c5c1a669a1bb994f64e");
    let fields = |schema: &str, tolerance: Value| {
        spec("json-fields", json!({"schema": schema, "tolerance": tolerance})).version_digest()
    };
    let one = fields(r#"{"type": "object"}"#, json!({"a": 1, "b": 2}));
    assert_eq!(one, fields("{\n\"type\":\"object\"}", json!({"b": 2.0, "a": 1.0})));
    assert_ne!(one, fields(r#"{"type": "array"}"#, json!({"a": 1, "b": 2})));
    for scorer in &*EVERYTHING {
        let stored = serde_json::to_string(scorer).unwrap();
        let read: ScorerSpec = serde_json::from_str(&stored).unwrap();
        assert_eq!(read.version_digest(), scorer.version_digest(), "{stored}");
    }
    assert!(serde_json::from_str::<ScorerSpec>(r#"{"kind": "nothing"}"#).is_err());
    assert!(serde_json::from_str::<ScorerSpec>("{}").is_err());
}

/// Texts that look like something, and texts that do not.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        any::<String>(),
        Just(String::new()),
        "(```|~~~)[a-z]{0,3}\n\\PC{0,10}\n?(```|~~~)?",
        any_json().prop_map(|value| value.to_string()),
        "-?[0-9.,' ]{0,12}(e[+-]?[0-9]{0,4})?",
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let call = ("[fg]", any_text()).prop_map(|(name, arguments)| ToolCall { name, arguments });
    (any_text(), prop::collection::vec(call, 0..3), prop::bool::weighted(0.1)).prop_map(
        |(text, tool_calls, failed)| Answer { text, tool_calls, failed, ..Answer::default() },
    )
}

proptest! {
    #[test]
    fn no_answer_panics_and_arms_swap(
        baseline in any_answer(),
        candidate in any_answer(),
        expected in any_answer(),
        known in any::<bool>(),
    ) {
        for scorer in &*EVERYTHING {
            let expected = known.then_some(&expected);
            let step = begin(scorer, [&baseline, &candidate], expected);
            if let Ok(Step::Done(score)) = &step {
                for (answer, arm) in [(&baseline, score.baseline), (&candidate, score.candidate)] {
                    if answer.failed {
                        prop_assert_eq!((u8::from(arm.score), arm.valid), (0, Some(false)));
                    }
                }
            }
            // With a right answer no arm is special. A judge is asked, not computed.
            if expected.is_some_and(|answer| !answer.failed) && !scorer.row().asks {
                let swapped = begin(scorer, [&candidate, &baseline], expected);
                let mirrored = step.map(|step| match step {
                    Step::Done(s) => Step::Done(PairScore { baseline: s.candidate, candidate: s.baseline, ..s }),
                    asks @ Step::Ask(_) => asks,
                });
                prop_assert_eq!(swapped, mirrored, "{}", scorer.kind());
            }
        }
    }

    #[test]
    fn the_same_document_is_all_right(value in any_json()) {
        for options in [json!({}), json!({"arrays": "unordered"}), json!({"metric": "accuracy"}), json!({"metric": "exact"})] {
            let scorer = spec("json-fields", options);
            let answer = text(&value.to_string());
            prop_assert_eq!(score_of(&scorer, &answer, &answer).0, 100);
        }
    }

    #[test]
    fn f1_is_symmetric(left in any_json(), right in any_json()) {
        for arrays in ["ordered", "unordered"] {
            let scorer = spec("json-fields", json!({"arrays": arrays}));
            let (left, right) = (text(&left.to_string()), text(&right.to_string()));
            prop_assert_eq!(score_of(&scorer, &left, &right).0, score_of(&scorer, &right, &left).0);
        }
    }

    #[test]
    fn no_reply_from_outside_panics(reply in any_text(), code in any::<Option<i32>>(), status: u16, number: f32) {
        let (a, b) = (text("```\nx\n```"), text("```\ny\n```"));
        let answers = [
            AskAnswer::Said(reply.clone()),
            AskAnswer::Exited { code, stdout: reply.clone() },
            AskAnswer::Replied { status, body: reply },
            AskAnswer::Embedded(vec![vec![number], vec![1.0]]),
        ];
        for scorer in &*EVERYTHING {
            for answer in &answers {
                let subject = Subject { prompt: "p", baseline: &a, candidate: &b, expected: None };
                let _ = scorer.resume(&subject, &[]);
                let _ = scorer.resume(&subject, std::slice::from_ref(answer));
                let _ = scorer.resume(&subject, &[answer.clone(), answer.clone()]);
            }
        }
    }
}

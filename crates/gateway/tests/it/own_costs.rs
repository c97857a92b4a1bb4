//! A vendor's own API on both sides: what is booked of it, and what of the client's never reaches the vendor.

use cutover_store::{Options, Store};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Parrot, Rig, now, until};
use crate::own::config;

struct Books {
    claude: Parrot,
    rig: Rig,
    store: Store,
    dir: TempDir,
    asked: u64,
}

/// What a record says: tokens of the prompt and the answer, the cost, the marks.
type Booked = (Option<i64>, Option<i64>, Option<i64>, String);

impl Books {
    fn open(provider: &str, more: &str) -> Self {
        let claude = Parrot::start();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path(), now)).unwrap();
        let rig = Rig::start_storing(&config(provider, &claude.base_url, more), None, Some(&store));
        Self { claude, rig, store, dir, asked: 0 }
    }

    /// What the record of one request says.
    fn booked(&mut self, path: &str, body: &str) -> Booked {
        let response = self.rig.post(path, &["x-unit: u1"], body);
        let id = response.header("x-request-id").unwrap().to_owned();
        self.asked += 1;
        until("the record is written", || self.store.stats().written >= self.asked);
        let connection = Connection::open(self.dir.path().join("cutover.db")).unwrap();
        let row = "SELECT prompt_tokens, completion_tokens, cost_nano_usd, coalesce(marks, '')
                   FROM records WHERE request_id = ?1";
        connection
            .query_row(row, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .unwrap()
    }
}

const ANSWER: &str = r#"{"id":"m","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}"#;

fn message(more: &str) -> String {
    let turns = r#""messages":[{"role":"user","content":"hi"}]"#;
    format!(r#"{{"model":"app","max_tokens":9,{turns}{more}}}"#)
}

#[test]
fn a_broken_stream_is_booked_with_what_the_vendor_had_told() {
    let mut books = Books::open("anthropic", "");
    let begun = [
        r#"{"type":"message_start","message":{"id":"m","model":"c","content":[],"usage":{"input_tokens":30,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
    ];
    let begun: Vec<_> = begun.iter().map(|data| format!("data: {data}\n\n")).collect();
    let begun = begun.concat();
    let told = (Some(30), Some(1), Some(32_000), "[\"cost_partial\"]".to_owned());
    let chat = r#"{"model":"app","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    books.claude.says("text/event-stream", &begun);
    let own = message(r#","stream":true"#);
    assert_eq!(books.booked("/v1/messages", &own), told);
    assert_eq!(books.booked("/v1/chat/completions", chat), told);
    let end = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
    books.claude.says("text/event-stream", &format!("{begun}{end}"));
    let (prompt, completion, cost, marks) = books.booked("/v1/chat/completions", chat);
    assert_eq!((prompt, completion, cost), (Some(30), Some(7), Some(44_000)));
    assert!(!marks.contains("cost_partial"), "{marks}");
    // Its end tells of no usage: the placeholder of its beginning was booked, at a price far too low.
    let end = end.replace(r#"{"output_tokens":7}"#, "null");
    books.claude.says("text/event-stream", &format!("{begun}{end}"));
    for (path, body) in [("/v1/messages", &*own), ("/v1/chat/completions", chat)] {
        assert_eq!(books.booked(path, body), (None, None, None, String::new()), "{path}");
    }
    let metrics = books.rig.metrics();
    let mut lines =
        metrics.lines().filter(|l| l.contains("requests_without_usage_total{use_case=\"docs\""));
    assert!(lines.any(|line| line.ends_with(" 2")), "{metrics}");
}

/// Without counts an answer was booked as 0 tokens for 0 USD: free, for reports, budgets and gates.
#[test]
fn a_count_that_nobody_tells_is_in_no_record_and_has_no_price() {
    let mut books = Books::open("openai-compatible", "");
    let chat = r#"{"model":"app","messages":[{"role":"user","content":"hi"}]}"#;
    let stream = r#"{"model":"app","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let choice = |name: &str| {
        format!(
            r#"{{"index":0,"{name}":{{"role":"assistant","content":"a"}},"finish_reason":"stop"}}"#
        )
    };
    let untold = (None, None, None, String::new());
    let told = (Some(5), Some(6), Some(17_000), String::new());
    for (usage, booked) in [
        ("{}", &untold),
        (r#"{"total_tokens":900000}"#, &untold),
        (r#"{"prompt_tokens":5}"#, &untold),
        (r#"{"prompt_tokens":5,"total_tokens":11}"#, &told),
        (r#"{"input_tokens":5,"output_tokens":6}"#, &told),
    ] {
        let whole = choice("message");
        let whole = format!(r#"{{"id":"c","model":"m","choices":[{whole}],"usage":{usage}}}"#);
        books.claude.says("application/json", &whole);
        assert_eq!(&books.booked("/v1/chat/completions", chat), booked, "{usage}");
        let chunk = choice("delta");
        let chunk = format!(r#"{{"id":"c","model":"m","choices":[{chunk}],"usage":{usage}}}"#);
        let events = format!("data: {chunk}\n\ndata: [DONE]\n\n");
        books.claude.says("text/event-stream", &events);
        assert_eq!(&books.booked("/v1/chat/completions", stream), booked, "{usage}");
    }
    let metrics = books.rig.metrics();
    for name in ["requests_without_usage_total", "unpriced_requests_total"] {
        let counted = |line: &&str| line.starts_with(&format!("cutover_{name}{{use_case=\"docs\""));
        let lines: Vec<_> = metrics.lines().filter(counted).collect();
        assert!(lines.iter().any(|line| line.ends_with(" 6")), "{name}: {lines:?}");
    }
    let vectors = r#"{"data":[{"index":0,"embedding":[0.5]}],"usage":{"total_tokens":12}}"#;
    books.claude.says("application/json", vectors);
    let asked = r#"{"model":"app","input":"hi"}"#;
    let booked = books.booked("/v1/embeddings", asked);
    assert_eq!(booked, (Some(12), Some(0), Some(12_000), String::new()));
}

#[test]
fn what_has_a_price_of_its_own_is_marked() {
    let mut books = Books::open("anthropic", "");
    books.claude.says("application/json", ANSWER);
    for (more, marked) in [
        ("", false),
        (r#","speed":"standard","service_tier":"auto""#, false),
        (r#","speed":"fast""#, true),
        (r#","tools":[{"type":"web_search_20250305","name":"web_search"}]"#, true),
        // The client runs this one.
        (r#","tools":[{"type":"bash_20250124","name":"bash"}]"#, false),
    ] {
        let (prompt, _, _, marks) = books.booked("/v1/messages", &message(more));
        assert_eq!(prompt, Some(3), "{more}");
        assert_eq!(marks.contains("cost_partial"), marked, "{more}: {marks}");
    }
    let mut books = Books::open("gemini", "");
    let answer = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1},"modelVersion":"m"}"#;
    books.claude.says("application/json", answer);
    for (tier, marked) in [("standard", false), ("flex", true)] {
        let body = json!({"contents": [{"parts": [{"text": "a"}]}], "serviceTier": tier});
        let path = "/v1beta/models/app:generateContent";
        let (_, _, _, marks) = books.booked(path, &body.to_string());
        assert_eq!(marks.contains("cost_partial"), marked, "{tier}: {marks}");
    }
}

#[test]
fn what_is_kept_under_the_operators_key_never_reaches_the_vendor() {
    let said = [
        r#","container":"container_01""#,
        r#","thread":{"id":"t"}"#,
        r#","inference_geo":"us""#,
        r#","container":{"skills":[{"type":"custom","skill_id":"skill_01"}]}"#,
    ];
    for lenient in [false, true] {
        let more = if lenient { "unsupported = \"lenient\"" } else { "" };
        let books = Books::open("anthropic", more);
        books.claude.says("application/json", ANSWER);
        for more in said {
            let response = books.rig.post("/v1/messages", &["x-unit: u1"], &message(more));
            assert_eq!(response.status, if lenient { 200 } else { 400 }, "{more}");
            if lenient {
                let sent = books.claude.last().1;
                assert!(!sent.contains("_01") && !sent.contains("geo"), "{sent}");
                assert!(response.header("x-cutover-loss").is_some(), "{more}");
            }
        }
    }
    // What everybody has passes.
    let books = Books::open("anthropic", "");
    books.claude.says("application/json", ANSWER);
    let skills = r#","container":{"skills":[{"type":"anthropic","skill_id":"pptx"}]}"#;
    let response = books.rig.post("/v1/messages", &["x-unit: u1"], &message(skills));
    assert_eq!((response.status, response.header("x-cutover-loss")), (200, None));
    assert!(books.claude.last().1.contains("pptx"));
}

#[test]
fn what_only_the_vendor_knows_passes_in_front_of_it() {
    let books = Books::open("anthropic", "seed = 7");
    books.claude.says("application/json", ANSWER);
    for body in [
        message(r#","tool_choice":{"type":"pick"}"#),
        message("").replace("\"max_tokens\":9", "\"max_tokens\":0"),
        message("").replace("\"hi\"", r#"[{"type":"hologram","x":1}]"#),
    ] {
        let response = books.rig.post("/v1/messages", &["x-unit: u1"], &body);
        assert_eq!(response.status, 200, "{body}: {}", response.text());
        assert_eq!(books.claude.last().1, body.replace("\"app\"", "\"gemini-3-pro\""));
        // A setting of the variant's that Anthropic does not have.
        assert_eq!(response.header("x-cutover-loss"), Some("variant.seed=dropped"));
    }
    let books = Books::open("gemini", "");
    books.claude.says("application/json", r#"{"candidates":[]}"#);
    let body =
        r#"{"contents":[{"parts":[{"hologram":{}}]},{"role":"model","parts":[{"hologram":{}}]}]}"#;
    books.rig.post("/v1beta/models/app:generateContent", &["x-unit: u1"], body);
    assert_eq!(books.claude.last().1, body);
}

#[test]
fn what_runs_at_openais_is_marked_and_what_its_client_runs_is_not() {
    let mut books = Books::open("openai", "");
    let answer = include_str!("../../../vendors/fixtures/responses-answer.json");
    books.claude.says("application/json", answer);
    for (tools, marked) in [
        (r#"[{"type":"web_search"}]"#, true),
        (r#"[{"type":"function","name":"f"},{"type":"new_tool"}]"#, true),
        (r#"[{"type":"function","name":"f"}]"#, false),
        (r#"[{"type":"local_shell"},{"type":"custom","name":"c"}]"#, false),
    ] {
        let body = format!(r#"{{"model":"app","input":"hi","store":false,"tools":{tools}}}"#);
        let (prompt, completion, cost, marks) = books.booked("/v1/responses", &body);
        assert_eq!((prompt, completion), (Some(9_120), Some(212)));
        assert!(cost.is_some());
        assert_eq!(marks.contains("cost_partial"), marked, "{tools}: {marks}");
    }
}

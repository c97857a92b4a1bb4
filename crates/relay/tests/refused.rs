//! What is refused of a request is known after one reading, as if it had been read strictly, then leniently, then for
//! an upstream that speaks its client's dialect.

#![expect(clippy::panic, reason = "a route that is none is a failed test")]

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cutover_dialects::{Ask, Asked, Inbound, RequestFacts, find};
use cutover_relay::{Conversion, Read, Reading, read_foreign};
use cutover_units::{Code, Millis};
use cutover_wire::{Fault, Unsupported};

const GEMINI: &str = "/v1beta/models/gemini-3-pro:generateContent";

/// Requests of which nothing is refused, or some by a strict variant, or by all, or that are wrong behind that.
const BODIES: [(&str, &str); 16] = [
    ("/v1/responses", r#"{"model":"m","input":"a"}"#),
    ("/v1/responses", r#"{"model":"m","input":"a","tools":[{"type":"web_search"}]}"#),
    (
        "/v1/responses",
        r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"m","tools":[{"type":"web_search"}],"background":true,"input":[{"role":"user","content":[
        {"type":"input_text","text":"a"},{"type":"input_file","file_url":"https://a.example/b.pdf"}]}]}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"m","input":"a","background":true,"tools":[{"type":"web_search"}],"top_p":"x"}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"m","background":true,"tools":[{"type":"web_search"}],"previous_response_id":"r"}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"m","input":[{"type":"unheard_of"},{"role":"user","content":"a"}]}"#,
    ),
    ("/v1/messages", r#"{"model":"m","max_tokens":0,"messages":[{"role":"user","content":"a"}]}"#),
    (
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"tools":[{"type":"web_search_20250305","name":"w"}],"service_tier":"auto",
        "messages":[{"role":"user","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","max_tokens":0,"tools":[{"type":"web_search_20250305","name":"w"}],"inference_geo":"us",
        "messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"t",
        "signature":"AB"},{"type":"text","text":"b"}]},{"role":"user","content":[{"type":"text","text":"c",
        "cache_control":{"type":"ephemeral"}}]}]}"#,
    ),
    ("/v1/messages", r#"{"model":"m","max_tokens":0,"messages":[{"role":"x","content":"a"}]}"#),
    (
        GEMINI,
        r#"{"contents":[{"parts":[{"text":"a"},{"fileData":{"fileUri":"gs://f"}}]}],"cachedContent":"c"}"#,
    ),
    (GEMINI, r#"{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"candidateCount":2}}"#),
    ("/api/chat", r#"{"model":"m","think":"extreme","messages":[{"role":"user","content":"a"}]}"#),
    ("/api/generate", r#"{"model":"m","prompt":"a","template":"t","context":[1],"suffix":"s"}"#),
    ("/api/generate", r#"{"model":"m","prompt":"a","raw":true,"images":["aGk="],"format":"json"}"#),
];

fn route(path: &'static str) -> (cutover_dialects::Found<'static>, Read) {
    let Some(Ok(found)) = find("POST", path) else { panic!("{path} is no route") };
    let Ask::Read(read) = found.ask else { panic!("{path} reads no body") };
    (found, read)
}

type Refusals = (Option<Fault>, Option<Fault>);

/// Reading by reading: what a strict variant refuses, what all do, and what is left.
fn thoroughly(
    read: Read,
    body: &Bytes,
    facts: RequestFacts<'_>,
) -> Result<(Box<Inbound>, Refusals), Fault> {
    let may_pass = facts.own;
    let mut facts = RequestFacts { keep_reasoning: true, keep_marks: false, own: false, ..facts };
    let (mut refusal, mut never) = (None, None);
    loop {
        match read(body, &facts) {
            Ok(Asked::Infer(inbound)) => return Ok((inbound, (refusal, never))),
            Ok(Asked::Now(_)) => panic!("it is run"),
            Err(fault) if fault.code != Code::UnsupportedParameter => return Err(fault),
            Err(fault) if refusal.is_none() => {
                (facts.unsupported, refusal) = (Unsupported::Lenient, Some(fault));
            }
            Err(fault) if may_pass && never.is_none() => (facts.own, never) = (true, Some(fault)),
            Err(fault) => return Err(fault),
        }
    }
}

#[test]
fn one_reading_tells_what_three_would() {
    let (mut refused, mut by_all, mut wrong) = (0, 0, 0);
    for (path, body) in BODIES {
        let (found, read) = route(path);
        let body = Bytes::from_static(body.as_bytes());
        for own in [false, true] {
            let plain = RequestFacts::new("0a1b", Millis(1_795_250_530_040));
            let facts = RequestFacts { named: found.id, own, ..plain };
            let readings = AtomicUsize::new(0);
            let counting = |body: &Bytes, facts: &RequestFacts<'_>| {
                readings.fetch_add(1, Ordering::Relaxed);
                read(body, facts)
            };
            let (whole, refusals) = match (
                read_foreign(found.dialect, &counting, &body, facts),
                thoroughly(read, &body, facts),
            ) {
                (Ok(Reading::Infer(whole)), Ok((inbound, refusals))) => {
                    assert_eq!(whole.0.body, inbound.body, "{path} {own}");
                    let chat = Conversion::made(found.dialect, whole.1);
                    let lost = |at: usize| inbound.losses.get(at).map(|loss| &*loss.field);
                    let target = cutover_wire::Provider::by_name("vllm").expect("a provider");
                    let losses = chat.lost_for(&cutover_wire::Target::untouched(target));
                    assert_eq!(losses.len(), inbound.losses.len(), "{path} {own}");
                    for (at, loss) in losses.iter().enumerate() {
                        assert_eq!(Some(&*loss.field), lost(at), "{path} {own}");
                    }
                    (chat, refusals)
                }
                (Err(one), Err(three)) => {
                    assert_eq!(one, three, "{path} {own}");
                    assert_eq!(readings.load(Ordering::Relaxed), 1, "{path} {own}");
                    wrong += 1;
                    continue;
                }
                _ => panic!("{path} {own}: one way takes it, the other does not"),
            };
            assert_eq!(whole.refusal(), refusals.0.as_ref(), "{path} {own}");
            assert_eq!(whole.never(), refusals.1.as_ref(), "{path} {own}");
            // A second form, for targets that take no earlier reasoning, where there is any.
            let forms = usize::from(body.windows(10).any(|part| part == b"\"thinking\""));
            assert_eq!(readings.load(Ordering::Relaxed), 1 + forms, "{path} {own}");
            refused += usize::from(refusals.0.is_some());
            by_all += usize::from(refusals.1.is_some());
        }
    }
    assert!(refused >= 16 && by_all >= 2 && wrong >= 8, "{refused} {by_all} {wrong}");
}

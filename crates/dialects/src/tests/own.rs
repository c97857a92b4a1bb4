//! Events of an upstream that speaks the client's own dialect, and requests that no conversion carries.

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::Fault;
use serde_json::{Value, json};

use super::support::{facts, inbound, lenient, now, payloads, read};
use crate::{RequestFacts, StreamOut};

const PATH: &str = "/v1/responses";

fn stream() -> StreamOut {
    let body = Bytes::from_static(br#"{"model":"asked","input":"a","stream":true}"#);
    inbound(PATH, &body, &facts()).way_back.stream()
}

#[test]
fn a_sign_of_life_does_not_keep_an_upstreams_own_events_away() {
    let (mut out, mut pieces) = (stream(), Vec::new());
    out.push(Bytes::from_static(b": keep-alive\n\n"), now(), &mut pieces);
    assert_eq!(pieces.concat(), b": keep-alive\n\n");
    assert!(out.can_pass());
    out.push(Bytes::from_static(b"data: {\"choices\":[]}\n\n"), now(), &mut pieces);
    assert!(!out.can_pass(), "two beginnings would contradict each other");
}

#[test]
fn what_breaks_off_goes_on_with_the_upstreams_own_numbers_and_names() {
    let (mut out, mut pieces) = (stream(), Vec::new());
    let created = r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_v","object":"response","status":"in_progress","error":null,"tools":[{"type":"web_search"}],"new":1e2}}"#;
    let delta = r#"data: {"type":"response.output_text.delta","sequence_number":41,"delta":"a"}"#;
    for event in [created, delta] {
        out.pass(Bytes::from(format!("{event}\n\n")), &mut pieces);
    }
    let fault = Fault::new(Code::StreamInterrupted, "it broke off");
    out.error(&fault, now(), &mut pieces);
    let text = String::from_utf8(pieces.concat()).unwrap();
    assert!(text.contains("\"new\":1e2,") || text.contains("\"new\":1e2}"), "{text}");
    let events: Vec<Value> = payloads(&text);
    let numbers: Vec<_> = events.iter().map(|event| event["sequence_number"].clone()).collect();
    assert_eq!(numbers, [0, 41, 42, 43]);
    let failed = &events[3]["response"];
    assert_eq!((&failed["id"], &failed["status"]), (&json!("resp_v"), &json!("failed")));
    assert_eq!(failed["error"], json!({"code": "server_error", "message": "it broke off"}));
    assert_eq!(failed["tools"], json!([{"type": "web_search"}]));
}

#[test]
fn what_no_conversion_carries_is_read_where_the_vendor_is_sent_it() {
    let body = json!({"model": "m", "tool_choice": {"type": "web_search"},
        "tools": [{"type": "web_search"}, {"type": "local_shell"}],
        "input": [{"role": "user", "content": [
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "file_id": "file-1"},
            {"type": "input_file", "file_id": "file-2"},
            {"type": "input_file", "file_url": "https://a.example/b.pdf"}]}]});
    let body = Bytes::from(body.to_string());
    assert_eq!(read(PATH, &body, &lenient()).err().unwrap().code, Code::UnsupportedParameter);
    let own = RequestFacts { own: true, ..lenient() };
    let asked = inbound(PATH, &body, &own);
    let mut lost: Vec<_> = asked.losses.iter().map(|loss| &*loss.field).collect();
    lost.sort_unstable();
    let wanted = [
        "input[].content[].file_id",
        "input[].content[].file_url",
        "tool_choice.type",
        "tools[].clients",
        "tools[].type",
    ];
    assert_eq!(lost, wanted);
    let chat: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(chat["messages"][0]["content"], "a");
}

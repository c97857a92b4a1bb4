//! What one dialect takes and another does not: the order of results, the size of what is no text.

use bytes::Bytes;
use cutover_wire::Unsupported;
use cutover_wire::openai::embeddings::base64;
use serde_json::{Value, json};

use super::support::{inbound, lenient, read};
use crate::{Asked, RequestFacts};

/// In Responses an output finds its call by its id, wherever it stands.
#[test]
fn what_is_said_while_a_tool_runs_comes_after_its_result() {
    let call =
        |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "r"});
    let hurry = json!({"role": "user", "content": "hurry"});
    for (input, moved) in [
        (json!([call("a"), call("b"), hurry, output("a"), output("b")]), true),
        (json!([call("a"), call("b"), output("a"), hurry, output("b")]), true),
        (json!([call("a"), call("b"), output("a"), output("b"), hurry]), false),
    ] {
        let body = Bytes::from(json!({"model": "m", "input": input}).to_string());
        let asked = inbound("/v1/responses", &body, &lenient());
        let chat: Value = serde_json::from_slice(&asked.body).unwrap();
        let roles: Vec<&str> = chat["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["role"].as_str().unwrap())
            .collect();
        assert_eq!(roles, ["assistant", "tool", "tool", "user"], "{input}");
        assert_eq!(chat["messages"][1]["tool_call_id"], "a");
        let told = asked.losses.iter().any(|loss| loss.field == "input[].output.order");
        assert_eq!(told, moved, "{input}");
    }
}

/// 16 kHz, two bytes a sample.
fn wav(seconds: usize) -> Vec<u8> {
    let head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\xff\xff\xff\xff";
    [&head[..], &vec![0; 32_000 * seconds]].concat()
}

#[test]
fn sound_is_estimated_by_its_length_and_what_has_none_is_refused_by_its_place() {
    let count = |kind: &str, bytes: &[u8]| {
        let data = json!({"inlineData": {"mimeType": kind, "data": base64(bytes)}});
        let body =
            json!({"contents": [{"role": "user", "parts": [{"text": "what is said?"}, data]}]});
        read("/v1beta/models/asked:countTokens", &Bytes::from(body.to_string()), &lenient())
    };
    let told = |kind: &str, bytes: &[u8]| -> u64 {
        let Ok(Asked::Now(answer)) = count(kind, bytes) else { panic!("{kind} is counted") };
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        told["totalTokens"].as_u64().unwrap()
    };
    let silent = told("audio/wav", &wav(0));
    assert!(silent < 60, "{silent}");
    assert_eq!(told("audio/wav", &wav(100)) - silent, 3_200);
    assert_eq!(told("audio/x-wav", &wav(1)) - silent, 32);
    for (kind, bytes) in [
        ("audio/ogg", b"OggS".as_slice()),
        ("audio/wav", b"RIFF"),
        ("audio/aac", b"x"),
        ("video/mp4", b"x"),
    ] {
        let fault = count(kind, bytes).err().unwrap();
        let place = "contents[0].parts[1]";
        assert!(fault.param.as_deref().unwrap().starts_with(place), "{kind} {:?}", fault.param);
        assert!(fault.message.contains("cannot be estimated"), "{}", fault.message);
        assert!(fault.message.contains(place), "{}", fault.message);
    }
}

#[test]
fn a_picture_is_estimated_as_one_and_not_as_text() {
    let tokens = |path: &str, body: &Value| -> u64 {
        let facts = RequestFacts { unsupported: Unsupported::Lenient, ..lenient() };
        let Ok(Asked::Now(answer)) = read(path, &Bytes::from(body.to_string()), &facts) else {
            panic!("{path} is answered at once");
        };
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        told.as_object().unwrap().values().find_map(Value::as_u64).unwrap()
    };
    let data = "QUJD".repeat(250_000);
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}});
    let claude = json!({"model": "m", "messages": [{"role": "user", "content": [image]}]});
    let google = json!({"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}]});
    let openai = json!({"model": "m", "input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": format!("data:image/png;base64,{data}")}]}]});
    for (path, body, least) in [
        ("/v1/messages/count_tokens", claude, 1_600),
        ("/v1beta/models/asked:countTokens", google, 1_548),
        ("/v1/responses/input_tokens", openai, 765),
    ] {
        let told = tokens(path, &body);
        assert!((least..least + 100).contains(&told), "{path}: {told}");
    }
    // Text is counted as it was, of whatever it speaks.
    let text = json!({"model": "m", "messages": [{"role": "user", "content": format!("data:image/png;base64 {data}")}]});
    assert!(tokens("/v1/messages/count_tokens", &text) > 250_000);
}

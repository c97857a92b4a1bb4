//! What one dialect takes and another does not: names of functions, the order of results, the size of what is no text.

use bytes::Bytes;
use cutover_wire::Unsupported;
use serde_json::{Value, json};

use super::support::{inbound, lenient, now, payloads, read, stream};
use crate::{Asked, RequestFacts};

const CLAUDES: &str = "mcp__a_server_with_a_rather_long_name__a_tool_with_a_long_name_of_its_own";
const GOOGLES: &str = "files.read";

fn messages() -> Bytes {
    let schema = json!({"type": "object"});
    Bytes::from(
        json!({"model": "m", "max_tokens": 9, "tools": [
            {"name": CLAUDES, "input_schema": schema}, {"name": "plain", "input_schema": schema}],
            "tool_choice": {"type": "tool", "name": CLAUDES},
            "messages": [{"role": "user", "content": "a"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": CLAUDES, "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]}]})
        .to_string(),
    )
}

fn contents() -> Bytes {
    Bytes::from(
        json!({"contents": [{"role": "user", "parts": [{"text": "a"}]}],
            "tools": [{"functionDeclarations": [{"name": GOOGLES}, {"name": "files_read"}]}]})
        .to_string(),
    )
}

#[test]
fn a_functions_name_is_taken_everywhere_and_comes_back_as_the_client_wrote_it() {
    let gemini = "/v1beta/models/asked:generateContent";
    for (path, body, own) in [("/v1/messages", messages(), CLAUDES), (gemini, contents(), GOOGLES)]
    {
        let asked = inbound(path, &body, &lenient());
        let chat: Value = serde_json::from_slice(&asked.body).unwrap();
        let name = chat["tools"][0]["function"]["name"].as_str().unwrap();
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        assert!(name.len() <= 64 && name.chars().all(fits), "{name}");
        assert_ne!(name, "files_read");
        if path == "/v1/messages" {
            assert_eq!(chat["tools"][1]["function"]["name"], "plain");
            assert_eq!(chat["tool_choice"]["function"]["name"], name);
            assert_eq!(chat["messages"][1]["tool_calls"][0]["function"]["name"], name);
        }
        let call = json!({"index": 0, "id": "d", "type": "function",
            "function": {"name": name, "arguments": "{}"}});
        let answer = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "finish_reason": "tool_calls",
             "message": {"role": "assistant", "content": null, "tool_calls": [call]}}]});
        let reply = asked.way_back.reply(answer.to_string().as_bytes(), now()).unwrap();
        let shown = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(shown.contains(&format!("\"name\":\"{own}\"")) && !shown.contains(name), "{shown}");
        let chunk = |delta: Value, finish: Value| {
            let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
            json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})
        };
        let events = [
            chunk(json!({"tool_calls": [call]}), Value::Null),
            chunk(json!({}), json!("tool_calls")),
        ];
        let text = events.map(|event| format!("data: {event}\n\n")).concat() + "data: [DONE]\n\n";
        // The frames cut the name in two.
        let (one, other) = text.as_bytes().split_at(text.find(name).unwrap() + 3);
        let shown = stream(inbound(path, &body, &lenient()).way_back, &[one, other]);
        let told = payloads(&shown)
            .iter()
            .any(|event| event.to_string().contains(&format!("\"name\":\"{own}\"")));
        assert!(told && !shown.contains(name), "{shown}");
    }
}

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

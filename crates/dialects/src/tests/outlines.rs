//! An outline tells what the conversion would, and is there only where nothing would be refused.

use bytes::Bytes;
use cutover_wire::Head;
use proptest::prelude::*;
use serde_json::Value;

use super::support::{facts, fixture, found, names, now, path_of, read};
use crate::{Asked, Inbound, Outline, RequestFacts, WayBack};

/// Requests as clients and agents write them: each must have an outline, or nothing is gained.
const USUAL: [&str; 5] = [
    "responses/minimal.json",
    "ollama/chat-plain.json",
    "gemini/minimal.json",
    "anthropic/agent.json",
    "anthropic/minimal.json",
];

fn outlined(path: &str, body: &Bytes) -> Option<Outline> {
    let facts = RequestFacts { named: Some("asked"), ..facts() };
    found(path).outline?(body, &facts)
}

/// What strict targets get.
fn converted(path: &str, body: &Bytes, (reasoning, marks): (bool, bool)) -> Inbound {
    let facts = RequestFacts { keep_reasoning: reasoning, keep_marks: marks, ..facts() };
    match read(path, body, &facts) {
        Ok(Asked::Infer(inbound)) => *inbound,
        Ok(Asked::Now(_)) => panic!("outlined, and answered at once"),
        Err(fault) => panic!("outlined, and refused: {fault} {:?}", fault.param),
    }
}

/// All but what the model reads.
fn settings(body: &Bytes) -> Value {
    let mut chat: Value = serde_json::from_slice(body).unwrap();
    let members = chat.as_object_mut().unwrap();
    members.remove("messages");
    if let Some(Value::Array(tools)) = members.get_mut("tools") {
        for tool in tools {
            *tool = tool["function"]["name"].clone();
        }
    }
    chat
}

fn told(head: &Head) -> String {
    let Head { endpoint, model, stream, include_usage, n, user, max_tokens, .. } = head;
    let named = (&head.safety_identifier, &head.prompt_cache_key);
    let has = (head.has_tools, head.has_response_format, head.stream_options_are_ours);
    format!(
        "{endpoint:?} {model} {stream} {include_usage} {n} {user:?} {max_tokens:?} {named:?} {has:?}"
    )
}

fn answered(back: WayBack) -> String {
    let (mut stream, mut out) = (back.stream(), Vec::new());
    stream.push(fixture("chat/tools.sse"), now(), &mut out);
    stream.finish(now(), &mut out);
    String::from_utf8(out.concat()).unwrap()
}

/// Looks at a body that has an outline. True: it has one.
fn compared(path: &str, body: &Bytes) -> bool {
    let Some(outline) = outlined(path, body) else { return false };
    for kept in [(false, true), (true, true), (false, false)] {
        let marked = converted(path, body, kept);
        let head = Head::of_made(marked.endpoint, &marked.body).unwrap();
        assert_eq!(head.model, outline.head.model);
    }
    let whole = converted(path, body, (true, false));
    assert!(!whole.needs.keep && !whole.needs.must_load());
    let mut head = Head::of_made(whole.endpoint, &whole.body).unwrap();
    head.stream_options_are_ours = true;
    assert_eq!(told(&outline.head), told(&head));
    assert_eq!(settings(&outline.sketch), settings(&whole.body));
    let (near, far) = (outline.head.est_prompt_tokens, head.est_prompt_tokens);
    assert!(near.abs_diff(far) <= 20 + far.max(near) / 2, "{near} {far}");
    for field in ["speed", "tools[].type"] {
        let said = |losses: &[cutover_wire::Loss]| losses.iter().any(|loss| loss.field == field);
        assert_eq!(said(&outline.losses), said(&whole.losses));
    }
    for loss in &outline.losses {
        assert!(whole.losses.contains(loss), "{loss:?}");
    }
    assert!(!head.has_images(&whole.body) && !head.has_audio(&whole.body));
    let text = std::str::from_utf8(body).unwrap();
    let cut = cutover_wire::json::sound_members(body).unwrap();
    let places = outline.layout.members.iter();
    let known: Vec<_> =
        places.map(|(name, raw)| (&text[name.clone()], &text[raw.clone()])).collect();
    assert_eq!(known, cut);
    if path == "/v1/messages" && !outline.layout.calls {
        assert!(!cutover_vendors::anthropic::must_be_mended(body));
    }
    assert_eq!(answered(outline.way_back), answered(whole.way_back));
    true
}

#[test]
fn what_clients_write_is_outlined_as_it_is_converted() {
    for name in USUAL {
        assert!(compared(path_of(name), &fixture(name)), "{name} has no outline");
    }
    for (path, body) in SMALL {
        assert!(compared(path, &Bytes::from_static(body.as_bytes())), "{path} has no outline");
    }
    for folder in ["anthropic", "responses", "ollama", "gemini"] {
        for name in names(folder, ".json") {
            let name = format!("{folder}/{name}");
            compared(path_of(&name), &fixture(&name));
        }
    }
}

#[test]
fn what_needs_a_closer_look_has_no_outline() {
    let anthropic = |messages: &str, more: &str| {
        let body = format!(r#"{{"model":"m","max_tokens":9,"messages":{messages}{more}}}"#);
        compared("/v1/messages", &Bytes::from(body))
    };
    let user = r#"[{"role":"user","content":"hi"}]"#;
    assert!(anthropic(user, ""));
    assert!(anthropic(user, r#","top_k":5,"new_field":{"a":[1]},"system":"s","tools":null"#));
    for more in [
        r#","container":"c""#,
        r#","mcp_servers":[{}]"#,
        r#","inference_geo":"eu""#,
        r#","max_tokens":8"#,
        r#","tools":[{"type":"web_search_20250305","name":"web_search"}]"#,
        r#","tools":[{"name":"f"}]"#,
        r#","tool_choice":{"type":"x"}"#,
        r#","system":[{"type":"image"}]"#,
        r#","stream":1"#,
        r#","metadata":{"user_id":"\ud800"}"#,
    ] {
        assert!(!anthropic(user, more), "{more}");
    }
    for content in [
        r#""""#,
        r#"" \n""#,
        "1",
        r#""\ud83d""#,
        r#"[{"type":"text","text":" "}]"#,
        r#"[{"type":"text","text":"a","text":"b"}]"#,
        r#"[{"type":"text","text":"a","file_id":"f"}]"#,
        r#"[{"type":"image","source":{"type":"file","file_id":"f"}}]"#,
        r#"[{"type":"document","source":{"type":"text","data":"d"}}]"#,
        r#"[{"type":"tool_use","id":"a","name":"f","input":{}}]"#,
        r#"[{"type":"tool_result","tool_use_id":"a_gts_b","content":"c"}]"#,
        r#"[{"type":"tool_result","tool_use_id":"a","content":[{"type":"image"}]}]"#,
        r#"[{"type":"tool_result","tool_use_id":"a","content":[{"type":"tool_result","tool_use_id":"b"}]}]"#,
        r#"[{"type":"code_execution_tool_result","content":[{"file_id":"f"}]}]"#,
        r#"[{"type":"t\u0065xt","text":"a"}]"#,
    ] {
        let messages = format!(r#"[{{"role":"user","content":{content}}}]"#);
        assert!(!anthropic(&messages, ""), "{content}");
    }
    for content in [
        r#"[{"type":"thinking","thinking":"a","signature":""}]"#,
        r#"[{"type":"thinking","thinking":"a","signature":"cutover"}]"#,
        r#"[{"type":"tool_use","id":"a","name":"f","input":"{}"}]"#,
        r#"[{"type":"tool_result","tool_use_id":"a"}]"#,
    ] {
        let messages = format!(r#"[{{"role":"assistant","content":{content}}}]"#);
        assert!(!anthropic(&messages, ""), "{content}");
    }
}

/// Requests with most of what outlines know, to be damaged.
const SMALL: [(&str, &str); 4] = [
    (
        "/v1/responses",
        r#"{"model":"m","instructions":"s","stream":true,"max_output_tokens":9,"temperature":0.5,"user":"u","store":false,
    "metadata":{"k":"v"},"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true},
    {"type":"custom","name":"c"},{"type":"namespace","name":"n","tools":[{"type":"function","name":"g"}]}],
    "tool_choice":{"type":"function","name":"f"},"parallel_tool_calls":true,"include":["x"],"top_logprobs":2,
    "reasoning":{"effort":"low","summary":"auto"},"text":{"format":{"type":"json_object"},"verbosity":"low"},
    "input":[{"role":"user","content":"hi"},{"type":"message","role":"developer","content":[{"type":"input_text",
    "text":"s"}]},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"t"}],"content":[
    {"type":"reasoning_text","text":"t"}],"encrypted_content":"AB","status":"completed"},{"type":"message","id":"i",
    "role":"assistant","phase":"x","status":"completed","content":[{"type":"output_text","text":"a","annotations":[],
    "logprobs":[]},{"type":"refusal","refusal":"n"}]},{"type":"function_call","id":"i","call_id":"a","name":"f",
    "arguments":"1"},{"type":"custom_tool_call","call_id":"b","name":"c","input":"i"},
    {"type":"custom_tool_call_output","call_id":"b","output":"r"},{"type":"function_call_output","call_id":"a",
    "output":[{"type":"input_text","text":"r"}]},{"role":"user","content":"b"}]}"#,
    ),
    (
        "/api/chat",
        r#"{"model":"m","format":"json","think":"low","keep_alive":5,"options":{"temperature":0.5,"num_predict":9,
    "stop":["x"],"num_ctx":4096,"seed":1},"tools":[{"type":"function","function":{"name":"f","description":"d",
    "parameters":{"type":"object"}}}],"logprobs":true,"top_logprobs":2,"messages":[{"role":"system","content":"s"},
    {"role":"user","content":"hi"},{"role":"assistant","content":"a","thinking":"t","tool_calls":[{"id":"a",
    "function":{"name":"f","arguments":{"a":1}}}]},{"role":"tool","content":"r","tool_name":"f",
    "tool_call_id":"a"},{"role":"user","content":"b"}]}"#,
    ),
    (
        "/v1beta/models/asked:generateContent",
        r#"{"systemInstruction":{"role":"user","parts":[{"text":"s"}]},"serviceTier":"flex",
    "tools":[{"functionDeclarations":[{"name":"f","description":"d","parameters":{"type":"OBJECT"}}]}],
    "toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}},
    "generation_config":{"temperature":0.5,"max_output_tokens":9,"stopSequences":["x"],"topP":1,
    "responseMimeType":"application/json","thinkingConfig":{"thinkingBudget":0,"includeThoughts":true}},
    "contents":[{"role":"user","parts":[{"text":"hi"}]},{"role":"model","parts":[{"text":"t","thought":true},
    {"text":"a","thoughtSignature":"AB"},{"functionCall":{"id":"a","name":"f","args":{"a":1}}}]},
    {"parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"r","b":2}}},{"text":"b"}]}]}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"stream":true,"temperature":0.5,"speed":"fast","stop_sequences":["x"],
    "metadata":{"user_id":"u"},"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],
    "thinking":{"type":"enabled","budget_tokens":2000},"tool_choice":{"type":"auto"},
    "tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"strict":true,"type":"custom"}],
    "messages":[{"role":"user","content":"hi"},{"role":"system","content":"s"},
    {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"AB"},
    {"type":"text","text":"a","citations":null},{"type":"tool_use","id":"a","name":"f","input":{"a":1}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","is_error":true,
    "content":[{"type":"text","text":"r"}]},{"type":"text","text":"b"}]}]}"#,
    ),
];

/// The tokens of JSON in which no string holds a quote.
fn tokens(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => rest[1..].find('"').map_or(rest.len(), |at| at + 2),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => rest.find(['"', '{', '}', '[', ']', ',', ':']).unwrap_or(rest.len()),
        };
        out.push(&rest[..end]);
        rest = &rest[end..];
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// A value or name of another kind in any place, and a member that comes twice.
    #[test]
    fn a_damaged_request_is_outlined_only_if_it_is_converted(
        body in 0..SMALL.len(),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3), 1..3),
    ) {
        let (path, text) = SMALL[body];
        let mut parts: Vec<String> = tokens(text).into_iter().map(str::to_owned).collect();
        let mut words: Vec<String> = parts.iter().filter(|part| part.starts_with('"')).cloned().collect();
        let others = [
            "null", "1", "-1", "true", "[]", "{}", "\"\"", "\" \"", r#""\ud800""#, "\"\\u0074ext\"",
            "\"image\"", "\"file_id\"", "\"container\"", "\"a_gts_b\"", "\"cutover\"", "1e999",
            r#"{"type":"text","text":"n"}"#, r#"[{"type":"text","text":"n"}]"#,
        ];
        words.extend(others.map(str::to_owned));
        for (place, word, kind) in damages {
            let at = place.index(parts.len());
            let word = words[word.index(words.len())].clone();
            match kind {
                0 => parts[at] = word,
                1 => parts.insert(at, format!("{word}:1,")),
                _ => { parts.remove(at); }
            }
        }
        compared(path, &Bytes::from(parts.concat()));
    }
}

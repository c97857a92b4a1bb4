//! Requests that are wrong or odd, at the door of each dialect: what becomes of them is the table of
//! `cutover_testkit::bad_input`, and `docs/reference/bad-input.md` is printed from it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cutover_testkit::bad_input::{
    BODY_LIMIT, CHAT, Case, Door, MESSAGES, OLLAMA_CHAT, Outcome, RESPONSES, Shape, cases,
};
use cutover_testkit::fake::{Fake, Fault, Persona, Refusing, Reply, Seen, Setup};
use cutover_testkit::program::Program;
use cutover_testkit::raw::{Raw, Response, exchange};
use cutover_units::Code;
use cutover_units::codes::TABLE;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// One upstream of each kind that the table asks for.
struct Rig {
    upstreams: [Fake; 3],
    _nobody: Refusing,
    program: Program,
    key: String,
}

impl Rig {
    fn start() -> Self {
        let wide = Setup { context: 10_000_000, ..Setup::new(Persona::OpenAi) };
        let upstreams =
            [Fake::start_with(wide), Fake::start(Persona::Vllm), Fake::start(Persona::Ollama)];
        let nobody = Refusing::start();
        let mut config = format!(
            "default_upstream = \"app\"\n[state]\nresponses = true\n[server]\nkeys = \"required\"\nbody_limit = \"{} KiB\"\n",
            BODY_LIMIT / 1024
        );
        let kinds = [
            ("app", "openai", format!("{}/v1", upstreams[0].base_url())),
            ("own", "vllm", format!("{}/v1", upstreams[1].base_url())),
            ("native", "ollama", upstreams[2].base_url()),
            ("claude", "anthropic", nobody.base_url()),
        ];
        for (name, provider, base) in kinds {
            write!(
                config,
                "[upstreams.{name}]\nprovider = \"{provider}\"\ninstances = [\"{base}\"]\n\
                 key = {{ env = \"UPSTREAM_KEY\" }}\nimage_urls = \"{}\"\n{}\
                 [variants.{name}]\nupstream = \"{name}\"\nmodel = \"fake-model\"\n{}\
                 [use_cases.{name}]\nmatch = {{ model = \"{name}\" }}\nbaseline = \"{name}\"\n",
                if name == "own" { "fetch" } else { "pass" },
                // The table tells of conversions: a request in front of its own vendor is the vendor's to judge.
                if name == "app" { "responses = false\n" } else { "" },
                // It moves each message by one, which no client shall notice.
                if name == "claude" { "system_prompt = \"Be brief.\"\n" } else { "" },
            )
            .unwrap();
        }
        let (program, key) = Program::start_with_key(BINARY, &config);
        Self { upstreams, _nobody: nobody, program, key }
    }

    fn ask(&self, case: &Case) -> Response {
        let (path, length) = (&case.path, case.body.len());
        let mut head =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n");
        if case.with_key {
            write!(head, "authorization: Bearer {}\r\n", self.key).unwrap();
        }
        if !case.headers.iter().any(|line| line.starts_with("content-type")) {
            head.push_str("content-type: application/json\r\n");
        }
        for line in &case.headers {
            write!(head, "{line}\r\n").unwrap();
        }
        let mut raw = Raw::open(self.program.url()).unwrap();
        raw.send(head + "\r\n").unwrap();
        raw.send(&case.body).unwrap();
        raw.response().unwrap().unwrap()
    }

    /// How many requests reached an upstream, and the last of them.
    fn seen(&self) -> (usize, Value) {
        let all: Vec<_> = self.upstreams.iter().flat_map(Fake::inferences).collect();
        let last = all.iter().max_by_key(|seen| seen.at).map(Seen::json);
        (all.len(), last.unwrap_or_default())
    }
}

/// Status and type that a code has in Anthropic's dialect.
fn anthropic(code: Code) -> (u16, &'static str) {
    let status = code.status();
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        _ => "invalid_request_error",
    };
    (status, kind)
}

/// Whether a dialect's errors name their field in the message alone.
fn has_no_place(shape: Shape) -> bool {
    matches!(shape, Shape::Anthropic | Shape::Ollama)
}

/// What is wrong with an error, if anything.
fn judge_error(case: &Case, response: &Response) -> Result<(), String> {
    let Outcome::Refused { code, param } = case.outcome else { return Ok(()) };
    let row = TABLE.iter().find(|row| row.name == code).ok_or("no such code")?;
    let body = response.json();
    let expect = |what: &str, found: &Value, wanted: &Value| {
        if found == wanted { Ok(()) } else { Err(format!("{what}: {found} instead of {wanted}")) }
    };
    let error = &body["error"];
    let message = match case.door.shape {
        Shape::OpenAi => {
            expect("status", &json!(response.status), &json!(row.status))?;
            expect("code", &error["code"], &json!(code))?;
            expect("type", &error["type"], &json!(row.kind))?;
            expect("param", &error["param"], &json!(param))?;
            expect("members", &json!(error.as_object().map(serde_json::Map::len)), &json!(4))?;
            &error["message"]
        }
        Shape::Anthropic => {
            let (status, kind) = anthropic(row.code);
            expect("status", &json!(response.status), &json!(status))?;
            expect("envelope", &body["type"], &json!("error"))?;
            expect("type", &error["type"], &json!(kind))?;
            expect("id", &body["request_id"], &json!(response.header("request-id")))?;
            &error["message"]
        }
        Shape::Gemini => {
            expect("status", &json!(response.status), &json!(row.status))?;
            expect("code", &error["code"], &json!(row.status))?;
            let reason = match row.code {
                Code::InvalidApiKey => "API_KEY_INVALID".to_owned(),
                _ => code.to_ascii_uppercase(),
            };
            expect("reason", &error["details"][0]["reason"], &json!(reason))?;
            let field = &error["details"][1]["fieldViolations"][0]["field"];
            expect("field", field, &json!(param))?;
            &error["message"]
        }
        Shape::Ollama => {
            expect("status", &json!(response.status), &json!(row.status))?;
            expect("members", &json!(body.as_object().map(serde_json::Map::len)), &json!(1))?;
            error
        }
    };
    let message = message.as_str().ok_or("no message")?;
    match param {
        // Where the dialect has no other place for it.
        Some(param) if has_no_place(case.door.shape) && !message.contains(param) => {
            Err(format!("'{param}' is not in: {message}"))
        }
        _ if message.len() > 400 => Err(format!("long: {message}")),
        _ => Ok(()),
    }
}

/// What stands at a pointer; behind `#` the number of elements there.
fn at(sent: &Value, pointer: &str) -> Value {
    match pointer.strip_suffix('#') {
        Some(list) => json!(sent.pointer(list).and_then(Value::as_array).map(Vec::len)),
        None => sent.pointer(pointer).cloned().unwrap_or_default(),
    }
}

/// What is wrong with an outcome, if anything.
fn judge(rig: &Rig, case: &Case, response: &Response, before: usize) -> Result<(), String> {
    let (count, last) = rig.seen();
    let text: String = response.text().chars().take(300).collect();
    if let Outcome::Refused { .. } = case.outcome {
        return judge_error(case, response).map_err(|why| format!("{why}\n    {text}"));
    }
    if response.status != 200 {
        return Err(format!("{} {text}", response.status));
    }
    let Outcome::Passes { sent, lost } = &case.outcome else {
        return if count == before { Ok(()) } else { Err("an upstream was asked".to_owned()) };
    };
    if count != before + 1 {
        return Err(format!("{} upstream requests", count - before));
    }
    for (pointer, wanted) in sent {
        let found = at(&last, pointer);
        if found != *wanted {
            return Err(format!("{pointer}: {found} instead of {wanted}"));
        }
    }
    let report = response.header("x-cutover-loss").unwrap_or_default();
    match lost {
        Some(lost) if !report.contains(lost) => Err(format!("not reported: {report}")),
        None if !report.is_empty() => Err(format!("reported: {report}")),
        _ => Ok(()),
    }
}

#[test]
fn each_bad_request_has_the_outcome_that_the_table_says() {
    let rig = Rig::start();
    let mut wrong = String::new();
    for case in cases() {
        let (before, _) = rig.seen();
        let response = rig.ask(&case);
        if let Err(why) = judge(&rig, &case, &response, before) {
            writeln!(wrong, "{} | {}: {why}", case.path, case.input).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(!rig.program.log().contains("panicked"), "{}", rig.program.log());
}

/// A stream of an upstream's in which two calls of the model come in turns.
fn in_turns(arguments: &[(u32, &str)]) -> Reply {
    let mut text = String::from(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
    );
    let mut chunk = |delta: Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let data = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "fake-model", "choices": [choice]});
        write!(text, "data: {data}\n\n").unwrap();
    };
    chunk(json!({"role": "assistant", "content": null}), Value::Null);
    for (index, name) in [(0, "f"), (1, "g")] {
        let call = json!({"index": index, "id": format!("c{index}"), "type": "function",
            "function": {"name": name, "arguments": ""}});
        chunk(json!({"tool_calls": [call]}), Value::Null);
    }
    for (index, piece) in arguments {
        let call = json!({"index": index, "function": {"arguments": piece}});
        chunk(json!({"tool_calls": [call]}), Value::Null);
    }
    chunk(json!({}), json!("tool_calls"));
    text.push_str("data: [DONE]\n\n");
    Reply::fault(Fault::Raw(text.into_bytes()))
}

/// The calls that a client reads from a stream, or why there are none.
fn calls(path: &str, response: &Response) -> Result<Vec<(String, String)>, String> {
    let mut calls: BTreeMap<u64, (String, String)> = BTreeMap::new();
    let lines = path.starts_with("/api/");
    let events = if lines {
        response.text().lines().map(str::to_owned).collect()
    } else {
        response.events()
    };
    let (mut open, mut ended) = (None, false);
    for event in events.iter().filter(|event| *event != "[DONE]") {
        let event: Value = serde_json::from_str(event).unwrap();
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let number = |pointer: &str| event.pointer(pointer).and_then(Value::as_u64).unwrap();
        let error = event["error"].as_object().is_some_and(|error| !error.is_empty())
            || event["error"].is_string()
            || event["type"] == "response.failed";
        if error {
            return Err(event.to_string());
        }
        match (path, event["type"].as_str()) {
            ("/v1/chat/completions", _) => {
                ended |= text("/choices/0/finish_reason") == Some("tool_calls");
                if let Some(index) = event.pointer("/choices/0/delta/tool_calls/0/index") {
                    let (name, arguments) = calls.entry(index.as_u64().unwrap()).or_default();
                    let call = "/choices/0/delta/tool_calls/0/function";
                    name.push_str(text(&format!("{call}/name")).unwrap_or_default());
                    arguments.push_str(text(&format!("{call}/arguments")).unwrap_or_default());
                }
            }
            (_, Some("content_block_start")) => {
                assert_eq!(open, None, "a block begins within another");
                open = Some(number("/index"));
                let name = text("/content_block/name").unwrap_or_default();
                calls.insert(number("/index"), (name.to_owned(), String::new()));
            }
            (_, Some("content_block_delta")) => {
                assert_eq!(open, Some(number("/index")));
                let piece = text("/delta/partial_json").unwrap_or_default();
                calls.get_mut(&number("/index")).unwrap().1.push_str(piece);
            }
            (_, Some("content_block_stop")) => open = None,
            (_, Some("response.output_item.done")) => {
                let item = (text("/item/name").unwrap(), text("/item/arguments").unwrap());
                calls.insert(number("/output_index"), (item.0.to_owned(), item.1.to_owned()));
            }
            (_, Some("message_stop" | "response.completed")) => ended = true,
            _ if lines => {
                ended |= event["done"] == true;
                for call in event["message"]["tool_calls"].as_array().into_iter().flatten() {
                    let function = &call["function"];
                    let name = function["name"].as_str().unwrap().to_owned();
                    let at = calls.len() as u64;
                    calls.insert(at, (name, function["arguments"].to_string()));
                }
            }
            _ => {}
        }
    }
    if ended { Ok(calls.into_values().collect()) } else { Err("it has no end".to_owned()) }
}

#[test]
fn calls_that_come_in_turns_arrive_whole_in_each_dialect() {
    let rig = Rig::start();
    let key = format!("authorization: Bearer {}", rig.key);
    let ask = |door: &Door, reply: Reply| {
        let mut body = door.good("app");
        body["stream"] = json!(true);
        rig.upstreams[0].once(reply);
        let line = format!("POST {}", door.path);
        exchange(rig.program.url(), &line, &[&key], body.to_string()).unwrap()
    };
    let called = |door: &Door, reply: Reply| {
        let response = ask(door, reply);
        assert_eq!(response.status, 200, "{}", response.text());
        calls(door.path, &response).unwrap()
    };
    let whole = [(0, "{\"a\""), (1, "{\"b\":"), (0, ":1}"), (1, "2}")];
    let wanted = [("f", "{\"a\":1}"), ("g", "{\"b\":2}")];
    let wanted = wanted.map(|(name, arguments)| (name.to_owned(), arguments.to_owned()));
    for door in [&CHAT, &RESPONSES, &MESSAGES, &OLLAMA_CHAT] {
        assert_eq!(called(door, in_turns(&whole)), wanted, "{}", door.path);
    }
    // Arguments that are no JSON: a text is passed on as the model wrote it; where the dialect has an
    // object, there is none to pass on, and nobody was shown a word of it.
    let broken = [(0, "{\"a\":1}"), (1, "{no")];
    for door in [&CHAT, &RESPONSES] {
        assert_eq!(called(door, in_turns(&broken))[1].1, "{no", "{}", door.path);
    }
    for door in [&MESSAGES, &OLLAMA_CHAT] {
        let response = ask(door, in_turns(&broken));
        assert_eq!(response.status, 502, "{}", door.path);
        let why = response.text();
        assert!(why.contains("arguments that are no JSON object"), "{}: {why}", door.path);
    }
}

#[test]
fn a_wrong_method_is_told_which_ones_there_are() {
    let rig = Rig::start();
    let key = format!("authorization: Bearer {}", rig.key);
    for (line, allow) in [
        ("GET /v1/chat/completions", "POST"),
        ("PUT /chat/completions", "POST"),
        ("DELETE /v1/completions", "POST"),
        ("POST /v1/models", "GET, HEAD"),
        ("DELETE /v1/models/app", "GET, HEAD"),
        ("GET /v1/messages", "POST"),
        ("GET /v1/messages/count_tokens", "POST"),
        ("GET /v1/responses", "POST"),
        ("POST /v1/responses/resp_1", "GET, HEAD, DELETE"),
        ("PUT /v1/responses/resp_1/input_items", "GET, HEAD"),
        ("GET /api/chat", "POST"),
        ("DELETE /api/generate", "POST"),
        ("POST /api/tags", "GET, HEAD"),
        ("PUT /v1/files", "GET, HEAD, POST"),
        ("PATCH /v1/feedback", "POST"),
    ] {
        let response = exchange(rig.program.url(), line, &[&key], "").unwrap();
        assert_eq!(response.status, 405, "{line}");
        assert_eq!(response.header("allow"), Some(allow), "{line}");
        let error = &response.json()["error"];
        let said = match line {
            _ if line.contains("/api/") => error.is_string(),
            _ if line.contains("/messages") => error["type"] == "not_found_error",
            _ => error["code"] == "method_not_allowed",
        };
        assert!(said, "{line}: {}", response.text());
    }
    // A path that is not there takes nothing, and says so.
    let response = exchange(rig.program.url(), "PUT /v1/nothing", &[&key], "").unwrap();
    assert_eq!((response.status, response.header("allow")), (404, None));
}

//! The form of answers, over sockets: each way to hold a model to a schema asks its engine as it should, and
//! an answer that is repaired reaches each dialect's client valid, as a whole and as a stream.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};
use cutover_testkit::program::Program;
use cutover_testkit::raw::{Raw, Response, exchange};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// What a weak model says, and what of it was asked for.
const SAID: &str = "Sure! Here it is:\n```json\n{\"city\": \"Paris\"}\n```\nAnything else?";
const FITS: &str = "{\"city\": \"Paris\"}";

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

/// A use case for each way, at one engine; and one whose candidate repairs and whose baseline does not.
struct Rig {
    engine: Fake,
    cloud: Fake,
    program: Program,
}

impl Rig {
    fn start() -> Self {
        let engine = Fake::start_with(Setup::new(Persona::Vllm).name("engine"));
        let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
        let mut config = format!(
            "default_upstream = \"engine\"\n[server]\nkeep_alive_interval = \"100 ms\"\n\
             [upstreams.engine]\nprovider = \"vllm\"\ninstances = [\"{}/v1\"]\n\
             [upstreams.cloud]\nprovider = \"openai-compatible\"\ninstances = [\"{}/v1\"]\n\
             [variants.cloud]\nupstream = \"cloud\"\nmodel = \"fake-model\"\n",
            engine.base_url(),
            cloud.base_url()
        );
        for way in ["native", "grammar", "json-mode", "instruct-and-repair"] {
            let variant = format!(
                "[variants.{way}]\nupstream = \"engine\"\nmodel = \"fake-model\"\n\
                 structured_output = \"{way}\"\n\
                 [use_cases.{way}]\nmatch = {{ model = \"{way}\" }}\nbaseline = \"{way}\"\n"
            );
            config.push_str(&variant);
        }
        config.push_str(
            "[use_cases.arms]\nmatch = { model = \"arms\" }\nbaseline = \"cloud\"\n\
             candidate = \"instruct-and-repair\"\nweight = \"100%\"\n",
        );
        let program = Program::start(BINARY, &config);
        Self { engine, cloud, program }
    }

    fn ask(&self, path: &str, body: &Value) -> Response {
        exchange(self.program.url(), &format!("POST {path}"), &[], body.to_string()).unwrap()
    }

    fn chat(&self, model: &str, more: &Value) -> Response {
        self.ask("/v1/chat/completions", &chat(model, more))
    }

    /// The last request that the engine saw.
    fn asked(&self) -> Value {
        self.engine.inferences().last().unwrap().json()
    }
}

fn chat(model: &str, more: &Value) -> Value {
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema()}});
    let mut body = json!({"model": model, "response_format": format,
        "messages": [{"role": "user", "content": "where?"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// The content of a chat stream.
fn streamed(response: &Response) -> String {
    let events = response.events();
    let events = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    events
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn each_way_asks_the_engine_as_it_should() {
    let rig = Rig::start();
    for stream in [false, true] {
        let more = json!({"stream": stream});
        let content = |response: &Response| {
            let whole = || response.json()["choices"][0]["message"]["content"].clone();
            if stream { streamed(response) } else { whole().as_str().unwrap().to_owned() }
        };
        // The scripted engine holds the form where it is asked to.
        let native = content(&rig.chat("native", &more));
        assert_eq!(rig.asked()["response_format"]["type"], "json_schema");
        let grammar = content(&rig.chat("grammar", &more));
        assert_eq!(rig.asked()["structured_outputs"]["json"], schema());
        assert_eq!(rig.asked().get("response_format"), None);
        for held in [native, grammar] {
            let held: Value = serde_json::from_str(&held).unwrap();
            assert!(held["city"].is_string(), "{held}");
        }
        let json = content(&rig.chat("json-mode", &more));
        assert_eq!(rig.asked()["response_format"], json!({"type": "json_object"}));
        assert!(serde_json::from_str::<Value>(&json).unwrap().is_object());
        let words = rig.asked()["messages"][0]["content"].as_str().unwrap().to_owned();
        assert!(words.contains("JSON Schema") && words.contains("\"city\""), "{words}");
        rig.engine.once(Reply::text(SAID));
        let response = rig.chat("instruct-and-repair", &more);
        assert_eq!(content(&response), FITS, "{}", response.text());
        let asked = rig.asked();
        assert_eq!(asked.get("response_format"), None);
        assert!(asked.get("stream").is_none_or(|stream| stream == false), "{asked}");
        assert!(asked["messages"][0]["content"].as_str().unwrap().contains("\"city\""));
        let report = response.header("x-cutover-loss").unwrap_or_default();
        assert_eq!(report.contains("stream=approximated"), stream, "{report}");
    }
}

#[test]
fn a_repaired_stream_is_a_stream_like_any_other() {
    let rig = Rig::start();
    for usage in [false, true] {
        rig.engine.once(Reply::text(SAID));
        let more = json!({"stream": true, "stream_options": {"include_usage": usage}});
        let response = rig.chat("instruct-and-repair", &more);
        assert_eq!(response.header("content-type"), Some("text/event-stream"));
        let events = response.events();
        assert_eq!(events.last().unwrap(), "[DONE]");
        let text = response.text();
        assert!(text.contains("\"finish_reason\":\"stop\""), "{text}");
        assert_eq!(text.contains("\"usage\":{"), usage, "{text}");
        let first: Value = serde_json::from_str(&events[0]).unwrap();
        assert_eq!(first["object"], "chat.completion.chunk");
        assert_eq!(first["model"], "instruct-and-repair");
    }
    // Without a form nothing is held back.
    rig.engine.once(Reply::text(SAID));
    let mut plain = chat("instruct-and-repair", &json!({"stream": true}));
    plain.as_object_mut().unwrap().remove("response_format");
    let response = rig.ask("/v1/chat/completions", &plain);
    assert_eq!(streamed(&response), SAID);
    assert_eq!(rig.asked()["stream"], true);
    // A call of a tool is what it says it is.
    rig.engine.once(Reply::default().call("f", "{\"a\":1}"));
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    let response = rig.chat("instruct-and-repair", &json!({"stream": true, "tools": tools}));
    let text = response.text();
    assert!(text.contains("\"finish_reason\":\"tool_calls\"") && text.contains("\"f\""), "{text}");
    // An answer that was cut off is passed on as one.
    rig.engine.once(Reply::text("{\"city").finish("length"));
    let response = rig.chat("instruct-and-repair", &json!({"stream": true}));
    assert_eq!(streamed(&response), "{\"city");
    assert!(response.text().contains("\"finish_reason\":\"length\""));
}

#[test]
fn a_client_hears_comments_while_its_answer_is_gathered() {
    let rig = Rig::start();
    let gate = Gate::new();
    rig.engine.once(Reply::text(SAID).hold_headers(&gate));
    let mut raw = Raw::open(rig.program.url()).unwrap();
    let body = chat("instruct-and-repair", &json!({"stream": true}));
    raw.request("POST /v1/chat/completions", &[], body.to_string()).unwrap();
    let before = raw.read_until(": keep-alive").unwrap();
    assert!(before.contains("200 OK") && !before.contains("Paris"), "{before}");
    gate.open();
    let after = raw.read_until("[DONE]").unwrap();
    assert!(after.contains(r#"{\"city\": \"Paris\"}"#) && !after.contains("Sure"), "{after}");
}

#[test]
fn each_dialects_client_gets_the_repaired_answer() {
    let rig = Rig::start();
    let model = "instruct-and-repair";
    let turn = json!([{"role": "user", "content": "where?"}]);
    let format = json!({"type": "json_schema", "name": "n", "schema": schema()});
    let asks = [
        ("/v1/responses", json!({"model": model, "input": "where?", "text": {"format": format}})),
        (
            "/v1/messages",
            json!({"model": model, "max_tokens": 50, "messages": turn,
                "output_config": {"format": {"type": "json_schema", "schema": schema()}}}),
        ),
        ("/api/chat", json!({"model": model, "messages": turn, "format": schema()})),
        ("/api/generate", json!({"model": model, "prompt": "where?", "format": schema()})),
    ];
    for (path, ask) in asks {
        for stream in [false, true] {
            rig.engine.once(Reply::text(SAID));
            let mut body = ask.clone();
            body["stream"] = json!(stream);
            let response = rig.ask(path, &body);
            let text = response.text();
            assert_eq!(response.status, 200, "{path}: {text}");
            assert!(text.contains(r#"{\"city\": \"Paris\"}"#), "{path} {stream}: {text}");
            assert!(!text.contains("Sure"), "{path} {stream}: {text}");
            let ends = ["response.completed", "message_stop", "\"done\":true", "\"completed\""];
            let whole = !stream || ends.iter().any(|end| text.contains(end));
            assert!(whole, "{path}: {text}");
        }
    }
}

/// One that doubles its work with each level took both workers for good; one that is none was told as the
/// engine's failure, and the engine rested for everybody.
#[test]
fn a_schema_that_nothing_can_be_checked_against_is_the_clients_to_mend() {
    let rig = Rig::start();
    let place = |at: usize| format!("#/$defs/a{at}");
    let mut places: serde_json::Map<_, _> = (0..48)
        .map(|at| {
            (format!("a{at}"), json!({"allOf": [{"$ref": place(at + 1)}, {"$ref": place(at + 1)}]}))
        })
        .collect();
    places.insert("a48".to_owned(), json!({"type": "object"}));
    let doubling = json!({"$ref": place(0), "$defs": places});
    for (schema, said) in [
        (doubling, "too large"),
        (json!({"properties": {"a": {"pattern": "("}}}), "a pattern that is none"),
        (json!({"type": 5}), "no usable schema"),
        (json!({"$ref": "https://example.com/schema"}), "refers to"),
    ] {
        let before = rig.engine.inferences().len();
        let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
        let refused = rig.chat("instruct-and-repair", &json!({"response_format": format}));
        let error = refused.json()["error"].clone();
        assert_eq!(refused.status, 400, "{error}");
        assert_eq!(error["param"], "response_format.json_schema.schema");
        assert!(error["message"].as_str().unwrap().contains(said), "{error}");
        assert_eq!(rig.engine.inferences().len(), before, "nothing was asked for it");
    }
    // A model that does not keep the form, however often, is no engine that is ill.
    for _ in 0..8 {
        rig.engine.once(Reply::text("no object at all"));
        assert_eq!(rig.chat("instruct-and-repair", &json!({})).status, 502);
    }
    rig.engine.once(Reply::text(SAID));
    assert_eq!(rig.chat("instruct-and-repair", &json!({})).status, 200);
}

#[test]
fn an_answer_without_the_form_is_a_failure_that_another_arm_may_mend() {
    let rig = Rig::start();
    for stream in [false, true] {
        let more = json!({"stream": stream});
        for said in ["no object at all", "{\"town\": 1}", "{\"city\":\"a\"} {\"city\":\"b\"}"] {
            rig.engine.once(Reply::text(said));
            let response = rig.chat("instruct-and-repair", &more);
            assert_eq!(response.status, 502, "{said}: {}", response.text());
            assert_eq!(response.json()["error"]["code"], "bad_gateway");
            assert!(!response.text().contains("town"), "an answer in an error");
            rig.engine.once(Reply::text(said));
            let response = rig.chat("arms", &more);
            assert_eq!(response.status, 200, "{}", response.text());
            assert_eq!(response.header("x-cutover-arm"), Some("baseline"));
        }
        // An upstream that fails is no other failure for being asked for a whole.
        rig.engine.once(Reply::fault(Fault::status(500)));
        assert_eq!(rig.chat("instruct-and-repair", &more).status, 502);
    }
    assert_eq!(rig.cloud.inferences().len(), 6);
}

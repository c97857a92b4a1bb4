//! Clients of Ollama's own API in front of an Ollama: what they wrote reaches it but for what is the operator's, and
//! its lines come back.

use cutover_testkit::fake::{Fake, Persona, Reply, Setup};
use serde_json::{Value, json};

use crate::harness::{Arm, BY_UNIT, Rig, Stage, docs_on, service, until};

/// A request that chat completions has no room for.
const ODD: &str = r#" { "model" : "app" , "messages" : [ { "role":"user", "content":"h\u0069" } ], "think":"utmost",
  "options": { "top_k":40, "mirostat" : 2, "temperature": 0.50,"somethingNew":1e2 }, "somethingnew": [1.50] "#;

/// `more` is added to the variant, `after` to the whole.
fn config(base_url: &str, more: &str, after: &str) -> String {
    let theirs = Arm::theirs(service("ollama", base_url), "qwen3:8b").with(more);
    format!("default_upstream = \"vendor\"\n{}", docs_on(&[theirs], &format!("{BY_UNIT}{after}")))
}

fn start(more: &str, after: &str) -> Stage {
    Stage::start(|url| config(url, more, after))
}

const ANSWER: &str = r#"{ "model":"qwen3:8b","created_at":"2026-11-21T08:42:10.04Z", "message":{"role":"assistant","content":"\u0061","thinking":"hm"},
 "done":true,"done_reason":"stop","total_duration":11,"load_duration":2,"prompt_eval_count":7,"eval_count":5,"new":1.50}"#;

#[test]
fn what_a_client_of_ollamas_wrote_reaches_ollama_and_the_answer_comes_back_as_it_was() {
    let stage = start("", "");
    stage.vendor.says("application/json", ANSWER);
    let body = format!(r#"{ODD},"stream":false}}"#);
    let response = stage.ask("/api/chat", &body);
    assert_eq!(response.status, 200, "{}", response.text());
    let (line, sent) = stage.vendor.last();
    assert_eq!(line, "POST /api/chat HTTP/1.1");
    let ours = r#"{"truncate":false,"shift":false,"#;
    assert_eq!(sent, body.replacen('{', ours, 1).replacen("\"app\"", "\"qwen3:8b\"", 1));
    assert_eq!(response.header("x-cutover-loss"), None);
    assert_eq!(response.text(), ANSWER.replace("qwen3:8b", "app"));
    until("the tokens are counted", || {
        stage.rig.counts("cutover_prompt_tokens_total{", 7)
            && stage.rig.counts("cutover_completion_tokens_total{", 5)
    });
    // Without a use case the model's name is the client's own, and the upstream's answer is left alone.
    let body = body.replacen("\"app\"", "\"qwen3:8b\"", 1);
    assert_eq!(stage.ask("/api/chat", &body).text(), ANSWER);
}

#[test]
fn what_is_the_operators_is_written_over_and_reported() {
    let settings =
        "temperature = 0.1\nmax_tokens = 9\nollama = { num_ctx = 8192, keep_alive = \"1 h\" }";
    let stage = start(settings, "");
    stage.vendor.says("application/json", ANSWER);
    let body = r#"{"model":"app","stream":false,"keep_alive":-1,"truncate":true,"shift":true,
        "options":{"num_ctx":512,"num_gpu":0,"top_p":0.3},"messages":[{"role":"user","content":"hi"}]}"#;
    let response = stage.ask("/api/chat", body);
    assert_eq!(response.status, 200, "{}", response.text());
    let sent = stage.vendor.sent();
    let wanted = json!({"num_ctx": 8192, "top_p": 0.3, "temperature": 0.1, "num_predict": 9});
    assert_eq!(sent["options"], wanted);
    assert_eq!((&sent["truncate"], &sent["shift"]), (&json!(false), &json!(false)));
    assert_ne!(sent["keep_alive"], json!(-1));
    let mut lost: Vec<_> = response.header("x-cutover-loss").unwrap().split(", ").collect();
    lost.sort_unstable();
    let wanted = [
        "keep_alive=dropped",
        "options.num_ctx=dropped",
        "options.num_gpu=dropped",
        "shift=dropped",
        "truncate=dropped",
    ];
    assert_eq!(lost, wanted);
    // The same for traffic that no use case takes: one length for the model, whoever asks for it.
    let response = stage.ask("/api/chat", &body.replace("app", "qwen3:8b"));
    assert_eq!(response.status, 200);
    assert_eq!(stage.vendor.sent()["options"], json!({"num_ctx": 8192, "top_p": 0.3}));
}

#[test]
fn raw_prompts_templates_and_embeddings_pass() {
    let stage = start("", "");
    let answer = r#"{"model":"qwen3:8b","response":"b","done":true,"context":[1,2],"prompt_eval_count":3,"eval_count":1}"#;
    stage.vendor.says("application/json", answer);
    for more in [
        r#""raw":true,"images":["iVBORw0KGgo="]"#,
        r#""suffix":"}","system":"s","think":true"#,
        r#""template":"{{ .Prompt }}","context":[5,6]"#,
    ] {
        let body = format!(r#"{{"model":"app","stream":false,"prompt":"a",{more}}}"#);
        let response = stage.ask("/api/generate", &body);
        assert_eq!(
            (response.status, response.text()),
            (200, answer.replace("qwen3:8b", "app")),
            "{more}"
        );
        let (line, sent) = stage.vendor.last();
        assert_eq!(line, "POST /api/generate HTTP/1.1");
        assert!(sent.contains(more), "{sent}");
        assert_eq!(response.header("x-cutover-loss"), None);
    }
    let answer = r#"{"model":"qwen3:8b","embeddings":[[0.10,2]],"total_duration":5,"load_duration":1,"prompt_eval_count":4}"#;
    stage.vendor.says("application/json", answer);
    let body = r#"{"model":"app","input":["a"],"dimensions":2,"options":{"seed":1}}"#;
    let response = stage.ask("/api/embed", body);
    assert_eq!(response.text(), answer.replace("qwen3:8b", "app"));
    let (line, sent) = stage.vendor.last();
    assert_eq!(line, "POST /api/embed HTTP/1.1");
    let wanted = body.replacen('{', "{\"truncate\":false,", 1).replace("\"app\"", "\"qwen3:8b\"");
    assert_eq!(sent, wanted);
    until("its tokens are counted", || stage.rig.counts("cutover_prompt_tokens_total{", 13));
}

/// The arms' models do not have the same tokens, and which of them gave these is not known.
#[test]
fn tokens_of_an_earlier_answer_pass_where_one_model_answers() {
    let other = "[variants.other]\nupstream = \"vendor\"\nmodel = \"MODEL\"\n";
    let body = r#"{"model":"app","stream":false,"prompt":"a","context":[1]}"#;
    for (model, passes) in [("llama3", false), ("qwen3:8b", true)] {
        let candidate = format!("candidate = \"other\"\n{}", other.replace("MODEL", model));
        let stage = start("", &candidate);
        stage.vendor.says(
            "application/json",
            r#"{"model":"m","response":"b","done":true,"prompt_eval_count":3,"eval_count":1}"#,
        );
        let response = stage.ask("/api/generate", body);
        assert_eq!(response.status == 200, passes, "{}", response.text());
        assert_eq!(response.text().contains("context"), !passes);
    }
}

#[test]
fn a_variant_with_a_prompt_goes_by_conversion_and_says_what_is_lost() {
    let stage = start("unsupported = \"lenient\"\nsystem_prompt = \"be brief\"", "");
    stage.vendor.says("application/json", ANSWER);
    let response = stage.ask("/api/chat", &format!(r#"{ODD},"stream":false}}"#));
    assert_eq!(response.status, 200, "{}", response.text());
    let lost = response.header("x-cutover-loss").unwrap();
    for name in ["options.top_k", "options.mirostat", "think.level", "somethingnew"] {
        assert!(lost.contains(name), "{name}: {lost}");
    }
    let sent = stage.vendor.sent();
    assert_eq!(sent["messages"][0], json!({"role": "system", "content": "be brief"}));
    assert_eq!(sent["options"]["top_k"], Value::Null);
    // Ollama takes its names in any case: one that is another in disguise goes no further.
    let stage = start("", "");
    stage.vendor.says("application/json", ANSWER);
    let body = r#"{"model":"app","Model":"secret","stream":false,"messages":[{"role":"user","content":"hi"}]}"#;
    let response = stage.ask("/api/chat", body);
    assert_eq!(response.header("x-cutover-loss"), Some("Model=dropped"));
    assert_eq!(
        (&stage.vendor.sent()["model"], is_sent_twice(&stage, "Model")),
        (&json!("qwen3:8b"), false)
    );
}

/// Whether a member was sent again by the next request.
fn is_sent_twice(stage: &Stage, name: &str) -> bool {
    let body = r#"{"model":"app","MODEL":"secret","stream":false,"messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(stage.ask("/api/chat", body).status, 200);
    stage.vendor.last().1.to_lowercase().matches(&name.to_lowercase()).count() > 1
}

const LINES: &str = concat!(
    r#"{"model":"qwen3:8b","created_at":"x","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#,
    "\n",
    r#"{"model":"qwen3:8b","created_at":"y","message":{"role":"assistant","content":"\u0061","new":1.50},"done":false}"#,
    "\n",
    r#"{"model":"qwen3:8b","message":{"role":"assistant","content":""},"done":true,"done_reason":"length","total_duration":9,"prompt_eval_count":7,"eval_count":5}"#,
    "\n",
);

#[test]
fn a_stream_passes_line_by_line_and_a_broken_one_ends_in_an_error() {
    let stage = start("", "");
    stage.vendor.says("application/x-ndjson", LINES);
    let body = format!("{ODD}}}");
    let response = stage.ask("/api/chat", &body);
    assert_eq!(response.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(response.text(), LINES.replace("qwen3:8b", "app"));
    until("it ended well", || stage.rig.metrics().contains("outcome=\"ok\"} 1"));
    let begun: String = LINES.split_inclusive('\n').take(2).collect();
    let wanted = begun.replace("qwen3:8b", "app");
    for rest in ["", "{\"model\":\"qwen3:8b\",\"mess"] {
        stage.vendor.says("application/x-ndjson", &format!("{begun}{rest}"));
        let text = stage.ask("/api/chat", &body).text();
        let last = text.strip_prefix(&wanted).unwrap_or_else(|| panic!("{text}"));
        let last: Value = serde_json::from_str(last).unwrap();
        assert!(last["error"].is_string(), "{rest}: {last}");
    }
    until("both are failures", || stage.rig.metrics().contains("outcome=\"interrupted\"} 2"));
    // Content that comes together with the error is not begun with.
    for rest in ["{\"error\":\"unexpected EOF\"}\n", "nonsense\n"] {
        stage.vendor.says("application/x-ndjson", &format!("{begun}{rest}"));
        let response = stage.ask("/api/chat", &body);
        assert!(response.json()["error"].is_string(), "{}", response.text());
    }
    // Before any content it is no stream yet.
    stage.vendor.says("application/x-ndjson", "{\"error\":\"model requires more memory\"}\n");
    let response = stage.ask("/api/chat", &body);
    assert!(response.status >= 400 && response.json()["error"].is_string(), "{}", response.text());
}

#[test]
fn a_call_in_the_text_becomes_a_call() {
    let stage = start("", "");
    let said = r#"{\"name\":\"get\",\"arguments\":{\"a\":1}}"#;
    let whole = ANSWER.replace("\\u0061", said);
    let tools = r#""tools":[{"type":"function","function":{"name":"get","parameters":{}}}]"#;
    let body = |stream: bool| {
        format!(
            r#"{{"model":"app","stream":{stream},{tools},"messages":[{{"role":"user","content":"hi"}}]}}"#
        )
    };
    stage.vendor.says("application/json", &whole);
    let message = stage.ask("/api/chat", &body(false)).json()["message"].clone();
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], json!({"a": 1}));
    assert_eq!((&message["content"], &message["thinking"]), (&json!(""), &json!("hm")));
    stage.vendor.says("application/x-ndjson", &LINES.replace("\\u0061", said));
    let text = stage.ask("/api/chat", &body(true)).text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[1]["message"]["tool_calls"][0]["function"]["name"], "get");
    assert_eq!(lines[1]["message"]["content"], "");
    assert_eq!(lines[2]["done"], true);
}

/// What no leg of the same dialect could do another does, by conversion.
#[test]
fn a_prompt_that_does_not_fit_is_not_sent_and_another_arm_answers() {
    let ollama = Fake::start_with(Setup::new(Persona::Ollama).models(&["qwen3:8b"]));
    let cloud = Fake::start_with(Setup { context: 200_000, ..Setup::new(Persona::OpenAi) });
    cloud.always(Reply::text("from the cloud"));
    let arms = format!(
        "[upstreams.cloud]\nprovider = \"openai-compatible\"\nbase_url = \"{}\"\n\
         [variants.big]\nupstream = \"cloud\"\nmodel = \"fake-model\"\n\
         [use_cases.both]\nmatch = {{ model = \"both\" }}\nbaseline = \"big\"\n\
         candidate = \"theirs\"\nweight = \"100%\"\n",
        cloud.base_url()
    );
    let rig = Rig::start(&config(&ollama.base_url(), "ollama = { num_ctx = 512 }", &arms));
    let words = ["river ", "stone ", "clock ", "paper "].concat().repeat(2_000);
    for stream in [true, false] {
        let ask = |model: &str, content: &str| {
            let body = json!({"model": model, "stream": stream, "options": {"min_p": 0.1},
                "messages": [{"role": "user", "content": content}]});
            rig.post("/api/chat", &[], &body.to_string())
        };
        let asked = ollama.inferences().len();
        let response = ask("both", "hi");
        assert_eq!(response.header("x-cutover-arm"), Some("candidate"), "{}", response.text());
        assert_eq!(ollama.inferences().last().unwrap().json()["options"]["min_p"], 0.1);
        let response = ask("both", &words);
        assert_eq!(response.header("x-cutover-arm"), Some("baseline"));
        assert!(response.text().contains("cloud"), "{}", response.text());
        assert!(response.header("x-cutover-loss").unwrap().contains("options.min_p"));
        let refused = ask("app", &words);
        assert_eq!(refused.status, 400);
        assert!(
            refused.json()["error"].as_str().unwrap().contains("messages"),
            "{}",
            refused.text()
        );
        assert_eq!(ollama.inferences().len() - asked, 1, "what does not fit is not sent");
    }
}

#[test]
fn an_ollama_that_cuts_all_the_same_has_failed() {
    let setup = Setup { ignores_truncate: true, ..Setup::new(Persona::Ollama) };
    let ollama = Fake::start_with(setup.models(&["qwen3:8b"]));
    let rig = Rig::start(&config(&ollama.base_url(), "", ""));
    let words = ["river ", "stone ", "clock ", "paper "].concat().repeat(4_000);
    for path in ["/api/chat", "/api/generate"] {
        for stream in [true, false] {
            let body = json!({"model": "app", "stream": stream, "prompt": words,
                "messages": [{"role": "user", "content": words}]});
            let mut body = body;
            body.as_object_mut().unwrap().remove(if path == "/api/chat" {
                "prompt"
            } else {
                "messages"
            });
            let response = rig.post(path, &["x-unit: u1"], &body.to_string());
            let text = response.text();
            let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            let told = last["error"].as_str().unwrap_or_else(|| panic!("{path} {stream}: {text}"));
            assert!(told.contains("does not fit"), "{told}");
            assert_eq!(response.status, if stream { 200 } else { 400 });
            assert!(!text.contains("done_reason"), "{text}");
        }
    }
}

/// `ollama run` asks for it first, and would fetch what chats are answered by.
#[test]
fn a_name_without_its_tag_is_found() {
    let config = |url: &str| {
        let theirs = Arm::theirs(service("ollama", url), "other");
        format!("default_upstream = \"vendor\"\n{}", docs_on(&[theirs], BY_UNIT))
    };
    let stage = Stage::start(config);
    let list = r#"{"object":"list","data":[{"id":"qwen3:8b"},{"id":"phi4:latest"}]}"#;
    for (name, status) in [("phi4", 200), ("phi4:latest", 200), ("qwen3:8b", 200), ("qwen3", 404)] {
        stage.vendor.says("application/json", list);
        let shown = stage.ask("/api/show", &json!({ "model": name }).to_string());
        assert_eq!(shown.status, status, "{name}: {}", shown.text());
        let mut raw = stage.rig.raw();
        raw.request(&format!("GET /v1/models/{name}"), &[], "").unwrap();
        assert_eq!(raw.response().unwrap().unwrap().status, status, "{name}");
    }
}

//! Trouble that an upstream tells of, or makes, once an answer is whole; and trouble that comes with an answer's first
//! words in one piece, of which nothing has been sent.

use cutover_testkit::fake::{Fake, Fault, Persona, Reply};
use cutover_testkit::raw::Response;

use crate::harness::{Parrot, Rig, ask_stream, clients, engines, one_arm};
use crate::own::config;

/// Where Gemini's client asks for a stream as a list.
const LIST: &str = "/v1beta/models/app:streamGenerateContent";

const ERRORS: [&str; 3] = [
    "data: {\"error\":{\"message\":\"no usage\",\"type\":\"server_error\",\"code\":500}}\n\n",
    "event: error\ndata: {\"message\":\"no usage\"}\n\n",
    "data: <html>\n\n",
];

fn chunk(delta: &str, reason: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n"
    )
}

fn begins() -> String {
    chunk(r#"{"role":"assistant","content":""}"#, "null")
        + &chunk(r#"{"content":"all of it"}"#, "null")
}

fn says(events: &str) -> Reply {
    Reply::fault(Fault::answer("200 OK", "text/event-stream", events))
}

/// Every client's stream, and what ends it.
fn streams(rig: &Rig) -> Vec<(&'static str, Response, &'static str)> {
    let [.., gemini] = clients();
    let asked = clients().map(|client| (client.stream, client.good_end)).into_iter();
    // Without `alt` it is a list, which must be closed.
    let list = ((LIST, gemini.stream.1), "]\n");
    let post = |((path, body), end): ((&'static str, String), &'static str)| {
        (path, rig.post(path, &["x-unit: u1"], &body), end)
    };
    asked.chain([list]).map(post).collect()
}

#[test]
fn an_error_told_after_the_finish_reason_is_no_part_of_the_answer() {
    let own = Fake::start(Persona::Vllm);
    let rig = Rig::start(&one_arm(&engines("vllm", &[&own])));
    let mut asked = 0;
    for error in ERRORS {
        for after in ["", "data: [DONE]\n\n"] {
            own.always(says(&(begins() + &chunk("{}", "\"stop\"") + error + after)));
            for (path, response, end) in streams(&rig) {
                let text = response.text();
                assert_eq!(response.status, 200, "{path} {text}");
                assert!(text.contains("all of it") && text.contains(end), "{path} {text}");
                assert!(!text.to_lowercase().contains("\"error\":{"), "{path} {text}");
                assert!(
                    !text.contains("event: error") && !text.contains("INTERRUPTED"),
                    "{path} {text}"
                );
                asked += 1;
            }
        }
    }
    let metrics = rig.metrics();
    assert!(metrics.contains(&format!("outcome=\"ok\"}} {asked}")), "{metrics}");
    // Before it, it is one.
    own.always(says(&(begins() + ERRORS[0])));
    for (path, response, _) in streams(&rig) {
        assert_eq!(response.status, 502, "{path} {}", response.text());
    }
}

#[test]
fn so_it_is_where_an_upstream_answers_its_own_dialects_clients() {
    let claude = Parrot::start();
    let rig = Rig::start(&config("anthropic", &claude.base_url, ""));
    let event =
        |name: &str, rest: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n");
    let answer = event(
        "message_start",
        r#","message":{"id":"m","type":"message","role":"assistant","model":"x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}"#,
    ) + &event(
        "content_block_start",
        r#","index":0,"content_block":{"type":"text","text":""}"#,
    ) + &event(
        "content_block_delta",
        r#","index":0,"delta":{"type":"text_delta","text":"all of it"}"#,
    ) + &event("content_block_stop", r#","index":0"#)
        + &event(
            "message_delta",
            r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":4}"#,
        );
    let error = event("error", r#","error":{"type":"api_error","message":"no usage"}"#);
    let stop = event("message_stop", "");
    let body = r#"{"model":"app","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    for end in [error.clone(), [&*error, &*stop].concat(), [&*stop, &*error].concat(), stop.clone()]
    {
        claude.says("text/event-stream", &(answer.clone() + &end));
        let response = rig.post("/v1/messages", &["x-unit: u1"], body);
        // Its first event has our names in it.
        let rest = |text: &str| text[text.find("event: content_block_start").unwrap()..].to_owned();
        assert_eq!(rest(&response.text()), rest(&(answer.clone() + &stop)), "{end}");
    }
    assert!(rig.metrics().contains("outcome=\"ok\"} 4"), "{}", rig.metrics());
    let google = Parrot::start();
    let rig = Rig::start(&config("gemini", &google.base_url, ""));
    let piece = r#"data: {"candidates":[{"content":{"parts":[{"text":"all of it"}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}"#;
    let error = r#"data: {"error":{"code":500,"message":"no usage","status":"INTERNAL"}}"#;
    google.says("text/event-stream", &format!("{piece}\r\n\r\n{error}\r\n\r\n"));
    let asked = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
    let response = rig.post(&format!("{LIST}?alt=sse"), &["x-unit: u1"], asked);
    assert_eq!((response.status, response.text()), (200, format!("{piece}\r\n\r\n")));
    let list = rig.post(LIST, &["x-unit: u1"], asked).json();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    assert!(rig.metrics().contains("outcome=\"ok\"} 2"), "{}", rig.metrics());
}

/// The first words and what breaks them off come in one piece: nothing was sent, so no stream was interrupted.
#[test]
fn what_breaks_off_before_anything_was_sent_has_the_code_of_an_answer() {
    let (own, other) = (Fake::start(Persona::Vllm), Fake::start(Persona::Vllm));
    let rig = Rig::start(&one_arm(&engines("vllm", &[&own])));
    for (error, code) in ERRORS.into_iter().zip(["bad_gateway"; 3]) {
        rig.forgive(&one_arm(&engines("vllm", &[&own])));
        own.always(says(&(begins() + error)));
        let response = rig.chat(&[], &ask_stream("app"));
        assert_eq!(response.status, 502, "{error} {}", response.text());
        assert_eq!(response.json()["error"]["code"], code, "{error}");
    }
    // And another instance may be asked.
    own.always(says(&(begins() + ERRORS[0])));
    other.always(Reply::words(2));
    rig.forgive(&one_arm(&engines("vllm", &[&own, &other])));
    while own.inferences().len() < 4 {
        let response = rig.chat(&[], &ask_stream("app"));
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

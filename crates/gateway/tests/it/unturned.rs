//! Answers that a client has seen nothing of yet, and that it never could: in its dialect they have no form, or it is not
//! shown what has come. Somebody else answers.

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::Response;

use crate::harness::{Rig, ask, clients, one_arm, service, two_arms, until};

const CUT: &str = r#"{\"city\": \"Bonn\""#;

struct Arms {
    cloud: Fake,
    own: Fake,
    rig: Rig,
    config: String,
}

fn arms() -> Arms {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
    let own = Fake::start_with(Setup::new(Persona::LlamaCpp).name("own"));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let rig = Rig::start(&config);
    rig.feed().watch();
    Arms { cloud, own, rig, config }
}

/// An answer with one message, all of it in one piece.
fn says(message: &str, reason: &str) -> Reply {
    let body = format!(
        r#"{{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{message},"finish_reason":"{reason}"}}],"usage":{{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}}}"#
    );
    Reply::fault(Fault::answer("200 OK", "application/json", &body))
}

fn chunk(delta: &str, reason: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n"
    )
}

/// A stream in one piece.
fn streams(events: &[String]) -> Reply {
    Reply::fault(Fault::answer("200 OK", "text/event-stream", &events.concat()))
}

/// A stream that is cut after these events.
fn breaks(events: &[String]) -> Reply {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999\r\n\r\n";
    Reply::fault(Fault::Raw([head, &events.concat()].concat().into_bytes()))
}

fn calls(arguments: &str) -> String {
    format!(
        r#"{{"role":"assistant","content":null,"tool_calls":[{{"index":0,"id":"c1","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}]}}"#
    )
}

fn by(response: &Response) -> (u16, Option<&str>, Option<&str>) {
    let header = |name| response.header(name);
    (response.status, header("x-cutover-arm"), header("x-cutover-attempts"))
}

#[test]
fn a_call_that_has_no_form_is_the_baselines_to_answer() {
    let Arms { cloud, own, rig, .. } = arms();
    let body = calls(CUT);
    for client in clients() {
        for (stream, (path, request)) in [(false, client.whole), (true, client.stream)] {
            let done = [
                chunk(&body, "null"),
                chunk("{}", "\"tool_calls\""),
                "data: [DONE]\n\n".to_owned(),
            ];
            own.always(if stream { streams(&done) } else { says(&body, "tool_calls") });
            let (before, mut told) = (cloud.inferences().len(), Vec::new());
            let response = rig.post(path, &["x-unit: u1"], &request);
            let what = format!("{} {stream}: {}", client.name, response.text());
            // Chat and Responses show what the model wrote as it is.
            let passes = ["chat", "responses"].contains(&client.name);
            let wanted = if passes { ("candidate", "1") } else { ("baseline", "2") };
            assert_eq!(by(&response), (200, Some(wanted.0), Some(wanted.1)), "{what}");
            assert_eq!(
                response.text().contains("Hello from cloud") || stream && !passes,
                !passes,
                "{what}"
            );
            assert!(!response.text().contains("rror\":{"), "{what}");
            assert_eq!(cloud.inferences().len() - before, usize::from(!passes), "{what}");
            until("the request is told of", || {
                rig.feed().drain(&mut told);
                !told.is_empty()
            });
            assert_eq!((told[0].fell_back, told[0].served.failed), (!passes, false), "{what}");
        }
    }
    let failed = "upstream_instance=\"own/0\",result=\"no_form\"} 6";
    assert!(rig.metrics().contains(failed), "{}", rig.metrics());
    // The instance is well.
    own.always(Reply::words(2));
    assert_eq!(by(&rig.chat(&["x-unit: u1"], &ask("app"))).1, Some("candidate"));
}

const IMAGE: &str = r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]"#;

/// An image alone was an answer without anything in it, paid for and counted as good.
#[test]
fn an_answer_of_which_nothing_is_left_is_the_baselines_to_give() {
    let Arms { cloud: _cloud, own, rig, .. } = arms();
    let body = format!(r#"{{"role":"assistant","content":null,"images":{IMAGE}}}"#);
    for client in clients() {
        for (stream, (path, request)) in [(false, client.whole), (true, client.stream)] {
            let done =
                [chunk(&body, "null"), chunk("{}", "\"stop\""), "data: [DONE]\n\n".to_owned()];
            own.always(if stream { streams(&done) } else { says(&body, "stop") });
            let response = rig.post(path, &["x-unit: u1"], &request);
            let what = format!("{} {stream}: {}", client.name, response.text());
            let shown = client.name == "chat";
            let wanted = if shown { ("candidate", "1") } else { ("baseline", "2") };
            assert_eq!(by(&response), (200, Some(wanted.0), Some(wanted.1)), "{what}");
            assert_eq!(response.text().contains("image/png"), shown, "{what}");
        }
    }
    let failed = "upstream_instance=\"own/0\",result=\"no_form\"} 8";
    assert!(rig.metrics().contains(failed), "{}", rig.metrics());
}

#[test]
fn what_an_answer_loses_is_in_its_head_and_counted() {
    let own = Fake::start(Persona::LlamaCpp);
    let rig = Rig::start(&one_arm(&service("openai-compatible", &own.base_url())));
    rig.feed().watch();
    let body = format!(r#"{{"role":"assistant","content":"see","images":{IMAGE}}}"#);
    let mut lost = 0;
    for client in clients() {
        for (stream, (path, request)) in [(false, client.whole), (true, client.stream)] {
            let done =
                [chunk(&body, "null"), chunk("{}", "\"stop\""), "data: [DONE]\n\n".to_owned()];
            own.always(if stream { streams(&done) } else { says(&body, "stop") });
            let (response, mut told) = (rig.post(path, &[], &request), Vec::new());
            let what = format!("{} {stream}: {}", client.name, response.text());
            let loses = client.name != "chat";
            let head = (loses && !stream).then_some("answer.images=dropped");
            let reported = response.header("x-cutover-loss").filter(|l| l.contains("answer."));
            assert_eq!(reported, head, "{what}");
            until("the request is told of", || {
                rig.feed().drain(&mut told);
                !told.is_empty()
            });
            lost += usize::from(loses);
            let line = format!("field=\"answer.images\",action=\"dropped\"}} {lost}");
            assert!(lost == 0 || rig.metrics().contains(&line), "{what} {}", rig.metrics());
        }
    }
    assert_eq!(lost, 8);
}

#[test]
fn a_text_that_cannot_be_read_is_the_baselines_to_answer() {
    let Arms { cloud: _cloud, own, rig, .. } = arms();
    own.always(says(r#"{"role":"assistant","content":"a\ud83d"}"#, "stop"));
    for client in clients() {
        let response = rig.post(client.whole.0, &["x-unit: u1"], &client.whole.1);
        let arm = if client.name == "chat" { "candidate" } else { "baseline" };
        assert_eq!((response.status, by(&response).1), (200, Some(arm)), "{}", client.name);
    }
}

#[test]
fn where_nobody_else_can_answer_it_is_told_as_before() {
    let own = Fake::start(Persona::LlamaCpp);
    let rig = Rig::start(&one_arm(&service("llamacpp", &own.base_url())));
    own.always(says(&calls(CUT), "tool_calls"));
    for client in
        clients().into_iter().filter(|client| !["chat", "responses"].contains(&client.name))
    {
        let response = rig.post(client.whole.0, &[], &client.whole.1);
        let text = response.text();
        assert_eq!(response.status, 502, "{text}");
        assert!(text.contains("arguments that are no JSON object"), "{text}");
    }
    let metrics = rig.metrics();
    assert!(metrics.contains("outcome=\"upstream_error\"} 3"), "{metrics}");
}

#[test]
fn thoughts_that_are_never_shown_begin_no_answer() {
    let Arms { cloud, own, rig, config } = arms();
    let think = |text: &str| chunk(&format!("{{\"reasoning_content\":\"{text}\"}}"), "null");
    own.always(breaks(&[think("hm"), think("well")]));
    for client in clients() {
        rig.forgive(&config);
        let before = cloud.inferences().len();
        let response = rig.post(client.stream.0, &["x-unit: u1"], &client.stream.1);
        let text = response.text();
        let unseen = client.name == "gemini";
        let arm = if unseen { "baseline" } else { "candidate" };
        assert_eq!(response.header("x-cutover-arm"), Some(arm), "{} {text}", client.name);
        assert_eq!(cloud.inferences().len() - before, usize::from(unseen), "{text}");
        assert_eq!(
            text.to_lowercase().contains("interrupted"),
            !unseen && client.name != "messages" && client.name != "ollama",
            "{text}"
        );
        assert_eq!(text.contains("hm"), !unseen, "{text}");
    }
    // Who asked for thoughts sees them.
    let asked = r#"{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}"#;
    let [.., gemini] = clients();
    let text = rig.post(gemini.stream.0, &["x-unit: u1"], asked).text();
    assert!(text.contains("\"hm\"") && text.contains("STREAM_INTERRUPTED"), "{text}");
    // An answer of thoughts alone that ends well is one, and so is one that breaks off after its end.
    let ended = [think("hm"), chunk("{}", "\"length\"")];
    for reply in [streams(&[&ended[..], &["data: [DONE]\n\n".to_owned()]].concat()), breaks(&ended)]
    {
        own.always(reply);
        let response = rig.post(gemini.stream.0, &["x-unit: u1"], &gemini.stream.1);
        let text = response.text();
        assert_eq!(response.header("x-cutover-arm"), Some("candidate"), "{text}");
        assert!(text.contains("MAX_TOKENS") && !text.contains("error"), "{text}");
    }
}

/// It thinks, so that it lives: no deadline for the first token ends it.
#[test]
fn who_thinks_unseen_is_waited_for_and_the_client_has_signs_of_life() {
    let gate = Gate::new();
    let setup = Setup { thinking: true, ..Setup::new(Persona::Ollama) };
    let (own, cloud) = (Fake::start_with(setup), Fake::start(Persona::OpenAi));
    own.always(Reply::tokens(&["the", " answer"]).hold_each_chunk(&gate));
    let text = two_arms(&cloud.base_url(), &own.base_url(), "100%")
        .replace("\"llamacpp\"", "\"ollama\"\nprobes = false\nfirst_token_timeout = \"4 s\"");
    let rig = Rig::start(&format!("{text}\n[server]\nkeep_alive_interval = \"5 s\"\n"));
    let mut raw = rig.raw();
    let [.., gemini] = clients();
    let (path, asked) = gemini.stream;
    raw.request(&format!("POST {path}"), &["x-unit: u1"], &asked).unwrap();
    until("it thinks", || gate.arrivals() > 0);
    // Nothing of the thoughts, but a sign of life after the time for a first token.
    raw.read_until("\"text\":\"\"").unwrap();
    gate.open();
    raw.read_until(" answer").unwrap();
    assert!(cloud.inferences().is_empty());
}

//! Streams that broke off and went on elsewhere: prompts without a chat, clients of other dialects, and an
//! upstream that speaks Messages.

use cutover_testkit::fake::{Fake, Fault, Persona, Reply};
use cutover_testkit::raw::Response;
use cutover_units::Millis;
use cutover_upstream::health::Health;
use serde_json::{Value, json};

use crate::harness::{Arm, BY_UNIT, Rig, docs_on, engines, now, service, two_arms, until};

/// Both arms take the beginning of an answer; the candidate breaks off after two words.
struct Two {
    own: Fake,
    other: Fake,
    rig: Rig,
}

fn config(own: &str, other: &str, provider: &str) -> String {
    let text = two_arms(other, own, "100%");
    let provider = format!("provider = \"{provider}\"");
    let text = text.replace("provider = \"openai-compatible\"", &provider);
    text.replace("weight = ", "on_interrupt = \"continue\"\nweight = ")
}

fn two(persona: Persona, provider: &str) -> Two {
    let (own, other) = (Fake::start(Persona::LlamaCpp), Fake::start(persona));
    own.always(Reply::words(4).and_then(2, Fault::Cut));
    other.always(Reply::tokens(&["and", " so", " on"]));
    let rig = Rig::start(&config(&own.base_url(), &other.base_url(), provider));
    Two { own, other, rig }
}

fn values(response: &Response) -> Vec<Value> {
    let events = response.events();
    events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect()
}

fn lines(response: &Response) -> Vec<Value> {
    response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn joined<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> String {
    texts.flatten().collect()
}

/// The prompt without a chat that the rest was asked with.
const PROMPT: &str = r#"{"model":"app","prompt":"Tell: ","stream":true,"max_tokens":20}"#;

#[test]
fn a_prompt_without_a_chat_goes_on_wherever_it_is_served() {
    for (persona, provider) in [
        (Persona::OpenAi, "openai-compatible"),
        (Persona::LlamaCpp, "llamacpp"),
        (Persona::Ollama, "ollama"),
    ] {
        let two = two(persona, provider);
        let response = two.rig.post("/v1/completions", &[], PROMPT);
        let chunks = values(&response);
        let said = joined(chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str()));
        assert_eq!(said, "w0 w1 and so on", "{provider}: {}", response.text());
        assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"), "{provider}");
        assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]), "{provider}: one id");
        let asked = two.other.inferences().pop().unwrap().json();
        assert_eq!(asked["prompt"], "Tell: w0 w1 ", "{provider}: {asked}");
        let limit = asked.get("max_tokens").unwrap_or(&asked["options"]["num_predict"]);
        assert_eq!(*limit, 18, "{provider}: {asked}");
    }
}

#[test]
fn a_template_that_makes_a_chat_of_a_prompt_is_not_asked_to_go_on() {
    let two = two(Persona::Ollama, "ollama");
    let (own, other) = (two.own.base_url(), two.other.base_url());
    let text = config(&own, &other, "ollama").replace(
        "model = \"fake-model\"\n[variants.small]",
        "model = \"fake-model\"\nollama = { completions_use_template = true }\n[variants.small]",
    );
    let rig = Rig::start(&text);
    let response = rig.post("/v1/completions", &[], PROMPT);
    assert!(response.text().contains("stream_interrupted"), "{}", response.text());
    assert!(two.other.inferences().is_empty());
}

#[test]
fn an_anthropic_client_sees_one_message() {
    let two = two(Persona::LlamaCpp, "llamacpp");
    let body = json!({"model": "app", "max_tokens": 50, "stream": true, "system": "be brief",
        "messages": [{"role": "user", "content": "hi"}]});
    let response = two.rig.post("/v1/messages", &[], &body.to_string());
    let events = values(&response);
    let said = joined(events.iter().map(|event| event["delta"]["text"].as_str()));
    assert_eq!(said, "w0 w1 and so on", "{}", response.text());
    let kinds: Vec<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    let count = |kind: &str| kinds.iter().filter(|known| **known == kind).count();
    assert_eq!((count("message_start"), count("content_block_start")), (1, 1), "{kinds:?}");
    assert_eq!((count("message_stop"), count("error")), (1, 0), "{kinds:?}");
    let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(end["delta"]["stop_reason"], "end_turn");
    assert_eq!(end["usage"]["output_tokens"], 5, "two words and three: {end}");
    let asked = two.other.inferences().pop().unwrap().json();
    assert_eq!(asked["messages"][2], json!({"role": "assistant", "content": "w0 w1 "}), "{asked}");
    assert!(two.rig.metrics().contains("cutover_streams_continued_total"), "it is counted");
}

#[test]
fn a_responses_client_sees_one_response() {
    let two = two(Persona::LlamaCpp, "llamacpp");
    let body = json!({"model": "app", "input": "hi", "stream": true, "store": false});
    let response = two.rig.post("/v1/responses", &[], &body.to_string());
    let events = values(&response);
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    assert_eq!(joined(deltas.map(|event| event["delta"].as_str())), "w0 w1 and so on");
    let end = events.last().unwrap();
    assert_eq!(end["type"], "response.completed", "{}", response.text());
    let text = &end["response"]["output"][0]["content"][0]["text"];
    assert_eq!(*text, "w0 w1 and so on", "{end}");
    assert_eq!(end["response"]["usage"]["output_tokens"], 5, "{end}");
    let created = events.iter().filter(|event| event["type"] == "response.created");
    assert_eq!(created.count(), 1);
}

#[test]
fn an_ollama_client_sees_one_answer() {
    let two = two(Persona::LlamaCpp, "llamacpp");
    let chat = json!({"model": "app", "messages": [{"role": "user", "content": "hi"}]});
    let generate = json!({"model": "app", "prompt": "hi"});
    for (path, body) in [("/api/chat", chat), ("/api/generate", generate)] {
        let response = two.rig.post(path, &[], &body.to_string());
        let lines = lines(&response);
        let of = |line: &Value| {
            let said = line["message"]["content"].as_str().or(line["response"].as_str());
            said.unwrap_or_default().to_owned()
        };
        let said: String = lines.iter().map(of).collect();
        assert_eq!(said, "w0 w1 and so on", "{path}: {}", response.text());
        let end = lines.last().unwrap();
        assert_eq!((&end["done"], &end["done_reason"]), (&json!(true), &json!("stop")), "{path}");
        assert_eq!(end["eval_count"], 5, "{path}: {end}");
        assert_eq!(lines.iter().filter(|line| line["done"] == true).count(), 1);
    }
}

#[test]
fn a_gemini_client_sees_one_answer() {
    let two = two(Persona::LlamaCpp, "llamacpp");
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
    let path = "/v1beta/models/app:streamGenerateContent?alt=sse";
    let response = two.rig.post(path, &[], &body.to_string());
    let events = values(&response);
    let part = |event: &Value| {
        event["candidates"][0]["content"]["parts"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let said: String = events.iter().map(part).collect();
    assert_eq!(said, "w0 w1 and so on", "{}", response.text());
    let end = events.last().unwrap();
    assert_eq!(end["candidates"][0]["finishReason"], "STOP", "{end}");
    assert_eq!(end["usageMetadata"]["candidatesTokenCount"], 5, "{end}");
}

#[test]
fn what_holds_more_than_text_ends_in_the_dialects_own_error() {
    let two = two(Persona::LlamaCpp, "llamacpp");
    let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    let body = json!({"model": "app", "max_tokens": 50, "stream": true, "tools": tools,
        "messages": [{"role": "user", "content": "hi"}]});
    let response = two.rig.post("/v1/messages", &[], &body.to_string());
    assert!(response.text().contains("event: error"), "{}", response.text());
    assert!(!response.text().contains("message_stop") && two.other.inferences().is_empty());
}

/// The upstream that goes on speaks Messages: a second gateway, with a scripted engine behind it.
#[test]
fn an_anthropic_upstream_goes_on_from_an_assistants_turn() {
    let (own, engine) = (Fake::start(Persona::LlamaCpp), Fake::start(Persona::OpenAi));
    engine.always(Reply::tokens(&[" time", " ago"]));
    let far = two_arms(&engine.base_url(), &engine.base_url(), "0%");
    let far = Rig::start(&far.replace("\"app\"", "\"claude\""));
    let text = config(&own.base_url(), &format!("http://{}", far.address), "anthropic").replace(
        "model = \"fake-model\"\n[variants.small]",
        "model = \"claude\"\n[variants.small]",
    );
    let with = text.replace("model = \"claude\"\n", "model = \"claude\"\nprefill = true\n");
    let rig = Rig::start(&with);
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"model":"app","stream":true}"#;
    own.always(Reply::tokens(&["Once", " upon a", " b"]).and_then(2, Fault::Cut));
    let response = rig.chat(&[], body);
    let chunks = values(&response);
    let said = joined(chunks.iter().map(|c| c["choices"][0]["delta"]["content"].as_str()));
    assert_eq!(said, "Once upon a time ago", "{}", response.text());
    assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"));
    let asked = engine.inferences().pop().unwrap().json();
    let messages = asked["messages"].as_array().unwrap();
    let last = messages.last().unwrap();
    assert_eq!((&last["role"], &last["content"]), (&json!("assistant"), &json!("Once upon a")));
    assert_eq!(messages.len(), 2, "{asked}");
    // Anthropic refuses a beginning that ends in a space, and without it the words would run together.
    own.always(Reply::words(4).and_then(2, Fault::Cut));
    let before = engine.inferences().len();
    let response = rig.chat(&[], body);
    assert!(response.text().contains("stream_interrupted"), "{}", response.text());
    // Nor is a model asked of which nobody has said that it goes on.
    let rig = Rig::start(&text);
    own.always(Reply::tokens(&["Once", " upon a", " b"]).and_then(2, Fault::Cut));
    let response = rig.chat(&[], body);
    assert!(response.text().contains("stream_interrupted"), "{}", response.text());
    assert_eq!(engine.inferences().len(), before);
}

/// A stream of these choices, whose connection then breaks.
fn cut_after(choices: &[&str]) -> Reply {
    let mut bytes =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for choice in choices {
        let event = format!("data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{choice}]}}\n\n");
        bytes.extend(format!("{:x}\r\n{event}\r\n", event.len()).into_bytes());
    }
    Reply::fault(Fault::Raw(bytes))
}

/// A choice of one piece of text.
fn says(text: &str) -> String {
    format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}"#)
}

const CHAT: &str = r#"{"model":"app","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
const STOP: &str = r#"{"index":0,"delta":{},"finish_reason":"stop"}"#;

/// The rest of an answer that has ended was asked for: the client got a second answer behind it.
#[test]
fn an_answer_that_has_ended_is_whole_whatever_becomes_of_its_connection() {
    let two = two(Persona::LlamaCpp, "llamacpp");
    let last = r#"{"index":0,"delta":{"content":"42."},"finish_reason":"stop"}"#;
    let goes_on = config(&two.own.base_url(), &two.other.base_url(), "llamacpp");
    for text in [goes_on.clone(), goes_on.replace("\"continue\"", "\"terminate\"")] {
        let rig = Rig::start(&text);
        for choices in [&[&*says("42."), STOP][..], &[last]] {
            two.own.always(cut_after(choices));
            let response = rig.chat(&[], CHAT);
            let chunks = values(&response);
            let said = joined(chunks.iter().map(|c| c["choices"][0]["delta"]["content"].as_str()));
            assert_eq!(said, "42.", "{}", response.text());
            assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"));
            assert!(!response.text().contains("error"), "{}", response.text());
            let body = json!({"model": "app", "max_tokens": 50, "stream": true,
                "messages": [{"role": "user", "content": "hi"}]});
            let message = rig.post("/v1/messages", &[], &body.to_string());
            let end = values(&message).pop().unwrap();
            assert_eq!(end["type"], "message_stop", "{}", message.text());
        }
        let metrics = rig.metrics();
        let bad =
            |line: &&str| line.starts_with("cutover_requests_total") && !line.contains("\"ok\"");
        let bad: Vec<_> =
            metrics.lines().filter(bad).filter(|line| !line.ends_with(" 0")).collect();
        assert!(bad.is_empty(), "{bad:?}");
    }
    // So it is where an error follows, and there is no rest to be asked for either.
    let error = r#"],"error":{"message":"x"},"more":["#;
    two.own.always(cut_after(&[&says("42."), STOP, error]));
    let response = two.rig.chat(&[], CHAT);
    assert!(response.text().ends_with("data: [DONE]\n\n"), "{}", response.text());
    assert!(!response.text().contains("error"), "{}", response.text());
    assert!(two.other.inferences().is_empty(), "nothing is missing");
}

/// A client would have a call whose arguments are no JSON, and an end that says all is well.
#[test]
fn what_is_more_than_text_is_not_continued_though_no_tools_were_declared() {
    let two = two(Persona::LlamaCpp, "llamacpp");
    for more in [
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"a"}}]}"#,
        r#"{"function_call":{"name":"f","arguments":"{\"a"}}"#,
        r#"{"refusal":"I"}"#,
        r#"{"reasoning_content":"hm"}"#,
    ] {
        let more = format!(r#"{{"index":0,"delta":{more},"finish_reason":null}}"#);
        two.own.always(cut_after(&[&says("Let me"), &more]));
        let response = two.rig.chat(&[], CHAT);
        assert!(response.text().contains("stream_interrupted"), "{more}: {}", response.text());
        assert!(!response.text().contains("[DONE]"), "{more}");
    }
    assert!(two.other.inferences().is_empty());
}

/// A server that counts in UTF-16 units sends an emoji in two halves. The baseline was asked to go on from nothing.
#[test]
fn an_answer_is_continued_from_each_of_its_characters_or_not_at_all() {
    let two = two(Persona::LlamaCpp, "llamacpp");
    let halves = [&*says("a\\ud83d"), &*says("\\ude00b")];
    two.own.always(cut_after(&halves));
    let response = two.rig.chat(&[], CHAT);
    assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"), "{}", response.text());
    let asked = two.other.inferences().pop().unwrap().json();
    let last = asked["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(last["content"], "a😀b", "{asked}");
    let before = two.other.inferences().len();
    two.own.always(cut_after(&halves[..1]));
    let response = two.rig.chat(&[], CHAT);
    assert!(response.text().contains("stream_interrupted"), "{}", response.text());
    assert_eq!(two.other.inferences().len(), before);
    // Clients of another dialect get the character, too.
    two.own.always(cut_after(&[halves[0], halves[1], STOP]));
    let body = json!({"model": "app", "messages": [{"role": "user", "content": "hi"}]});
    let response = two.rig.post("/api/chat", &[], &body.to_string());
    let said = lines(&response);
    assert_eq!(joined(said.iter().map(|line| line["message"]["content"].as_str())), "a😀b");
}

/// It rests for long.
fn rests(health: &Health) {
    (0..14).for_each(|_| health.failed(Millis(u64::MAX >> 16), now()));
}

/// It has refused a request as one too many.
fn is_full(health: &Health) {
    health.was_full((now(), 0), Some(20_000));
}

/// A candidate of two instances, the first of which breaks off. Says what the client saw of a stream while the second
/// is as the first function says, and the baseline as the other does.
fn said_beside(
    [first, second, other]: [&Fake; 3],
    [of_second, of_other]: [fn(&Health); 2],
) -> (Rig, String) {
    first.always(Reply::words(4).and_then(2, Fault::Cut));
    let own = Arm::small(engines("llamacpp", &[first, second]));
    let arms = [Arm::big(service("llamacpp", &other.base_url())), own];
    let more = format!("{BY_UNIT}weight = \"100%\"\non_interrupt = \"continue\"");
    let rig = Rig::start(&format!("default_upstream = \"cloud\"\n{}", docs_on(&arms, &more)));
    for (upstream, at, make) in [("own", 1, of_second), ("cloud", 0, of_other)] {
        let live = rig.gateway.live();
        let lane = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == upstream).unwrap();
        make(&lane.upstream.instances[at].health);
    }
    let response = rig.chat(&[], CHAT);
    let chunks = values(&response);
    let said = joined(chunks.iter().map(|c| c["choices"][0]["delta"]["content"].as_str()));
    let is_whole = response.events().last().map(String::as_str) == Some("[DONE]");
    (rig, if is_whole { said } else { format!("{said}...") })
}

/// As long as one engine of two was out of order the other one's streams ended where they broke off.
#[test]
fn the_rest_is_asked_of_one_that_can_serve_before_one_that_cannot_or_is_full() {
    let fakes = [(); 3].map(|()| Fake::start(Persona::LlamaCpp));
    let [first, second, other] = &fakes;
    second.always(Reply::tokens(&["and", " back"]));
    other.always(Reply::tokens(&["and", " so", " on"]));
    for how in [rests as fn(&Health), is_full] {
        let before = second.inferences().len();
        let (_rig, said) = said_beside([first, second, other], [how, |_| {}]);
        assert_eq!((said.as_str(), second.inferences().len()), ("w0 w1 and so on", before));
        // Of equals the one with the same model.
        let before = other.inferences().len();
        let (_rig, said) = said_beside([first, second, other], [how, how]);
        assert_eq!((said.as_str(), other.inferences().len()), ("w0 w1 and back", before));
    }
}

/// Nobody else was asked, and nothing of the rest was shown.
#[test]
fn where_one_refuses_to_go_on_the_next_is_asked() {
    let fakes = [(); 3].map(|()| Fake::start(Persona::LlamaCpp));
    let [first, second, other] = &fakes;
    for (status, how) in [(500, rests as fn(&Health)), (503, is_full), (400, is_full)] {
        second.always(Reply::fault(Fault::status(status)));
        other.always(Reply::tokens(&["and", " so", " on"]));
        let before = second.inferences().len();
        let (rig, said) = said_beside([first, second, other], [how, how]);
        assert_eq!(said, "w0 w1 and so on", "{status}");
        assert_eq!(second.inferences().len(), before + 1, "{status}");
        let of = |name: &str| {
            let metrics = rig.metrics();
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            let figures = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            figures.sum::<u64>()
        };
        until("each attempt is counted", || of("cutover_attempts_total{") == 3);
        assert_eq!(of("cutover_streams_continued_total{upstream=\"cloud\""), 1);
        // It was taken over from the one whose stream broke.
        let from = "cutover_failovers_total{upstream=\"own\",upstream_instance=\"own/0\"";
        assert_eq!((of(from), of("cutover_failovers_total{")), (1, 1));
        // Nor does the last.
        other.always(Reply::fault(Fault::status(500)));
        let (rig, said) = said_beside([first, second, other], [how, how]);
        assert_eq!(said, "w0 w1 ...", "{status}");
        let series = "cutover_attempts_total{upstream=\"cloud\"";
        assert!(rig.metrics().lines().any(|line| line.starts_with(series)), "it was asked");
    }
}

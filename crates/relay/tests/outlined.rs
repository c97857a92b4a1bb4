//! A request that is passed as its client wrote it leaves alike, whether it was outlined or converted first.

#![expect(clippy::panic, clippy::expect_used, reason = "a failed expect is a failed test")]

use bytes::Bytes;
use cutover_dialects::{Ask, RequestFacts, find};
use cutover_relay::{Conversion, Own, Read, Reading, outlined, read_foreign};
use cutover_units::Millis;
use cutover_wire::{Head, Outgoing, Provider, Target, VariantSettings};

const GEMINI: &str = "/v1beta/models/gemini-3-pro:generateContent";

/// Conversations with calls, results and earlier reasoning, and settings of every kind.
const BODIES: [(&str, &str, &str); 4] = [
    (
        "/v1/messages",
        "anthropic",
        r#"{"model":"asked","max_tokens":9,"stream":true,"system":"s","metadata":{"user_id":"u"},
        "tools":[{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"hi"},
        {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"AB"},
        {"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result",
        "tool_use_id":"a","content":"r"}]}]}"#,
    ),
    (
        "/v1/responses",
        "openai",
        r#"{"model":"gpt-5.5","store":true,"instructions":"s","max_output_tokens":9,"tools":[{"type":"function","name":"f"}],
        "input":[{"role":"user","content":"hi"},{"type":"reasoning","summary":[]},{"type":"function_call",
        "call_id":"a","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"a","output":"r"}]}"#,
    ),
    (
        "/api/chat",
        "ollama",
        r#"{"model":"asked","stream":false,"options":{"num_ctx":9,"num_predict":5},"keep_alive":1,
        "tools":[{"type":"function","function":{"name":"f"}}],"messages":[
        {"role":"user","content":"\u00e9\n\n\n  \"x\" and a longer text  \\ to be counted \ud83d\ude00 \n\\"},
        {"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},
        {"role":"tool","tool_name":"f","content":"\\\\ \/"}]}"#,
    ),
    (
        GEMINI,
        "gemini",
        r#"{"systemInstruction":{"parts":[{"text":"s"}]},"generation_config":{"maxOutputTokens":9},
        "contents":[{"parts":[{"text":"cutover"}]},{"role":"model","parts":[{"functionCall":{"name":"f"},
        "thoughtSignature":"AB"}]},{"parts":[{"functionResponse":{"name":"f","response":{"output":"r"}}}]}]}"#,
    ),
];

fn route(path: &'static str) -> (cutover_dialects::Found<'static>, Read) {
    let Some(Ok(found)) = find("POST", path) else { panic!("{path} is no route") };
    let Ask::Read(read) = found.ask else { panic!("{path} reads no body") };
    (found, read)
}

fn facts(path: &'static str) -> RequestFacts<'static> {
    let named = route(path).0.id;
    RequestFacts { named, keep_marks: true, ..RequestFacts::new("0a1b", Millis(1_795_250_530_040)) }
}

fn targets(provider: &str) -> [Target; 2] {
    let plain = Target::untouched(Provider::by_name(provider).expect("a provider"));
    let settings = VariantSettings {
        temperature: Some(0.5),
        max_tokens: Some(7),
        seed: Some(3),
        ..VariantSettings::default()
    };
    let other = Some("gemini-3-flash".into());
    [plain.clone(), Target { model: other, mint: true, settings, ..plain }]
}

fn shown(sent: &Outgoing) -> String {
    let body = String::from_utf8(sent.body.concat()).expect("text");
    format!("{} {body} {:?} {:?}", sent.path, sent.losses, sent.reply)
}

#[test]
fn what_is_known_of_a_body_changes_nothing_of_what_is_sent() {
    for (path, provider, body) in BODIES {
        let (found, read) = route(path);
        let body = Bytes::from_static(body.as_bytes());
        let own = Own::of(found.dialect, (found.method, ""), &body).expect("its own words");
        let outline = found.outline.expect("it is outlined");
        let (form, known, _) = outlined((&own, outline), &facts(path)).expect("a usual request");
        let Ok(Reading::Infer(whole)) = read_foreign(found.dialect, &read, &body, facts(path))
        else {
            panic!("{path} is converted")
        };
        for target in targets(provider) {
            let sent = |own: &Own, form: (&Head, &Bytes)| {
                own.adapted(form, &target).map(|sent| shown(&sent.expect("it passes")))
            };
            let converted = sent(&own, (&whole.0.head, &whole.0.body));
            let quick = sent(&known, (&form.head, &form.body));
            assert!(quick.is_some(), "{path} passes");
            // Of a body that is not known its mere words may be taken for what must be mended.
            assert!(converted.is_none() || converted == quick, "{converted:?}\n{quick:?}");
        }
    }
}

#[test]
fn a_form_is_made_when_it_is_asked_for_and_not_again() {
    for (path, _, body) in BODIES {
        let (found, read) = route(path);
        let body = Bytes::from_static(body.as_bytes());
        let other = Target::untouched(Provider::by_name("vllm").expect("a provider"));
        let Ok(Reading::Infer(whole)) = read_foreign(found.dialect, &read, &body, facts(path))
        else {
            panic!("{path} is converted")
        };
        let mut chat = Conversion::later(found.dialect, (read, &body), &facts(path), Vec::new());
        assert_eq!((chat.refusal(), chat.never()), (None, None));
        let made = chat.form_for(&other).expect("it can be made").expect("it was not there");
        let main = chat.main().expect("it was made").expect("it is kept");
        assert_eq!(main.body, whole.0.body);
        assert!(std::ptr::eq(main, chat.main().expect("it was made").expect("it is kept")));
        assert!(made.head.stream_options_are_ours);
        assert_eq!(chat.refused_by(&other), None);
        chat.let_go();
        assert!(chat.main().expect("nothing is wrong").is_none(), "the prompt is not kept");
    }
}

/// The failure is the client's: told as one of its dialect, whenever it shows.
#[test]
fn what_cannot_be_converted_later_is_the_clients_mistake() {
    let path = "/v1/messages";
    let (found, read) = route(path);
    let body = Bytes::from_static(br#"{"model":"m","max_tokens":9,"messages":[{"role":"x"}]}"#);
    let chat = Conversion::later(found.dialect, (read, &body), &facts(path), Vec::new());
    let fault = chat.main().err().expect("it is wrong");
    assert_eq!((fault.code.status(), fault.param.as_deref()), (400, Some("messages[0].content")));
}

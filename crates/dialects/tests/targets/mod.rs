//! What the fuzz target `dialects` runs, and the properties it checks: a plain test runs the same over
//! mutated fixtures.

use bytes::Bytes;
use cutover_dialects::{Ask, Asked, DIALECTS, Inbound, Moment, RequestFacts, StreamOut};
use cutover_units::Millis;
use cutover_vendors::{Defaults, anthropic, gemini};
use cutover_wire::{Fault, Head, Unsupported};

/// Any bytes as a request in every dialect: refused as the client's fault, or a pivot that the rest of
/// cutover reads or refuses in its turn.
pub fn request(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for unsupported in [Unsupported::Strict, Unsupported::Lenient] {
        for inbound in inbounds(&body, unsupported) {
            let _ = Head::read(inbound.endpoint, &inbound.body);
            let text: Result<serde_json::Value, _> = serde_json::from_slice(&inbound.body);
            assert!(text.is_ok(), "a pivot is JSON");
            outbound(&inbound.body, unsupported);
        }
        outbound(data, unsupported);
    }
}

/// A chat request, or none, to each target that speaks no chat.
fn outbound(body: &[u8], unsupported: Unsupported) {
    let defaults = Defaults::default();
    let anthropics = anthropic::request(body, unsupported, &defaults);
    for sent in [anthropics, gemini::request(body, unsupported)].into_iter().flatten() {
        let text: Result<serde_json::Value, _> = serde_json::from_slice(&sent.body);
        assert!(text.is_ok(), "a request is JSON");
    }
}

fn inbounds(body: &Bytes, unsupported: Unsupported) -> Vec<Inbound> {
    let facts = RequestFacts {
        unsupported,
        keep_reasoning: true,
        storage: true,
        named: Some("m"),
        events: true,
        ..RequestFacts::new("f", Millis(0))
    };
    let mut inbounds = Vec::new();
    for route in DIALECTS.iter().flat_map(|dialect| dialect.routes) {
        let Ask::Read(read) = route.ask else { continue };
        match read(body, &facts) {
            Ok(Asked::Infer(inbound)) => inbounds.push(*inbound),
            Ok(Asked::Now(_)) => {}
            Err(fault) => assert!(fault.code.status() < 500, "the client's fault: {fault}"),
        }
    }
    inbounds
}

/// A request of each dialect, for answers to go back to.
pub fn asked() -> Vec<Inbound> {
    const BODY: &[u8] = br#"{"model":"m","max_tokens":9,"prompt":"a","input":"a","messages":[{"role":"user","content":"a"}],"contents":[{"parts":[{"text":"a"}]}],"content":{"parts":[{"text":"a"}]},"requests":[{"content":{"parts":[{"text":"a"}]}}],"tools":[{"type":"custom","name":"c","input_schema":{}}]}"#;
    // All dialects read the one body (what is a message to one is no field to another), but for
    // Responses, where a prompt is something else.
    const RESPONSES: &[u8] = br#"{"model":"m","input":"a","tools":[{"type":"custom","name":"c"}]}"#;
    let mut inbounds = inbounds_of(BODY);
    inbounds.extend(inbounds_of(RESPONSES));
    assert_eq!(inbounds.len(), 11, "each route that runs something, and embed twice");
    inbounds
}

fn inbounds_of(body: &'static [u8]) -> Vec<Inbound> {
    inbounds(&Bytes::from_static(body), Unsupported::Lenient)
}

/// Any bytes as an answer and as a stream: no panic, JSON out, and the same however it is cut.
pub fn answer(data: &[u8]) {
    for inbound in asked() {
        if let Ok(answer) = inbound.way_back.reply(data, Moment::default()) {
            let text: Result<serde_json::Value, _> = serde_json::from_slice(&answer.body);
            assert!(text.is_ok(), "an answer is JSON");
        }
        let (mut whole, mut bytes) = (inbound.way_back.stream(), Vec::new());
        drive(&mut whole, &[data], &mut bytes);
        assert!(whole.is_over());
    }
    for (first, second) in asked().into_iter().zip(asked()) {
        let (mut whole, mut cut) = (Vec::new(), Vec::new());
        drive(&mut first.way_back.stream(), &[data], &mut whole);
        let bytes: Vec<&[u8]> = data.chunks(1).collect();
        drive(&mut second.way_back.stream(), &bytes, &mut cut);
        assert_eq!(whole, cut, "the same however it is cut");
    }
    converted(&anthropic::answer(data, Millis(0)).map(|turned| turned.body));
    converted(&gemini::answer(data, Millis(0)).map(|turned| turned.body));
    let _ = (anthropic::error(500, data), gemini::error(500, data));
    through(data, &|| Box::new(anthropic::EventsIn::new(Millis(0))));
    through(data, &|| Box::new(gemini::EventsIn::new(Millis(0))));
}

fn converted(answer: &Result<Bytes, Fault>) {
    let Ok(body) = answer else { return };
    let text: Result<serde_json::Value, _> = serde_json::from_slice(body);
    assert!(text.is_ok(), "an answer in chat's form is JSON");
    // From any vendor to any client.
    for inbound in asked() {
        if let Ok(answer) = inbound.way_back.reply(body, Moment::default()) {
            let text: Result<serde_json::Value, _> = serde_json::from_slice(&answer.body);
            assert!(text.is_ok(), "an answer is JSON");
        }
    }
}

/// A vendor's stream on its way to chat.
pub trait Events {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Bytes>);
    fn finish(&mut self, out: &mut Vec<Bytes>);
}

impl Events for anthropic::EventsIn {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Bytes>) {
        self.push(bytes, out);
    }
    fn finish(&mut self, out: &mut Vec<Bytes>) {
        self.finish(out);
    }
}

impl Events for gemini::EventsIn {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Bytes>) {
        self.push(bytes, out);
    }
    fn finish(&mut self, out: &mut Vec<Bytes>) {
        self.finish(out);
    }
}

/// A vendor's stream to chat, whole and cut at each byte, and on to every client.
fn through(data: &[u8], start: &dyn Fn() -> Box<dyn Events>) {
    let convert = |frames: &[&[u8]]| {
        let (mut events, mut out) = (start(), Vec::new());
        for frame in frames {
            events.push(Bytes::copy_from_slice(frame), &mut out);
        }
        events.finish(&mut out);
        out.concat()
    };
    let whole = convert(&[data]);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(whole, convert(&bytes), "the same however it is cut");
    for inbound in asked() {
        drive(&mut inbound.way_back.stream(), &[&whole], &mut Vec::new());
    }
}

/// A stream to a client, of these pieces.
pub fn drive(stream: &mut StreamOut, frames: &[&[u8]], out: &mut Vec<u8>) {
    let mut pieces = Vec::new();
    for frame in frames {
        stream.push(Bytes::copy_from_slice(frame), Moment::default(), &mut pieces);
    }
    stream.finish(Moment::default(), &mut pieces);
    out.extend(pieces.concat());
}

//! What is counted. Each case is made once and then runs as often as wanted.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use cutover_dialects::{Ask, Asked, Moment, RequestFacts, find};
use cutover_relay::{Own, outlined};
use cutover_route::balance::{Board, Draw, Lineup, Peer, Policy, Room, mix};
use cutover_route::{
    Ask as Question, Caller, Draft, Matcher, Snapshot, UnitSource, UseCase, Variant, VariantIx,
};
use cutover_units::{Micros, Millis, UpstreamName, UseCaseName, VariantName, WeightBp};
use cutover_vendors::Defaults;
use cutover_vendors::anthropic::{self, EventsIn};
use cutover_wire::adapt::adapt;
use cutover_wire::providers::{PROVIDERS, Provider};
use cutover_wire::reply::{Received, read_reply};
use cutover_wire::stream::{Limits, Tap};
use cutover_wire::{Endpoint, Head, Mint, Target, Unsupported};

use crate::bodies;

/// A case by its name.
pub struct Case {
    /// `what/variation`.
    pub name: &'static str,
    make: fn() -> Box<dyn FnMut()>,
}

macro_rules! cases {
    ($($name:literal => $make:expr;)+) => {
        /// All of them.
        pub const CASES: &[Case] = &[$(Case { name: $name, make: || $make }),+];
    };
}

const KB: usize = 1_000;
const MB: usize = 1_000 * KB;

cases! {
    "decide/1 use case" => decide(1);
    "decide/50 use cases" => decide(50);
    "pick/4 least-latency" => pick("least-latency", 4);
    "pick/4 least-outstanding" => pick("least-outstanding", 4);
    "pick/4 round-robin" => pick("round-robin", 4);
    "pick/4 session" => pick("session", 4);
    "pick/4 model-aware" => pick("model-aware", 4);
    "pick/4 prefix-affine" => pick("prefix-affine", 4);
    "pick/64 least-latency" => pick("least-latency", 64);
    "pick/64 least-latency, slots told" => pick_by("least-latency", 64, (TOLD, |_| 8));
    "pick/64 least-latency, unequal slots told" => pick_by("least-latency", 64, (TOLD, |at| if at % 8 == 1 { 1 } else { 8 }));
    "pick/64 least-outstanding" => pick("least-outstanding", 64);
    "pick/64 least-outstanding, slots told" => pick_by("least-outstanding", 64, (TOLD, |_| 8));
    "pick/64 least-outstanding, unequal slots told" => pick_by("least-outstanding", 64, (TOLD, |at| if at % 8 == 1 { 1 } else { 8 }));
    "pick/64 round-robin" => pick("round-robin", 64);
    "pick/64 round-robin, slots told" => pick_by("round-robin", 64, (TOLD, |_| 8));
    "pick/64 round-robin, unequal slots told" => pick_by("round-robin", 64, (TOLD, |at| if at % 8 == 1 { 1 } else { 8 }));
    "pick/64 session" => pick("session", 64);
    "pick/64 session, slots told" => pick_by("session", 64, (TOLD, |_| 8));
    "pick/64 session, unequal slots told" => pick_by("session", 64, (TOLD, |at| if at % 8 == 1 { 1 } else { 8 }));
    "pick/64 model-aware" => pick("model-aware", 64);
    "pick/64 model-aware, slots told" => pick_by("model-aware", 64, (TOLD, |_| 8));
    "pick/64 model-aware, unequal slots told" => pick_by("model-aware", 64, (TOLD, |at| if at % 8 == 1 { 1 } else { 8 }));
    "pick/64 prefix-affine" => pick("prefix-affine", 64);
    "pick/64 prefix-affine, slots told" => pick_by("prefix-affine", 64, (TOLD, |_| 8));
    "pick/64 prefix-affine, unequal slots told" => pick_by("prefix-affine", 64, (TOLD, |at| if at % 8 == 1 { 1 } else { 8 }));
    "head/1 kB" => head(KB);
    "head/40 kB" => head(40 * KB);
    "head/4 MB" => head(4 * MB);
    "hop as it is/1 kB" => hop(KB, false);
    "hop as it is/40 kB" => hop(40 * KB, false);
    "hop renamed, minted/1 kB" => hop(KB, true);
    "hop renamed, minted/40 kB" => hop(40 * KB, true);
    "stream chunk as it is" => chunk(false);
    "stream chunk renamed, minted" => chunk(true);
    "anthropic to anthropic/1 kB" => own("/v1/messages", bodies::anthropic(KB));
    "anthropic to anthropic/40 kB" => own("/v1/messages", bodies::anthropic(40 * KB));
    "gemini to gemini/1 kB" => own(GEMINI, bodies::gemini(KB));
    "gemini to gemini/40 kB" => own(GEMINI, bodies::gemini(40 * KB));
    "ollama to ollama/1 kB" => own("/api/chat", bodies::ollama(KB));
    "ollama to ollama/40 kB" => own("/api/chat", bodies::ollama(40 * KB));
    "responses to responses/1 kB" => own("/v1/responses", bodies::responses(KB));
    "responses to responses/40 kB" => own("/v1/responses", bodies::responses(40 * KB));
    "anthropic to chat/1 kB" => ingress("/v1/messages", bodies::anthropic(KB));
    "anthropic to chat/40 kB" => ingress("/v1/messages", bodies::anthropic(40 * KB));
    "anthropic to chat/4 MB" => ingress("/v1/messages", bodies::anthropic(4 * MB));
    "anthropic to chat/per chunk back" => back("/v1/messages", bodies::anthropic(KB));
    "responses to chat/1 kB" => ingress("/v1/responses", bodies::responses(KB));
    "responses to chat/40 kB" => ingress("/v1/responses", bodies::responses(40 * KB));
    "responses to chat/4 MB" => ingress("/v1/responses", bodies::responses(4 * MB));
    "responses to chat/per chunk back" => back("/v1/responses", bodies::responses(KB));
    "ollama to chat/1 kB" => ingress("/api/chat", bodies::ollama(KB));
    "ollama to chat/40 kB" => ingress("/api/chat", bodies::ollama(40 * KB));
    "ollama to chat/4 MB" => ingress("/api/chat", bodies::ollama(4 * MB));
    "ollama to chat/per chunk back" => back("/api/chat", bodies::ollama(KB));
    "chat to anthropic/1 kB" => egress(KB);
    "chat to anthropic/40 kB" => egress(40 * KB);
    "chat to anthropic/4 MB" => egress(4 * MB);
    "chat to anthropic/per chunk back" => events();
}

/// The case of this name.
pub fn named(name: &str) -> Box<dyn FnMut()> {
    let case = CASES.iter().find(|case| case.name == name).expect("a case of `counted list`");
    (case.make)()
}

fn provider(name: &str) -> &'static Provider {
    PROVIDERS.iter().find(|provider| provider.name == name).expect("a provider")
}

/// One of so many instances that are all well, with requests in flight and latencies that differ: on their
/// upstream's board, as the gateway picks, each bounded by its connections.
fn pick(policy: &str, count: usize) -> Box<dyn FnMut()> {
    pick_by(policy, count, (Room::from(1_024), |_| 0))
}

/// Each is bounded by the slots that its engine tells.
const TOLD: Room = Room { most: 1_024, told: true };

fn pick_by(
    policy: &str,
    count: usize,
    (room, slots): (Room, fn(usize) -> u32),
) -> Box<dyn FnMut()> {
    let policy = Policy::by_name(policy).expect("a policy");
    let board = Arc::new(Board::default());
    let posts: Vec<_> = (0..count).map(|_| Arc::new(board.post().expect("a post"))).collect();
    let mut seats = Vec::new();
    for (at, post) in posts.iter().enumerate() {
        seats.extend((0..at % 5).map(|_| post.sit()));
        post.set_latency_us(20_000 + at as u64 * 137);
        post.set_tells_models(true);
        post.set_warm(0, at % 3 != 1);
        post.tells_room(Some(slots(at)));
    }
    let ids = posts.into_iter().enumerate().map(|(at, post)| (post, mix(at as u64)));
    let lineup = Lineup::new(ids, room);
    let mut seed = 0u64;
    Box::new(move || {
        let _seats = &seats;
        seed += 1;
        let draw = Draw {
            seed: mix(seed),
            session: Some(mix(seed % 100)),
            prefix: Some(mix(seed % 40)),
            turn: seed as u32,
            ..Draw::default()
        };
        let look = |_: usize| -> Peer { unreachable!("all of them are well") };
        black_box(lineup.with(Some(0), look).pick(policy, black_box(&draw)));
    })
}

/// The last of these use cases matches, by a header; its unit is another header.
fn decide(count: usize) -> Box<dyn FnMut()> {
    let variant = |name: &str| Variant {
        name: VariantName::new(name).expect("a name"),
        upstream: UpstreamName::new("mock").expect("a name"),
        local: false,
    };
    let use_case = |n: usize| UseCase {
        name: UseCaseName::new(&format!("u{n}")).expect("a name"),
        matcher: Matcher {
            headers: vec![("x-use-case".to_owned(), format!("u{n}"))],
            ..Matcher::default()
        },
        unit: UnitSource::Header("x-customer".to_owned()),
        salt: format!("u{n}"),
        baseline: VariantIx(0),
        candidate: Some(VariantIx(1)),
        weight: WeightBp::new(2_500).expect("a weight"),
        shadow: WeightBp::default(),
        local_only: false,
        pilot: Vec::new(),
        excluded: Vec::new(),
        failover: true,
        priority_hint: false,
    };
    let snapshot = Snapshot::build(Draft {
        variants: vec![variant("cloud"), variant("own")],
        use_cases: (0..count).map(use_case).collect(),
        default: None,
    });
    let last = format!("u{}", count - 1);
    Box::new(move || {
        let header = |name: &str| match name {
            "x-use-case" => Some(last.as_str()),
            "x-customer" => Some("customer-4711"),
            _ => None,
        };
        let question = Question {
            model: "gpt-4o-mini",
            user: None,
            header: &header,
            metadata: &|_| None,
            caller: Caller::default(),
            use_case: None,
            priority: None,
            local_only: false,
            request_id: "req_1",
        };
        let decision = black_box(snapshot.decide(black_box(&question)));
        assert!(decision.use_case.is_some());
    })
}

fn read(body: &Bytes) -> Head {
    Head::read(Endpoint::ChatCompletions, body).unwrap_or_else(|_| panic!("a good request"))
}

fn head(size: usize) -> Box<dyn FnMut()> {
    let body = Bytes::from(bodies::chat(size));
    Box::new(move || drop(black_box(read(black_box(&body)))))
}

fn target(renamed: bool) -> Target {
    let target = Target::untouched(provider("openai-compatible"));
    if !renamed {
        return target;
    }
    Target { model: Some("llama-3.3-70b-instruct".into()), mint: true, ..target }
}

fn mint() -> Mint {
    Mint { id: "chatcmpl-0123456789abcdef".to_owned(), model: "gpt-4o-mini".into(), created: 1 }
}

/// Request and answer between services of the same dialect: all of it that is not HTTP.
fn hop(size: usize, renamed: bool) -> Box<dyn FnMut()> {
    let body = Bytes::from(bodies::chat(size));
    let answer = Bytes::from_static(bodies::ANSWER.as_bytes());
    let (target, mint) = (target(renamed), mint());
    Box::new(move || {
        let head = read(black_box(&body));
        let outgoing = adapt(&head, &body, &target).unwrap_or_else(|_| panic!("it fits"));
        black_box(&outgoing.body);
        let received = Received::new(200, answer.clone());
        let reply = read_reply(&outgoing.reply, &mint, received);
        drop(black_box(reply.unwrap_or_else(|_| panic!("a good answer"))));
    })
}

/// One event of a stream that has begun.
fn chunk(renamed: bool) -> Box<dyn FnMut()> {
    let stream = bodies::chat(KB).replacen('{', r#"{"stream":true,"#, 1);
    let body = Bytes::from(stream);
    let outgoing =
        adapt(&read(&body), &body, &target(renamed)).unwrap_or_else(|_| panic!("it fits"));
    let mut tap = Tap::new(outgoing.reply, mint(), Limits { event_bytes: MB });
    let mut out = Vec::new();
    let [first, event, _] = bodies::CHAT_EVENTS.map(|event| Bytes::from_static(event.as_bytes()));
    let _ = tap.push(first, &mut out);
    Box::new(move || {
        out.clear();
        assert!(tap.push(black_box(event.clone()), &mut out).is_ok());
        black_box(&out);
    })
}

fn asked(path: &str, body: &Bytes) -> Asked {
    let Some(Ok(found)) = find("POST", path) else { panic!("a route") };
    let Ask::Read(read) = found.ask else { panic!("a route with a body") };
    read(body, &facts(found.id)).unwrap_or_else(|fault| panic!("{fault}"))
}

fn facts(named: Option<&str>) -> RequestFacts<'_> {
    RequestFacts { named, ..RequestFacts::new("0a1b", Millis(1_795_250_530_040)) }
}

/// A request of another dialect becomes chat.
fn ingress(path: &'static str, body: String) -> Box<dyn FnMut()> {
    let body = Bytes::from(body);
    Box::new(move || drop(black_box(asked(path, black_box(&body)))))
}

const GEMINI: &str = "/v1beta/models/gemini-2.5-pro:generateContent";

/// A request for an upstream that speaks the client's dialect: outlined, and passed as it was written.
fn own(path: &'static str, body: String) -> Box<dyn FnMut()> {
    let body = Bytes::from(body);
    let Some(Ok(found)) = find("POST", path) else { panic!("a route") };
    let outline = found.outline.expect("a route whose requests are outlined");
    let name = if found.dialect.name == "responses" { "openai" } else { found.dialect.name };
    let target = Target { model: Some("another".into()), ..Target::untouched(provider(name)) };
    Box::new(move || {
        let facts = facts(found.id);
        let own =
            Own::of(found.dialect, (found.method, ""), black_box(&body)).expect("its own words");
        let (form, own, way_back) = outlined((&own, outline), &facts).expect("a usual request");
        let sent = own.adapted((&form.head, &form.body), &target);
        assert!(black_box(sent.expect("it passes")).is_ok());
        drop(black_box(way_back));
    })
}

/// One event of a chat stream becomes another dialect's.
fn back(path: &'static str, body: String) -> Box<dyn FnMut()> {
    let Asked::Infer(inbound) = asked(path, &Bytes::from(body)) else { panic!("to be run") };
    let mut stream = inbound.way_back.stream();
    let now = Moment { at: Millis(1_795_250_531_500), elapsed: Micros(1_460_000) };
    let mut out = Vec::new();
    let [first, event, _] = bodies::CHAT_EVENTS.map(|event| Bytes::from_static(event.as_bytes()));
    stream.push(first, now, &mut out);
    Box::new(move || {
        out.clear();
        stream.push(black_box(event.clone()), now, &mut out);
        assert!(!black_box(&out).is_empty());
    })
}

/// A chat request becomes Anthropic's.
fn egress(size: usize) -> Box<dyn FnMut()> {
    let body = bodies::chat(size);
    Box::new(move || {
        let defaults = Defaults::default();
        let sent = anthropic::request(black_box(body.as_bytes()), Unsupported::Lenient, &defaults);
        assert!(black_box(sent).is_ok());
    })
}

/// One event of an Anthropic stream becomes chat's.
fn events() -> Box<dyn FnMut()> {
    let mut events = EventsIn::new(Millis(1_795_250_530_000));
    let mut out = Vec::new();
    let [first, event] = bodies::ANTHROPIC_EVENTS.map(|event| Bytes::from_static(event.as_bytes()));
    events.push(first, &mut out);
    Box::new(move || {
        out.clear();
        events.push(black_box(event.clone()), &mut out);
        assert!(!black_box(&out).is_empty());
    })
}

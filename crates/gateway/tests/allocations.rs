//! Telling the controller of a request costs the request no allocation.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests: what cannot go on fails the test, and the gateway runs in real time"
)]

#[expect(dead_code, unused_imports, reason = "shared with the other tests")]
#[path = "it/harness/mod.rs"]
mod harness;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use cutover_gateway::{Doors, FEED_FIRST, Feed, Gateway, Parts};
use cutover_rollout::{Exposure, Served};
use cutover_telemetry::Registry;
use cutover_testkit::fake::{Fake, Persona};
use cutover_units::{Arm, Millis, NanoUsd, UseCaseName, WeightBp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

#[test]
fn recording_an_observation_allocates_nothing() {
    let exposure = Exposure {
        at: Millis(1),
        unit: 7,
        bucket: 9_999,
        arm: Arm::Candidate,
        share: WeightBp::ALL,
        random: true,
        client_ended: false,
        fell_back: true,
        leaked: false,
        excluded: false,
        served: Served {
            failed: true,
            invalid: Some(false),
            total_ms: 1,
            first_token_ms: Some(1),
            completion_tokens: Some(1),
            cost: Some(NanoUsd(1)),
        },
    };
    let feed = Feed::default();
    feed.watch();
    let counted = allocation_counter::measure(|| {
        // Up to and beyond the point where the queue is full.
        for _ in 0..FEED_FIRST + 10 {
            feed.push(std::hint::black_box(exposure));
        }
    });
    assert_eq!(counted.count_total, 0);
    let mut seen = Vec::new();
    assert_eq!((feed.drain(&mut seen), seen.len()), (10, FEED_FIRST));
}

/// The gateway and its client on this thread, so that all of a request's allocations are counted; the
/// upstream is on another.
struct Bench {
    runtime: Runtime,
    gateway: Gateway,
    client: TcpStream,
    _own: Fake,
}

impl Bench {
    fn start() -> Self {
        Self::with("", "")
    }

    /// With more in the candidate's upstream and in the use case.
    fn with(upstream: &str, use_case: &str) -> Self {
        let own = Fake::start(Persona::OpenAi);
        let config = harness::two_arms(&own.base_url(), &own.base_url(), "99.99%")
            .replace("[upstreams.own]", &format!("[upstreams.own]\n{upstream}"))
            + use_case;
        let registry = Registry::new();
        let gateway = Gateway::new(Parts {
            live: harness::build(&harness::checked(&config), None, (&registry, None)),
            clock: Arc::new(harness::now),
            records: None,
            feedback: None,
            answers: None,
            registry,
            id_prefix: 1,
            unit_key: [0; 16],
        });
        let doors = Doors {
            header_bytes_max: 8 * 1024,
            header_count_max: 32,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            connections_max: 8,
            drain_timeout: Duration::from_secs(1),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let serving = gateway.clone();
        let client = runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { serving.serve(listener, doors, pending()).await });
            TcpStream::connect(address).await.unwrap()
        });
        Self { runtime, gateway, client, _own: own }
    }

    /// Allocations of one request: the fewest of many, since a read that comes in two pieces, or a
    /// timer, may cost one more.
    fn allocations(&mut self) -> u64 {
        let body = harness::ask("app");
        let length = body.len();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-unit: u\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        let (runtime, client) = (&self.runtime, &mut self.client);
        let one = || {
            allocation_counter::measure(|| runtime.block_on(exchange(client, &request))).count_total
        };
        std::iter::repeat_with(one).take(200).min().unwrap()
    }
}

async fn exchange(client: &mut TcpStream, request: &str) {
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 8 * 1024];
    let mut filled = 0;
    while !is_whole(&answer[..filled]) {
        let read = client.read(&mut answer[filled..]).await.unwrap();
        assert!(read > 0, "the answer ends early");
        filled += read;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

fn is_whole(answer: &[u8]) -> bool {
    let text = std::str::from_utf8(answer).unwrap();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() == length.unwrap().parse::<usize>().unwrap()
}

#[test]
fn a_watched_request_allocates_no_more_than_another() {
    let mut bench = Bench::start();
    let unwatched = bench.allocations();
    let feed = bench.gateway.feed(&UseCaseName::new("docs").unwrap()).unwrap();
    feed.watch();
    let watched = bench.allocations();
    assert_eq!(watched, unwatched);
    let mut seen = Vec::new();
    assert_eq!((feed.drain(&mut seen), seen.len()), (0, 200));
    println!("allocations of a request, client and gateway together: {watched}");
}

#[test]
fn a_line_that_nobody_waits_in_allocates_nothing() {
    let without = Bench::start().allocations();
    let line = "in_flight_limit = 64\nqueue = { first_token = \"10 s\" }";
    let with = Bench::with(line, "overflow = {}\n").allocations();
    assert_eq!(with, without);
}

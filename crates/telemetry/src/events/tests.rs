use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;

use cutover_units::{Arm, Code, Micros, Millis};

use super::limits::BURST;
use super::*;
use crate::{Format, Registry, families, log};

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Paper {
    type Writer = Self;
    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn all() -> Targets {
    Targets::new().with_default(tracing::Level::TRACE)
}

fn served() -> Served<'static> {
    Served {
        request_id: "r-1",
        use_case: "statements",
        arm: Arm::Candidate,
        variant: "qwen",
        upstream: "gpus",
        instance: "gpus/0",
    }
}

fn failed(code: Code, at: u64) -> RequestFailed<'static> {
    let total = Micros(1_200);
    RequestFailed { served: served(), code, status: None, attempts: 2, total, at: Millis(at) }
}

#[test]
fn one_emit_writes_the_line_and_counts_the_metric() {
    let (paper, registry) = (Paper::default(), Registry::new());
    tracing::subscriber::with_default(log::json(all(), paper.clone()), || {
        failed(Code::BadGateway, 5_000).emit(&registry);
    });
    let line = paper.text();
    for part in [
        "\"level\":\"WARN\"",
        "\"message\":\"request failed\"",
        "\"request_id\":\"r-1\"",
        "\"arm\":\"candidate\"",
        "\"code\":\"bad_gateway\"",
        "\"status\":502",
        "\"attempts\":2",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let text = registry.render(Format::Text);
    let series = "{use_case=\"statements\",arm=\"candidate\",code=\"bad_gateway\"} 1\n";
    assert!(text.contains(series), "{text}");
}

#[test]
fn the_level_says_who_must_act() {
    let cases = [
        (Code::InvalidJson, "INFO"),
        (Code::UpstreamTimeout, "WARN"),
        (Code::ShuttingDown, "WARN"),
        (Code::UpstreamAuth, "ERROR"),
        (Code::Internal, "ERROR"),
    ];
    for (code, level) in cases {
        let (paper, registry) = (Paper::default(), Registry::new());
        tracing::subscriber::with_default(log::text(all(), paper.clone(), false), || {
            failed(code, 0).emit(&registry);
        });
        assert!(paper.text().contains(level), "{code:?}: {}", paper.text());
    }
}

#[test]
fn a_flood_is_counted_in_full_and_logged_in_part() {
    let (paper, registry) = (Paper::default(), Registry::new());
    tracing::subscriber::with_default(log::json(all(), paper.clone()), || {
        (0..500).for_each(|_| failed(Code::BadGateway, 5_000).emit(&registry));
        failed(Code::BadGateway, 6_000).emit(&registry);
    });
    let text = paper.text();
    assert_eq!(text.lines().count(), BURST as usize + 1);
    assert!(text.lines().last().unwrap().contains("\"lines_left_out\":480"), "{text}");
    let labels = ["statements", "candidate", "bad_gateway"];
    assert_eq!(registry.counter(families::ERRORS, labels).get(), 501);
}

/// The burst ended, and no line of its kind came any more that could have said what was left out.
#[test]
fn what_was_left_out_is_told_and_counted_also_when_nothing_follows() {
    let (paper, registry) = (Paper::default(), Registry::new());
    let counted = || registry.counter(families::LOG_LINES_LEFT_OUT, ["request_failed"]).get();
    tracing::subscriber::with_default(log::json(all(), paper.clone()), || {
        (0..100).for_each(|_| failed(Code::BadGateway, 1_000).emit(&registry));
        registry.tell_left_out(Millis(1_500));
        assert_eq!(paper.text().lines().count(), BURST as usize, "its window is not over");
        registry.tell_left_out(Millis(2_000));
        registry.tell_left_out(Millis(3_000));
    });
    let text = paper.text();
    assert_eq!(text.lines().count(), BURST as usize + 1);
    let last = text.lines().last().unwrap();
    assert!(
        last.contains("\"event\":\"request_failed\"") && last.contains("\"lines_left_out\":80"),
        "{last}"
    );
    assert_eq!(counted(), 80);
}

#[test]
fn why_an_attempt_failed_is_a_line_at_the_level_of_who_is_to_blame() {
    let (paper, registry) = (Paper::default(), Registry::new());
    let said =
        UpstreamSaid {
            kind: Some("rate_limit_error"), code: None, message: Some("rate limit …")
        };
    let event = |by_client| AttemptFailed {
        served: served(),
        reason: "rate_limited",
        by_client,
        status: Some(429),
        why: (!by_client).then_some("gpu-1:443: the TLS handshake failed: unknown issuer"),
        said: by_client.then_some(said),
        at: Millis(5),
    };
    tracing::subscriber::with_default(log::json(all(), paper.clone()), || {
        event(false).emit(&registry);
        event(true).emit(&registry);
    });
    let text = paper.text();
    let lines: Vec<_> = text.lines().collect();
    let [upstreams, clients] = lines[..] else { panic!("{text}") };
    for part in ["\"level\":\"WARN\"", "gpu-1:443: the TLS handshake failed: unknown issuer", "429"]
    {
        assert!(upstreams.contains(part), "{part}: {text}");
    }
    for part in [
        "\"level\":\"INFO\"",
        "\"upstream_type\":\"rate_limit_error\"",
        "\"upstream_message\":\"rate limit …\"",
        "429",
        "r-1",
    ] {
        assert!(clients.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("upstream_code"), "{text}");
}

#[test]
fn a_wrong_key_tried_all_day_writes_one_line_a_window() {
    let (paper, registry) = (Paper::default(), Registry::new());
    let peer = std::net::IpAddr::from([203, 0, 113, 9]);
    tracing::subscriber::with_default(log::json(all(), paper.clone()), || {
        for at in (0..30_000).step_by(10) {
            AuthFailed { listener: "client", reason: "unknown", peer, at: Millis(at) }
                .emit(&registry);
        }
    });
    assert_eq!(paper.text().lines().count(), 3);
    assert_eq!(registry.counter(families::AUTH_FAILURES, ["client", "unknown"]).get(), 3_000);
}

#[test]
fn who_is_not_let_in_writes_one_line_a_window_whatever_is_wrong() {
    let (paper, registry) = (Paper::default(), Registry::new());
    let peer = std::net::IpAddr::from([203, 0, 113, 9]);
    tracing::subscriber::with_default(log::json(all(), paper.clone()), || {
        for at in (0..30_000).step_by(10) {
            AuthFailed { listener: "client", reason: "unknown", peer, at: Millis(at) }
                .emit(&registry);
            failed(Code::MalformedHttp, at).emit_of_stranger(&registry);
        }
    });
    assert_eq!(paper.text().lines().count(), 3);
    let labels = ["statements", "candidate", "malformed_http"];
    assert_eq!(registry.counter(families::ERRORS, labels).get(), 3_000);
}

#[test]
fn words_of_others_cannot_begin_a_line_of_their_own() {
    let (paper, registry) = (Paper::default(), Registry::new());
    let event = RolledBack {
        use_case: "statements",
        actor: "admin",
        reason: "bad\n2026-01-01T00:00:00Z ERROR forged \u{1b}[31m",
        held: true,
    };
    tracing::subscriber::with_default(log::text(all(), paper.clone(), false), || {
        event.emit(&registry);
    });
    let text = paper.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_rollback_that_would_not_survive_a_restart_is_an_error() {
    let (paper, registry) = (Paper::default(), Registry::new());
    registry.gauge(families::WEIGHT, ["a"]).set(2_500);
    tracing::subscriber::with_default(log::json(all(), paper.clone()), || {
        RolledBack { use_case: "a", actor: "x", reason: "", held: false }.emit(&registry);
    });
    assert!(paper.text().contains("ERROR"));
    assert_eq!(registry.gauge(families::WEIGHT, ["a"]).get(), 0);
}

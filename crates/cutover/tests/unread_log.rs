//! An error stream that nobody reads: a log driver that hangs, a pipe whose other end sleeps.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::{BufRead, BufReader, Read};

use cutover_testkit::program::{Program, Setup};
use cutover_testkit::raw::exchange;
use cutover_testkit::wait;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");
const LEFT_OUT: &str = "cutover_log_lines_left_out_total{event=\"error_stream\"}";

/// Its upstream is away, and everything is logged: each request writes a page.
const CONFIG: &str = r#"
[upstreams.one]
provider = "openai-compatible"
instances = ["http://127.0.0.1:1/v1"]
models = ["m"]
[log]
access = true
level = "trace"
"#;

/// Asks until more was logged than the queue holds. Every request is answered.
fn fill(program: &Program) {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    wait::until("more lines than fit", || {
        let answer = exchange(program.url(), "POST /v1/chat/completions", &[], body).unwrap();
        // 503 while the instance rests after its failures.
        assert!(matches!(answer.status, 502 | 503), "{}", answer.text());
        program.metrics().contains(LEFT_OUT)
    });
}

/// The workers that serve wrote the lines: once the pipe was full, nobody was answered any more, and
/// SIGTERM had no effect.
#[test]
fn a_reader_who_stops_holds_up_no_answer_and_no_end() {
    let (mut unread, pipe) = std::io::pipe().unwrap();
    let mut program = Setup::new(BINARY, CONFIG).errors_to(pipe).start();
    fill(&program);
    assert_eq!(exchange(program.url(), "GET /health", &[], "").unwrap().status, 200);
    assert!(program.ok(&["status"]).contains("config"));
    assert_eq!(program.terminate(), Some(0));
    drop(program);
    let mut kept = Vec::new();
    unread.read_to_end(&mut kept).unwrap();
    assert!(kept.len() >= 4_096, "{}", kept.len());
}

#[test]
fn what_was_left_out_is_told_when_the_lines_are_read_again() {
    let (unread, pipe) = std::io::pipe().unwrap();
    let mut program = Setup::new(BINARY, CONFIG).errors_to(pipe).start();
    fill(&program);
    let told = BufReader::new(unread).lines().map(Result::unwrap).find(|line| {
        line.contains("log lines left out") && line.contains("event=\"error_stream\"")
    });
    let lines = told.unwrap().split_once("lines_left_out=").unwrap().1.parse::<u64>().unwrap();
    assert!(lines > 0);
    program.kill();
}

//! What large request bodies hold is the kernel's again once their clients have gone.

#![expect(clippy::expect_used, reason = "a test")]
#![cfg(target_os = "linux")]

use std::fs;

use cutover_testkit::fake::{Fake, Persona};
use cutover_testkit::program::Program;
use cutover_testkit::raw::Raw;
use cutover_testkit::wait::until;

const CLIENTS: usize = 8;
const BODY: usize = 20_000_000;

fn resident(program: &Program) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    line.split_whitespace().next().expect("a number").parse::<usize>().expect("a number") * 1024
}

/// The allocator kept them: 898 MB of thirty clients, hundreds of which stayed for as long as nobody asked.
#[test]
fn bodies_that_were_left_are_not_resident() {
    let fake = Fake::start(Persona::OpenAi);
    let config = format!(
        "default_upstream = \"own\"\n[upstreams.own]\nprovider = \"openai-compatible\"\nbase_url = {:?}\n",
        fake.base_url()
    );
    let program = Program::start(env!("CARGO_BIN_EXE_cutover"), &config);
    let before = resident(&program);
    for _ in 0..3 {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut raw = Raw::open(program.url()).expect("a connection");
                raw.send(format!(
                    "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY}\r\n\r\n"
                ))
                .expect("sent");
                raw.send(vec![b' '; BODY - 1]).expect("sent");
                raw
            })
            .collect();
        until("they are held", || resident(&program) > before + CLIENTS * BODY / 10 * 9);
        drop(clients);
        until("they are given back", || resident(&program) < before + BODY);
    }
}

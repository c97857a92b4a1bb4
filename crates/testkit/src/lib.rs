//! What tests of the other crates stand on. A dev-dependency only; nothing here ships.
//!
//! - [`bad_input`]: requests that are wrong or odd, and what becomes of each in each dialect.
//! - [`cloud`]: a scripted cloud's files, batches, sound and pictures.
//! - [`conformance`]: the vendors' own test suites and specifications as judges.
//! - [`crowd`]: many streams at once, each judged to the byte.
//! - [`fake`]: scripted upstreams that behave as real servers do, and misbehave on command.
//! - [`fault_table`]: everything that goes wrong upstream, and what clients see of it.
//! - [`load`]: a small load driver that records what each unit got.
//! - [`names`]: a name server that answers as it is told.
//! - [`probes`]: the official OpenAI SDKs, strict, as judges of a server.
//! - [`program`]: the real `cutover` program in a folder of its own.
//! - [`raw`]: a client that sends exactly the bytes it is given.
//! - [`rig`]: llama.cpp's server, a small real model, nginx, the official SDKs, installed on first use.
//! - [`tiny_gguf`]: a random-weight model file for quick tests of real engines.
//! - [`wait`]: waiting for a condition, never for a guessed time.
//!
//! Unlike product code this crate panics on what cannot be repaired, with a sentence that says what
//! is wrong: a panic here is a failed test.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test support: a broken rig fails the test at once, and it deals with real processes, \
              real sockets and therefore real time"
)]

pub mod arms;
pub mod bad_input;
pub mod cloud;
pub mod conformance;
pub mod crowd;
pub mod fake;
pub mod fault_table;
pub mod load;
pub mod names;
pub mod probes;
pub mod program;
pub mod raw;
pub mod receiver;
pub mod rig;
pub mod tiny_gguf;
pub mod wait;

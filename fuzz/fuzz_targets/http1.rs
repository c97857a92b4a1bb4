#![no_main]

#[path = "../../crates/http1/tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::http1(data));

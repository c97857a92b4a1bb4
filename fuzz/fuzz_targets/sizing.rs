#![no_main]

#[path = "../../crates/sizing/tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::header(data);
    targets::config(data);
});

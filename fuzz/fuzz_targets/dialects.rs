#![no_main]

#[path = "../../crates/dialects/tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::request(data);
    targets::answer(data);
});

#![no_main]

#[path = "../src/dialects.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::request(data);
    targets::answer(data);
});

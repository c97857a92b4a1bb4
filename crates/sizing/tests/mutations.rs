//! The fuzz target's properties over mutated files, for a bounded count and from a fixed seed (see
//! `fuzz/README.md`).

#[expect(unreachable_pub, reason = "the same file is a module of the fuzz target")]
mod targets;

/// Runs per seed file unless the environment says more: a second in a debug build.
const RUNS: u64 = 2000;

const CONFIGS: &[&str] = &[
    r#"{"model_type":"mixtral","hidden_size":4096,"num_hidden_layers":32,"num_attention_heads":32,
    "num_key_value_heads":8,"intermediate_size":14336,"vocab_size":32000,"num_local_experts":8,
    "num_experts_per_tok":2,"sliding_window":null}"#,
    r#"{"text_config":{"model_type":"gemma4","hidden_size":5376,"num_hidden_layers":6,"head_dim":256,
    "num_attention_heads":32,"num_key_value_heads":16,"global_head_dim":512,"sliding_window":1024,
    "layer_types":["sliding_attention","full_attention"],"intermediate_size":21504,"vocab_size":9}}"#,
];

/// A generator of numbers that is the same everywhere (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    /// Changes a few bytes, and sometimes cuts.
    fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(5) {
            let at = self.below(bytes.len());
            let digits = b"0123456789-.{}[]\",\x00\xff";
            if let Some(byte) = bytes.get_mut(at) {
                *byte = digits[usize::try_from(self.0 % digits.len() as u64).unwrap_or(0)];
            }
        }
        if self.below(4) == 0 {
            let end = self.below(bytes.len());
            bytes.truncate(end);
        }
        bytes
    }
}

#[expect(clippy::disallowed_methods, reason = "the variable is the test's own, not the program's")]
fn runs() -> u64 {
    std::env::var("CUTOVER_FUZZ_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(RUNS)
}

#[test]
fn mutated_configs_are_read_or_refused() {
    let mut random = Random(7);
    for seed in CONFIGS {
        targets::config(seed.as_bytes());
        for _ in 0..runs() {
            targets::config(&random.mutate(seed.as_bytes()));
        }
    }
}

/// A header of a few keys and one tensor, as the format's description has it.
fn header() -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let numbers = [
        ("llama.block_count", 2_u32),
        ("llama.embedding_length", 64),
        ("llama.attention.head_count", 4),
        ("llama.feed_forward_length", 128),
    ];
    out.extend(1_u64.to_le_bytes());
    out.extend((numbers.len() as u64 + 1).to_le_bytes());
    text(&mut out, "general.architecture");
    out.extend(8_u32.to_le_bytes());
    text(&mut out, "llama");
    for (key, value) in numbers {
        text(&mut out, key);
        out.extend(4_u32.to_le_bytes());
        out.extend(value.to_le_bytes());
    }
    text(&mut out, "token_embd.weight");
    out.extend(2_u32.to_le_bytes());
    out.extend([64_u64, 100].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(8_u32.to_le_bytes());
    out.extend(0_u64.to_le_bytes());
    out
}

#[test]
fn mutated_headers_are_read_or_refused() {
    let mut random = Random(8);
    let seed = header();
    assert!(cutover_sizing::gguf::read(&seed).is_ok());
    for _ in 0..2 * runs() {
        targets::header(&random.mutate(&seed));
    }
}

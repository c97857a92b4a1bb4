//! Writes a tiny GGUF model with random weights: 267 kB, arch llama, 335 tokens, a chatml template.
//!
//! Contract: the same seed gives the same bytes on every machine, and every engine that reads GGUF
//! loads the file as it would load a real model (llama.cpp's server and the embedded engine are
//! both tested with it). No weight stems from anybody's model, so the file carries no foreign
//! licence. Two kinds:
//!
//! - [`write()`]: the text is noise, broken UTF-8 and early ends included: a free fuzz of every stream
//!   splitter behind it. llama.cpp's server answers some such outputs with a 500 ("does not match the
//!   expected peg-native format"), so a test that wants a 200 takes the other kind.
//! - [`write_readable`]: printable ASCII only, never an end token, so every answer runs to its limit
//!   and is a 200 on every engine.
//!
//! Weights are drawn as a sum of twelve uniform numbers and not with logarithms and cosines: those
//! differ in the last bit between C libraries, additions do not.

use std::io;
use std::path::Path;

/// Number of tokens in the vocabulary.
pub const VOCAB: usize = 335;
/// Context length that the file declares.
pub const CONTEXT: u32 = 4096;
/// Width of the embedding.
pub const EMBEDDING: u32 = 64;
/// The chat template inside the file.
pub const CHAT_TEMPLATE: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const FEED_FORWARD: u32 = 160;
const LAYERS: u32 = 2;
const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
const ALIGNMENT: usize = 32;
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// Words that the tokeniser's merges build, so that the file exercises merging.
const WORDS: [&str; 30] = [
    "the", "and", "of", "to", "in", "is", "a", "it", "for", "on", "with", "as", "was", "that",
    "you", "this", "are", "we", "not", "can", "model", "data", "story", "sea", "time", "day",
    "light", "water", "small", "large",
];

/// Writes the model to `path`, creating missing folders.
///
/// The file appears whole or not at all (written beside and renamed), so test processes that run
/// at the same time may share one path.
pub fn write(path: &Path, seed: u64) -> io::Result<()> {
    write_whole(path, &bytes(seed))
}

/// Like [`write()`], for the kind that produces printable ASCII until its token limit.
pub fn write_readable(path: &Path, seed: u64) -> io::Result<()> {
    write_whole(path, &assemble(&tensors(seed, Text::Readable)))
}

/// The noise model as bytes.
pub fn bytes(seed: u64) -> Vec<u8> {
    assemble(&tensors(seed, Text::Noise))
}

/// What the model says.
#[derive(Clone, Copy, PartialEq)]
enum Text {
    Noise,
    Readable,
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("part-{}", std::process::id()));
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}

fn assemble(tensors: &[Tensor]) -> Vec<u8> {
    let (kv_count, kv) = metadata();
    let mut out = Vec::with_capacity(300_000);
    out.extend_from_slice(b"GGUF");
    out.extend_from_slice(&3_u32.to_le_bytes());
    out.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    out.extend_from_slice(&kv_count.to_le_bytes());
    out.extend_from_slice(&kv);
    let mut offset = 0_usize;
    for tensor in tensors {
        put_string(&mut out, &tensor.name);
        let dims = u32::try_from(tensor.dims.len()).unwrap_or(0);
        out.extend_from_slice(&dims.to_le_bytes());
        for &dim in &tensor.dims {
            out.extend_from_slice(&u64::from(dim).to_le_bytes());
        }
        out.extend_from_slice(&tensor.kind.to_le_bytes());
        out.extend_from_slice(&(offset as u64).to_le_bytes());
        offset += tensor.data.len().next_multiple_of(ALIGNMENT);
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    for tensor in tensors {
        out.extend_from_slice(&tensor.data);
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    }
    out
}

/// One tensor; `dims` runs from the fastest dimension, as GGUF wants it.
struct Tensor {
    name: String,
    dims: Vec<u32>,
    kind: u32,
    data: Vec<u8>,
}

const KIND_F32: u32 = 0;
const KIND_F16: u32 = 1;

fn tensors(seed: u64, text: Text) -> Vec<Tensor> {
    let vocab = u32::try_from(VOCAB).unwrap_or(0);
    let kv_width = EMBEDDING / HEADS * KV_HEADS;
    let mut noise = Noise(seed);
    let mut embedding = weights(&mut noise, "token_embd.weight", [EMBEDDING, vocab], 1.0);
    let mut output = weights(&mut noise, "output.weight", [EMBEDDING, vocab], 0.3);
    if text == Text::Readable {
        silence_unreadable(&mut embedding, &mut output);
    }
    let mut list = vec![embedding, ones("output_norm.weight"), output];
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        list.push(ones(&name("attn_norm")));
        list.push(ones(&name("ffn_norm")));
        for (part, rows, columns) in [
            ("attn_q", EMBEDDING, EMBEDDING),
            ("attn_k", kv_width, EMBEDDING),
            ("attn_v", kv_width, EMBEDDING),
            ("attn_output", EMBEDDING, EMBEDDING),
            ("ffn_gate", FEED_FORWARD, EMBEDDING),
            ("ffn_up", FEED_FORWARD, EMBEDDING),
            ("ffn_down", EMBEDDING, FEED_FORWARD),
        ] {
            list.push(weights(&mut noise, &name(part), [columns, rows], 0.08));
        }
    }
    list
}

/// Takes every token but printable ASCII out of reach.
///
/// The first lane of the embedding becomes the same large number for all tokens, so it is near 3.6
/// after the last norm whatever was read; in the output matrix that lane then works as a bias.
fn silence_unreadable(embedding: &mut Tensor, output: &mut Tensor) {
    let row_bytes = EMBEDDING as usize * 2;
    for (token, row) in embedding.data.chunks_exact_mut(row_bytes).enumerate() {
        row[..2].copy_from_slice(&half_bits(4.0).to_le_bytes());
        // A token is a special, then a byte, then a piece of a word.
        let readable = match token.checked_sub(SPECIAL.len()) {
            None => false,
            Some(byte @ 0..256) => (0x20..0x7F).contains(&byte),
            Some(_) => true,
        };
        let bias = if readable { 0.0 } else { -8.0 };
        output.data[token * row_bytes..][..2].copy_from_slice(&half_bits(bias).to_le_bytes());
    }
}

fn weights(noise: &mut Noise, name: &str, dims: [u32; 2], scale: f64) -> Tensor {
    let count = dims[0] * dims[1];
    let data = (0..count).flat_map(|_| half_bits(noise.normal() * scale).to_le_bytes()).collect();
    Tensor { name: name.to_owned(), dims: dims.to_vec(), kind: KIND_F16, data }
}

fn ones(name: &str) -> Tensor {
    let data = (0..EMBEDDING).flat_map(|_| 1.0_f32.to_le_bytes()).collect();
    Tensor { name: name.to_owned(), dims: vec![EMBEDDING], kind: KIND_F32, data }
}

fn metadata() -> (u64, Vec<u8>) {
    let (tokens, merges) = vocabulary();
    let mut kv = Metadata::default();
    kv.string("general.architecture", "llama");
    kv.string("general.name", "cutover-tiny-random");
    kv.string("general.license", "apache-2.0");
    kv.u32("llama.context_length", CONTEXT);
    kv.u32("llama.embedding_length", EMBEDDING);
    kv.u32("llama.block_count", LAYERS);
    kv.u32("llama.feed_forward_length", FEED_FORWARD);
    kv.u32("llama.attention.head_count", HEADS);
    kv.u32("llama.attention.head_count_kv", KV_HEADS);
    kv.f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
    kv.f32("llama.rope.freq_base", 10_000.0);
    kv.u32("llama.rope.dimension_count", EMBEDDING / HEADS);
    kv.u32("llama.vocab_size", u32::try_from(tokens.len()).unwrap_or(0));
    kv.u32("general.file_type", 1);
    kv.string("tokenizer.ggml.model", "gpt2");
    kv.string("tokenizer.ggml.pre", "smollm");
    kv.strings("tokenizer.ggml.tokens", &tokens);
    let types: Vec<i32> =
        (0..tokens.len()).map(|index| if index < SPECIAL.len() { 3 } else { 1 }).collect();
    kv.integers("tokenizer.ggml.token_type", &types);
    kv.strings("tokenizer.ggml.merges", &merges);
    kv.u32("tokenizer.ggml.bos_token_id", 1);
    kv.u32("tokenizer.ggml.eos_token_id", 2);
    kv.u32("tokenizer.ggml.unknown_token_id", 0);
    kv.bool("tokenizer.ggml.add_bos_token", false);
    kv.string("tokenizer.chat_template", CHAT_TEMPLATE);
    (kv.count, kv.bytes)
}

/// Tokens and merges: three specials, one token per byte, then the prefixes of [`WORDS`].
fn vocabulary() -> (Vec<String>, Vec<String>) {
    let letters = byte_letters();
    let mut tokens: Vec<String> = SPECIAL.iter().map(|&special| special.to_owned()).collect();
    tokens.extend(letters.iter().map(char::to_string));
    let mut merges = Vec::new();
    for word in WORDS {
        let mut left = letters[usize::from(b' ')].to_string();
        for byte in word.bytes() {
            let right = letters[usize::from(byte)];
            let merged = format!("{left}{right}");
            if !tokens.contains(&merged) {
                merges.push(format!("{left} {right}"));
                tokens.push(merged.clone());
            }
            left = merged;
        }
    }
    (tokens, merges)
}

/// GPT-2's printable letter for each byte value.
fn byte_letters() -> [char; 256] {
    let mut letters = ['\0'; 256];
    let mut next = 256_u32;
    for byte in 0..=255_u8 {
        let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let code = if printable { u32::from(byte) } else { next };
        if !printable {
            next += 1;
        }
        letters[usize::from(byte)] = char::from_u32(code).unwrap_or('\0');
    }
    letters
}

/// Key-value section of a GGUF file.
#[derive(Default)]
struct Metadata {
    count: u64,
    bytes: Vec<u8>,
}

impl Metadata {
    fn key(&mut self, name: &str, kind: u32) {
        self.count += 1;
        put_string(&mut self.bytes, name);
        self.bytes.extend_from_slice(&kind.to_le_bytes());
    }

    fn u32(&mut self, name: &str, value: u32) {
        self.key(name, 4);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn f32(&mut self, name: &str, value: f32) {
        self.key(name, 6);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn bool(&mut self, name: &str, value: bool) {
        self.key(name, 7);
        self.bytes.push(u8::from(value));
    }

    fn string(&mut self, name: &str, value: &str) {
        self.key(name, 8);
        put_string(&mut self.bytes, value);
    }

    fn array(&mut self, name: &str, kind: u32, len: usize) {
        self.key(name, 9);
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(&(len as u64).to_le_bytes());
    }

    fn strings(&mut self, name: &str, values: &[String]) {
        self.array(name, 8, values.len());
        for value in values {
            put_string(&mut self.bytes, value);
        }
    }

    fn integers(&mut self, name: &str, values: &[i32]) {
        self.array(name, 5, values.len());
        for value in values {
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// SplitMix64, and from it numbers that are close to normal.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Mean 0, deviation 1, never beyond 6.
    fn normal(&mut self) -> f64 {
        let unit = |bits: u64| (bits >> 11) as f64 / (1_u64 << 53) as f64;
        (0..12).map(|_| unit(self.next())).sum::<f64>() - 6.0
    }
}

/// IEEE half-precision bits of a number below 65504, rounded to nearest even.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the ranges are checked by the arithmetic: at most 2047 after scaling"
)]
fn half_bits(value: f64) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = value.abs();
    // Below 2^-14 the exponent stays and the mantissa alone counts, in steps of 2^-24.
    let mut exponent = 1_u16;
    let mut step = 2.0_f64.powi(-24);
    while magnitude >= step * 2048.0 {
        step *= 2.0;
        exponent += 1;
    }
    let steps = (magnitude / step).round_ties_even() as u16;
    // `steps` holds the hidden bit at 1024: adding it carries into the exponent by itself.
    sign | (((exponent - 1) << 10) + steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabulary_has_the_declared_size() {
        let (tokens, merges) = vocabulary();
        assert_eq!(tokens.len(), VOCAB);
        assert_eq!(merges.len(), VOCAB - 259);
        assert_eq!(tokens[3 + 32], "\u{120}");
    }

    #[test]
    fn half_precision_matches_known_values() {
        for (value, bits) in [
            (0.0, 0),
            (1.0, 0x3C00),
            (-2.0, 0xC000),
            (0.5, 0x3800),
            (65504.0, 0x7BFF),
            (6.103_515_625e-5, 0x0400),
            (5.960_464_477_539_063e-8, 0x0001),
            (0.1, 0x2E66),
            (1.0 / 3.0, 0x3555),
        ] {
            assert_eq!(half_bits(value), bits, "{value}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_file() {
        let first = bytes(7);
        assert_eq!(first, bytes(7));
        assert_ne!(first, bytes(8));
        assert_eq!(&first[..8], b"GGUF\x03\0\0\0");
        assert!((260_000..275_000).contains(&first.len()), "{}", first.len());
    }

    #[test]
    fn noise_is_centred() {
        let mut noise = Noise(1);
        let draws: Vec<f64> = (0..10_000).map(|_| noise.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e4;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.06, "{mean} {variance}");
    }

    #[test]
    fn a_written_file_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/tiny.gguf");
        write(&path, 7).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes(7));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

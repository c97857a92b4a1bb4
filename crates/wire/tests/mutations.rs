//! The fuzz targets' properties over mutated fixtures, for a bounded count and from a fixed seed: what
//! can be had of fuzzing with a stable compiler (see `fuzz/README.md`).

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[expect(
    unreachable_pub,
    clippy::panic,
    clippy::expect_used,
    reason = "the same file is a library for the fuzzer, where a panic is a finding"
)]
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

/// Runs per target unless the environment says more: about a second in a debug build.
const RUNS: u64 = 1_500;

/// Pieces that turn up in real traffic and break naive parsers.
const PIECES: &[&[u8]] = &[
    b"\n\n",
    b"\r\n",
    b"\r",
    b"data: ",
    b"data: [DONE]\n\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b",",
    b":",
    b"null",
    b"\"model\":\"m\"",
    b"\"usage\":{\"prompt_tokens\":1}",
    b"\"finish_reason\":\"stop\"",
    b"\"error\":{\"message\":\"x\"}",
    b"\"stream\":true",
    b"\"messages\":[]",
    b"\xff",
    b"\xc3",
    b"\\u0000",
    b"\"api_base\":\"x\"",
    b"\"tools\":[{}]",
    b"1e999",
    b"-0",
    b"event: error\n",
    b": comment\n",
    b"\"done\":true",
    b"\"stream_options\":{}",
    b"\"guided_json\":{}",
    b"\"max_completion_tokens\":0",
    b"\xef\xbb\xbf",
];

/// A small xorshift generator: the same runs on every machine.
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() % (limit.max(1) as u64)).unwrap()
    }

    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut text = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(text.len() + 1);
            match self.below(6) {
                0 if at < text.len() => text[at] = self.draw().to_le_bytes()[0],
                1 => {
                    let end = (at + self.below(20)).min(text.len());
                    text.drain(at..end);
                }
                2 => {
                    let end = (at + self.below(60)).min(text.len());
                    let copy = text[at..end].to_vec();
                    text.splice(at..at, copy);
                }
                3 => text.truncate(at),
                4 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    text.truncate(at);
                    text.extend_from_slice(&other[from..]);
                }
                _ => {
                    let piece = PIECES[self.below(PIECES.len())];
                    text.splice(at..at, piece.iter().copied());
                }
            }
        }
        text
    }
}

/// Bodies of the captured exchanges (answers), and the requests in their comments.
fn fixtures() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    let (mut requests, mut answers) = (vec![], vec![]);
    requests.push(std::fs::read(format!("{root}/chat-full.json")).unwrap());
    for provider in ["llamacpp", "vllm", "ollama"] {
        let entries = std::fs::read_dir(format!("{root}/{provider}")).unwrap();
        let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let text = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
            let request = text.lines().find_map(|l| l.strip_prefix("> "));
            requests.extend(request.filter(|l| l.starts_with('{')).map(|l| l.as_bytes().to_vec()));
            let body = text.split_once("\n\n").map_or(text.as_str(), |(_, body)| body);
            answers.push(body.as_bytes().to_vec());
        }
    }
    requests.push(
        br#"{"model":"m","prompt":"Once","max_tokens":3,"logprobs":1,"stream":true}"#.to_vec(),
    );
    requests.push(br#"{"model":"m","input":["a","b"],"encoding_format":"base64"}"#.to_vec());
    (requests, answers)
}

fn runs() -> u64 {
    option_env!("CUTOVER_FUZZ_RUNS").and_then(|n| n.parse().ok()).unwrap_or(RUNS)
}

#[test]
fn mutated_requests_keep_the_properties() {
    let (requests, _) = fixtures();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for seed in &requests {
        targets::head(seed);
        targets::rewriting(seed);
    }
    for _ in 0..runs() {
        let text = chance.mutate(&requests);
        targets::head(&text);
        targets::rewriting(&text);
    }
}

#[test]
fn mutated_answers_keep_the_properties() {
    let (_, answers) = fixtures();
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    for _ in 0..runs() {
        let mut text = vec![chance.draw().to_le_bytes()[0], chance.draw().to_le_bytes()[0]];
        text.extend(chance.mutate(&answers));
        targets::streams(&text);
        targets::replies(&text);
    }
}

//! The fuzz target's properties over mutated fixtures, for a bounded count and from a fixed seed (see
//! `fuzz/README.md`).

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "mutations/cut_short.rs"]
mod cut_short;
#[expect(unreachable_pub, reason = "the same file is a module of the fuzz target")]
mod targets;

use cut_short::{Vendor, cut_short};

/// Runs per target unless the environment says more: a few seconds in a debug build.
const RUNS: u64 = 300;

/// Pieces that turn up in real traffic and break naive readers.
const PIECES: &[&[u8]] = &[
    b"\n\n",
    b"\r\n",
    b"data: [DONE]\n\n",
    b"data: {\"choices\":[]}\n\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\ud83d",
    b"null",
    b"1e999",
    b"\"type\":\"tool_use\"",
    b"\"type\":\"item_reference\"",
    b"\"finish_reason\":\"length\"",
    b"\"tool_calls\":[{\"index\":7}]",
    b"\xff",
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
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn mutate(&mut self, text: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(text.len() + 1);
            let end = (at + self.below(20)).min(text.len());
            match self.below(4) {
                0 => drop(text.drain(at..end)),
                1 => {
                    let copy = text[at..end].to_vec();
                    text.splice(at..at, copy);
                }
                2 => {
                    let piece = PIECES[self.below(PIECES.len())];
                    text.splice(at..end, piece.iter().copied());
                }
                _ => {
                    let byte = u8::try_from(self.below(256)).unwrap();
                    text.splice(at..(at + 1).min(text.len()), [byte]);
                }
            }
        }
    }
}

/// The fixtures of some folders; the large ones would take all the time.
fn corpus(folders: &[&str]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for folder in folders {
        let path = format!("{}/fixtures/{folder}", env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        all.extend(files.iter().map(|path| std::fs::read(path).unwrap()));
    }
    all.retain(|text| text.len() < 8_000);
    assert!(all.len() > 5);
    all
}

fn run(folders: &[&str], target: fn(&[u8])) {
    let runs = std::env::var_os("CUTOVER_FUZZ_RUNS");
    let runs = runs.and_then(|runs| runs.to_str()?.parse().ok()).unwrap_or(RUNS);
    let (corpus, mut random) = (corpus(folders), Random(1));
    for text in &corpus {
        target(text);
    }
    for _ in 0..runs {
        let mut text = corpus[random.below(corpus.len())].clone();
        random.mutate(&mut text);
        target(&text);
    }
}

#[test]
fn mutated_requests_are_read_or_refused() {
    run(&["anthropic", "responses", "ollama", "stored"], targets::request);
}

#[test]
fn mutated_answers_go_back_or_fail() {
    run(&["chat", "messages", "generate-content"], targets::answer);
}

/// An upstream that goes away after any byte of its stream: every client is told, whatever it speaks and
/// whatever the upstream speaks.
#[test]
fn streams_that_end_at_any_byte_are_told_to_every_client() {
    for (file, vendor) in [
        ("chat/tools.sse", Vendor::Chat),
        ("messages/stream.sse", Vendor::Messages),
        ("generate-content/stream.sse", Vendor::Gemini),
    ] {
        let path = format!("{}/fixtures/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(path).unwrap();
        assert_eq!(cut_short(&text, vendor), Some(true), "{file} is whole at its end");
        let mut whole = 0;
        for at in 0..text.len() {
            match cut_short(&text[..at], vendor) {
                Some(true) => whole += 1,
                Some(false) => {}
                None => panic!("{file} cut at {at}: clients are told different things"),
            }
        }
        // Only what is after the last word can be missing.
        assert!(whole <= 24, "{file}: {whole} broken streams end like whole ones");
    }
}

//! The fuzz target's properties over mutated config files, for a bounded count and from a fixed seed (see
//! `fuzz/README.md`).

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[expect(
    unreachable_pub,
    clippy::panic,
    reason = "the same file is a module of the fuzz target, where a panic is a finding"
)]
mod targets;

/// Runs unless the environment says more: a few seconds in a debug build.
const RUNS: u64 = 400;

/// Pieces that turn up in real files and break naive readers.
const PIECES: &[&str] = &[
    "\n",
    "\r\n",
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\\u0000",
    "\\",
    "true",
    "-1",
    "1e99",
    "\"1 h\"",
    "\"100%\"",
    "\"101%\"",
    "\"\u{e9}\"",
    "[log]\n",
    "[upstreams.x]\n",
    "provider = \"vllm\"\n",
    "weight = \"5%\"\n",
    "\u{feff}",
    "\u{1f980}",
    "0x7fffffffffffffff",
    "1979-05-27",
    "inf",
    "nan",
];

/// A small xorshift generator: the same runs on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn mutate(&mut self, text: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(text.len() + 1);
            let end = (at + self.below(20)).min(text.len());
            match self.below(4) {
                0 => text.truncate(at),
                1 => drop(text.drain(at..end)),
                2 => {
                    let piece = PIECES[self.below(PIECES.len())].as_bytes();
                    text.splice(at..at, piece.iter().copied());
                }
                _ => {
                    let line = text[at..end].to_vec();
                    text.splice(at..at, line);
                }
            }
        }
    }
}

/// The examples of the documents, and the file with every key.
fn corpus() -> Vec<Vec<u8>> {
    let here = env!("CARGO_MANIFEST_DIR");
    let examples = std::fs::read_dir(format!("{here}/../../docs/examples")).unwrap();
    let mut files: Vec<_> = examples.map(|entry| entry.unwrap().path()).collect();
    files.push(format!("{here}/tests/everything.toml").into());
    files.sort();
    let toml = files.iter().filter(|path| path.extension().is_some_and(|end| end == "toml"));
    toml.map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn mutated_files_are_accepted_or_refused_with_a_place() {
    let runs = std::env::var_os("CUTOVER_FUZZ_RUNS");
    let runs = runs.and_then(|runs| runs.to_str()?.parse().ok()).unwrap_or(RUNS);
    let (corpus, mut chance) = (corpus(), Chance(1));
    assert!(corpus.len() > 5);
    for text in &corpus {
        targets::config(text);
    }
    for _ in 0..runs {
        let mut text = corpus[chance.below(corpus.len())].clone();
        chance.mutate(&mut text);
        targets::config(&text);
    }
}

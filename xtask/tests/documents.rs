//! The config examples in the documents: each TOML block is read by the real reader, without a
//! warning.
//!
//! A block opened by three backticks and `toml` is a whole file. One opened by `toml add` is added
//! to the whole file before it in the same document.

#![expect(clippy::expect_used, reason = "a document that cannot be read fails the test")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The documents that people read, wherever they stand.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = vec![root.join("README.md")];
    let mut open = vec![root.join("docs")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("docs can be listed") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The whole files a document shows, each with the line it begins on.
fn examples(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut whole = String::new();
    let mut inside = false;
    for (n, line) in text.lines().enumerate() {
        match line.trim() {
            "```toml" => {
                (inside, whole) = (true, String::new());
                found.push((n + 2, String::new()));
            }
            "```toml add" => {
                inside = true;
                whole.push('\n');
                found.push((n + 2, whole.clone()));
            }
            "```" if inside => {
                inside = false;
                if let Some((_, last)) = found.last() {
                    whole.clone_from(last);
                }
            }
            _ if inside => {
                let Some((_, last)) = found.last_mut() else { continue };
                writeln!(last, "{line}").expect("a String takes every line");
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_config_example_in_the_documents_is_valid() {
    let mut count = 0;
    let mut wrong = String::new();
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("a document is text");
        for (line, example) in examples(&text) {
            count += 1;
            let name = format!("{} (block at line {line})", path.display());
            // Every environment variable is set: whether it is, is not the example's business.
            let set = |_: &str| Some("x".to_owned());
            let problems = match cutover_config::check(&example, &name, &set) {
                Ok(checked) => checked.warnings,
                Err(problems) => problems,
            };
            for problem in problems {
                writeln!(wrong, "{problem}").expect("a String takes every line");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(count > 0, "no example found: are the documents where this test looks?");
}

#[test]
fn an_added_block_stands_on_the_whole_one_before_it() {
    let text = "```toml\na = 1\n```\ntext\n```toml add\n[b]\n```\n```toml\nc = 1\n```\n";
    let found = examples(text);
    let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
    assert_eq!(found, [(2, "a = 1\n"), (6, "a = 1\n\n[b]\n"), (9, "c = 1\n")]);
}

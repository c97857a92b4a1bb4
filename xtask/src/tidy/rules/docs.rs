//! Documents: there, short where they must be, and with links that lead somewhere.

use std::collections::BTreeSet;

use crate::tidy::Report;
use crate::tidy::repo::{File, Repo};

const PAPERS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs/README.md",
];

/// A map that is longer than this is no map.
const ARCHITECTURE_LINES_MAX: usize = 200;

pub(crate) fn papers_exist(repo: &Repo, report: &mut Report) {
    for path in PAPERS.iter().filter(|path| repo.file(path).is_none()) {
        report.add(path, 1, "missing");
    }
    let Some(file) = repo.file("ARCHITECTURE.md") else { return };
    let lines = file.text.lines().count();
    if lines > ARCHITECTURE_LINES_MAX {
        let message = format!("{lines} lines, {ARCHITECTURE_LINES_MAX} are the most");
        report.add(&file.path, ARCHITECTURE_LINES_MAX + 1, message);
    }
}

pub(crate) fn crates_say_what_they_are(repo: &Repo, report: &mut Report) {
    let roots = |f: &&File| f.path.ends_with("src/lib.rs") || f.path.ends_with("src/main.rs");
    for file in repo.with_extension("rs").filter(roots) {
        if !file.text.starts_with("//! ") {
            report.add(&file.path, 1, "begin with `//!`: purpose, contract, invariants");
        }
    }
}

pub(crate) fn links_resolve(repo: &Repo, report: &mut Report) {
    for file in repo.with_extension("md") {
        for (n, line) in prose(file) {
            for target in targets(line) {
                if let Err(message) = resolve(repo, file, target) {
                    report.add(&file.path, n, format!("{target}: {message}"));
                }
            }
        }
    }
}

/// The reference of commands, printed from the command line itself.
const COMMANDS: &str = "docs/reference/cli.md";

/// A command in a shell block that the reference does not have fails in a newcomer's first minute.
pub(crate) fn commands_exist(repo: &Repo, report: &mut Report) {
    let reference = repo.file(COMMANDS).map_or("", |f| f.text.as_str());
    for file in repo.with_extension("md").filter(|f| f.path != COMMANDS) {
        for (n, line) in shell(file) {
            let Some(words) = line.trim().strip_prefix("cutover ") else { continue };
            let words: Vec<&str> = words.split_whitespace().take_while(|w| *w != "#").collect();
            let verb = words.first().copied().unwrap_or_default();
            if !has_word(reference, &format!("cutover {verb}")) {
                report.add(&file.path, n, format!("cutover {verb}: not in {COMMANDS}"));
            }
            for flag in words.iter().filter(|w| w.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or_default();
                if !has_word(reference, flag) {
                    report.add(&file.path, n, format!("{flag}: not in {COMMANDS}"));
                }
            }
        }
    }
}

/// Whether a text holds a word that does not go on.
fn has_word(text: &str, word: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(at, _)| !text[at + word.len()..].starts_with(goes_on))
}

/// The lines of shell blocks.
fn shell(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    file.lines().filter(move |(_, line)| {
        if line.trim_start().starts_with("```") {
            inside = line.trim() == "```sh";
            return false;
        }
        inside
    })
}

/// The lines outside fenced code.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    file.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)` that are not on the web, in one line; code spans are skipped.
fn targets(line: &str) -> Vec<&str> {
    let spans = line.split('`').step_by(2);
    let links = spans.flat_map(|span| span.split("](").skip(1));
    links
        .filter_map(|rest| rest.split(')').next())
        .filter(|t| !t.contains("://") && !t.starts_with("mailto:"))
        .collect()
}

fn resolve(repo: &Repo, from: &File, target: &str) -> Result<(), &'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { from.path.clone() } else { join(&from.path, path) };
    let folder = format!("{path}/");
    let exists =
        repo.file(&path).is_some() || repo.files.iter().any(|f| f.path.starts_with(&folder));
    if !exists {
        return Err("no such file");
    }
    match repo.file(&path).filter(|_| !anchor.is_empty()) {
        Some(file) if !anchors(file).contains(anchor) => Err("no such heading"),
        _ => Ok(()),
    }
}

/// A path relative to the folder of a file.
fn join(file: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in relative.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// The anchors that code hosts give to headings, and those written by hand.
fn anchors(file: &File) -> BTreeSet<String> {
    let headings = prose(file).filter_map(|(_, line)| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len()).then(|| slug(text))
    });
    let written = file.text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    headings.chain(written.map(str::to_owned)).collect()
}

fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: fn(&Repo, &mut Report), files: &[(&str, &str)]) -> Vec<String> {
        let mut report = Report::default();
        rule(&Repo::sample(files), &mut report);
        report.findings.into_iter().map(|f| format!("{}:{}", f.file, f.line)).collect()
    }

    #[test]
    fn a_missing_paper_and_a_long_map_are_found() {
        assert_eq!(found(papers_exist, &[]).len(), PAPERS.len());
        let long = "line\n".repeat(ARCHITECTURE_LINES_MAX + 1);
        let mut all: Vec<_> = PAPERS.iter().map(|path| (*path, "x\n")).collect();
        assert_eq!(found(papers_exist, &all), Vec::<String>::new());
        all[1].1 = &long;
        assert_eq!(found(papers_exist, &all), ["ARCHITECTURE.md:201"]);
    }

    #[test]
    fn a_crate_without_a_word_is_found() {
        let files = [("crates/a/src/lib.rs", "mod x;\n"), ("crates/b/src/lib.rs", "//! B.\n")];
        assert_eq!(found(crates_say_what_they_are, &files), ["crates/a/src/lib.rs:1"]);
    }

    #[test]
    fn a_command_or_flag_that_does_not_exist_is_found() {
        let text = "```sh\ncutover serve --config x  # --not-a-flag\ncutover server\ncutover serve --conf\n\
                    ```\ncutover prose\n```toml\ncutover = 1\n```\n";
        let files = [("README.md", text), (COMMANDS, "## `cutover serve`\n`--config FILE`\n")];
        assert_eq!(found(commands_exist, &files), ["README.md:3", "README.md:4"]);
    }

    #[test]
    fn dead_links_are_found() {
        let text = "[a](b.md) [c](../README.md#five-minutes-yes) [w](https://x.example/y)\n\
                    [gone](gone.md)\n`[code](none.md)`\n```\n[fenced](none.md)\n```\n[no](b.md#no)\n\
                    [here](#top)\n# Top\n[dir](../docs)\n";
        let files = [
            ("docs/a.md", text),
            ("docs/b.md", "## Yes\n"),
            ("README.md", "# Five minutes: `yes`\n"),
        ];
        assert_eq!(found(links_resolve, &files), ["docs/a.md:2", "docs/a.md:7"]);
    }
}

//! What the documents for those who change the code name: it is there, under that name.

use std::collections::BTreeSet;

use crate::tidy::Report;
use crate::tidy::graph::Package;
use crate::tidy::repo::{File, Repo, has_extension};

/// Documents about the tree itself. Guides speak of their readers' files.
const MAPS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "bench/README.md", "fuzz/README.md"];

/// The document that shows all crates.
const FLOORS: &str = "ARCHITECTURE.md";

/// Crates for tests and chores: they stand on no floor.
const SIDE: &[&str] = &["testkit", "xtask"];

/// What is made by building or running, and lies in no tree.
const MADE: &[&str] = &["target", "artifacts", "corpus"];

/// A path, a constant, a variable or a function that a document names and that has been moved or renamed
/// sends its reader nowhere.
pub(crate) fn named_things_exist(repo: &Repo, report: &mut Report) {
    for file in MAPS.iter().filter_map(|path| repo.file(path)) {
        for (line, span) in spans(file) {
            for word in span.split_whitespace().map(trimmed) {
                if let Some(message) = missing(repo, file, word) {
                    report.add(&file.path, line, format!("{word}: {message}"));
                }
            }
            for message in strangers(repo, &span) {
                report.add(&file.path, line, message);
            }
        }
    }
}

/// Inline code and the lines of shell blocks, with their lines' numbers.
fn spans(file: &File) -> Vec<(usize, String)> {
    let (mut found, mut fence) = (Vec::new(), None);
    for (number, line) in file.lines() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(kind.trim().to_owned()) };
            continue;
        }
        match fence.as_deref() {
            Some("sh" | "console") => {
                let command = line.split('#').next().unwrap_or_default();
                found.push((number, command.to_owned()));
            }
            Some(_) => {}
            None => {
                let inside = line.split('`').skip(1).step_by(2);
                found.extend(inside.map(|span| (number, span.to_owned())));
            }
        }
    }
    found
}

/// A word without what the sentence around it adds.
fn trimmed(word: &str) -> &str {
    word.trim_end_matches([',', ';', ':', '.', ')']).trim_start_matches('(')
}

/// Why a word leads nowhere.
fn missing(repo: &Repo, from: &File, word: &str) -> Option<&'static str> {
    if is_path(word) {
        return (!path_exists(repo, from, word)).then_some("no such file or folder");
    }
    if let Some((krate, name)) = word.split_once("::") {
        let name = name.rsplit("::").next().unwrap_or_default().trim_end_matches("()");
        let source = format!("crates/{krate}/src/");
        let mut files = repo.files.iter().filter(|file| file.path.starts_with(&source)).peekable();
        files.peek()?;
        let is_there = files.any(|file| holds(&file.text, name) || is_module(file, name));
        return (!is_there).then_some("not in that crate");
    }
    let name = word.split('=').next().unwrap_or_default();
    if is_constant(name) {
        let mut files = repo.with_extension("rs");
        return (!files.any(|file| holds(&file.text, name))).then_some("in no source file");
    }
    None
}

/// Whether a word is meant as a path of the tree.
fn is_path(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/<>*".contains(c);
    let is_file = ["rs", "md", "toml", "py"].iter().any(|e| has_extension(word, e));
    let lies_in_a_folder = word.contains('/') && !word.starts_with(['/', '-']);
    word.chars().all(plain) && (lies_in_a_folder || is_file)
}

/// Whether a path leads somewhere from the root, from the document's own folder or from that of the crates.
fn path_exists(repo: &Repo, from: &File, path: &str) -> bool {
    let path = path.trim_end_matches("/*").trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').filter(|part| *part != "..").collect();
    if parts.first().is_some_and(|first| MADE.contains(first)) {
        return true;
    }
    let own = from.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    ["", own, "crates"].into_iter().any(|base| {
        let wanted: Vec<&str> = base.split('/').chain(parts.iter().copied()).collect();
        let wanted: Vec<&str> = wanted.into_iter().filter(|part| !part.is_empty()).collect();
        repo.files.iter().any(|file| leads_to(&wanted, &file.path))
    })
}

/// Whether a file lies at this path or beneath it; `<name>` in the path stands for any name.
fn leads_to(wanted: &[&str], path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |(wanted, part): (&&str, &&str)| match wanted.split_once('<') {
        Some((before, rest)) => {
            let after = rest.split_once('>').map_or("", |(_, after)| after);
            part.starts_with(before) && part.ends_with(after)
        }
        None => wanted == part,
    };
    wanted.len() <= parts.len() && wanted.iter().zip(&parts).all(fits)
}

/// Whether a word is written like a constant or a variable of the environment.
fn is_constant(word: &str) -> bool {
    word.len() > 3
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a text holds a name that is no part of a longer one.
fn holds(text: &str, name: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(joins) && !text[at + name.len()..].starts_with(joins))
}

fn is_module(file: &File, name: &str) -> bool {
    file.path.ends_with(&format!("/{name}.rs"))
}

/// What the command in a span names that is not there: packages, tests, tasks, stages.
fn strangers(repo: &Repo, span: &str) -> Vec<String> {
    let words: Vec<&str> = span.split_whitespace().collect();
    let after = |option: &str| {
        let at = words.iter().position(|word| *word == option)?;
        words.get(at + 1).copied()
    };
    let mut found = Vec::new();
    let package = after("-p").or(after("--package"));
    let known = package.and_then(|name| repo.graph.ours().find(|(_, one)| one.name == name));
    if let (Some(name), None) = (package, known) {
        found.push(format!("{name}: no such package"));
    }
    if let (Some((_, package)), Some(test)) = (known, after("--test")) {
        let places = ["", "/main"].map(|rest| format!("{}tests/{test}{rest}.rs", folder(package)));
        if !places.iter().any(|path| repo.file(path).is_some()) {
            found.push(format!("--test {test}: not in {}", package.name));
        }
    }
    let told = |path: &str, text: &str| repo.file(path).is_some_and(|f| f.text.contains(text));
    if let ["cargo", "xtask", task, ..] = words.as_slice()
        && !told("xtask/src/main.rs", &format!("[\"{task}\""))
    {
        found.push(format!("cargo xtask {task}: no such task"));
    }
    if let [".ci/run", stages @ ..] = words.as_slice() {
        let unknown = stages.iter().filter(|s| !told(".ci/run", &format!("run_{s}()")));
        found.extend(unknown.map(|stage| format!(".ci/run {stage}: no such stage")));
    }
    found
}

/// A package's folder, with a slash behind it.
fn folder(package: &Package) -> &str {
    package.manifest.as_deref().unwrap_or_default().trim_end_matches("Cargo.toml")
}

/// The picture of the floors shows each crate, and no crate that is not there.
pub(crate) fn the_floors_show_all_crates(repo: &Repo, report: &mut Report) {
    let Some(file) = repo.file(FLOORS) else { return };
    let shown: BTreeSet<&str> = file.lines().filter_map(|(_, line)| shown_crate(line)).collect();
    let folders = repo
        .graph
        .ours()
        .filter_map(|(_, package)| folder(package).trim_end_matches('/').rsplit('/').next());
    let there: BTreeSet<&str> = folders.filter(|name| !SIDE.contains(name)).collect();
    for name in there.difference(&shown) {
        report.add(FLOORS, 1, format!("crate {name} stands on no floor of the picture"));
    }
    for name in shown.difference(&there) {
        report.add(FLOORS, 1, format!("{name}: the picture shows a crate that is not there"));
    }
}

/// The crate in a line such as `F2  store ........ SQLite on its own thread`.
fn shown_crate(line: &str) -> Option<&str> {
    let (before, after) = line.split_once(" ..")?;
    let dots = after.trim_start_matches('.');
    (dots.starts_with(' ') && line.starts_with(['F', ' '])).then_some(())?;
    before.split_whitespace().next_back()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::graph::Graph;

    fn found(
        rule: fn(&Repo, &mut Report),
        files: &[(&str, &str)],
        crates: &[(&str, &[&str], &[&str])],
    ) -> Vec<String> {
        let repo = Repo { graph: Graph::sample(crates), ..Repo::sample(files) };
        let mut report = Report::default();
        rule(&repo, &mut report);
        let lines = report.findings.into_iter();
        lines.map(|f| format!("{}:{} {}", f.file, f.line, f.message)).collect()
    }

    #[test]
    fn a_path_or_name_that_leads_nowhere_is_found() {
        let text = "`crates/wire/src/<name>.rs` and `wire/src/own` and `deny.toml`\n\
                    `crates/wire/src/gone` `wires/src` `gone.toml` `crates/wire/src/o<name>/x.rs`\n\
                    `wire::Head` `wire::own` `std::fs` `TABLE` `RUNS_MAX=20 cargo` `SQL` no/code/span\n\
                    `wire::Heads` `TABLES` `target/rig`\n\
                    ```text\n`fenced/one`\n```\n\
                    ```sh\ncat deny.toml  # none/here\ncat not/there\n```\n";
        let files = [
            ("ARCHITECTURE.md", text),
            (
                "crates/wire/src/own.rs",
                "struct Head;\nconst TABLE: u8 = 1;\nconst RUNS_MAX: u8 = 1;\n",
            ),
            ("crates/wire/src/own/a.rs", ""),
            ("deny.toml", ""),
        ];
        let lines = found(named_things_exist, &files, &[]);
        let wanted = [
            "ARCHITECTURE.md:2 crates/wire/src/gone: no such file or folder",
            "ARCHITECTURE.md:2 wires/src: no such file or folder",
            "ARCHITECTURE.md:2 gone.toml: no such file or folder",
            "ARCHITECTURE.md:2 crates/wire/src/o<name>/x.rs: no such file or folder",
            "ARCHITECTURE.md:4 wire::Heads: not in that crate",
            "ARCHITECTURE.md:4 TABLES: in no source file",
            "ARCHITECTURE.md:10 not/there: no such file or folder",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn a_command_that_names_what_is_not_there_is_found() {
        let text = "`cargo test -p cutover-wire --test mutations`\n`cargo test -p cutover-wires`\n\
                    `cargo test -p cutover-wire --test gone`\n`cargo xtask tidy`\n`cargo xtask tidies`\n\
                    `.ci/run fmt tidies`\n";
        let files = [
            ("fuzz/README.md", text),
            ("crates/wire/tests/mutations.rs", ""),
            ("xtask/src/main.rs", "[\"tidy\"] => ()"),
            (".ci/run", "run_fmt() { :; }\n"),
        ];
        let lines = found(named_things_exist, &files, &[("cutover-wire", &[], &[])]);
        let wanted = [
            "fuzz/README.md:2 cutover-wires: no such package",
            "fuzz/README.md:3 --test gone: not in cutover-wire",
            "fuzz/README.md:5 cargo xtask tidies: no such task",
            "fuzz/README.md:6 .ci/run tidies: no such stage",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn a_crate_that_the_picture_lacks_or_makes_up_is_found() {
        let text =
            "F1  wire ... provider JSON\n    router ..... gone\nand so on ... in a sentence\n";
        let crates: &[(&str, &[&str], &[&str])] = &[
            ("cutover-wire", &[], &[]),
            ("cutover-route", &[], &[]),
            ("cutover-testkit", &[], &[]),
        ];
        let lines = found(the_floors_show_all_crates, &[("ARCHITECTURE.md", text)], crates);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("crate route") && lines[1].contains("router"), "{lines:?}");
    }
}

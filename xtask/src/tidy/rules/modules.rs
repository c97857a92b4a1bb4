//! Files that no module tree reaches, and exceptions without a reason.

use crate::tidy::Report;
use crate::tidy::repo::{File, Repo};

/// A file that nobody declares is neither compiled nor tested, and looks as if it were.
pub(crate) fn every_file_is_declared(repo: &Repo, report: &mut Report) {
    for file in repo.with_extension("rs") {
        let Some((module, parents)) = parents(repo, &file.path) else { continue };
        let declares = |parent: &String| {
            let rust = repo.file(parent).and_then(|f| f.rust.as_ref());
            let word = format!("mod {module};");
            rust.is_some_and(|r| {
                r.code.iter().any(|l| l.trim_end().ends_with(&word) || l.contains("#[path"))
            })
        };
        if !parents.iter().any(declares) {
            let message = format!("no `mod {module};` in {}", parents.join(" or "));
            report.add(&file.path, 1, message);
        }
    }
}

/// The name of a file's module and the files that may declare it. None for the roots of targets.
fn parents<'a>(repo: &Repo, path: &'a str) -> Option<(&'a str, Vec<String>)> {
    let (folder, name) = path.rsplit_once('/')?;
    let (place, below) = ["/src", "/tests", "/benches", "/examples"]
        .into_iter()
        .find_map(|place| path.split_once(&format!("{place}/")).map(|(_, below)| (place, below)))?;
    let top = !below.contains('/');
    let is_root = match place {
        "/src" => below.starts_with("bin/") || (top && matches!(name, "lib.rs" | "main.rs")),
        _ => top || name == "main.rs",
    };
    if is_root {
        return None;
    }
    let (module, folder) = match name {
        "mod.rs" => {
            let (above, module) = folder.rsplit_once('/')?;
            (module, above)
        }
        _ => (name.strip_suffix(".rs")?, folder),
    };
    if place != "/src" && folder.ends_with(place) {
        // Each file beside it is a target of its own and may share it.
        let beside = |f: &&File| f.path.rsplit_once('/').is_some_and(|(of, _)| of == folder);
        return Some((module, repo.files.iter().filter(beside).map(|f| f.path.clone()).collect()));
    }
    let mut found = ["mod.rs", "lib.rs", "main.rs"].map(|f| format!("{folder}/{f}")).to_vec();
    found.push(format!("{folder}.rs"));
    Some((module, found))
}

/// An exception whose reason nobody wrote down is never taken back.
pub(crate) fn expectations_have_reasons(repo: &Repo, report: &mut Report) {
    for file in repo.with_extension("rs") {
        for n in bare_expectations(file) {
            report.add(&file.path, n, "#[expect] without a reason");
        }
    }
}

fn bare_expectations(file: &File) -> Vec<usize> {
    let Some(rust) = &file.rust else { return Vec::new() };
    let mut found = Vec::new();
    for (n, line) in rust.code.iter().enumerate() {
        let Some((_, opened)) = line.split_once("[expect(") else { continue };
        let rest = rust.code[n + 1..].iter().map(String::as_str);
        let mut attribute = String::new();
        for line in std::iter::once(opened).chain(rest) {
            attribute.push_str(line);
            if line.contains(")]") {
                break;
            }
        }
        if !attribute.split(")]").next().is_some_and(|a| a.contains("reason =")) {
            found.push(n + 1);
        }
    }
    found
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
    fn a_file_that_nobody_declares_is_found() {
        let files = [
            ("crates/x/src/lib.rs", "mod a;\npub(crate) mod b;\n"),
            ("crates/x/src/a.rs", "mod deep;\n"),
            ("crates/x/src/a/deep.rs", ""),
            ("crates/x/src/a/dead.rs", "// mod dead;\n"),
            ("crates/x/src/b/mod.rs", "mod inner;\n"),
            ("crates/x/src/b/inner.rs", ""),
            ("crates/x/src/lost.rs", ""),
            ("crates/x/src/bin/tool.rs", ""),
            ("crates/x/tests/common/mod.rs", ""),
            ("crates/x/tests/it.rs", "mod case;\nmod common;\n"),
            ("crates/x/tests/it/case.rs", ""),
            ("crates/x/tests/it/lost.rs", ""),
        ];
        let expected =
            ["crates/x/src/a/dead.rs:1", "crates/x/src/lost.rs:1", "crates/x/tests/it/lost.rs:1"];
        assert_eq!(found(every_file_is_declared, &files), expected);
    }

    #[test]
    fn an_expectation_without_a_reason_is_found() {
        let text = "#[expect(dead_code)]\n#[expect(dead_code, reason = \"x\")]\n\
                    #![expect(\n  dead_code,\n  reason = \"y\"\n)]\n#[expect(\n  dead_code\n)]\nreason = 1;\n";
        let files = [("crates/x/src/lib.rs", text)];
        assert_eq!(
            found(expectations_have_reasons, &files),
            ["crates/x/src/lib.rs:1", "crates/x/src/lib.rs:7"]
        );
    }
}

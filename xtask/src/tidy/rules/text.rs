//! Text as text, whatever the language.

use crate::tidy::Report;
use crate::tidy::repo::{File, Repo};

/// Files that people write. Fixtures and snapshots keep the bytes that somebody sent.
fn is_written(file: &File) -> bool {
    let written = ["rs", "md", "toml", "sh", "py", "mjs", "js", "yml", "run"];
    let extension = file.path.rsplit(['.', '/']).next().unwrap_or_default();
    written.contains(&extension) && !file.path.contains("fixtures/")
}

pub(crate) fn spaces_are_clean(repo: &Repo, report: &mut Report) {
    for file in repo.files.iter().filter(|f| is_written(f)) {
        for (n, line) in file.lines() {
            if line.ends_with([' ', '\t']) {
                report.add(&file.path, n, "trailing space");
            }
            if line.contains('\t') {
                report.add(&file.path, n, "tab");
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            report.add(&file.path, file.text.lines().count(), "no newline at the end");
        }
    }
}

pub(crate) fn no_machine_paths(repo: &Repo, report: &mut Report) {
    // In pieces, so that this file does not find itself.
    let folders = ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"));
    for file in repo.files.iter().filter(|f| f.path != "Cargo.lock") {
        for (n, line) in file.lines() {
            for folder in folders.iter().filter(|folder| names_folder(line, folder)) {
                let message = format!("{folder} exists on one machine only: use a relative path");
                report.add(&file.path, n, message);
            }
        }
    }
}

/// Whether a line holds an absolute path into a folder; `a/work/b` is relative.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "._-}~$/".contains(c)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn found(rule: fn(&Repo, &mut Report), path: &str, text: &str) -> Vec<usize> {
        let mut report = Report::default();
        rule(&Repo::sample(&[(path, text)]), &mut report);
        report.findings.into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn tabs_trailing_spaces_and_open_ends_are_found() {
        assert_eq!(found(spaces_are_clean, "a.md", "one \ntwo\n\tthree\nfour"), [1, 3, 4]);
        assert_eq!(found(spaces_are_clean, "a.md", "one\n"), NONE);
        assert_eq!(found(spaces_are_clean, "x/fixtures/a.md", "one "), NONE);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let text = format!("see /{}/x\nand a/{}/x\n(/{}/me)\n", "work", "work", "home");
        assert_eq!(found(no_machine_paths, "a.md", &text), [1, 3]);
    }
}

//! Dependencies: used, explained, allowed, few.

use std::collections::BTreeMap;

use crate::tidy::Report;
use crate::tidy::repo::{File, Repo};

/// The engine brings a tensor library; its crates are counted apart.
const ENGINE: &str = "cutover-engine";

/// Crates of others that the product without the engine compiles. At about half a second of processor
/// time each, this is what keeps a cold build on two cores within minutes. Ours do not count: a split
/// shall cost nothing. Twelve of them come with NVIDIA's library and five with pulp, which the engine needs too;
/// both are done in seconds. So are the two with which large bodies get pages of their own; the engine maps its models
/// with them.
const CRATES_MAX: usize = 203;

pub(crate) fn dependencies_are_used_and_explained(repo: &Repo, report: &mut Report) {
    let Some(root) = repo.file("Cargo.toml") else { return };
    let mut explained = false;
    for (line, text) in section(root, "[workspace.dependencies]") {
        if text.is_empty() {
            explained = false;
        } else if text.starts_with('#') {
            explained = true;
        } else if let Some((name, _)) = text.split_once(" =") {
            if !explained {
                report.add(&root.path, line, format!("{name}: no comment above says why"));
            }
            if !manifests(repo).any(|m| names_dependency(m, name)) {
                report.add(&root.path, line, format!("{name}: no crate uses it"));
            }
        }
    }
}

/// Whether a member's manifest names a workspace dependency.
fn names_dependency(manifest: &File, name: &str) -> bool {
    manifest.text.lines().any(|line| {
        let key = line.split(['=', '.']).next().unwrap_or_default();
        key.trim() == name && line.contains("workspace = true")
    })
}

/// The manifests of our own packages, those outside the workspace included.
fn manifests(repo: &Repo) -> impl Iterator<Item = &File> {
    repo.files.iter().filter(|f| f.path.ends_with("/Cargo.toml"))
}

/// The lines of one section of a manifest.
fn section<'a>(file: &'a File, head: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let lines = file.lines().map(|(n, line)| (n, line.trim()));
    lines.skip_while(move |(_, l)| *l != head).skip(1).take_while(|(_, l)| !l.starts_with('['))
}

pub(crate) fn manifests_inherit(repo: &Repo, report: &mut Report) {
    for (_, package) in repo.graph.ours() {
        let path = package.manifest.as_deref().unwrap_or_default();
        if !package.described {
            report.add(path, 1, "no description: one line on what the crate is for");
        }
        let folder = path.strip_prefix("crates/").and_then(|p| p.split('/').next());
        let named = folder.is_none_or(|f| package.name == format!("cutover-{f}") || f == "cutover");
        if !named {
            report.add(path, 1, format!("{} does not match its folder", package.name));
        }
        let Some(file) = repo.file(path) else { continue };
        if !section(file, "[lints]").any(|(_, line)| line == "workspace = true") {
            report.add(path, 1, "no `[lints] workspace = true`");
        }
        for head in ["[dependencies]", "[dev-dependencies]", "[build-dependencies]"] {
            let own =
                |l: &str| !l.is_empty() && !l.starts_with('#') && !l.contains("workspace = true");
            // A table over several lines ends in lines without an equals sign.
            for (n, _) in section(file, head).filter(|(_, l)| own(l) && l.contains(" = ")) {
                report.add(path, n, "a version of its own: write it in the root's Cargo.toml");
            }
        }
    }
}

pub(crate) fn banned_crates_stay_out(repo: &Repo, report: &mut Report) {
    let Some(deny) = repo.file("deny.toml") else {
        report.add("deny.toml", 1, "missing: it lists the banned crates");
        return;
    };
    for (name, reason) in banned(deny) {
        for package in repo.graph.packages.iter().filter(|p| p.name == name) {
            let message = format!("{} is banned: {reason}", package.name);
            report.add("Cargo.lock", 1, message + " (`cargo tree -i` says who wants it)");
        }
    }
}

/// Rows such as `{ crate = "openssl", reason = "..." },`.
fn banned(deny: &File) -> BTreeMap<&str, &str> {
    let row = |line| Some((quoted_after(line, "crate = \"")?, quoted_after(line, "reason = \"")?));
    deny.text.lines().filter_map(row).collect()
}

/// What stands between a mark that ends in a quote and the next quote.
fn quoted_after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.split_once(mark)?.1.split('"').next()
}

pub(crate) fn licences_are_allowed(repo: &Repo, report: &mut Report) {
    let Some(deny) = repo.file("deny.toml") else { return };
    let allowed: Vec<&str> = section(deny, "[licenses]")
        .filter_map(|(_, line)| line.strip_prefix('"')?.split('"').next())
        .collect();
    for package in repo.graph.packages.iter().filter(|p| p.manifest.is_none()) {
        let licence = package.license.as_deref().unwrap_or("nothing");
        if !is_allowed(licence, &allowed) {
            report.add("Cargo.lock", 1, format!("{} is licensed under {licence}", package.name));
        }
    }
}

/// An expression of `AND`s over `OR`s, brackets ignored: each part needs one allowed licence.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| allowed.contains(&one.trim())))
}

pub(crate) fn the_tree_stays_small(repo: &Repo, report: &mut Report) {
    let product = |name: &str| name.starts_with("cutover") && name != "cutover-testkit";
    let roots: Vec<usize> =
        repo.graph.ours().filter(|(_, p)| product(&p.name)).map(|(at, _)| at).collect();
    let closure = repo.graph.closure(&roots, ENGINE);
    let foreign = |at: &&usize| repo.graph.packages[**at].manifest.is_none();
    let crates = closure.iter().filter(foreign).count();
    if crates > CRATES_MAX {
        let message =
            format!("{crates} crates of others without the engine, {CRATES_MAX} are the budget");
        report.add("Cargo.lock", 1, message + ": read what grew before raising it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::graph::Graph;

    fn messages(rule: fn(&Repo, &mut Report), repo: &Repo) -> Vec<String> {
        let mut report = Report::default();
        rule(repo, &mut report);
        report.findings.into_iter().map(|f| format!("{}: {}", f.line, f.message)).collect()
    }

    const ROOT: &str =
        "[workspace.dependencies]\n# For a.\na = \"1\"\n\nb = \"1\"\n\n[profile.dev]";

    #[test]
    fn an_unused_or_unexplained_dependency_is_found() {
        let member = "[dependencies]\na = { workspace = true }\nb = { workspace = true }\n";
        let repo = Repo::sample(&[("Cargo.toml", ROOT), ("crates/x/Cargo.toml", member)]);
        let found = messages(dependencies_are_used_and_explained, &repo);
        assert_eq!(found, ["5: b: no comment above says why"]);
        let repo = Repo::sample(&[("Cargo.toml", ROOT)]);
        assert_eq!(messages(dependencies_are_used_and_explained, &repo).len(), 3);
    }

    #[test]
    fn a_manifest_that_goes_its_own_way_is_found() {
        let manifest = "[dependencies]\na = \"1\"\nb = { workspace = true }\n";
        let mut repo = Repo::sample(&[("crates/store/Cargo.toml", manifest)]);
        repo.graph = Graph::sample(&[("cutover-store", &[], &[])]);
        repo.graph.packages[0].described = false;
        let found = messages(manifests_inherit, &repo);
        assert_eq!(found.len(), 3, "{found:?}");
        repo.graph.packages[0].name = "cutover-other".to_owned();
        assert_eq!(messages(manifests_inherit, &repo).len(), 4);
    }

    const DENY: &str = "[licenses]\nallow = [\n  \"MIT\", # short\n]\n[bans]\ndeny = [\n  \
                        { crate = \"openssl\", reason = \"one TLS\" },\n]";

    #[test]
    fn a_banned_crate_and_a_strange_licence_are_found() {
        let mut repo = Repo::sample(&[("deny.toml", DENY)]);
        repo.graph = Graph::sample(&[("cutover", &["openssl"], &[])]);
        assert_eq!(messages(banned_crates_stay_out, &repo).len(), 1);
        assert_eq!(messages(licences_are_allowed, &repo), Vec::<String>::new());
        repo.graph.packages[1].license = Some("MIT AND GPL-3.0".to_owned());
        assert_eq!(messages(licences_are_allowed, &repo).len(), 1);
        repo.graph.packages[1].license = None;
        assert_eq!(messages(licences_are_allowed, &repo).len(), 1);
    }

    #[test]
    fn licence_expressions_are_read() {
        let allowed = ["MIT", "Apache-2.0"];
        for good in ["MIT", "MIT/Apache-2.0", "GPL-2.0 OR MIT", "(MIT OR X) AND Apache-2.0"] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["GPL-2.0", "MIT AND X", "nothing"] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_tree_over_budget_is_found() {
        let names: Vec<String> = (0..=CRATES_MAX).map(|n| format!("d{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut repo = Repo::sample(&[]);
        repo.graph = Graph::sample(&[("cutover", &names, &[])]);
        assert_eq!(messages(the_tree_stays_small, &repo).len(), 1);
        repo.graph = Graph::sample(&[("cutover", &[ENGINE], &[]), (ENGINE, &names, &[])]);
        assert_eq!(messages(the_tree_stays_small, &repo), Vec::<String>::new());
    }
}

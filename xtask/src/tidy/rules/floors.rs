//! Which crate may know which.

use crate::tidy::Report;
use crate::tidy::graph::{Kind, Package};
use crate::tidy::repo::Repo;

/// A crate's place. A crate depends on smaller numbers only; below 20 it is pure.
const FLOORS: &[(&str, u8)] = &[
    ("cutover-units", 0),
    ("cutover-stats", 0),
    ("cutover-json", 0),
    ("cutover-http1", 0),
    ("cutover-wire", 10),
    // Converts to and from what wire knows, and dialects reads and writes with its tools.
    ("cutover-vendors", 11),
    ("cutover-dialects", 12),
    // Knows both, and checks answers with what evals has.
    ("cutover-relay", 13),
    // Knows the dialects' paths and those that route passes on.
    ("cutover-ingress", 13),
    ("cutover-route", 10),
    ("cutover-ledger", 10),
    ("cutover-sizing", 10),
    ("cutover-tco", 10),
    ("cutover-prompts", 10),
    ("cutover-rollout", 10),
    // Runs the planner of the crate above it in this list, so it stands a step higher.
    ("cutover-simulator", 12),
    ("cutover-evals", 10),
    // Reads what the three above need, so it stands half a floor higher.
    ("cutover-config", 15),
    ("cutover-upstream", 20),
    ("cutover-store", 20),
    ("cutover-server", 20),
    ("cutover-pages", 20),
    ("cutover-telemetry", 20),
    ("cutover-hardware", 20),
    // Implements upstream's in-process door, so it stands half a floor higher.
    ("cutover-engine", 25),
    // Fetches over upstream what relay's forms name.
    ("cutover-images", 25),
    ("cutover-gateway", 30),
    ("cutover-control", 30),
    // What every command needs of the floors below, then the commands that only plan.
    ("cutover-console", 35),
    ("cutover-planning", 37),
    ("cutover", 40),
];

/// For tests only: may know any crate but the binary, and no crate is compiled with it.
const SIDE: &[&str] = &["cutover-testkit", "xtask"];

const PURE_BELOW: u8 = 20;

/// What a pure floor does not reach, however far down.
const IMPURE_ANYWHERE: &[&str] =
    &["tokio", "mio", "hyper", "axum", "rusqlite", "reqwest", "socket2"];

/// What a pure floor does not name itself. A hash map's seed further down is none of its business.
const IMPURE_DIRECTLY: &[&str] = &["rand", "getrandom", "fastrand", "chrono", "time", "tempfile"];

/// A dependency and the crates that may name it, in product code.
const OWNERS: &[(&str, &[&str])] = &[
    ("toml", &["cutover-config"]),
    ("rusqlite", &["cutover-store"]),
    ("candle-core", &["cutover-engine"]),
    ("tokenizers", &["cutover-engine"]),
    ("llguidance", &["cutover-engine"]),
    ("toktrie", &["cutover-engine"]),
    ("minijinja", &["cutover-engine", "cutover-prompts"]),
    ("genai-prices", &["cutover-ledger"]),
    ("nvml-wrapper", &["cutover-hardware"]),
    ("jsonschema", &["cutover-evals"]),
    ("rustls", &["cutover-upstream"]),
    ("tokio-rustls", &["cutover-upstream"]),
    ("clap", &["cutover", "cutover-console", "cutover-planning"]),
    ("anyhow", &["cutover", "cutover-console", "cutover-planning"]),
    ("mimalloc", &["cutover"]),
];

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(crate_name, _)| *crate_name == name).map(|(_, floor)| *floor)
}

/// Whether a crate stands on floor 0 or 1.
pub(crate) fn is_pure(name: &str) -> bool {
    floor(name).is_some_and(|floor| floor < PURE_BELOW)
}

fn manifest(package: &Package) -> &str {
    package.manifest.as_deref().unwrap_or_default()
}

pub(crate) fn arrows_go_down(repo: &Repo, report: &mut Report) {
    for (at, package) in repo.graph.ours() {
        if SIDE.contains(&package.name.as_str()) {
            continue;
        }
        let Some(own) = floor(&package.name) else {
            report.add(manifest(package), 1, "this crate has no floor: give it a row in FLOORS");
            continue;
        };
        for (other, kind) in repo.graph.direct(at).filter(|(other, _)| other.manifest.is_some()) {
            let for_tests = kind == Kind::Dev && other.name == "cutover-testkit";
            if !for_tests && floor(&other.name).is_none_or(|floor| floor >= own) {
                let message = format!("{} must not depend on {}", package.name, other.name);
                report.add(manifest(package), 1, message + ": arrows go down only");
            }
        }
    }
}

pub(crate) fn pure_floors_stay_pure(repo: &Repo, report: &mut Report) {
    for (at, package) in repo.graph.ours().filter(|(_, p)| is_pure(&p.name)) {
        for found in repo.graph.closure(&[at], "") {
            let name = repo.graph.packages[found].name.as_str();
            if IMPURE_ANYWHERE.contains(&name) {
                let message = format!("{} is pure and must not reach {name}", package.name);
                report.add(manifest(package), 1, message);
            }
        }
        let direct = repo.graph.direct(at).filter(|(_, kind)| *kind == Kind::Product);
        for (found, _) in direct.filter(|(p, _)| IMPURE_DIRECTLY.contains(&p.name.as_str())) {
            let message = format!("{} is pure and must not name {}", package.name, found.name);
            report.add(manifest(package), 1, message + ": take the value as an argument");
        }
    }
}

pub(crate) fn dependencies_have_one_owner(repo: &Repo, report: &mut Report) {
    for (at, package) in repo.graph.ours().filter(|(_, p)| floor(&p.name).is_some()) {
        for (found, _) in repo.graph.direct(at).filter(|(_, kind)| *kind == Kind::Product) {
            let row = OWNERS.iter().find(|(name, _)| *name == found.name);
            if let Some((_, owners)) = row.filter(|(_, o)| !o.contains(&package.name.as_str())) {
                let message = format!("{} belongs to {}", found.name, owners.join(" and "));
                report.add(manifest(package), 1, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::graph::Graph;

    fn findings(
        rule: fn(&Repo, &mut Report),
        rows: &[(&str, &[&str], &[&str])],
    ) -> Vec<(String, String)> {
        let repo = Repo { files: Vec::new(), graph: Graph::sample(rows) };
        let mut report = Report::default();
        rule(&repo, &mut report);
        report.findings.into_iter().map(|f| (f.file, f.message)).collect()
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        let up = findings(arrows_go_down, &[("cutover-route", &["cutover-config"], &[])]);
        assert_eq!(up[0].0, "crates/route/Cargo.toml");
        let side = findings(arrows_go_down, &[("cutover-gateway", &["cutover-control"], &[])]);
        assert_eq!(side.len(), 1);
        let dev = findings(arrows_go_down, &[("cutover-wire", &[], &["cutover-gateway"])]);
        assert_eq!(dev.len(), 1);
        let down = [("cutover-config", &["cutover-route"][..], &["cutover-testkit"][..])];
        assert_eq!(findings(arrows_go_down, &down), []);
    }

    #[test]
    fn testkit_is_never_compiled_into_the_product() {
        let product = findings(arrows_go_down, &[("cutover-gateway", &["cutover-testkit"], &[])]);
        assert_eq!(product.len(), 1);
    }

    #[test]
    fn a_crate_without_a_floor_is_found() {
        assert_eq!(findings(arrows_go_down, &[("cutover-misc", &[], &[])]).len(), 1);
    }

    #[test]
    fn a_runtime_beneath_a_pure_crate_is_found_through_another() {
        let rows: &[(&str, &[&str], &[&str])] =
            &[("cutover-wire", &["codec"], &["tokio"]), ("codec", &["tokio"], &[])];
        assert_eq!(findings(pure_floors_stay_pure, rows).len(), 1);
        assert_eq!(findings(pure_floors_stay_pure, &[("cutover-wire", &[], &["tokio"])]), []);
        assert_eq!(findings(pure_floors_stay_pure, &[("cutover-route", &["rand"], &[])]).len(), 1);
        assert_eq!(findings(pure_floors_stay_pure, &[("cutover-store", &["rand"], &[])]), []);
    }

    #[test]
    fn a_dependency_outside_its_owner_is_found() {
        let found = findings(dependencies_have_one_owner, &[("cutover", &["rusqlite"], &[])]);
        assert_eq!(found[0].1, "rusqlite belongs to cutover-store");
        let own = findings(dependencies_have_one_owner, &[("cutover-store", &["rusqlite"], &[])]);
        assert_eq!(own, []);
    }
}

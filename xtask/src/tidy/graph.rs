//! The package graph as `cargo metadata` prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What kind of dependency an edge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Compiled into the crate, or run by its build script.
    Product,
    /// For tests only.
    Dev,
}

/// One package.
#[derive(Debug, Default)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its licence expression, if it states one.
    pub(crate) license: Option<String>,
    /// Whether it says what it is.
    pub(crate) described: bool,
    /// Its manifest from the root, if it is ours.
    pub(crate) manifest: Option<String>,
    /// Indices of what it depends on, as cargo resolved it for this machine.
    pub(crate) edges: Vec<(usize, Kind)>,
}

/// Packages and edges.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// All packages, ours first in no particular order.
    pub(crate) packages: Vec<Package>,
}

impl Graph {
    /// Asks cargo. Only what this machine would build: a dependency of another platform is neither
    /// downloaded nor counted.
    pub(crate) fn load(root: &Path) -> io::Result<Self> {
        let host = host_triple()?;
        let words = ["metadata", "--format-version", "1", "--filter-platform", &host];
        let output = Command::new("cargo").args(words).current_dir(root).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(io::Error::other(format!("cargo metadata failed: {said}")));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        Ok(Self::read(&metadata))
    }

    fn read(metadata: &Value) -> Self {
        let root = text(&metadata["workspace_root"]);
        let ours: BTreeSet<&str> = items(&metadata["workspace_members"]).map(text).collect();
        let mut places = BTreeMap::new();
        let mut packages = Vec::new();
        for package in items(&metadata["packages"]) {
            let id = text(&package["id"]);
            places.insert(id, packages.len());
            let manifest = text(&package["manifest_path"]).strip_prefix(root);
            packages.push(Package {
                name: text(&package["name"]).to_owned(),
                license: package["license"].as_str().map(str::to_owned),
                described: package["description"].is_string(),
                manifest: manifest
                    .filter(|_| ours.contains(id))
                    .map(|m| m.replace('\\', "/").trim_start_matches('/').to_owned()),
                edges: Vec::new(),
            });
        }
        for node in items(&metadata["resolve"]["nodes"]) {
            let Some(&from) = places.get(text(&node["id"])) else { continue };
            packages[from].edges = items(&node["deps"])
                .filter_map(|dep| Some((*places.get(text(&dep["pkg"]))?, kind(dep))))
                .collect();
        }
        Self { packages }
    }

    /// Our own packages.
    pub(crate) fn ours(&self) -> impl Iterator<Item = (usize, &Package)> {
        self.packages.iter().enumerate().filter(|(_, p)| p.manifest.is_some())
    }

    /// What a package depends on directly.
    pub(crate) fn direct(&self, from: usize) -> impl Iterator<Item = (&Package, Kind)> {
        self.packages[from].edges.iter().map(|(to, kind)| (&self.packages[*to], *kind))
    }

    /// Everything that is compiled for these packages, without what only `except` brings in.
    pub(crate) fn closure(&self, from: &[usize], except: &str) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut open = from.to_vec();
        while let Some(at) = open.pop() {
            if self.packages[at].name == except || !seen.insert(at) {
                continue;
            }
            let product = self.packages[at].edges.iter().filter(|(_, k)| *k == Kind::Product);
            open.extend(product.map(|(to, _)| *to));
        }
        seen
    }

    /// A graph written down in a test: (name, what it is compiled with, what its tests use). Names
    /// that begin with `cutover` are ours.
    #[cfg(test)]
    pub(crate) fn sample(rows: &[(&str, &[&str], &[&str])]) -> Self {
        let mut names: Vec<&str> = rows.iter().map(|(name, ..)| *name).collect();
        for name in rows.iter().flat_map(|(_, product, dev)| product.iter().chain(*dev)) {
            if !names.contains(name) {
                names.push(name);
            }
        }
        let place = |name: &str| names.iter().position(|n| *n == name).expect("listed above");
        let mut packages: Vec<Package> = Vec::new();
        for name in &names {
            let folder = name.trim_start_matches("cutover-");
            packages.push(Package {
                name: (*name).to_owned(),
                license: Some("MIT".to_owned()),
                described: true,
                manifest: name
                    .starts_with("cutover")
                    .then(|| format!("crates/{folder}/Cargo.toml")),
                edges: Vec::new(),
            });
        }
        for (name, product, dev) in rows {
            let edges = product.iter().map(|to| (place(to), Kind::Product));
            packages[place(name)].edges =
                edges.chain(dev.iter().map(|to| (place(to), Kind::Dev))).collect();
        }
        Self { packages }
    }
}

/// An edge is for tests only if each of its kinds is `dev`.
fn kind(dep: &Value) -> Kind {
    let dev = items(&dep["dep_kinds"]).all(|k| k["kind"] == "dev");
    if dev { Kind::Dev } else { Kind::Product }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn host_triple() -> io::Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| io::Error::other("rustc -vV names no host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_with_kinds_and_manifests() {
        let graph = Graph::read(&serde_json::json!({
            "workspace_root": "/somewhere",
            "workspace_members": ["a#1"],
            "packages": [
                {"id": "a#1", "name": "a", "license": "Apache-2.0", "description": "x",
                 "manifest_path": "/somewhere/crates/a/Cargo.toml"},
                {"id": "b#1", "name": "b", "license": null, "description": null,
                 "manifest_path": "/elsewhere/b/Cargo.toml"},
            ],
            "resolve": {"nodes": [
                {"id": "a#1", "deps": [{"pkg": "b#1", "dep_kinds": [{"kind": "dev"}]}]},
            ]},
        }));
        assert_eq!(graph.packages[0].manifest.as_deref(), Some("crates/a/Cargo.toml"));
        assert_eq!(graph.packages[0].edges, [(1, Kind::Dev)]);
        assert!(graph.packages[1].manifest.is_none() && graph.packages[1].license.is_none());
    }

    #[test]
    fn a_closure_leaves_out_tests_and_the_exception() {
        let graph = Graph::sample(&[
            ("cutover", &["cutover-engine", "clap"], &["insta"]),
            ("cutover-engine", &["candle"], &[]),
        ]);
        let names: Vec<_> = graph
            .closure(&[0], "cutover-engine")
            .into_iter()
            .map(|at| graph.packages[at].name.as_str())
            .collect();
        assert_eq!(names, ["cutover", "clap"]);
    }
}

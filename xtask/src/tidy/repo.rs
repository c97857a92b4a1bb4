//! What the rules read: the tree's text files and the package graph.

use std::io;
use std::path::Path;
use std::process::Command;

use super::graph::Graph;
use super::rust::Rust;

/// The tree.
#[derive(Debug, Default)]
pub(crate) struct Repo {
    /// Text files, sorted by path.
    pub(crate) files: Vec<File>,
    /// Packages and what they depend on.
    pub(crate) graph: Graph,
}

/// One text file.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the root, with forward slashes.
    pub(crate) path: String,
    /// Its content.
    pub(crate) text: String,
    /// Its scan, if it is Rust.
    pub(crate) rust: Option<Rust>,
    /// Whether it is a module declared under `#[cfg(test)]`, or lies beneath one.
    test_module: bool,
}

impl File {
    pub(crate) fn new(path: &str, text: String) -> Self {
        let rust = has_extension(path, "rs").then(|| Rust::scan(&text));
        Self { path: path.to_owned(), text, rust, test_module: false }
    }

    /// The lines, counted from one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(n, line)| (n + 1, line))
    }

    /// The folder under `crates/` it belongs to.
    pub(crate) fn crate_folder(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Whether the whole file is tests, benches or examples, as its place says.
    pub(crate) fn is_test_file(&self) -> bool {
        let mut parts = self.path.split('/');
        let name = parts.next_back().unwrap_or_default();
        self.test_module
            || name == "tests.rs"
            || name == "build.rs"
            || parts.any(|p| matches!(p, "tests" | "benches" | "examples" | "fuzz" | "bench"))
    }

    /// The scan of a file that ships: product code of a crate, without whole test files, testkit
    /// and xtask.
    pub(crate) fn product(&self) -> Option<&Rust> {
        let ships = self.crate_folder().is_some_and(|c| c != "testkit") && !self.is_test_file();
        self.rust.as_ref().filter(|_| ships)
    }

    /// Whether a line, counted from one, is run by `cargo test`.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        let marked = |rust: &Rust| rust.test.get(line - 1).copied().unwrap_or(false);
        let mut parts = self.path.split('/');
        self.test_module
            || parts.any(|p| p == "tests" || p == "tests.rs")
            || self.rust.as_ref().is_some_and(marked)
    }
}

/// Whether a path ends in an extension.
pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|e| e == extension)
}

impl Repo {
    /// Reads the tree and asks cargo for the graph.
    pub(crate) fn load(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for path in list(root)? {
            // A file that git lists may have been deleted since; a binary file has no lines, but documents show
            // images.
            let file = root.join(&path);
            if let Ok(text) = std::fs::read_to_string(&file) {
                files.push(File::new(&path, text));
            } else if has_extension(&path, "png") && file.exists() {
                files.push(File::new(&path, String::new()));
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files: mark_test_modules(files), graph: Graph::load(root)? })
    }

    /// A file by its path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }

    /// Files with an extension.
    pub(crate) fn with_extension(&self, extension: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |f| has_extension(&f.path, extension))
    }

    /// A tree written down in a test.
    #[cfg(test)]
    pub(crate) fn sample(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File::new(path, (*text).to_owned())).collect();
        Self { files: mark_test_modules(files), graph: Graph::default() }
    }
}

/// Marks the files of modules that another file declares under `#[cfg(test)]`.
fn mark_test_modules(mut files: Vec<File>) -> Vec<File> {
    let mut modules = Vec::new();
    for file in &files {
        let Some(rust) = &file.rust else { continue };
        let (folder, name) = file.path.rsplit_once('/').unwrap_or_default();
        let stem = name.trim_end_matches(".rs");
        let own = match stem {
            "lib" | "main" | "mod" => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        };
        modules.extend(rust.test_modules().map(|module| format!("{own}/{module}")));
    }
    for file in &mut files {
        let beneath = |m: &String| {
            file.path.strip_prefix(m.as_str()).is_some_and(|r| r == ".rs" || r.starts_with('/'))
        };
        file.test_module = modules.iter().any(beneath);
    }
    files
}

/// What git tracks, and what it would track if it were added.
fn list(root: &Path) -> io::Result<Vec<String>> {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"];
    let output = Command::new("git").args(words).current_dir(root).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("git ls-files failed: {said}")));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_declared_for_tests_is_test_wherever_its_file_lies() {
        let repo = Repo::sample(&[
            ("crates/x/src/lib.rs", "mod a;\n#[cfg(test)]\nmod fixtures;\n"),
            ("crates/x/src/fixtures.rs", "fn b() {}\n"),
            ("crates/x/src/fixtures/deep.rs", "fn c() {}\n"),
            ("crates/x/src/a.rs", "#[cfg(test)]\npub(crate) mod suite;\n"),
            ("crates/x/src/a/suite.rs", "fn d() {}\n"),
            ("crates/x/src/fixtures_of.rs", "fn e() {}\n"),
        ]);
        let tests: Vec<_> = repo.files.iter().map(File::is_test_file).collect();
        assert_eq!(tests, [false, true, true, false, true, false]);
    }
}

//! A vendor's own tests, run against an address.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::rig::{self, Unavailable};

/// Whose tests, and whose specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// OpenAI.
    OpenAi,
    /// Anthropic.
    Anthropic,
}

impl Vendor {
    /// As packages and tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// The tests of the resources that a gateway for inference has a part in.
    fn tests(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &[
                "tests/api_resources/chat",
                "tests/api_resources/test_completions.py",
                "tests/api_resources/test_embeddings.py",
                "tests/api_resources/test_models.py",
                "tests/api_resources/test_responses.py",
                "tests/api_resources/responses",
            ],
            Self::Anthropic => &[
                "tests/api_resources/test_messages.py",
                "tests/api_resources/test_models.py",
                "tests/api_resources/beta/test_messages.py",
                "tests/api_resources/beta/test_models.py",
            ],
        }
    }
}

/// What to run, and against what.
#[derive(Clone, Debug)]
pub struct Run {
    vendor: Vendor,
    url: String,
    only: Vec<String>,
    without: Vec<String>,
    add: Value,
}

impl Run {
    /// This vendor's tests against a base URL as the vendor's client wants it.
    pub fn new(vendor: Vendor, url: &str) -> Self {
        Self {
            vendor,
            url: url.to_owned(),
            only: Vec::new(),
            without: Vec::new(),
            add: Value::Null,
        }
    }

    /// Runs these files alone (below `tests/api_resources`).
    #[must_use]
    pub fn only(mut self, files: &[&str]) -> Self {
        self.only = files.iter().map(|file| format!("tests/api_resources/{file}")).collect();
        self
    }

    /// Takes members out of each request's body, and adds what it then lacks.
    #[must_use]
    pub fn narrowed(mut self, without: &[&str], add: Value) -> Self {
        self.without = without.iter().map(|&name| name.to_owned()).collect();
        self.add = add;
        self
    }
}

/// What became of each test: nothing, or why it failed. Skipped tests are not in it.
pub type Results = BTreeMap<String, Option<String>>;

/// Runs the tests.
pub fn run(run: &Run) -> Result<Results, Unavailable> {
    let suites = rig::suites()?;
    let source = match run.vendor {
        Vendor::OpenAi => suites.openai,
        Vendor::Anthropic => suites.anthropic,
    };
    let trouble = |error: std::io::Error| Unavailable(format!("the suite did not start: {error}"));
    let outcomes = tempfile::NamedTempFile::new().map_err(trouble)?;
    let without = serde_json::to_string(&run.without).unwrap_or_default();
    let add = if run.add.is_null() { "{}".to_owned() } else { run.add.to_string() };
    let all = || run.vendor.tests().iter().map(|&test| test.to_owned()).collect();
    let tests: Vec<String> = if run.only.is_empty() { all() } else { run.only.clone() };
    let output = Command::new(suites.python)
        .args(["-B", "-m", "pytest", "-q", "--tb=line", "-W", "ignore"])
        .args(["-o", "addopts=", "-p", "no:cacheprovider", "-p", "cutover_outcomes"])
        .args(tests)
        .current_dir(source)
        // A developer's own keys, proxies and Python must not change a test.
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/conformance"))
        .env("TEST_API_BASE_URL", &run.url)
        .env("CUTOVER_OUTCOMES", outcomes.path())
        .env("CUTOVER_WITHOUT", without)
        .env("CUTOVER_ADD", add)
        .stdin(Stdio::null())
        .output()
        .map_err(trouble)?;
    let text = std::fs::read_to_string(outcomes.path()).map_err(trouble)?;
    // 0: all passed; 1: some did not. Anything else is no run.
    let ran = matches!(output.status.code(), Some(0 | 1)) && !text.is_empty();
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(ran, "the vendor's suite ended with {}:\n{said}{error}", output.status);
    Ok(text.lines().filter_map(result).collect())
}

fn result(line: &str) -> Option<(String, Option<String>)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let id = value["id"].as_str()?.trim_start_matches("tests/api_resources/").to_owned();
    let why = value["detail"].as_str()?.to_owned();
    Some((id, (!value["ok"].as_bool()?).then_some(why)))
}

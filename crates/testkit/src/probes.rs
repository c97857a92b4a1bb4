//! The official SDKs, unmodified and strict, as judges of a server.
//!
//! Contract: [`run_python`] and [`run_node`] start the programs in `sdk/` against a base URL and
//! return one [`Outcome`] per probe; [`Outcomes::assert_all_pass`] fails a test with the list of what
//! failed. A probe that does not apply (the options say the server cannot do it) is neither: it is
//! listed as skipped with the option it needs.

use std::fmt;
use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::rig::{self, Unavailable};

/// What to probe. The members are those that `sdk/python/probes.py` explains.
#[derive(Clone, Debug)]
pub struct Options(Value);

impl Options {
    /// Probes of a server at `base_url` (without `/v1`).
    pub fn new(base_url: &str, api_key: &str, model: &str) -> Self {
        Self(json!({"base_url": base_url, "api_key": api_key, "model": model}))
    }

    /// Sets one member, e.g. `with("markers", true)`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }
}

/// How one probe went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The probe.
    pub name: String,
    /// `None`: it does not apply.
    pub ok: Option<bool>,
    /// What went wrong, or what it needs.
    pub detail: String,
}

/// All outcomes of one program.
#[derive(Clone)]
pub struct Outcomes(pub Vec<Outcome>);

impl fmt::Debug for Outcomes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, skipped {:?}, ", self.passed().len(), self.skipped())?;
        let failed = self.0.iter().filter(|one| one.ok == Some(false));
        formatter.debug_map().entries(failed.map(|one| (&one.name, &one.detail))).finish()
    }
}

impl Outcomes {
    /// Names of the probes that passed.
    pub fn passed(&self) -> Vec<&str> {
        self.of(Some(true))
    }

    /// Names of the probes that failed.
    pub fn failed(&self) -> Vec<&str> {
        self.of(Some(false))
    }

    /// Names of the probes that did not apply.
    pub fn skipped(&self) -> Vec<&str> {
        self.of(None)
    }

    fn of(&self, ok: Option<bool>) -> Vec<&str> {
        self.0.iter().filter(|one| one.ok == ok).map(|one| one.name.as_str()).collect()
    }

    /// Panics with every failure unless all applicable probes passed and there were `at_least` many.
    pub fn assert_all_pass(&self, at_least: usize) {
        self.assert_only_fail(&[]);
        let passed = self.passed().len();
        assert!(passed >= at_least, "only {passed} probes ran; skipped: {:?}", self.skipped());
    }

    /// Panics unless exactly these probes failed: known limits of a real engine, each named.
    pub fn assert_only_fail(&self, known: &[&str]) {
        assert!(!self.0.is_empty(), "no probe ran");
        assert!(self.failed() == known, "{self:#?}\nexpected to fail: {known:?}");
    }
}

/// Runs the Python probes.
pub fn run_python(options: &Options) -> Result<Outcomes, Unavailable> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/python/probes.py");
    // -I: nothing of the user's own Python leaks in.
    run(Command::new(rig::python()?).args(["-I", "-B", program]).arg(options.0.to_string()))
}

/// Runs the Python probes of the other dialects: Anthropic's, Responses, Ollama's.
pub fn run_python_dialects(options: &Options) -> Result<Outcomes, Unavailable> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/python/dialects.py");
    let mut python = Command::new(rig::python_dialects()?);
    run(python.args(["-I", "-B", program]).arg(options.0.to_string()))
}

/// Runs the Python probes of Google's dialect.
pub fn run_python_gemini(options: &Options) -> Result<Outcomes, Unavailable> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/python/gemini.py");
    let mut python = Command::new(rig::python_gemini()?);
    run(python.args(["-I", "-B", program]).arg(options.0.to_string()))
}

/// Runs the probes of OpenAI's Agents SDK: an agent's own loop, over Responses and over chat.
pub fn run_python_agents(options: &Options) -> Result<Outcomes, Unavailable> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/python/agents_sdk.py");
    let mut python = Command::new(rig::python_agents()?);
    run(python.args(["-I", "-B", program]).arg(options.0.to_string()))
}

/// Runs the Python probes of the rest of the OpenAI surface. What a probe that passed returned is its
/// detail, so that two runs can be compared.
pub fn run_python_surface(base_url: &str, api_key: &str) -> Result<Outcomes, Unavailable> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/python/surface.py");
    let options = json!({"base_url": base_url, "api_key": api_key}).to_string();
    run(Command::new(rig::python()?).args(["-I", "-B", program]).arg(options))
}

/// Runs the Node probes.
pub fn run_node(options: &Options) -> Result<Outcomes, Unavailable> {
    let (node, folder) = rig::node()?;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/node/probes.mjs");
    run(Command::new(node).arg(program).arg(folder).arg(options.0.to_string()))
}

/// Runs the Node probes of the other dialects: Anthropic's SDK, OpenAI's Responses, Ollama's client,
/// Vercel's AI SDK.
pub fn run_node_dialects(options: &Options) -> Result<Outcomes, Unavailable> {
    let (node, folder) = rig::node_dialects()?;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/node-dialects/probes.mjs");
    run(Command::new(node).arg(program).arg(folder).arg(options.0.to_string()))
}

/// Runs the Node probes of Google's dialect.
pub fn run_node_gemini(options: &Options) -> Result<Outcomes, Unavailable> {
    let (node, folder) = rig::node_gemini()?;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/node-gemini/probes.mjs");
    run(Command::new(node).arg(program).arg(folder).arg(options.0.to_string()))
}

fn run(command: &mut Command) -> Result<Outcomes, Unavailable> {
    let trouble = |what: String| Unavailable(format!("the probe program failed: {what}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The SDKs read these; a developer's own settings must not change a test.
    for name in [
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "OLLAMA_API_KEY",
        "OLLAMA_HOST",
        "GOOGLE_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_GENAI_USE_VERTEXAI",
        "GOOGLE_GENAI_USE_ENTERPRISE",
        "GOOGLE_GENAI_HTTP_CLIENT",
    ] {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
    {
        command.env_remove(name);
    }
    let output = command.output().map_err(|error| trouble(error.to_string()))?;
    let mut said = String::new();
    let _ = output.stderr.as_slice().read_to_string(&mut said);
    let outcomes: Option<Vec<Outcome>> =
        String::from_utf8_lossy(&output.stdout).lines().map(outcome).collect();
    match outcomes {
        Some(outcomes) if output.status.success() => Ok(Outcomes(outcomes)),
        _ => panic!("the probe program ended with {}:\n{said}", output.status),
    }
}

fn outcome(line: &str) -> Option<Outcome> {
    let value: Value = serde_json::from_str(line).ok()?;
    Some(Outcome {
        name: value["name"].as_str()?.to_owned(),
        ok: value["ok"].as_bool(),
        detail: value["detail"].as_str()?.to_owned(),
    })
}

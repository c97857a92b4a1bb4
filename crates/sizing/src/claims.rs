//! Claims of published articles about fit and speed, each recomputed here.
//!
//! One row per claim: what was said, and a function that says what is so. The guide
//! `docs/guides/claims-checked.md` is generated from the rows, and tests hold their figures.

mod articles;
mod deployments;
mod hardware;

use crate::catalogue;
use crate::engine::Engine;
use crate::fit::{Answer, Ask, answer};
use crate::hardware::{GIB, Machine};
use crate::kv::Kv;
use crate::quant::{quant, weights};
use crate::speed::Exchange;
use crate::wrong::Wrong;

/// An article.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Article {
    /// The case study of TechDocs SaaS (2026).
    CaseStudy,
    /// The Ollama migration playbook (December 2025).
    Playbook,
    /// "Scaling AI inference on a budget" (May 2026).
    Budget,
    /// Three enterprise case studies (2026).
    Enterprise,
}

impl Article {
    /// Its short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CaseStudy => "case study",
            Self::Playbook => "playbook",
            Self::Budget => "budget",
            Self::Enterprise => "enterprise",
        }
    }
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It is so.
    Yes,
    /// It is so under a condition that was not said.
    Partly,
    /// It is not so.
    No,
}

impl Holds {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "true",
            Self::Partly => "depends",
            Self::No => "false",
        }
    }
}

/// What is so.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Whether the claim holds.
    pub holds: Holds,
    /// Our figures, by name, for tests.
    pub figures: Vec<(&'static str, f64)>,
    /// The figures in words.
    pub words: String,
}

/// One claim.
#[derive(Debug)]
pub struct Claim {
    /// A short name.
    pub name: &'static str,
    /// Where it was made.
    pub article: Article,
    /// What was said.
    pub said: &'static str,
    /// Finds out what is so.
    pub check: fn() -> Result<Finding, Wrong>,
}

/// All claims about fit and speed, topic by topic.
pub fn claims() -> impl Iterator<Item = &'static Claim> {
    [articles::CLAIMS, hardware::CLAIMS, deployments::CLAIMS].into_iter().flatten()
}

/// The rows as a Markdown table.
pub fn markdown() -> String {
    let mut out = String::from("| article | claim | holds | what is so |\n|---|---|---|---|\n");
    for claim in claims() {
        let (holds, words) = match (claim.check)() {
            Ok(finding) => (finding.holds.as_str(), finding.words),
            Err(wrong) => ("?", wrong.problem),
        };
        out.push_str(&row([claim.article.as_str(), claim.said, holds, &words]));
    }
    out
}

fn row(cells: [&str; 4]) -> String {
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

/// A question in few words: model, quantisation, machine; then context and requests.
#[derive(Clone, Copy)]
struct Question {
    model: &'static str,
    quant: &'static str,
    machine: &'static str,
    engine: Engine,
    context: u64,
    sequences: u64,
    exchange: Exchange,
}

impl Question {
    fn new(model: &'static str, quant: &'static str, machine: &'static str) -> Self {
        Self {
            model,
            quant,
            machine,
            engine: Engine::Ollama,
            context: 4096,
            sequences: 1,
            exchange: Exchange { prompt: 500, output: 200 },
        }
    }

    fn load(self, context: u64, sequences: u64) -> Self {
        Self { context, sequences, ..self }
    }

    fn by(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    fn exchange(self, prompt: u64, output: u64) -> Self {
        Self { exchange: Exchange { prompt, output }, ..self }
    }

    fn ask(self) -> Result<Answer, Wrong> {
        let (entry, _) = catalogue::find(self.model)?;
        let machine = Machine::parse(self.machine)?;
        answer(&Ask {
            model: &entry.model,
            tag: self.model,
            quant: quant(self.quant)?,
            weights: None,
            kv: Kv::default(),
            engine: self.engine,
            machine: &machine,
            context: self.context,
            sequences: self.sequences,
            exchange: self.exchange,
        })
    }

    /// GiB that all devices together need.
    fn needs(self) -> Result<f64, Wrong> {
        Ok(in_gib(self.ask()?.bills.iter().map(crate::memory::Bill::total).sum()))
    }
}

fn in_gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

/// GB of a model's weights.
fn gb(model: &str, name: &str) -> Result<f64, Wrong> {
    let (entry, _) = catalogue::find(model)?;
    Ok(weights(&entry.model, quant(name)?).bytes as f64 / 1e9)
}

fn speeds(answer: Answer) -> Result<crate::speed::Speeds, Wrong> {
    answer.speeds.ok_or_else(|| Wrong::new("it does not fit"))
}

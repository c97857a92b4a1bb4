//! Claims of published articles about fit and speed, each recomputed here.
//!
//! One row per claim: what was said, and a function that says what is so. The guide
//! `docs/guides/claims-checked.md` is generated from the rows, and tests hold their figures.

mod articles;
mod deployments;
mod hardware;

use cutover_units::Wrong;
use cutover_units::claims::{Article, Holds};

use crate::catalogue;
use crate::engine::Engine;
use crate::fit::{Answer, Ask, answer};
use crate::hardware::{GIB, Machine};
use crate::kv::Kv;
use crate::quant::{quant, weights};
use crate::speed::Exchange;

/// What is so about fit and speed.
pub type Finding = cutover_units::claims::Finding<f64>;

/// One claim about fit or speed.
pub type Claim = cutover_units::claims::Claim<f64>;

/// All claims about fit and speed, topic by topic.
pub fn claims() -> impl Iterator<Item = &'static Claim> {
    [articles::CLAIMS, hardware::CLAIMS, deployments::CLAIMS].into_iter().flatten()
}

/// The rows as a Markdown table.
pub fn markdown() -> String {
    cutover_units::claims::markdown(claims())
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

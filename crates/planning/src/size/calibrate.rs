//! `--calibrate`: measurements of `cutover latency --json`, as the fit of a machine takes them.

use std::fmt::Write as _;
use std::path::Path;

use cutover_console::exit::Failed;
use cutover_console::term::Term;
use cutover_sizing::calibrate::{Fitted, Measured, fit};
use cutover_sizing::catalogue;
use cutover_sizing::engine::Engine;
use cutover_sizing::fit::Ask;
use cutover_sizing::hardware::Machine;
use cutover_sizing::kv::Kv;
use cutover_sizing::quant::{Quant, quant};
use cutover_sizing::speed::Exchange;
use cutover_units::Wrong;
use serde_json::Value;

use crate::text_of;

/// How the measured engine ran.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) engine: Engine,
    pub(super) kv: Kv,
    pub(super) machine: &'a Machine,
}

/// What was measured of one model.
struct File {
    model: &'static catalogue::Entry,
    tag: String,
    quant: &'static Quant,
    rows: Vec<Row>,
}

/// A row with one request at a time.
#[derive(Clone, Copy)]
struct Row {
    exchange: Exchange,
    tokens_per_s: f64,
    first_token_s: Option<f64>,
}

/// What to do about a file that is none.
const HOW: &str = "measure with: cutover latency --model NAME --json > latency.json";

/// Reads the files and fits the machine's constants. Each is `FILE` or `FILE=MODEL`.
pub(super) fn fitted(
    given: &[String],
    setting: Setting<'_>,
    term: &mut Term,
) -> Result<Fitted, Failed> {
    let files =
        given.iter().map(|one| read(one, setting.engine, term)).collect::<Result<Vec<_>, _>>()?;
    let measured: Vec<Measured<'_>> = files
        .iter()
        .flat_map(|file| file.rows.iter().map(move |row| one(file, *row, setting)))
        .collect();
    fit(&measured).map_err(Failed::wrong)
}

fn one<'a>(file: &'a File, row: Row, setting: Setting<'a>) -> Measured<'a> {
    let ask = Ask {
        model: &file.model.model,
        tag: &file.tag,
        quant: file.quant,
        weights: None,
        kv: setting.kv,
        engine: setting.engine,
        machine: setting.machine,
        context: row.exchange.prompt + row.exchange.output,
        sequences: 1,
        exchange: row.exchange,
    };
    Measured { ask, tokens_per_s: row.tokens_per_s, first_token_s: row.first_token_s }
}

fn read(given: &str, engine: Engine, term: &mut Term) -> Result<File, Failed> {
    let (path, named) = match given.split_once('=') {
        Some((path, model)) => (path, Some(model)),
        None => (given, None),
    };
    let wrong = |why: String| Failed::usage(format!("{path}: {why}"));
    let value: Value = serde_json::from_str(&text_of(Path::new(path))?)
        .map_err(|error| wrong(format!("this is not JSON: {error}")).hint(HOW))?;
    let no_answer =
        |why: &str| wrong(format!("this is no answer of cutover latency --json: {why}")).hint(HOW);
    let asked = value.get("model").and_then(Value::as_str);
    let asked = asked.ok_or_else(|| no_answer("it names no model"))?;
    let name = named.unwrap_or(asked);
    let (model, own) = catalogue::find(name).map_err(|unknown| {
        let hint = format!(
            "say which model answered: --calibrate {path}=llama3.1:8b{}",
            unknown.hint.map_or(String::new(), |hint| format!(" ({hint})"))
        );
        wrong(unknown.problem).hint(hint)
    })?;
    let usual = engine.usual_quant(&model.model);
    let quant = quant(own.unwrap_or(usual)).map_err(Failed::wrong)?;
    if own.is_none() {
        term.warn(format_args!(
            "{path}: taken for {} {}; {path}=MODEL names another, such as llama3.1:8b-instruct-q8_0",
            model.model.title, quant.name
        ));
    }
    let rows = value.get("rows").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| no_answer("it has no rows"))?;
    let same = value.get("same_prompt").and_then(Value::as_bool) == Some(true);
    let alone: Vec<Row> = rows.iter().filter_map(|value| row(value, same)).collect();
    if alone.is_empty() {
        return Err(wrong("no row has one request at a time whose tokens were counted".to_owned())
            .hint("measure with --concurrency 1, at a service that tells usage"));
    }
    let tag = name.to_owned();
    Ok(File { model, tag, quant, rows: alone })
}

/// A row that can be used: one request at a time, tokens as the service counted them.
fn row(value: &Value, same_prompt: bool) -> Option<Row> {
    let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_f64);
    let told = value.get("tokens_told").and_then(Value::as_bool) == Some(true);
    if value.get("concurrency").and_then(Value::as_u64) != Some(1) || !told {
        return None;
    }
    let whole = |pointer: &str| number(pointer).and_then(count);
    let exchange =
        Exchange { prompt: whole("/mean_prompt_tokens")?, output: whole("/mean_answer_tokens")? };
    // A prefix cache skips the prompt: its time says nothing of the machine.
    let first = number("/warm/first_token_ms/p50/value").filter(|_| !same_prompt);
    Some(Row {
        exchange,
        tokens_per_s: number("/warm/tokens_per_s/p50/value")?,
        first_token_s: first.map(|ms| ms / 1_000.0),
    })
}

fn count(value: f64) -> Option<u64> {
    let rounded = value.round();
    if !(1.0..1e7).contains(&rounded) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked")]
    Some(rounded as u64)
}

/// The constants in a sentence.
pub(super) fn words(fitted: &Fitted) -> String {
    let mut out = format!(
        "measured on this machine: {:.3} of the bandwidth and {:.1} us per layer ({}), ",
        fitted.reached,
        fitted.layer_s * 1e6,
        if fitted.both { "both fitted" } else { "the usual constants scaled by one factor" }
    );
    let _ = match fitted.mfu {
        Some(mfu) => write!(out, "prompts reach {mfu:.3} of the operations"),
        None => write!(out, "prompts not measured"),
    };
    let s = if fitted.points == 1 { "" } else { "s" };
    let _ = write!(out, "; {} row{s}, the worst {:.1} % off", fitted.points, fitted.worst * 100.0);
    out
}

/// The constants as JSON.
pub(super) fn json(fitted: &Fitted) -> Value {
    serde_json::json!({
        "bandwidth_share": fitted.reached,
        "layer_us": fitted.layer_s * 1e6,
        "operations_share": fitted.mfu,
        "both_fitted": fitted.both,
        "rows": fitted.points,
        "worst_off": fitted.worst,
    })
}

/// A wrong machine is told with what it was.
pub(super) fn needs_machine(machine: &Machine) -> Result<(), Wrong> {
    let mixed = machine.gpus.windows(2).any(|pair| pair[0].name != pair[1].name);
    if mixed {
        return Err(Wrong::new("--calibrate needs GPUs of one kind")
            .hint("constants of different kinds cannot be told apart: measure each by itself"));
    }
    Ok(())
}

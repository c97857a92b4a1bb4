//! `cutover tco`: what staying and moving cost, when a move pays back, and what flips the answer.

mod show;

use std::path::{Path, PathBuf};

use anyhow::Context;
use cutover_console::clock;
use cutover_console::exit::{Exit, Failed};
use cutover_console::term::Term;
use cutover_ledger::{CATALOGUE, Price, Tokens};
use cutover_tco::analysis::analyse;
use cutover_tco::scenario::Draft;
use cutover_tco::{Nano, Wrong, html, inputs, json};
use cutover_units::Millis;

/// Compare what staying and moving cost: doing nothing, a cheaper cloud model, a hosted open model, rented GPUs, own hardware.
///
/// SCENARIO is a TOML or JSON file; --set adds to it or stands alone. Figures may be ranges (`LOW..HIGH`), and every answer has
/// the range that follows. Beside the sums: when a move pays for itself, which single input at which value flips the
/// answer, and when not to migrate. Figures that contradict each other are refused. --inputs lists all inputs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The scenario, TOML or JSON
    #[arg(value_name = "SCENARIO")]
    scenario: Option<PathBuf>,
    /// One input, such as own.capex=3600 or own.ops_hours=2..8; again for more
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Requests of a month
    #[arg(long, value_name = "N")]
    requests: Option<String>,
    /// Prompt tokens of one request
    #[arg(long, value_name = "TOKENS")]
    prompt: Option<String>,
    /// Answer tokens of one request
    #[arg(long, value_name = "TOKENS")]
    answer: Option<String>,
    /// The model that answers today; its price is that of the built-in list
    #[arg(long, value_name = "MODEL")]
    today: Option<String>,
    /// Write the report as one HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    /// List all inputs with their defaults and bounds
    #[arg(long)]
    inputs: bool,
}

/// Works the scenario out.
pub fn run(args: &Args, term: &mut Term) -> Result<Exit, Failed> {
    if args.inputs {
        term.say(inputs::reference().trim_end())?;
        return Ok(Exit::Done);
    }
    let mut draft = Draft::default();
    if let Some(path) = &args.scenario {
        draft
            .read(&value(path)?, &path.display().to_string())
            .map_err(|wrong| in_file(path, wrong))?;
    }
    let flags = [
        ("workload.requests", &args.requests),
        ("workload.prompt_tokens", &args.prompt),
        ("workload.answer_tokens", &args.answer),
        ("today.model", &args.today),
    ];
    for (name, value) in flags {
        let Some(value) = value else { continue };
        draft.set(name, value, "the command line").map_err(Failed::wrong)?;
    }
    for assignment in &args.set {
        draft.assign(assignment).map_err(Failed::wrong)?;
    }
    look_up(&mut draft)?;
    let found = analyse(draft.finish().map_err(Failed::wrong)?).map_err(Failed::wrong)?;
    if let Some(path) = &args.html {
        std::fs::write(path, html::report(&found))
            .with_context(|| format!("cannot write {}", path.display()))?;
        term.talk(format_args!("wrote {}", path.display()));
    }
    let text = if args.json {
        serde_json::to_string_pretty(&json::analysis(&found))?
    } else {
        show::analysis(&found)
    };
    term.say(text.trim_end())?;
    Ok(Exit::Done)
}

/// Largest file that is read: a scenario has some hundred lines, an audit's answer some thousand.
const FILE_BYTES_MAX: u64 = 16 << 20;

fn text(path: &Path) -> Result<String, Failed> {
    let name = path.display();
    let bytes = std::fs::metadata(path).with_context(|| format!("cannot read {name}"))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Failed::new(
            Exit::Failed,
            format!("{name} has {bytes} bytes, more than {FILE_BYTES_MAX}"),
        ));
    }
    Ok(std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?)
}

fn value(path: &Path) -> Result<serde_json::Value, Failed> {
    let text = text(path)?;
    let is_json = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    let read = if is_json || text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        cutover_config::toml_as_json(&text)
    };
    read.map_err(|problem| Failed::new(Exit::Usage, format!("{}: {problem}", path.display())))
}

fn in_file(path: &Path, wrong: Wrong) -> Failed {
    Failed::wrong(Wrong { problem: format!("{}: {}", path.display(), wrong.problem), ..wrong })
}

/// Providers among which a model without one is looked for; PROVIDER/MODEL names one.
const PROVIDERS: &[&str] = &[
    "openai",
    "anthropic",
    "google",
    "mistral",
    "deepseek",
    "groq",
    "together",
    "fireworks",
    "openrouter",
];

/// Fills in the prices of models that are named.
fn look_up(draft: &mut Draft) -> Result<(), Failed> {
    let now = clock::now();
    for (kind, model) in draft.models().to_vec() {
        let Some((prices, provider)) = prices(&model, now) else {
            return Err(Failed::new(
                Exit::Usage,
                format!("no price of {model:?} is known ({CATALOGUE})"),
            )
            .hint(format!(
                "write PROVIDER/MODEL, or give {0}.input and {0}.output in USD per million tokens",
                kind.section()
            )));
        };
        draft.price(kind, prices, &format!("{CATALOGUE}, {provider}"));
    }
    Ok(())
}

fn prices(model: &str, now: Millis) -> Option<([Nano; 3], String)> {
    let named = model.split_once('/').filter(|(provider, _)| PROVIDERS.contains(provider));
    let candidates: Vec<(&str, &str)> = match named {
        Some(named) => vec![named],
        None => PROVIDERS.iter().map(|provider| (*provider, model)).collect(),
    };
    candidates.into_iter().find_map(|(provider, model)| {
        let price = Price::look_up(Some(provider), "", model, now);
        let one = |tokens| price.cost(tokens, now).map(|cost| per_million(cost.amount.0));
        let input = one(Tokens { prompt: SAMPLE, cached: 0, completion: 0 })?;
        let cached = one(Tokens { prompt: SAMPLE, cached: SAMPLE, completion: 0 })?;
        let output = one(Tokens { prompt: 0, cached: 0, completion: SAMPLE })?;
        Some(([input, output, cached], provider.to_owned()))
    })
}

/// Tokens by which a price is asked for: few enough for the first tier of context length.
const SAMPLE: u64 = 1_000;

fn per_million(nano_usd_of_sample: u64) -> Nano {
    Nano(i128::from(nano_usd_of_sample) * i128::from(1_000_000 / SAMPLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_priced_by_the_built_in_list() {
        // 2026-11-01.
        let now = Millis(1_793_491_200_000);
        let (found, provider) = prices("gpt-4o", now).unwrap();
        let usd = |text: &str| Nano::parse(text).unwrap();
        assert_eq!((found, provider.as_str()), ([usd("2.5"), usd("10"), usd("1.25")], "openai"));
        assert_eq!(prices("openai/gpt-4o", now).unwrap().0, found);
        assert!(prices("no-such-model", now).is_none());
    }
}

//! `cutover report`: before and after, from cutover's own records.

mod compare;
mod costs;
mod figures;
mod html;
mod period;
mod service;
mod show;
mod sides;

use std::path::{Path, PathBuf};

use anyhow::Context;
use cutover_console::clock;
use cutover_console::exit::{Exit, Failed};
use cutover_console::operator::{self, block_on};
use cutover_console::term::Term;
use cutover_store::{Observations, Options, Store, Window, has_database};
use cutover_tco::Nano;
use cutover_units::{Millis, UseCaseName};

use compare::Report;
use period::Period;
use sides::Side;

/// Compare before and after: cost, latency, errors, rate limits, availability, fallback and quality, with intervals.
///
/// From the records of a use case, which are read in the state directory and from no running cutover. Two periods, or without them the two arms: requests assigned to the baseline are "before",
/// those assigned to the candidate "after", whoever answered. Each figure has n and a 95 % interval; users, not
/// requests, are the units. A saving is reconciled with invoices, and what differs is stated.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The use case
    #[arg(value_name = "USE_CASE")]
    use_case: String,
    /// The period before, such as 2026-09-01..2026-10-01 (UTC, without its end)
    #[arg(long, value_name = "FROM..TO", requires = "after")]
    before: Option<String>,
    /// The period after
    #[arg(long, value_name = "FROM..TO", requires = "before")]
    after: Option<String>,
    /// What the invoices say of the side before, in USD
    #[arg(long, value_name = "USD")]
    invoice_before: Option<String>,
    /// What the invoices say of the side after, in USD
    #[arg(long, value_name = "USD")]
    invoice_after: Option<String>,
    /// Write the report as one HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// The state directory whose records are read. Default: state.directory of the config file, or the
    /// platform's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// What helps where nothing is found.
const WHERE: &str =
    "records are read from a state directory, on the machine that has it: name it with --state-dir";

/// What invoices say of both sides.
#[derive(Debug, Clone, Copy, Default)]
struct Invoices {
    before: Option<Nano>,
    after: Option<Nano>,
}

/// Compares both sides.
pub fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let use_case =
        UseCaseName::new(&args.use_case).map_err(|error| Failed::usage(error.to_string()))?;
    let invoices = Invoices {
        before: amount("--invoice-before", args.invoice_before.as_deref())?,
        after: amount("--invoice-after", args.invoice_after.as_deref())?,
    };
    let periods = match (&args.before, &args.after) {
        (Some(before), Some(after)) => {
            let now = clock::now();
            Some([parse(before, now)?, parse(after, now)?])
        }
        _ => None,
    };
    if let Some([before, after]) = periods
        && before.overlaps(after)
    {
        let problem =
            "--before and --after overlap: requests of both would be compared with themselves";
        return Err(Failed::usage(problem).hint("a period ends before its last time"));
    }
    let directory = operator::state_directory(args.state_dir.as_deref(), config, term)?;
    if !has_database(&directory) {
        let message = format!("there is no database in {}", directory.display());
        return Err(Failed::new(Exit::Failed, message).hint(WHERE));
    }
    let store = Store::open(Options::new(&directory, clock::now))?;
    let whole = Period { from: Millis(0), until: Millis(u64::MAX >> 1), unfinished: false };
    let read = |period: Period| {
        let window =
            Window { from: period.from, until: period.until, use_case: Some(use_case.clone()) };
        store.observed(window)
    };
    let [before, after] = periods.unwrap_or([whole, whole]);
    let (before, after): (Observations, Observations) = block_on(async {
        let before = read(before).await?;
        let after = if periods.is_some() { read(after).await? } else { before.clone() };
        store.close().await;
        Ok::<_, Failed>((before, after))
    })??;
    let sides = match periods {
        Some([first, second]) => [Side::of_period(&before, first), Side::of_period(&after, second)],
        None => [Side::of_arm(&before, false), Side::of_arm(&after, true)],
    };
    if let Some(empty) = sides.iter().find(|side| side.requests.is_empty()) {
        let told = format!(
            "no request of {} {} in the records of {}",
            args.use_case,
            empty.name,
            directory.display()
        );
        return Err(Failed::new(Exit::Failed, told).hint(WHERE));
    }
    if before.truncated || after.truncated {
        term.warn("there are more than a million records: the newest million count");
    }
    let report = Report::new(&args.use_case, &sides, invoices);
    if let Some(path) = &args.html {
        std::fs::write(path, html::report(&report))
            .with_context(|| format!("cannot write {}", path.display()))?;
        term.talk(format_args!("wrote {}", path.display()));
    }
    let text = if args.json {
        serde_json::to_string_pretty(&show::json(&report))?
    } else {
        show::text(&report)
    };
    term.say(text.trim_end())?;
    Ok(Exit::Done)
}

fn parse(text: &str, now: Millis) -> Result<Period, Failed> {
    Period::parse(text, now).map_err(Failed::usage)
}

fn amount(name: &str, text: Option<&str>) -> Result<Option<Nano>, Failed> {
    let Some(text) = text else { return Ok(None) };
    let bare = text.trim().trim_start_matches('$').trim_end_matches("USD").trim_end();
    let value = Nano::parse(bare)
        .map_err(|wrong| Failed::usage(format!("{name}: {wrong}")).hint("invoices are in USD"))?;
    if value < Nano::ZERO {
        return Err(Failed::usage(format!("{name}: {text} is negative")));
    }
    Ok(Some(value))
}

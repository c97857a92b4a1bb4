//! `cutover demo`: a rollout in a minute, with a real gateway, real arms and real requests. Every
//! figure it prints is measured while it runs.

mod workload;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use cutover_control::api::{RollBack, SetWeight};
use cutover_control::client::Admin;
use cutover_control::token;
use cutover_store::{Store, Summary, SummaryRow, Window};
use cutover_units::{Micros, Millis, WeightBp};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exit::{Exit, Failed};
use crate::files::Source;
use crate::operator;
use crate::process::Overruled;
use crate::server::{self, Plan, Server};
use crate::table::Table;
use crate::term::Term;
use crate::{clock, signals};
use workload::{Crowd, Tally};

/// Watch a rollout: two use cases with two real arms each, weights moved under load, one rolled back.
///
/// Runs a gateway of its own with a small real model inside and sends it real requests. Nothing is
/// scripted: all figures are measured. The first run fetches the model.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Requests in all
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u32).range(8..=100_000))]
    requests: u32,
    /// Leave it running, and print how to talk to it
    #[arg(long)]
    keep: bool,
}

/// The config that the demo runs.
const CONFIG: &str = include_str!("demo/demo.toml");

/// The weights, in order. After the third, one use case is rolled back.
const STEPS: [u16; 4] = [500, 2_500, 7_500, 10_000];

/// The step after which `summaries` is rolled back.
const ROLLBACK_AFTER: usize = 2;

const USE_CASES: [&str; 2] = ["extraction", "summaries"];

/// The client port that `--keep` prefers: the one that documents and examples name.
const USUAL_PORT: u16 = 4000;

pub(crate) fn run(args: &Args, term: &mut Term) -> Result<Exit, Failed> {
    // Only what someone must act on: a rollback that was asked for is no surprise here.
    cutover_telemetry::init_log(cutover_telemetry::LogFormat::Text, "error")?;
    let folder = Folder::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(Box::pin(demo(args, &folder.0, term)))
}

/// The demo's files, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let mut random = [0u8; 4];
        getrandom::fill(&mut random)?;
        let name = format!("cutover-demo-{:08x}", u32::from_le_bytes(random));
        let path = std::env::temp_dir().join(name);
        // Fails if it exists: others may write to the system's folder, and the admin token goes here.
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        std::fs::write(path.join("cutover.toml"), CONFIG)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind lies in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn demo(args: &Args, folder: &Path, term: &mut Term) -> Result<Exit, Failed> {
    let server = Server::start(plan(args, folder, term)?, term).await?;
    let secret = token::read(&server.directory.join(token::TOKEN_FILE))?;
    let stage = Stage {
        address: server.address,
        admin: Admin::new(server.admin_address, secret),
        store: server.store.clone(),
        requests: usize::try_from(args.requests).unwrap_or(usize::MAX),
    };
    let (host, stop) = (server.host.clone(), CancellationToken::new());
    let tasks = TaskTracker::new();
    let serving = tasks.spawn(server::run(server, stop.clone()));
    let show = async {
        term.say(INTRODUCTION)?;
        let failures = host.0.engines().settled().await;
        if let Some(failure) = failures.first() {
            return Err(Failed::new(Exit::Failed, failure.clone()));
        }
        stage.play(term).await?;
        if args.keep {
            term.say(how_to_talk(&stage, folder))?;
            signals::end_asked_for().await;
        }
        Ok(Exit::Done)
    };
    let outcome = tokio::select! {
        outcome = show => outcome,
        () = interrupted(args.keep) => Err(Failed::new(Exit::Failed, "interrupted")),
    };
    stop.cancel();
    // A panic inside has been reported by the panic hook.
    let _ = serving.await;
    outcome
}

/// With `--keep` the end of the show waits for the signal itself.
async fn interrupted(keep: bool) {
    if keep {
        return std::future::pending().await;
    }
    signals::end_asked_for().await;
}

fn plan(args: &Args, folder: &Path, term: &mut Term) -> Result<Plan, Failed> {
    let path = folder.join("cutover.toml");
    let source = Source { path: Some(path), base: folder.to_owned() };
    let mut checked = source.load(term)?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let usual = SocketAddr::from(([127, 0, 0, 1], USUAL_PORT));
    let usual_is_free = args.keep && std::net::TcpListener::bind(usual).is_ok();
    let overruled = Overruled {
        listen: Some(if usual_is_free { usual } else { any }),
        admin_listen: Some(any),
        state_dir: Some(folder.to_owned()),
    };
    overruled.apply(&mut checked);
    Ok(Plan { source, checked, overruled })
}

const INTRODUCTION: &str = "\
Two use cases move from a baseline to a candidate, under load, through a real gateway.
  extraction  careful (8-bit weights)  >  frugal (4-bit weights)
  summaries   wordy prompt             >  terse prompt
All four arms are one small model in this process, on the CPU. Users stay with their arm.
";

/// Where the demo plays.
struct Stage {
    address: SocketAddr,
    admin: Admin,
    store: Store,
    requests: usize,
}

impl Stage {
    async fn play(&self, term: &mut Term) -> Result<(), Failed> {
        let began = clock::now();
        let per_step = (self.requests / (STEPS.len() * USE_CASES.len())).max(1);
        let mut crowds = [Crowd::extraction(per_step * 2), Crowd::summaries(per_step * 2)];
        term.say("weight   extraction                    summaries")?;
        for (at, basis_points) in STEPS.into_iter().enumerate() {
            let weight = WeightBp::new(basis_points)?;
            let rolled_back = at > ROLLBACK_AFTER;
            self.set("extraction", weight).await?;
            if !rolled_back {
                self.set("summaries", weight).await?;
            }
            let tallies = self.step(&mut crowds, (per_step, rolled_back), term).await?;
            let left = shown(tallies[0], ["careful", "frugal"]);
            let right = shown(tallies[1], ["wordy", "terse"]);
            term.say(format_args!("{:<7}  {left:<28}  {right}", weight.to_string()))?;
            if at == ROLLBACK_AFTER {
                let took = self.roll_back("summaries").await?;
                term.say(format_args!(
                    "         summaries rolled back: answered after {took:.1?}"
                ))?;
            }
        }
        let window = Window { from: began, until: Millis(u64::MAX >> 1), use_case: None };
        let summary = self.store.summarize(window).await?;
        term.say(format_args!("\n{}", report(&summary)))?;
        let moved: usize = crowds.iter().map(|crowd| crowd.moved_back).sum();
        let users: usize = crowds.iter().map(Crowd::seen).sum();
        Ok(term.say(format_args!("Users that a growing weight moved back: {moved} of {users}."))?)
    }

    /// The requests of one step, both use cases at the same time.
    async fn step(
        &self,
        crowds: &mut [Crowd; 2],
        (requests, rolled_back): (usize, bool),
        term: &Term,
    ) -> Result<[Tally; 2], Failed> {
        let bar = term.colour.then(|| bar(requests * 2));
        let done = || bar.iter().for_each(|bar| bar.inc(1));
        let [extraction, summaries] = crowds;
        let (extraction, summaries) = tokio::join!(
            extraction.send(self.address, (requests, true), &done),
            summaries.send(self.address, (requests, !rolled_back), &done),
        );
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        Ok([extraction?, summaries?])
    }

    async fn set(&self, use_case: &str, weight: WeightBp) -> Result<(), Failed> {
        let request = SetWeight {
            weight,
            actor: "demo".to_owned(),
            reason: "the demo's next step".to_owned(),
            after_rollback: false,
            expected_generation: None,
        };
        self.admin.set_weight(use_case, &request).await.map_err(operator::failed).map(drop)
    }

    /// How long the admin API took to answer that it is in force and on disk.
    async fn roll_back(&self, use_case: &str) -> Result<Duration, Failed> {
        let by = RollBack { actor: "demo".to_owned(), reason: "to show it".to_owned() };
        let began = Instant::now();
        let report = self.admin.roll_back(use_case, &by).await.map_err(operator::failed)?;
        let took = began.elapsed();
        if !report.in_override {
            return Err(Failed::new(Exit::Partly, report.warnings.join("; ")));
        }
        Ok(took)
    }
}

fn bar(requests: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("  {bar:30} {pos}/{len} requests, {elapsed}");
    let bar = ProgressBar::new(requests as u64);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn shown(tally: Tally, [baseline, candidate]: [&str; 2]) -> String {
    format!("{:>3} {baseline}, {:>3} {candidate}", tally.baseline, tally.candidate)
}

/// Who served what, from the records that the gateway wrote.
fn report(summary: &Summary) -> String {
    let mut table = Table::new(&[
        "use case",
        "arm",
        "variant",
        "requests",
        "ok",
        "first token p50 / p95",
        "total p50 / p95",
        "tokens in / out",
    ]);
    for row in &summary.rows {
        let spread = |spread: Option<cutover_store::Spread>| {
            spread.map_or_else(|| "-".to_owned(), |s| format!("{} / {}", show(s.p50), show(s.p95)))
        };
        let SummaryRow { arm, requests, ok, .. } = row;
        table.row([
            row.use_case.clone().unwrap_or_else(|| "-".to_owned()),
            arm.clone(),
            row.variant.clone().unwrap_or_else(|| "-".to_owned()),
            requests.to_string(),
            ok.to_string(),
            spread(row.first_token),
            spread(row.total),
            format!("{} / {}", row.prompt_tokens, row.completion_tokens),
        ]);
    }
    table.to_string()
}

fn show(duration: Micros) -> String {
    format!("{} ms", duration.0.div_ceil(1_000))
}

fn how_to_talk(stage: &Stage, folder: &Path) -> String {
    let (address, folder) = (stage.address, folder.display());
    format!(
        "\nIt keeps running; Ctrl-C ends it. Talk to it:\n\n  \
         curl http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n    \
         -d '{{\"model\": \"extraction\", \"user\": \"you\", \"max_tokens\": 16, \"messages\": \
         [{{\"role\": \"user\", \"content\": \"{text}\"}}]}}' -i\n\n  \
         from openai import OpenAI\n  \
         client = OpenAI(base_url=\"http://{address}/v1\", api_key=\"none\")\n  \
         print(client.chat.completions.create(model=\"summaries\", user=\"you\", max_tokens=16,\n      \
         messages=[{{\"role\": \"user\", \"content\": \"The login page works again.\"}}]).choices[0].message)\n\n  \
         cutover status --state-dir {folder}\n  \
         cutover weight extraction 50% --state-dir {folder}\n  \
         cutover rollback extraction --state-dir {folder}\n",
        text = "Card payment 12.90 EUR, booked on 1 April 2026."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_good_and_without_warnings() {
        let checked = cutover_config::check(CONFIG, "demo.toml", &|_| None).unwrap();
        assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
        let names: Vec<_> = checked.use_cases.iter().map(|u| u.name.to_string()).collect();
        assert!(USE_CASES.iter().all(|name| names.iter().any(|known| known == name)));
    }
}

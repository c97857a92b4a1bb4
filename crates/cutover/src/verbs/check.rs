//! `cutover check`: what is wrong with a config file, and what would happen to a request.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use cutover_config::{Checked, ClientKeys};
use cutover_control::api::ExplainRequest;
use cutover_gateway::Live;
use cutover_gateway::build::{self, BuildError, Materials};
use cutover_store::{KeyRing, Store};
use cutover_telemetry::Registry;
use serde_json::value::RawValue;

use crate::doors::Places;
use crate::exit::{Exit, Failed};
use crate::files::Source;
use crate::lookup::{self, Stored};
use crate::surroundings::{EngineChoice, Outside};
use crate::term::Term;
use crate::{
    clock, doorkeys, explain, named, operator, plans, programs, prompts, sampling, secrets,
};

/// Check a config file, show it in full, or explain what would happen to a request.
///
/// Nothing is started and nothing is sent. All problems are shown at once. What lies outside of the file is looked
/// at, too: files of secrets and tokens, and, if there is a state directory, client keys and prompts. Rollouts are
/// shown in their full form: what gates and steps mean that were written in a few words.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The config file. Default: as for serve
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Tell what would happen to the request in this file; - is stdin
    #[arg(long, value_name = "REQUEST.JSON")]
    explain: Option<PathBuf>,
    /// A header of the explained request, such as 'x-use-case: statements'
    #[arg(long, value_name = "NAME: VALUE", requires = "explain", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// The path of the explained request, such as /v1/messages. Default: what its fields tell
    #[arg(long, value_name = "PATH", requires = "explain")]
    path: Option<String>,
    /// The method of the explained request. Default: POST
    #[arg(long, value_name = "METHOD", requires = "explain")]
    method: Option<String>,
    /// The name of the client key that the explained request comes with
    #[arg(long, value_name = "NAME", requires = "explain")]
    key: Option<String>,
    /// Print the explanation as JSON
    #[arg(long, requires = "explain")]
    json: bool,
    /// Fail if a secret is not where the file says, as the start would; without it that is a warning, since a file may
    /// be checked where its secrets are not
    #[arg(long)]
    secrets: bool,
    /// Print the config with every default written out
    #[arg(long, conflicts_with = "explain")]
    print: bool,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let source = Source::find(args.file.as_deref().or(config));
    let mut checked = source.load(term)?;
    let text = source.read().unwrap_or_default();
    for problem in programs::unfound(&checked, &source.base) {
        term.warn(source.locate(&text, &problem));
    }
    let would_fail = look_at_secrets((&source, &text), &checked, term);
    prompts::look_up(&mut checked, &source, term)?;
    named::refuse(&checked, &source, term)?;
    let keys = keys(args, (&source, &text, &checked), term)?;
    let live = build((&source, &checked), keys).map_err(|error| source.unusable(&error))?;
    plans::webhooks(&checked, &Outside::new(&source.base, EngineChoice::Name).lenient())
        .map_err(|error| source.unusable(&error))?;
    if would_fail && args.secrets {
        let why = "cutover serve would not start here: see the warnings about secrets";
        return Err(Failed::new(Exit::Config, why));
    }
    if args.print {
        term.say(checked.to_toml().trim_end())?;
        return Ok(Exit::Done);
    }
    match &args.explain {
        None => summarise((&source, &checked), term)?,
        Some(request) => tell(args, (request.as_path(), live), term)?,
    }
    Ok(Exit::Done)
}

fn summarise((source, checked): (&Source, &Checked), term: &mut Term) -> Result<(), Failed> {
    term.say(summary(source, checked))?;
    for use_case in &checked.use_cases {
        let Some((shown, warning)) = sampling::compare(checked, use_case) else { continue };
        term.say(format_args!("\n{shown}"))?;
        if let Some(warning) = warning {
            term.warn(warning);
        }
    }
    for at in 0..checked.use_cases.len() {
        let full = cutover_config::render_rollout(checked, at);
        if !full.is_empty() {
            term.say(full.trim_end())?;
        }
    }
    Ok(())
}

/// Explains the request in a file.
fn tell(args: &Args, (file, live): (&Path, Live), term: &mut Term) -> Result<(), Failed> {
    let request = ExplainRequest {
        path: args.path.clone(),
        method: args.method.clone(),
        headers: args.header.iter().cloned().collect::<BTreeMap<_, _>>(),
        key: args.key.clone(),
        body: read_request(file, args.path.is_some())?,
    };
    let explaining = async { explain::explain(&explain::scratch(live), &request).await };
    let explanation = operator::block_on(explaining)?.map_err(|failure| {
        let failed = Failed::new(Exit::Failed, failure.message);
        Failed { hint: failure.hint, ..failed }
    })?;
    if args.json {
        term.say(serde_json::to_string_pretty(&explanation)?)?;
        return Ok(());
    }
    term.say(explain::show(&explanation))?;
    if explanation.use_case.is_some() {
        term.talk(
            "\nThe weight is the config file's; a running cutover may have another: cutover status",
        );
    }
    Ok(())
}

/// Warns of secrets that are not there, or open to others. Tells whether a start would fail for one.
fn look_at_secrets((source, text): (&Source, &str), checked: &Checked, term: &mut Term) -> bool {
    // Of variables that are not set here is told already.
    let mut would_fail = secrets::unset(checked);
    for (problem, fails) in secrets::problems(checked, &source.base) {
        let start = if fails { "; cutover serve does not start without it" } else { "" };
        term.warn(format_args!("{}{start}", source.locate(text, &problem)));
        would_fail |= fails;
    }
    let places = Places { base: source.base.clone(), state: PathBuf::new() };
    if let Some(problem) = places.problem(checked).filter(|_| !would_fail) {
        term.warn(format_args!(
            "{}; cutover serve does not start with it",
            source.locate(text, &problem)
        ));
        would_fail = true;
    }
    would_fail
}

/// The stored client keys, if keys are asked for and known; what is wrong with them is told.
fn keys(
    args: &Args,
    (source, text, checked): (&Source, &str, &Checked),
    term: &mut Term,
) -> Result<Option<Arc<KeyRing>>, Failed> {
    let by_key = checked.use_cases.iter().any(|use_case| use_case.matches.key.is_some());
    let required = checked.server.keys == ClientKeys::Required;
    if !required && !by_key {
        return Ok(None);
    }
    let read = async |store: &Store| Ok(store.load_keys().await);
    match lookup::stored(checked, source, read)? {
        Stored::Found(Ok(keys)) => {
            for problem in doorkeys::problems(checked, &keys) {
                term.warn(source.locate(text, &problem));
            }
            Ok(required.then(|| Arc::new(KeyRing::new(keys))))
        }
        Stored::Found(Err(error)) => {
            term.warn(format_args!("client keys are not looked up: {error}"));
            Ok(None)
        }
        Stored::NoDatabase(directory) => {
            if by_key || args.explain.is_some() {
                let shown = directory.display();
                term.warn(format_args!(
                    "client keys are not looked up: there is no database in {shown}"
                ));
            }
            Ok(None)
        }
    }
}

/// Everything but secrets is really looked up: a prompt file that is missing is found here.
pub(crate) fn build(
    (source, checked): (&Source, &Checked),
    keys: Option<Arc<KeyRing>>,
) -> Result<Live, BuildError> {
    build::live(&Materials {
        checked,
        surroundings: &Outside::new(&source.base, EngineChoice::Name).lenient(),
        keys,
        registry: &Registry::new(),
        previous: None,
        now: clock::now(),
    })
}

/// The body to explain. What is passed on by its path need not be JSON: nobody reads it.
fn read_request(path: &Path, is_named: bool) -> Result<Option<Box<RawValue>>, Failed> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
    } else {
        bytes = std::fs::read(path)
            .with_context(|| format!("cannot read the request {}", path.display()))?;
    }
    let text = String::from_utf8_lossy(&bytes);
    if text.trim().is_empty() {
        return Ok(None);
    }
    // Kept as it is: the gateway reads bytes, not values. What is no JSON is told by the gateway's
    // own reader, in the words a client would see.
    match RawValue::from_string(text.trim().to_owned()) {
        Ok(body) => Ok(Some(body)),
        Err(_) if is_named && !text.trim_start().starts_with(['{', '[']) => Ok(None),
        Err(e) => Err(Failed::new(Exit::Failed, format!("{} is not JSON: {e}", path.display()))),
    }
}

fn summary(source: &Source, checked: &Checked) -> String {
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}: good; {}, {}, {}; what no use case matches goes to {}",
        source.name(),
        count(checked.upstreams.len(), "upstream"),
        count(checked.variants.len(), "variant"),
        count(checked.use_cases.len(), "use case"),
        checked.default_upstream().name
    )
}

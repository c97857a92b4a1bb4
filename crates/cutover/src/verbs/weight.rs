//! `cutover weight`: sets a candidate's share.

use std::path::Path;

use cutover_control::api::SetWeight;
use cutover_units::{Generation, WeightBp};

use crate::exit::{Exit, Failed};
use crate::operator::{self, Operator, Remote};
use crate::term::Term;

/// Set the share of a use case's units that the candidate serves.
///
/// The new weight is stored first and in force at once. A larger weight only adds units to the
/// candidate, it moves none back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The use case
    use_case: String,
    /// The candidate's share, such as 25% or 0.5%
    #[arg(value_parser = parse_weight)]
    weight: WeightBp,
    /// Why, for status and audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Send traffic again to a candidate that was rolled back
    #[arg(long)]
    after_rollback: bool,
    /// Refuse if the use case has another generation, because another change came first
    #[arg(long, value_name = "GENERATION")]
    expect: Option<u64>,
    /// Who asks. Default: $USER
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

fn parse_weight(text: &str) -> Result<WeightBp, String> {
    WeightBp::parse(text).map_err(|e| e.to_string())
}

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let operator = Operator::find(&args.remote, config, term)?;
    let client = operator.client()?;
    let request = SetWeight {
        weight: args.weight,
        actor: operator::actor(args.actor.as_deref()),
        reason: args.reason.clone(),
        after_rollback: args.after_rollback,
        expected_generation: args.expect.map(Generation),
    };
    let call = client.set_weight(&args.use_case, &request);
    let status = operator::block_on(call)?.map_err(operator::failed)?;
    let candidate = status.candidate.as_ref().map_or("none", |name| name.as_str());
    term.done(format_args!(
        "{}: {candidate} serves {} of the units, {} the rest (generation {})",
        status.name, status.weight, status.baseline, status.generation
    ));
    Ok(Exit::Done)
}

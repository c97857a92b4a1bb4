//! `cutover rollback`: all traffic of a use case back to its baseline. Works without the database,
//! without the config file and without a running cutover.

use std::path::Path;

use cutover_control::api::{RollBack, RolledBack};
use cutover_control::client::CallError;
use cutover_store::{Override, overrides};
use cutover_units::{UseCaseName, WeightBp};

use crate::claim;
use crate::clock;
use crate::exit::{Exit, Failed};
use crate::operator::{self, Operator, Remote};
use crate::term::Term;

/// Send all traffic of a use case to its baseline, at once.
///
/// Works with the database locked or gone, and holds after a crash. If no running cutover can be
/// reached, the rollback is written to the state directory, where a running one notices it within a
/// second and a stopped one finds it at its next start.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The use case
    pub(crate) use_case: String,
    /// Why, for status and audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Who asks. Default: $USER
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let operator = Operator::find(&args.remote, config, term)?;
    let by =
        RollBack { actor: operator::actor(args.actor.as_deref()), reason: args.reason.clone() };
    let client = match operator.client() {
        Ok(client) => client,
        Err(failed) => return offline(args, &operator, by, (&failed.error, term)),
    };
    match operator::block_on(client.roll_back(&args.use_case, &by))? {
        Ok(report) => Ok(online(&report, term)),
        // Whoever refused did so for a reason that an override would only hide.
        Err(error @ CallError::Refused(_, 404 | 409)) => Err(operator::failed(error)),
        Err(error) => {
            let error = anyhow::Error::from(error);
            offline(args, &operator, by, (&error, term))
        }
    }
}

fn online(report: &RolledBack, term: &mut Term) -> Exit {
    let status = &report.use_case;
    term.done(format_args!("{}: {} serves all units", status.name, status.baseline));
    for warning in &report.warnings {
        term.warn(warning);
    }
    if report.in_override && !report.in_database {
        term.talk("The rollback holds, also over a restart: it is written in overrides/.");
    }
    if report.in_override || report.in_database {
        return Exit::Done;
    }
    term.warn("the rollback is in force, but nothing on disk holds it: a restart may undo it");
    Exit::Partly
}

fn offline(
    args: &Args,
    operator: &Operator,
    by: RollBack,
    (why, term): (&anyhow::Error, &mut Term),
) -> Result<Exit, Failed> {
    let name = UseCaseName::new(&args.use_case)?;
    term.warn(format_args!("{why:#}"));
    check_name(&name, operator, term)?;
    let RollBack { actor, reason } = by;
    let held = Override { weight: WeightBp::NONE, actor, reason, at: clock::now() };
    overrides::put(&operator.directory, &name, &held).map_err(|error| {
        anyhow::Error::from(error)
            .context(format!("cannot write the override in {}", operator.directory.display()))
    })?;
    let reaches = Reaches::find(operator);
    term.done(headline(&name, &operator.directory, reaches));
    term.talk(
        "Until it is lifted (cutover weight ... --after-rollback), the candidate gets nothing from a \
         cutover with this state directory.",
    );
    if reaches == Reaches::Nobody {
        term.warn(
            "a cutover that runs elsewhere is not reached by it, and its candidate keeps its traffic: \
             name its state directory with --state-dir, or its admin listener with --admin and its \
             token with --token-file",
        );
    }
    if operator.guessed {
        term.warn("the state directory is a guess; if it is wrong: --state-dir DIR");
        return Ok(Exit::Partly);
    }
    Ok(if matches!(reaches, Reaches::Served | Reaches::Untold) { Exit::Done } else { Exit::Partly })
}

/// Whom an override reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaches {
    /// A cutover serves from this state directory, and notices the override within a second.
    Served,
    /// None does now: the next one that starts finds it.
    Nobody,
    /// The file system has no locks, so nothing tells.
    Untold,
    /// No config file tells the use cases' names: there may be none of this one.
    Unnamed,
}

impl Reaches {
    fn find(operator: &Operator) -> Self {
        match (claim::is_claimed(&operator.directory), &operator.use_cases) {
            (_, None) => Self::Unnamed,
            (Some(true), _) => Self::Served,
            (Some(false), _) => Self::Nobody,
            (None, _) => Self::Untold,
        }
    }
}

/// What was done. It reads like a rollback only where it is one: not where neither a running cutover
/// nor a config file knows the use case, nor where no cutover is that the override is in force for.
fn headline(name: &UseCaseName, directory: &Path, reaches: Reaches) -> String {
    let directory = directory.display();
    match reaches {
        Reaches::Served | Reaches::Untold => {
            format!("{name}: rolled back by an override in {directory}")
        }
        Reaches::Nobody => format!(
            "{name}: an override is written in {directory}, from which no cutover serves now: it is in \
             force once one does"
        ),
        Reaches::Unnamed => format!(
            "{name}: NOT VERIFIED: an override is written in {directory}, but no cutover was reached and \
             no config file names this use case"
        ),
    }
}

/// A misspelt name must not look like a rollback. Without a config file nobody knows the names.
fn check_name(name: &UseCaseName, operator: &Operator, term: &mut Term) -> Result<(), Failed> {
    let Some(known) = &operator.use_cases else {
        term.warn(format_args!("no config file tells the names: {name} is taken as it was typed"));
        return Ok(());
    };
    if known.contains(name) {
        return Ok(());
    }
    let known: Vec<_> = known.iter().map(ToString::to_string).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Failed::new(Exit::Refused, format!("the config file has no use case {name}"))
        .hint(format!("it has: {known}; name another file with --config")))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::net::SocketAddr;

    use super::*;

    const CONFIG: &str = r#"
[upstreams.one]
provider = "vllm"
base_url = "http://127.0.0.1:9"
[variants.old]
upstream = "one"
model = "m"
[use_cases.app]
match = { model = "app" }
baseline = "old"
"#;

    /// Runs the verb where no cutover is reached, with the state directory claimed by one or not, and
    /// returns its end, its data and whether it wrote.
    fn alone(config: Option<&str>, claimed: bool) -> (Exit, String, bool) {
        let folder = tempfile::tempdir().unwrap();
        let (file, state) = (folder.path().join("cutover.toml"), folder.path().join("state"));
        fs::create_dir(&state).unwrap();
        if let Some(text) = config {
            fs::write(&file, text).unwrap();
        }
        let mut term = Term {
            out: Box::new(File::create(folder.path().join("data")).unwrap()),
            err: Box::new(std::io::sink()),
            colour: false,
            screen: false,
        };
        let claim = claimed.then(|| {
            let claim = operator::block_on(claim::claim(&state, false, &mut term)).unwrap();
            claim.unwrap_or_else(|_| panic!("not claimed")).unwrap()
        });
        let args = Args {
            use_case: "app".to_owned(),
            reason: String::new(),
            actor: Some("a".to_owned()),
            remote: Remote {
                admin: Some(SocketAddr::from(([127, 0, 0, 1], 9))),
                token_file: Some(folder.path().join("no-token")),
                state_dir: Some(state.clone()),
            },
        };
        let Ok(exit) = run(&args, Some(&file), &mut term) else { panic!("the verb failed") };
        drop(claim);
        let wrote = state.join("overrides/app.json").exists();
        (exit, fs::read_to_string(folder.path().join("data")).unwrap(), wrote)
    }

    #[test]
    fn a_name_that_nobody_knows_does_not_look_like_a_rollback() {
        for config in [None, Some("[use_cases.app]\nmatch = nonsense")] {
            let (exit, said, wrote) = alone(config, true);
            assert_eq!(exit, Exit::Partly, "{said}");
            assert!(said.contains("NOT VERIFIED") && !said.contains("rolled back"), "{said}");
            assert!(wrote, "the override is written all the same");
        }
    }

    #[test]
    fn what_a_cutover_serves_from_the_state_directory_is_rolled_back() {
        let (exit, said, wrote) = alone(Some(CONFIG), true);
        assert_eq!(exit, Exit::Done, "{said}");
        assert!(said.starts_with("app: rolled back by an override in "), "{said}");
        assert!(wrote);
    }

    #[test]
    fn a_state_directory_that_nobody_serves_from_may_be_the_wrong_one() {
        let (exit, said, wrote) = alone(Some(CONFIG), false);
        assert_eq!(exit, Exit::Partly, "{said}");
        assert!(said.contains("no cutover serves now") && !said.contains("rolled back"), "{said}");
        assert!(wrote, "a cutover that starts there finds it");
    }
}

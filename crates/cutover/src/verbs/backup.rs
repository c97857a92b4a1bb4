//! `cutover backup`: a copy of the state directory that can be put back, made while a cutover serves from it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cutover_control::token::TOKEN_FILE;
use cutover_store::{Options, overrides};

use crate::clock;
use crate::exit::{Exit, Failed};
use crate::files;
use crate::operator;
use crate::server::UNIT_KEY_FILE;
use crate::term::Term;

/// Copy the state directory, also while a cutover serves from it.
///
/// The copy has all that has to outlive a machine: weights, keys, prompts, rollouts, records, rollbacks, the
/// admin token and the key of the units' hashes. It holds secrets, and is made for its owner alone. To go
/// back: stop cutover, put the copy in the state directory's place, and start.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to: a folder that does not exist yet
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    /// The state directory. Default: state.directory of the config file, or the platform's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let from = operator::state_directory(args.state_dir.as_deref(), config, term)?;
    if !cutover_store::has_database(&from) {
        let message = format!("there is no database in {}", from.display());
        return Err(Failed::new(Exit::Failed, message).hint("name the directory with --state-dir"));
    }
    // Under another name until it is whole: half a backup must not look like one.
    let mut draft = args.to.clone().into_os_string();
    draft.push(format!(".part-{}", std::process::id()));
    let draft = PathBuf::from(draft);
    for taken in [&args.to, &draft] {
        if taken.exists() {
            let message = format!("{} exists: a backup overwrites nothing", taken.display());
            return Err(Failed::new(Exit::Failed, message));
        }
    }
    files::make_private(&draft)?;
    if let Err(failed) = copy(&from, &draft) {
        // Nobody needs half of one; what cannot be removed keeps a name that says what it is.
        let _ = fs::remove_dir_all(&draft);
        return Err(failed);
    }
    fs::rename(&draft, &args.to)
        .with_context(|| format!("cannot rename {} to {}", draft.display(), args.to.display()))?;
    term.say(format_args!("{}: a copy of {}", args.to.display(), from.display()))?;
    Ok(Exit::Done)
}

/// The database first: a rollback that comes meanwhile is written beside it before it is in it, so that the
/// copy has it at one of the two places.
fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    cutover_store::backup(&Options::new(from, clock::now), to)?;
    for name in [TOKEN_FILE, UNIT_KEY_FILE] {
        copy_file(&from.join(name), &to.join(name))?;
    }
    let held = match fs::read_dir(from.join(overrides::DIR)) {
        Ok(held) => held,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    files::make_private(&to.join(overrides::DIR))?;
    for entry in held {
        let name = entry?.file_name();
        copy_file(&from.join(overrides::DIR).join(&name), &to.join(overrides::DIR).join(&name))?;
    }
    Ok(())
}

/// With its rights. One that is gone meanwhile, or never was, is not missed.
fn copy_file(from: &Path, to: &Path) -> Result<(), Failed> {
    match fs::copy(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        copied => {
            copied.with_context(|| format!("cannot copy {}", from.display()))?;
            Ok(())
        }
    }
}

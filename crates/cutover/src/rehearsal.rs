//! What a start would fail for, looked at before it waits for another process to leave (`serve --wait`).
//!
//! Whoever hands over ends the process before once the next one waits. A next one that ended only then would leave
//! nobody to serve. So all that can be known without owning the state is known first: secrets, tokens, prompts, named
//! files. Nothing is kept of it: the start itself reads all of it again, as it is then.

use std::path::Path;

use cutover_config::Checked;
use cutover_gateway::build::{self, BuildError, Materials};
use cutover_telemetry::Registry;

use crate::doors::Places;
use crate::exit::Failed;
use crate::files::Source;
use crate::surroundings::{EngineChoice, Outside};
use crate::{clock, lookup, plans, prompts};

/// Ends a start that would fail after its wait, if it waits.
pub(crate) async fn refuse(
    checked: &Checked,
    source: &Source,
    (waits, directory): (bool, &Path),
) -> Result<(), Failed> {
    if !waits {
        return Ok(());
    }
    let mut checked = checked.clone();
    if checked.needs_prompts() {
        let book = lookup::beside(directory, async |store| store.prompts().await).await;
        prompts::fit_first(&mut checked, book.as_ref(), source)?;
    }
    build(&checked, &source.base).map_err(|error| source.unusable(&error))
}

/// Builds all that a config makes, and drops it. No engine is loaded, and nobody is asked.
fn build(checked: &Checked, base: &Path) -> Result<(), BuildError> {
    let outside = Outside::new(base, EngineChoice::Name);
    build::live(&Materials {
        checked,
        surroundings: &outside,
        keys: None,
        registry: &Registry::new(),
        previous: None,
        now: clock::now(),
    })?;
    plans::use_cases(checked, &outside)?;
    plans::plans(checked, &outside)?;
    plans::webhooks(checked, &outside)?;
    let places = Places { base: base.to_owned(), state: base.to_owned() };
    places.problem(checked).map_or(Ok(()), Err)
}

//! Prompts of a running process: where they come from, and how a moved label comes into force.
//!
//! One lock holds the config in force together with the prompts it was fitted to, for as long as either
//! is exchanged: a reload and a label that move at once come one after the other.
//!
//! A database that cannot be read must not keep the process from starting, as with client keys
//! ([`crate::doorkeys`]). But nobody is answered with a wrong prompt either: until they can be read, a variant
//! that has one there answers no chat, its use case no rollout's tick, and its candidate has no share. The watch over
//! files reads them again every few seconds.

use std::time::Duration;

use cutover_config::Checked;
use cutover_gateway::build::BuildError;
use cutover_prompts::Book;
use cutover_store::Store;
use cutover_units::VariantName;

use crate::exit::Failed;
use crate::files::Source;
use crate::lookup::{self, Stored};
use crate::term::Term;

/// So often, and with such pauses, a locked database is asked again.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(300);

/// The config in force, and the prompts it was fitted to.
pub(crate) struct InForce {
    pub(crate) checked: Checked,
    /// None: they could not be read.
    pub(crate) book: Option<Book>,
}

/// A config with other prompts.
pub(crate) struct Refitted {
    pub(crate) checked: Checked,
    /// What of traffic and rollouts that changes.
    pub(crate) effects: Vec<String>,
    /// What is wrong with prompts that variants await still.
    pub(crate) unfit: Vec<String>,
}

impl InForce {
    /// Fits a config to the prompts. While they are not known, no variant may come to need one that serves now.
    pub(crate) fn fit(&self, checked: &mut Checked) -> Result<(), BuildError> {
        if let Some(book) = &self.book {
            return fit(checked, book);
        }
        let awaits = |name: &VariantName| {
            let mut held = self.checked.variants.iter();
            held.any(|held| held.name == *name && held.adaptation.awaits())
        };
        let news =
            checked.variants.iter().find(|one| one.adaptation.awaits() && !awaits(&one.name));
        news.map_or(Ok(()), |variant| {
            Err(BuildError {
                key: format!("variants.{}.prompt", variant.name),
                why: "the prompts cannot be read from the state directory now: the file is tried again when \
                      they can"
                    .to_owned(),
            })
        })
    }

    /// The config with other prompts. A variant that awaits its own may go on to, any other must get one.
    pub(crate) fn refitted(&self, book: &Book) -> Result<Refitted, String> {
        let mut checked = self.checked.clone();
        let unfit = checked.take_fitting(book);
        let awaited = |at: usize| self.checked.variants[at].adaptation.awaits();
        if let Some((_, why)) = unfit.iter().find(|(at, _)| !awaited(*at)) {
            return Err(why.to_string());
        }
        let effects = effects(&self.checked, &checked);
        let unfit = unfit.into_iter().map(|(_, why)| why.to_string()).collect();
        Ok(Refitted { checked, effects, unfit })
    }

    /// The same. None: newer ones are in force.
    pub(crate) fn with(&self, book: &Book) -> Result<Option<Refitted>, String> {
        let held = self.book.as_ref().map(Book::revision);
        if held.is_some_and(|held| held >= book.revision()) {
            return Ok(None);
        }
        self.refitted(book).map(Some)
    }
}

fn fit(checked: &mut Checked, book: &Book) -> Result<(), BuildError> {
    checked.take_prompts(book).map_err(|unfit| BuildError { key: unfit.key, why: unfit.why })
}

/// What another version means, for whoever moved the label.
fn effects(before: &Checked, after: &Checked) -> Vec<String> {
    let mut effects = Vec::new();
    let mut changed = Vec::new();
    let pairs = before.variants.iter().zip(&after.variants).enumerate();
    for (at, (old, new)) in pairs {
        let (old, version) = (&old.adaptation.version, &new.adaptation.version);
        if old == version {
            continue;
        }
        if old.is_some() {
            changed.push(at);
        }
        let name = |version: &Option<_>| {
            let version: Option<&std::sync::Arc<cutover_config::PromptVersion>> = version.as_ref();
            version.map_or_else(|| "none".to_owned(), |version| version.reference.to_string())
        };
        effects.push(format!(
            "variant {} answers with {} instead of {}",
            new.name,
            name(version),
            name(old)
        ));
    }
    for use_case in after.use_cases.iter().filter(|use_case| use_case.has_rollout()) {
        let arms = [Some(use_case.baseline), use_case.candidate];
        if arms.into_iter().flatten().any(|arm| changed.contains(&arm)) {
            effects.push(format!(
                "use case {}: a variant with another prompt is another variant, so a rollout under way \
                 begins its evidence anew",
                use_case.name
            ));
        }
    }
    effects
}

/// The stored prompts; none if they cannot be read. A database that is locked is asked again for a while, if the config
/// needs them: who waits in line for some seconds sees no error at all.
pub(crate) async fn load(store: &Store, needed: bool) -> Option<Book> {
    let mut tries = 1;
    let error = loop {
        match store.prompts().await {
            Ok(book) => return Some(book),
            Err(error) if needed && error.may_pass() && tries < TRIES => {
                tracing::warn!(%error, "prompts cannot be read yet");
            }
            Err(error) => break error,
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    };
    if needed {
        tracing::error!(
            %error,
            "the prompts cannot be read: each chat of a variant that has one there gets a 503 until they can"
        );
    }
    None
}

/// Fits the first config to the prompts.
pub(crate) fn fit_first(
    checked: &mut Checked,
    book: Option<&Book>,
    source: &Source,
) -> Result<(), Failed> {
    let Some(book) = book else { return Ok(()) };
    fit(checked, book).map_err(|error| {
        source
            .unusable(&error)
            .hint("see what there is: cutover prompt list; add it: cutover prompt add NAME FILE")
    })
}

/// Looks the prompts of a config up in its state directory, for verbs that serve nothing. Where there is
/// no database yet, they are left open, with a warning.
pub(crate) fn look_up(
    checked: &mut Checked,
    source: &Source,
    term: &mut Term,
) -> Result<(), Failed> {
    if !checked.needs_prompts() {
        return Ok(());
    }
    let read = async |store: &Store| Ok(store.prompts().await);
    match lookup::stored(checked, source, read)? {
        Stored::Found(Ok(book)) => fit_first(checked, Some(&book), source),
        Stored::Found(Err(error)) => {
            term.warn(format_args!(
                "prompts are not looked up: {error}; until they can be read, a variant that has one there \
                 answers no chat"
            ));
            Ok(())
        }
        Stored::NoDatabase(directory) => {
            let shown = directory.display();
            term.warn(format_args!("prompts are not looked up: there is no database in {shown}"));
            Ok(())
        }
    }
}

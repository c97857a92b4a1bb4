//! When a verb goes on without a running cutover, on the state directory alone, and what it says then.
//!
//! A key that is revoked in a directory from which nobody serves opens the door still, and nothing is more
//! dangerous than the word "revoked" then.
//!
//! - Where the running cutover was named, no other way will do.
//! - A database is made only by what adds to it, and never without a word.
//! - Which directory is meant, and whether a cutover serves from it, is said each time.

use cutover_store::{Options, Store, has_database};

use crate::claim;
use crate::clock;
use crate::exit::{Exit, Failed};
use crate::operator::Operator;
use crate::term::Term;

/// What a verb wants of the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// What is there.
    Present,
    /// To add to it: a first database may be made.
    Additions,
}

/// The state directory's database, used without a running cutover.
#[derive(Debug)]
pub(crate) struct Alone {
    /// The database.
    pub(crate) store: Store,
    served: Option<bool>,
}

impl Alone {
    /// The exit of what must be in force to be worth anything: done in part where nobody serves from here.
    pub(crate) fn exit_if_urgent(&self) -> Exit {
        if self.served == Some(false) { Exit::Partly } else { Exit::Done }
    }
}

/// Goes on without a running cutover if that is safe. `why` tells why none was reached.
pub(crate) fn go(
    operator: &Operator,
    wants: Wants,
    why: Failed,
    term: &mut Term,
) -> Result<Alone, Failed> {
    if operator.named {
        return Err(why);
    }
    let directory = operator.directory.display();
    let there = has_database(&operator.directory);
    if !there && wants == Wants::Present {
        let message =
            format!("no running cutover was reached, and there is no database in {directory}");
        return Err(Failed::new(Exit::Unreachable, message).hint(NAME_IT));
    }
    let served = claim::is_claimed(&operator.directory);
    let made = if there { "the database in" } else { "a new database, made in" };
    let reaches = match served {
        Some(true) => "its cutover serves, but was not reached",
        Some(false) => "no cutover serves from there now: one that runs elsewhere is not reached",
        None => "nothing tells whether a cutover serves from there",
    };
    term.warn(format_args!(
        "no running cutover was reached ({:#}); this is about {made} {directory}: {reaches}",
        why.error
    ));
    if served != Some(true) {
        term.talk(NAME_IT);
    }
    let store = Store::open(Options::new(&operator.directory, clock::now))?;
    Ok(Alone { store, served })
}

/// How the right one is reached.
const NAME_IT: &str = "name the running cutover with --admin and --token-file, or its state directory with \
                       --state-dir or CUTOVER_STATE_DIR";

//! `tool_choice` of chat completions, in the words of an upstream's own API.

use cutover_wire::Fault;

use crate::losses::Losses;
use crate::read::{At, Obj};

/// An API's words.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    pub(crate) auto: &'static str,
    pub(crate) none: &'static str,
    /// Some function must be called.
    pub(crate) any: &'static str,
    /// This one must be.
    pub(crate) one: &'static str,
}

/// A word, and the function's name if one is chosen.
pub(crate) type Choice = (&'static str, Option<String>);

/// What is chosen, if anything is.
pub(crate) fn choice(
    root: &Obj<'_>,
    words: Words,
    losses: &mut Losses,
) -> Result<Option<Choice>, Fault> {
    let at = At::Root.key("tool_choice");
    let word = match root.get("tool_choice") {
        None => return Ok(None),
        Some("\"auto\"") => words.auto,
        Some("\"none\"") => words.none,
        Some("\"required\"") => words.any,
        Some(raw) => {
            let choice = Obj::read(raw, at)?;
            if choice.word(at, "type")? != "function" {
                losses.refuse("tool_choice.type", at.key("type"))?;
                return Ok(None);
            }
            let here = at.key("function");
            let function = choice.object(at, "function")?.ok_or_else(|| here.missing())?;
            let name = function.need_text(here, "name")?;
            return Ok(Some((words.one, Some(name.decode().into_owned()))));
        }
    };
    Ok(Some((word, None)))
}

//! From text to [`Checked`].

use toml::de::DeTable;

use crate::checked::Checked;
use crate::problem::Problem;
use crate::reader::{Context, Place, Table, Weight};
use crate::sections;
use crate::values::Wrong;

/// The longest file read: thousands of use cases fit, and nobody waits for a wrong file.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// Checks a whole file: the checked values, or everything that is wrong with it.
///
/// `file` is the name that problems carry. `env` looks up environment variables; it is asked only
/// whether those that the file names are set, which decides about warnings, never about validity.
pub fn check(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Checked, Vec<Problem>> {
    let context = Context::new(file, text, env);
    if text.len() > TEXT_BYTES_MAX {
        let wrong = Wrong::new(format!("a config file has at most {TEXT_BYTES_MAX} bytes"));
        context.note(Place::new(0, ""), Weight::Wrong, wrong);
        return Err(context.finish().err().unwrap_or_default());
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        context.note(
            Place::new(at, ""),
            Weight::Syntax,
            Wrong::new(error.message().replace('\n', ", ")),
        );
    }
    let read = sections::read(&Table::root(&context, root.get_ref()));
    let warnings = context.finish()?;
    // Whatever kept a value from being made has been noted, so `read` is whole here; if a reader
    // ever forgets to note, the operator still gets an answer instead of a half-read file.
    let whole = read.ok_or_else(|| {
        vec![Problem {
            file: file.to_owned(),
            line: 1,
            column: 1,
            key: String::new(),
            message: "this file could not be read as a whole; please report it".to_owned(),
            hint: None,
        }]
    })?;
    Ok(Checked { warnings, ..whole })
}

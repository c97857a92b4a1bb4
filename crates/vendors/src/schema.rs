//! The form that a client wants its answer in, for vendors that take a JSON schema and nothing beside it.

use std::borrow::Cow;

use cutover_wire::Fault;

use crate::losses::Losses;
use crate::read::{At, Obj};
use crate::split;
use crate::write;

/// The row of a description that no place is left for.
const DESCRIPTION: &str = "response_format.json_schema.description";

/// Why it is left out.
pub(crate) const DESCRIBED: &str =
    "the schema has one of its own; where it has none, it is sent as that";

/// The schema of a `response_format`. What the model is told about it stands in it, where nothing does yet: models go
/// by that. The name tells them nothing, and is for the client's own books.
pub(crate) fn of_format<'a>(
    format: &Obj<'a>,
    at: At<'_>,
    losses: &mut Losses,
) -> Result<Cow<'a, str>, Fault> {
    let here = at.key("json_schema");
    let inner = format.object(at, "json_schema")?.ok_or_else(|| here.missing())?;
    let schema = inner.raw_object(here, "schema")?.ok_or_else(|| here.key("schema").missing())?;
    let Some(description) = inner.text(here, "description")?.filter(|text| !text.is_empty()) else {
        return Ok(schema.into());
    };
    let mut members = split::members(schema).into_iter().flatten();
    if members.any(|(key, _)| key == "\"description\"") {
        losses.note(DESCRIPTION);
        return Ok(schema.into());
    }
    let own = schema.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let text = write::object(|j| {
        description.write(j.key("description"));
        if !own.trim_ascii().is_empty() {
            j.members(own);
        }
    });
    Ok(text.into())
}

//! OpenAI's Responses API on both sides. What its clients write passes, but for what the vendor would keep: nothing is
//! stored there.
//!
//! A client that asks for storage counts on the vendor to know the reasoning of earlier answers. It does not, as
//! nothing was kept, so it is asked for its reasoning in the form that it can read again, and what comes back without
//! it is left out: the vendor would refuse the request.

use bytes::Bytes;

use super::{
    Members, Written, adds_only_defaults, defaults, elements, is_forbidden, pieces, rename,
};
use crate::adapt::{Loss, dropped};
use crate::json;
use crate::mint::Mint;
use crate::reply::openai::Patches;
use crate::target::Target;

/// Where the API is.
pub const PATH: &str = "/v1/responses";

/// Reasoning in the form that its maker can read again.
const ENCRYPTED: &str = "\"reasoning.encrypted_content\"";

/// What is kept at the vendor's or in cutover's own store, or runs there when nobody waits: the conversion loads it, or
/// refuses it by name.
const KEPT: [&str; 3] = ["conversation", "previous_response_id", "prompt"];

const UNREADABLE: &str =
    "nothing is stored at the vendor's, which takes back such reasoning only that it can read";

/// The body for an upstream that speaks it, and what is not in it. `None`: the converted form must be sent.
pub fn request(
    written: Written<'_>,
    asked: &str,
    target: &Target,
) -> Option<(Vec<Bytes>, Vec<Loss>)> {
    if !adds_only_defaults(target) {
        return None;
    }
    let (text, root) = written.read()?;
    let Written(body, layout) = written;
    let forbids = root.0.iter().any(|(key, _)| is_forbidden(key));
    let ours = KEPT.iter().any(|key| root.get(&[key]).is_some());
    let later = root.get(&["background"]).is_some_and(|raw| raw != "false");
    if forbids || ours || later {
        return None;
    }
    let (mut patches, mut losses) = (Patches::new(), Vec::new());
    let model = target.model.as_deref().unwrap_or(asked);
    rename(text, &root, (model, ""), &mut patches);
    if layout.is_none_or(|known| known.reasoning)
        && conversation(text, root.get(&["input"]), &mut patches)?
    {
        losses.push(dropped("input[].reasoning", UNREADABLE));
    }
    let mut added = defaults(target, ["temperature", "top_p", "max_output_tokens", ""]);
    if target.settings.seed.is_some() {
        losses.push(dropped("variant.seed", "Responses has no seed"));
    }
    let wants_stored = root.get(&["store"]).is_none_or(|raw| raw != "false");
    if wants_stored {
        match root.get(&["store"]) {
            Some(raw) => patches.push((json::range_in(text, raw), "false".to_owned())),
            None => added.push(("store", "false".to_owned())),
        }
        if reasons(model) {
            added.extend(included(text, root.get(&["include"]), &mut patches));
        }
    }
    root.complete((text, text), &added, &mut patches);
    Some((pieces(body, patches), losses))
}

/// Takes out the reasoning that the vendor could not read again; tells whether there was any. `None`: an item refers to
/// one that is stored.
fn conversation(text: &str, input: Option<&str>, patches: &mut Patches) -> Option<bool> {
    let items = elements(input.filter(|raw| raw.starts_with('[')));
    let mut kept_end = None;
    let mut gone: Option<usize> = None;
    let mut any = false;
    for raw in items {
        let range = json::range_in(text, raw);
        let item = Members::cut(raw);
        let kind = item.as_ref().and_then(|item| item.get(&["type"]));
        let refers = item.as_ref().is_some_and(|item| {
            kind == Some("\"item_reference\"") || (kind.is_none() && item.get(&["role"]).is_none())
        });
        if refers {
            return None;
        }
        let encrypted = || item.as_ref()?.get(&["encrypted_content"]).filter(|raw| *raw != "\"\"");
        if kind == Some("\"reasoning\"") && encrypted().is_none() {
            any = true;
            gone.get_or_insert(range.start);
            if let Some(end) = kept_end {
                // With the comma before it.
                patches.push((end..range.end, String::new()));
                kept_end = Some(range.end);
                gone = None;
            }
            continue;
        }
        if let Some(start) = gone.take() {
            // At the list's beginning, with the comma behind it.
            patches.push((start..range.start, String::new()));
        }
        kept_end = Some(range.end);
    }
    if let (Some(start), Some(raw)) = (gone, input) {
        // Nothing else was said.
        let end = json::range_in(text, raw).end.saturating_sub(1);
        patches.push((start..end, String::new()));
    }
    Some(any)
}

/// Asks for reasoning that can be read again, where it was not asked for.
fn included(
    text: &str,
    include: Option<&str>,
    patches: &mut Patches,
) -> Option<(&'static str, String)> {
    let Some(raw) = include else { return Some(("include", format!("[{ENCRYPTED}]"))) };
    let list = elements(Some(raw));
    if raw.starts_with('[') && !list.contains(&ENCRYPTED) {
        let end = json::range_in(text, raw).end - 1;
        let comma = if list.is_empty() { "" } else { "," };
        patches.push((end..end, format!("{comma}{ENCRYPTED}")));
    }
    None
}

/// Whether a model reasons, by its name: others refuse to be asked for it.
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let name = name.strip_prefix("ft:").unwrap_or(name);
    let series =
        name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let newer = name.starts_with("gpt-5") && !name.contains("-chat");
    series || newer || name.starts_with("codex-") || name.starts_with("computer-use")
}

/// Our names in a whole answer, or in an event that holds one.
pub(super) fn names(text: &str, root: &Members<'_>, mint: &Mint) -> Patches {
    let mut patches = Patches::new();
    let inner = root.get(&["response"]).and_then(Members::of);
    let whole = inner.as_ref().or_else(|| root.get(&["object"]).map(|_| root));
    let Some(answer) = whole else { return patches };
    let mut set = |name: &str, new: String| {
        if let Some(raw) = answer.get(&[name]) {
            patches.push((json::range_in(text, raw), new));
        }
    };
    set("id", json::string(&mint.id));
    set("model", json::string(&mint.model));
    set("created_at", mint.created.to_string());
    patches
}

#[cfg(test)]
mod tests;

//! Names of members as Google's JSON has them: `maxOutputTokens` is its own, `max_output_tokens` is
//! taken, too.

use std::borrow::Cow;

use cutover_wire::Fault;

use crate::read::{At, Obj, list};

/// Reads an object whose names may be in either case.
pub(super) fn object<'a>(raw: &'a str, at: At<'_>) -> Result<Obj<'a>, Fault> {
    Obj::read(raw, at)?.renamed(at, camel)
}

/// A member that is an object.
pub(super) fn member<'a>(
    parent: &Obj<'a>,
    at: At<'_>,
    key: &str,
) -> Result<Option<Obj<'a>>, Fault> {
    parent.get(key).map(|raw| object(raw, at.key(key))).transpose()
}

/// A member that is a list. One thing stands for a list of it, as it does in that API.
pub(super) fn many<'a>(parent: &Obj<'a>, at: At<'_>, key: &str) -> Result<Vec<&'a str>, Fault> {
    match parent.get(key) {
        None => Ok(Vec::new()),
        Some(raw) if raw.starts_with('{') => Ok(vec![raw]),
        Some(raw) => list(raw, at.key(key)),
    }
}

/// A name in camel case.
pub(super) fn camel(name: &str) -> Option<Cow<'static, str>> {
    // A leading mark is part of the name.
    let inner = name.get(1..)?;
    if !inner.contains('_') {
        return None;
    }
    let mut text = String::with_capacity(name.len());
    let mut up = false;
    for (at, letter) in name.char_indices() {
        if letter == '_' && at > 0 {
            up = true;
        } else {
            text.push(if up { letter.to_ascii_uppercase() } else { letter });
            up = false;
        }
    }
    Some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_both_cases() {
        let of = |name: &str| camel(name).unwrap_or_else(|| name.to_owned().into()).into_owned();
        assert_eq!(of("max_output_tokens"), "maxOutputTokens");
        assert_eq!(of("maxOutputTokens"), "maxOutputTokens");
        assert_eq!(of("_responseJsonSchema"), "_responseJsonSchema");
        assert_eq!(of("a_"), "a");
        assert_eq!(of(""), "");
    }

    #[test]
    fn a_name_in_both_cases_is_given_twice() {
        let fault = object(r#"{"top_p":1,"topP":2}"#, At::Root).err().unwrap();
        assert_eq!(fault.param.as_deref(), Some("topP"));
    }
}

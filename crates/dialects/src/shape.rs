//! Which request a body is, where nobody says: by the fields that each dialect's table knows. For people who look at a
//! request in a file; a request that comes over the wire has a path.

use cutover_vendors::fields::{About, belongs};
use cutover_wire::Endpoint;
use cutover_wire::head::Key;

use crate::anthropic::ANTHROPIC;
use crate::gemini::GEMINI;
use crate::ollama::OLLAMA;
use crate::read::{At, Obj};
use crate::responses::RESPONSES;
use crate::table::Dialect;

/// A kind of request.
struct Kind {
    path: &'static str,
    /// The fields that it cannot be without.
    needs: &'static [&'static str],
    fields: Fields,
}

enum Fields {
    Ours(Endpoint),
    Theirs(&'static Dialect),
}

/// What stands for the model in Google's paths.
const MODEL: &str = "{model}";

/// The first of those that fit a body equally well counts where it is chat completions.
static KINDS: [Kind; 11] = [
    Kind::ours("/v1/chat/completions", &["messages"], Endpoint::ChatCompletions),
    Kind::ours("/v1/completions", &["prompt"], Endpoint::Completions),
    Kind::ours("/v1/embeddings", &["input"], Endpoint::Embeddings),
    Kind::new("/v1/messages", &["messages", "max_tokens"], &ANTHROPIC),
    Kind::new("/v1/responses", &["input"], &RESPONSES),
    Kind::new("/api/chat", &["messages"], &OLLAMA),
    Kind::new("/api/generate", &["prompt"], &OLLAMA),
    Kind::new("/api/embed", &["input"], &OLLAMA),
    Kind::new("/v1beta/models/{model}:generateContent", &["contents"], &GEMINI),
    Kind::new("/v1beta/models/{model}:embedContent", &["content"], &GEMINI),
    Kind::new("/v1beta/models/{model}:batchEmbedContents", &["requests"], &GEMINI),
];

impl Kind {
    const fn new(
        path: &'static str,
        needs: &'static [&'static str],
        dialect: &'static Dialect,
    ) -> Self {
        Self { path, needs, fields: Fields::Theirs(dialect) }
    }

    const fn ours(path: &'static str, needs: &'static [&'static str], endpoint: Endpoint) -> Self {
        Self { path, needs, fields: Fields::Ours(endpoint) }
    }

    fn knows(&self, name: &str) -> bool {
        match self.fields {
            Fields::Ours(endpoint) => {
                let key = Key::from_name(name);
                // Fields of Ollama's are known to be refused.
                let theirs = About::of(key) == About::Operator
                    || matches!(key, Key::Other | Key::Format | Key::Think);
                !theirs && belongs(key, endpoint)
            }
            Fields::Theirs(dialect) => dialect.fields.iter().any(|field| {
                let path = match field.path.split_once(": ") {
                    Some((route, path)) if route == self.path => path,
                    Some(_) => return false,
                    None => field.path,
                };
                path.split(['.', '[']).next() == Some(name)
            }),
        }
    }
}

/// The path of the request that a body is, or why that cannot be told. What is no JSON object is left to chat
/// completions, which say so.
pub fn path_of(body: &str) -> Result<String, String> {
    let chat = Endpoint::ChatCompletions.path();
    let Ok(root) = Obj::parse(body, At::Root) else { return Ok(chat.to_owned()) };
    let names: Vec<&str> = root.each().map(|(name, _)| name).collect();
    let fits = KINDS.iter().filter(|kind| kind.needs.iter().all(|name| names.contains(name)));
    let unknown = |kind: &Kind| names.iter().filter(|name| !kind.knows(name)).count();
    let fits: Vec<(usize, &Kind)> = fits.map(|kind| (unknown(kind), kind)).collect();
    let least = fits.iter().map(|(unknown, _)| *unknown).min();
    let best: Vec<&str> =
        fits.iter().filter(|(unknown, _)| Some(*unknown) == least).map(|fit| fit.1.path).collect();
    match best.as_slice() {
        [] => Err("its fields are those of no request that is known here".to_owned()),
        [first, ..] if *first == chat => Ok(chat.to_owned()),
        [one] => match root.text(At::Root, "model") {
            _ if !one.contains(MODEL) => Ok((*one).to_owned()),
            Ok(Some(model)) => {
                let model = model.decode();
                Ok(one.replace(MODEL, model.strip_prefix("models/").unwrap_or(&model)))
            }
            _ => {
                Err(format!("it names no model, which stands in the path of such a request: {one}"))
            }
        },
        several => Err(format!("its fields fit several requests: {}", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_path_where_its_fields_do() {
        for (body, path) in [
            (r#"{"model":"m","messages":[]}"#, "/v1/chat/completions"),
            (
                r#"{"model":"m","messages":[],"max_tokens":9,"unheard_of":1}"#,
                "/v1/chat/completions",
            ),
            (r#"{"model":"m","messages":[],"response_format":{}}"#, "/v1/chat/completions"),
            (r#"{"model":"m","messages":[],"max_tokens":9,"system":"s"}"#, "/v1/messages"),
            (r#"{"model":"m","messages":[],"max_tokens":9,"stop_sequences":[]}"#, "/v1/messages"),
            (r#"{"model":"m","messages":[],"options":{}}"#, "/api/chat"),
            (r#"{"model":"m","messages":[],"keep_alive":-1,"stream":false}"#, "/api/chat"),
            (r#"{"model":"m","prompt":"p","max_tokens":3}"#, "/v1/completions"),
            (r#"{"model":"m","prompt":"p","raw":true}"#, "/api/generate"),
            (r#"{"model":"m","input":"i","encoding_format":"float"}"#, "/v1/embeddings"),
            (r#"{"model":"m","input":"i","instructions":"x"}"#, "/v1/responses"),
            (r#"{"model":"m","input":"i","options":{}}"#, "/api/embed"),
            (r#"{"model":"models/g-3","contents":[]}"#, "/v1beta/models/g-3:generateContent"),
            ("{", "/v1/chat/completions"),
            ("[]", "/v1/chat/completions"),
        ] {
            assert_eq!(path_of(body).as_deref(), Ok(path), "{body}");
        }
    }

    #[test]
    fn where_they_do_not_that_is_said_with_the_paths() {
        for (body, parts) in [
            (r#"{"model":"m","prompt":"p"}"#, &["/v1/completions", "/api/generate"][..]),
            (r#"{"model":"m","input":"i"}"#, &["/v1/embeddings", "/v1/responses", "/api/embed"]),
            (r#"{"contents":[]}"#, &["names no model", "/v1beta/models/{model}:generateContent"]),
            (r#"{"model":"m"}"#, &["no request that is known"]),
        ] {
            let why = path_of(body).unwrap_err();
            assert!(parts.iter().all(|part| why.contains(part)), "{body}: {why}");
        }
    }

    #[test]
    fn each_path_is_one_that_is_served() {
        for kind in &KINDS {
            let ours = Endpoint::from_path(kind.path).is_some();
            let path = kind.path.replace(MODEL, "m");
            assert!(ours || matches!(crate::find("POST", &path), Some(Ok(_))), "{path}");
        }
    }
}

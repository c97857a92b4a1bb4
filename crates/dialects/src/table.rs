//! What a dialect is: its routes, and what becomes of each of its fields. The conversions look their
//! rules up here, and the reference is printed from the same rows.

use std::fmt::Write as _;

use cutover_units::Code;
use cutover_wire::Fault;
use cutover_wire::providers::claude;

use crate::answer::{Answer, ErrorAnswer};
use crate::inbound::{Asked, ModelFacts, RequestFacts};
use crate::outline::Outliner;

pub use cutover_vendors::{Fate, Field};

/// What a route is for. The inference routes are run like any chat request; the others are answered
/// from what the caller knows.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    /// Reads a body: an inference request, or one that is answered at once.
    Read(fn(&bytes::Bytes, &RequestFacts<'_>) -> Result<Asked, Fault>),
    /// The list of models, in the dialect's shape.
    Models(fn(&[ModelFacts]) -> Answer),
    /// One model, named in the path, in the dialect's shape.
    Model(fn(&ModelFacts) -> Answer),
    /// What is known of one model, named in the body.
    ShowModel,
    /// The models that are loaded.
    RunningModels,
    /// The version of the API.
    Version,
    /// A stored answer; the path names it.
    GetStored,
    /// Forget a stored answer; the path names it.
    DeleteStored,
    /// The input items of a stored answer; the path names it.
    StoredInput,
    /// Known, and refused with these words.
    Refused(&'static str),
}

/// A path and method of a dialect.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path; `{id}` stands for one segment, `{model}` for a model's name, which may have slashes, a
    /// final `*` for the rest.
    pub path: &'static str,
    /// What it is for.
    pub ask: Ask,
    /// How its requests are outlined, for upstreams that speak the dialect.
    pub outline: Option<Outliner>,
}

impl Route {
    pub(crate) const fn new(method: &'static str, path: &'static str, ask: Ask) -> Self {
        Self { method, path, ask, outline: None }
    }

    pub(crate) const fn outlined(self, outline: Outliner) -> Self {
        Self { outline: Some(outline), ..self }
    }

    /// Whether a path is this one: the segment that stands for `{id}`, empty without one.
    fn matches<'p>(&self, path: &'p str) -> Option<&'p str> {
        let fits = |own: &str| Self::fits(own, path);
        if let Some(found) = fits(self.path) {
            return Some(found);
        }
        // What a model is asked stands under both versions of Google's API. The lists of models do not:
        // that path is OpenAI's, too.
        let (own, path) = match self.path.strip_prefix("/v1beta") {
            Some(own) if own.contains("{model}:") => {
                (own, path.strip_prefix("/v1").unwrap_or(path))
            }
            Some(_) => return None,
            None => (self.path.strip_prefix("/v1").unwrap_or(self.path), path),
        };
        Self::fits(own, path)
    }

    fn fits<'p>(own: &str, path: &'p str) -> Option<&'p str> {
        if let Some(start) = own.strip_suffix('*') {
            return path.starts_with(start).then_some("");
        }
        if let Some((start, end)) = own.split_once("{model}") {
            let model = path.strip_prefix(start)?.strip_suffix(end)?;
            return (!model.is_empty()).then_some(model);
        }
        let Some((start, end)) = own.split_once("{id}") else {
            return (path == own).then_some("");
        };
        let id = path.strip_prefix(start)?.strip_suffix(end)?;
        (!id.is_empty() && !id.contains('/')).then_some(id)
    }
}

/// An ingress dialect.
pub struct Dialect {
    /// Its name in records, metrics and the reference.
    pub name: &'static str,
    /// Its routes. All start with `/v1` where clients may leave that out.
    pub routes: &'static [Route],
    /// What becomes of its fields.
    pub fields: &'static [Field],
    /// An error in its shape. The id is the request's.
    pub error: fn(&Fault, &str) -> ErrorAnswer,
    /// The header that tells the request's id, beside cutover's own.
    pub request_id_header: &'static str,
    /// For the reference.
    pub doc: &'static str,
}

/// The ingress dialects besides chat completions, completions and embeddings themselves, which need no
/// conversion.
pub static DIALECTS: &[&Dialect] = &[
    &crate::anthropic::ANTHROPIC,
    &crate::responses::RESPONSES,
    &crate::ollama::OLLAMA,
    &crate::gemini::GEMINI,
];

/// What a method and path ask for.
#[derive(Clone, Copy)]
pub struct Found<'p> {
    /// In which dialect.
    pub dialect: &'static Dialect,
    /// For what.
    pub ask: Ask,
    /// The id in the path, if the route has one.
    pub id: Option<&'p str>,
    /// What is done with what the path names, as Google's paths end: `generateContent`. Ollama's path itself.
    pub method: Option<&'static str>,
    /// How its requests are outlined.
    pub outline: Option<Outliner>,
}

/// Finds a route, with and without `/v1` before it. `None`: the path is in no dialect here. An error
/// (a method that does not fit, a refused path) comes with its dialect, which shapes it.
pub fn find<'p>(
    method: &str,
    path: &'p str,
) -> Option<Result<Found<'p>, (&'static Dialect, Fault)>> {
    let mut wants: Option<(&'static Dialect, Vec<&'static str>)> = None;
    for &dialect in DIALECTS {
        for route in dialect.routes {
            let Some(id) = route.matches(path) else { continue };
            if let Ask::Refused(why) = route.ask {
                return Some(Err((dialect, Fault::new(Code::PermissionDenied, why))));
            }
            let head = method == "HEAD" && route.method == "GET";
            if method == route.method || head {
                let id = Some(id).filter(|id| !id.is_empty());
                let ollamas = Some(route.path).filter(|path| path.starts_with("/api/"));
                let method = route.path.split_once("}:").map(|(_, method)| method).or(ollamas);
                let (ask, outline) = (route.ask, route.outline);
                return Some(Ok(Found { dialect, ask, id, method, outline }));
            }
            let known = wants.map(|(_, known)| known).unwrap_or_default();
            wants = Some((dialect, [known, vec![route.method]].concat()));
        }
    }
    let (dialect, wants) = wants?;
    let message = format!("this path takes {}, not {method}", wants.join(" or "));
    Some(Err((dialect, Fault::new(Code::MethodNotAllowed, message))))
}

/// The reference: what becomes of each field of each dialect, as the conversions do it.
pub fn matrix() -> String {
    let mut page = String::from("## Chat completions fields by dialect\n\n| chat completions |");
    for dialect in DIALECTS {
        let _infallible = write!(page, " {} |", dialect.name);
    }
    page.push_str("\n|---|");
    page.push_str(&"---|".repeat(DIALECTS.len()));
    page.push('\n');
    let mut names: Vec<&str> = Vec::new();
    for name in DIALECTS.iter().flat_map(|d| d.fields).filter_map(|f| f.fate.becomes()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    for name in names {
        let _infallible = write!(page, "| `{name}` |");
        for dialect in DIALECTS {
            let own = dialect.fields.iter().filter(|f| f.fate.becomes() == Some(name));
            let own: Vec<String> = own.map(|f| format!("`{}`", f.path)).collect();
            let _infallible = write!(page, " {} |", own.join(", "));
        }
        page.push('\n');
    }
    for dialect in DIALECTS {
        let _infallible = write!(page, "\n## {}\n\n{}\n\n", dialect.name, dialect.doc);
        for route in dialect.routes {
            let refused = if let Ask::Refused(_) = route.ask { " (refused)" } else { "" };
            let _infallible = writeln!(page, "- `{} {}`{refused}", route.method, route.path);
        }
        page.push_str(
            "\n| field | what becomes of it | chat completions | why |\n|---|---|---|---|\n",
        );
        for field in dialect.fields {
            page.push_str(&row(field));
        }
    }
    page.push_str("\n## Upstreams that speak Anthropic's Messages API\n\n");
    page.push_str("What becomes of a chat completions request, whatever dialect it came in.\n\n");
    page.push_str("| field | what becomes of it | Messages | why |\n|---|---|---|---|\n");
    for field in cutover_vendors::anthropic::FIELDS {
        page.push_str(&row(field));
    }
    page.push_str("\nWhat Claude models take of it, by their names (read on 22 November 2026 in what is published):\n\n");
    page.push_str(&claude::reference());
    page.push_str("\n## Upstreams that speak Google's Gemini API\n\n");
    page.push_str("The same, for `generateContent`.\n\n");
    page.push_str("| field | what becomes of it | generateContent | why |\n|---|---|---|---|\n");
    for field in cutover_vendors::gemini::FIELDS {
        page.push_str(&row(field));
    }
    page.push_str("\nAnd for `batchEmbedContents`, of an embeddings request.\n\n");
    page.push_str("| field | what becomes of it | batchEmbedContents | why |\n|---|---|---|---|\n");
    for field in cutover_vendors::gemini::embeddings::FIELDS {
        page.push_str(&row(field));
    }
    page.push_str("\n## What answers lose\n\n");
    page.push_str("Parts of an upstream's answer that the client's dialect has no room for, by their names in the loss report. An ");
    page.push_str("answer of which nothing is left is a failed attempt (`no_form`).\n\n| part | why |\n|---|---|\n");
    for (part, why) in cutover_vendors::lost::ROWS {
        let _infallible = writeln!(page, "| `{part}` | {why} |");
    }
    page
}

fn row(field: &Field) -> String {
    let becomes = field.fate.becomes().map(|b| format!("`{b}`")).unwrap_or_default();
    format!("| `{}` | {} | {becomes} | {} |\n", field.path, field.fate.word(), field.why)
}

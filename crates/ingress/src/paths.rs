//! First phase: which route a request takes.

use cutover_dialects::{Dialect, Found};
use cutover_route::surface::{self, Family};
use cutover_units::Code;
use cutover_wire::{Endpoint, Fault};

/// What a path and method ask for.
#[derive(Clone, Copy)]
pub enum Route<'a> {
    /// Inference.
    Infer(Endpoint),
    /// The list of models.
    Models,
    /// One model.
    Model(&'a str),
    /// A user's verdict on an answer.
    Feedback,
    /// Whether the process is up.
    Health,
    /// A route of another dialect.
    Foreign(Found<'a>),
    /// An endpoint that is passed on untouched.
    Passed(&'static Family),
}

/// Why there is no route, and in whose words that is said.
pub struct Lost {
    /// None: the OpenAI dialect's.
    pub dialect: Option<&'static Dialect>,
    /// What is said.
    pub fault: Fault,
}

impl From<Fault> for Lost {
    fn from(fault: Fault) -> Self {
        Self { dialect: None, fault }
    }
}

/// Finds the route, with and without `/v1`.
///
/// # Errors
///
/// If there is no such path, or it takes another method.
pub fn route<'a>(method: &str, path: &'a str) -> Result<Route<'a>, Lost> {
    let found = if let Some(endpoint) = Endpoint::from_path(path) {
        Some((Route::Infer(endpoint), "POST"))
    } else {
        let rest = path.strip_prefix("/v1").unwrap_or(path);
        match rest {
            "/models" => Some((Route::Models, "GET")),
            "/feedback" => Some((Route::Feedback, "POST")),
            "" | "/" | "/health" => Some((Route::Health, "GET")),
            _ => rest
                .strip_prefix("/models/")
                .filter(|id| !id.is_empty() && !asks_a_model(method, path))
                .map(|id| (Route::Model(id), "GET")),
        }
    };
    let Some((route, wants)) = found else {
        return match cutover_dialects::find(method, path) {
            Some(Ok(found)) => Ok(Route::Foreign(found)),
            Some(Err((dialect, fault))) => Err(Lost { dialect: Some(dialect), fault }),
            None => passed(method, path),
        };
    };
    let fits = method == wants || (wants == "GET" && method == "HEAD");
    if method == "CONNECT" {
        return Err(Fault::new(Code::MethodNotAllowed, "this is no proxy for connections").into());
    }
    if !fits {
        let message = format!("{} takes {wants}, not {method}", shorten(path));
        return Err(Fault::new(Code::MethodNotAllowed, message).into());
    }
    Ok(route)
}

/// Whether a path asks a model for something, as Google's do.
fn asks_a_model(method: &str, path: &str) -> bool {
    method == "POST" && cutover_dialects::find(method, path).is_some()
}

/// The rest of the OpenAI surface.
fn passed<'a>(method: &str, path: &str) -> Result<Route<'a>, Lost> {
    let fault = match surface::find(method, path) {
        Some(surface::Found::Passed(family)) => return Ok(Route::Passed(family)),
        Some(surface::Found::Refused(code, why)) => Fault::new(code, why),
        Some(surface::Found::WrongMethod(methods)) => {
            let (path, wants) = (shorten(path), methods.join(", "));
            let message = format!("{path} takes {wants}, not {method}");
            Fault::new(Code::MethodNotAllowed, message)
        }
        None => {
            let message = format!("no such path: {method} {}", shorten(path));
            Fault::new(Code::NotFound, message)
        }
    };
    Err(fault.into())
}

/// A path as an error may show it: whoever sends a megabyte of path does not get it back.
fn shorten(path: &str) -> String {
    const CHARS_MAX: usize = 100;
    if path.chars().count() <= CHARS_MAX {
        return path.to_owned();
    }
    path.chars().take(CHARS_MAX).chain("...".chars()).collect()
}

/// The methods that a path takes, as the header `allow` lists them.
pub fn allowed(path: &str) -> String {
    let all = ["GET", "HEAD", "POST", "PUT", "DELETE"];
    let refuses = |lost: &Lost| lost.fault.code == Code::MethodNotAllowed;
    let takes = |method: &&str| !route(method, path).as_ref().is_err_and(refuses);
    all.into_iter().filter(takes).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_takes_is_what_is_routed() {
        assert_eq!(allowed("/v1/chat/completions"), "POST");
        assert_eq!(allowed("/v1/models"), "GET, HEAD");
        assert_eq!(allowed("/v1/messages"), "POST");
        assert_eq!(allowed("/v1/responses/resp_1"), "GET, HEAD, DELETE");
        assert_eq!(allowed("/v1/files"), "GET, HEAD, POST");
    }

    #[test]
    fn paths_are_known_with_and_without_v1() {
        let ok = |method, path: &'static str| route(method, path).ok().unwrap();
        let (get, post) = ("GET", "POST");
        assert!(matches!(ok(post, "/v1/embeddings"), Route::Infer(Endpoint::Embeddings)));
        assert!(matches!(ok(post, "/chat/completions"), Route::Infer(Endpoint::ChatCompletions)));
        assert!(matches!(ok(get, "/v1/models"), Route::Models));
        assert!(matches!(ok(get, "/models/a/b:c"), Route::Model("a/b:c")));
        assert!(matches!(ok(post, "/v1/feedback"), Route::Feedback));
        assert!(matches!(ok(post, "/feedback"), Route::Feedback));
        assert!(matches!(ok("HEAD", "/"), Route::Health));
        assert!(matches!(ok(get, "/health"), Route::Health));
        let of = |path| match ok("POST", path) {
            Route::Foreign(found) => found.dialect.name,
            _ => "none",
        };
        assert_eq!(of("/v1/messages"), "anthropic");
        assert_eq!(of("/responses"), "responses");
        assert_eq!(of("/api/chat"), "ollama");
        assert_eq!(of("/v1beta/models/a/b:generateContent"), "gemini");
        assert_eq!(of("/v1/models/a:streamGenerateContent"), "gemini");
    }

    #[test]
    fn what_is_not_there_is_404_and_a_wrong_method_405() {
        let code = |method, path: &str| route(method, path).err().unwrap().fault.code;
        assert_eq!(code("GET", "/v1/chat/completions"), Code::MethodNotAllowed);
        assert_eq!(code("POST", "/v1/models"), Code::MethodNotAllowed);
        assert_eq!(code("POST", "/v1/organization/keys"), Code::PermissionDenied);
        assert_eq!(code("POST", "/v1/unheard_of"), Code::NotFound);
        assert_eq!(code("PUT", "/v1/files"), Code::MethodNotAllowed);
        assert_eq!(code("GET", "/v1/models/"), Code::NotFound);
        let long = route("GET", &format!("/{}", "a".repeat(10_000))).err().unwrap();
        assert!(long.fault.message.len() < 200);
    }
}

//! First phase: which route a request takes, and its body, whole and within its limits.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cutover_dialects::{Dialect, Found};
use cutover_units::Code;
use cutover_wire::surface::{self, Family};
use cutover_wire::{Endpoint, Fault};
use http::{HeaderMap, Method, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use crate::live::Limits;
use crate::wait::before;

/// What a path and method ask for.
#[derive(Clone, Copy)]
pub(crate) enum Route<'a> {
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
pub(crate) struct Lost {
    /// None: the OpenAI dialect's.
    pub(crate) dialect: Option<&'static Dialect>,
    pub(crate) fault: Fault,
}

impl From<Fault> for Lost {
    fn from(fault: Fault) -> Self {
        Self { dialect: None, fault }
    }
}

/// Finds the route, with and without `/v1`.
pub(crate) fn route<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, Lost> {
    let found = if let Some(endpoint) = Endpoint::from_path(path) {
        Some((Route::Infer(endpoint), Method::POST))
    } else {
        let rest = path.strip_prefix("/v1").unwrap_or(path);
        match rest {
            "/models" => Some((Route::Models, Method::GET)),
            "/feedback" => Some((Route::Feedback, Method::POST)),
            "" | "/" | "/health" => Some((Route::Health, Method::GET)),
            _ => rest
                .strip_prefix("/models/")
                .filter(|id| !id.is_empty())
                .map(|id| (Route::Model(id), Method::GET)),
        }
    };
    let Some((route, wants)) = found else {
        return match cutover_dialects::find(method.as_str(), path) {
            Some(Ok(found)) => Ok(Route::Foreign(found)),
            Some(Err((dialect, fault))) => Err(Lost { dialect: Some(dialect), fault }),
            None => passed(method, path),
        };
    };
    let fits = *method == wants || (wants == Method::GET && *method == Method::HEAD);
    if *method == Method::CONNECT {
        return Err(Fault::new(Code::MethodNotAllowed, "this is no proxy for connections").into());
    }
    if !fits {
        let message = format!("{} takes {wants}, not {method}", shorten(path));
        return Err(Fault::new(Code::MethodNotAllowed, message).into());
    }
    Ok(route)
}

/// The rest of the OpenAI surface.
fn passed<'a>(method: &Method, path: &str) -> Result<Route<'a>, Lost> {
    let fault = match surface::find(method.as_str(), path) {
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

/// Most that is read of a refused request's body to keep its connection.
const DISCARD_BYTES_MAX: usize = 256 * 1024;

/// How long such a body is waited for.
const DISCARD_WITHIN: Duration = Duration::from_millis(500);

/// Reads on what a refused request sends, so that its connection can carry the next one. False: it
/// is too much or comes too slowly, and the connection must end.
pub(crate) async fn discard(body: Incoming, headers: &HeaderMap) -> bool {
    if body.is_end_stream() {
        return true;
    }
    // Who waits for our word before it sends a body need not send it.
    if headers.contains_key(header::EXPECT) || body.size_hint().lower() > DISCARD_BYTES_MAX as u64 {
        return false;
    }
    let reading = Limited::new(body, DISCARD_BYTES_MAX).collect();
    matches!(timeout(DISCARD_WITHIN, reading).await, Ok(Ok(_)))
}

/// A request's body, whole.
pub(crate) struct Arrived {
    pub(crate) body: Bytes,
    /// How long it was waited for.
    pub(crate) waited: Duration,
}

/// Reads a request's body. One that is there already costs no look at the clock.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: &mut Incoming,
    limits: &Limits,
) -> Result<Arrived, Fault> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let message =
            "compressed request bodies are not accepted; send it without content-encoding";
        return Err(Fault::new(Code::InvalidValue, message));
    }
    let mut since = None;
    let until = || *since.insert(Instant::now()) + limits.body_timeout;
    match before(until, collect(body, limits.body_bytes_max)).await {
        Ok(body) => {
            let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
            Ok(Arrived { body: body?, waited })
        }
        Err(_) => {
            let limit_ms = limits.body_timeout.as_millis();
            let message = format!("the body did not arrive within {limit_ms} ms");
            Err(Fault::new(Code::RequestTimeout, message))
        }
    }
}

async fn collect(body: &mut Incoming, bytes_max: usize) -> Result<Bytes, Fault> {
    let too_large = || {
        let message = format!("the body is larger than the limit of {bytes_max} bytes");
        Fault::new(Code::RequestTooLarge, message)
    };
    let announced = body.size_hint().exact().map(usize::try_from);
    let capacity = match announced {
        Some(Ok(bytes)) if bytes <= bytes_max => bytes,
        Some(_) => return Err(too_large()),
        None => 0,
    };
    let Some(first) = next_data(body).await? else { return Ok(Bytes::new()) };
    // The usual case: one frame is the whole body, and nothing is copied.
    if body.is_end_stream() && first.len() <= bytes_max {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(capacity.max(first.len()));
    let mut next = Some(first);
    while let Some(data) = next {
        if whole.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
        next = next_data(body).await?;
    }
    Ok(whole.freeze())
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreadable(&error))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// A body that hyper gives up. The connection cannot be used on: where the next request begins is not
/// known.
fn unreadable(error: &hyper::Error) -> Fault {
    let source = std::error::Error::source(error);
    let kind = source.and_then(|e| e.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    let why = if error.is_incomplete_message() || kind == Some(std::io::ErrorKind::UnexpectedEof) {
        "the body ended before its announced length"
    } else {
        "the body is not coded in chunks as its head says"
    };
    Fault::new(Code::MalformedHttp, why)
}

/// The methods that a path takes, as the header `allow` lists them.
pub(crate) fn allowed(path: &str) -> String {
    let all = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
    let refuses = |lost: &Lost| lost.fault.code == Code::MethodNotAllowed;
    let takes = |method: &&Method| !route(method, path).as_ref().is_err_and(refuses);
    let taken: Vec<&str> = all.iter().filter(takes).map(Method::as_str).collect();
    taken.join(", ")
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
        let ok = |method, path: &'static str| route(&method, path).ok().unwrap();
        let (get, post) = (Method::GET, Method::POST);
        assert!(matches!(ok(post.clone(), "/v1/embeddings"), Route::Infer(Endpoint::Embeddings)));
        assert!(matches!(
            ok(post.clone(), "/chat/completions"),
            Route::Infer(Endpoint::ChatCompletions)
        ));
        assert!(matches!(ok(get.clone(), "/v1/models"), Route::Models));
        assert!(matches!(ok(get.clone(), "/models/a/b:c"), Route::Model("a/b:c")));
        assert!(matches!(ok(post.clone(), "/v1/feedback"), Route::Feedback));
        assert!(matches!(ok(post.clone(), "/feedback"), Route::Feedback));
        assert!(matches!(ok(Method::HEAD, "/"), Route::Health));
        assert!(matches!(ok(get, "/health"), Route::Health));
        let of = |path| match ok(Method::POST, path) {
            Route::Foreign(found) => found.dialect.name,
            _ => "none",
        };
        assert_eq!(of("/v1/messages"), "anthropic");
        assert_eq!(of("/responses"), "responses");
        assert_eq!(of("/api/chat"), "ollama");
    }

    #[test]
    fn what_is_not_there_is_404_and_a_wrong_method_405() {
        let code = |method, path: &str| route(&method, path).err().unwrap().fault.code;
        assert_eq!(code(Method::GET, "/v1/chat/completions"), Code::MethodNotAllowed);
        assert_eq!(code(Method::POST, "/v1/models"), Code::MethodNotAllowed);
        assert_eq!(code(Method::POST, "/v1/organization/keys"), Code::PermissionDenied);
        assert_eq!(code(Method::POST, "/v1/unheard_of"), Code::NotFound);
        assert_eq!(code(Method::PUT, "/v1/files"), Code::MethodNotAllowed);
        assert_eq!(code(Method::GET, "/v1/models/"), Code::NotFound);
        let long = route(&Method::GET, &format!("/{}", "a".repeat(10_000))).err().unwrap();
        assert!(long.fault.message.len() < 200);
    }
}

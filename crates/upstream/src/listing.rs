//! What models an instance lists: asked of it when a client asks.

use bytes::Bytes;
use cutover_units::Code;
use cutover_vendors::manage::{self, Deed};
use cutover_wire::openai::models::{Listed, read_list};
use cutover_wire::providers::{Dialect, Provider};
use cutover_wire::{Fault, OllamaSettings};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};

use crate::{Deadlines, Instance, Outbound, SendErrorKind};

/// Where it is in OpenAI's dialect.
const LIST: &str = "/v1/models";

/// Largest list read.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why an upstream gave no list.
#[derive(Debug)]
pub struct Unlisted {
    /// What the client may see.
    pub fault: Fault,
    /// For the log: it may name the instance.
    pub why: String,
    /// Whether there was no answer at all.
    pub nobody: bool,
}

impl Unlisted {
    fn new(code: Code, message: &str) -> Self {
        let nobody = code == Code::UpstreamTimeout;
        Self { fault: Fault::new(code, message), why: message.to_owned(), nobody }
    }

    /// It was not, or must not be, asked.
    pub fn unfit(fault: Fault) -> Self {
        Self { why: fault.message.clone(), fault, nobody: false }
    }

    /// The time was over.
    pub fn late() -> Self {
        Self::new(Code::UpstreamTimeout, "the upstream did not list its models in time")
    }
}

/// How an instance is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Whose list it is.
    pub provider: &'static Provider,
    /// Whether the client's own key is passed on.
    pub clients_key: bool,
    /// Until when it must answer.
    pub within: Deadlines,
}

impl Asking {
    /// The models that it lists; none if it says that it has no such list.
    ///
    /// # Errors
    ///
    /// [`Unlisted`]: it cannot be asked, or gives no list.
    pub async fn list(
        self,
        instance: &Instance,
        mut headers: HeaderMap,
    ) -> Result<Vec<Listed>, Unlisted> {
        headers.remove(header::CONTENT_TYPE);
        let (mut path, mut told) = (LIST, self.ask(instance, headers.clone(), LIST).await?);
        // Below a path of a proxy's it has its own list alone.
        if told.0 == StatusCode::NOT_FOUND && self.provider.dialect == Dialect::Ollama {
            path = manage::order(Deed::List, self.provider, ("", &OllamaSettings::default())).path;
            told = self.ask(instance, headers, path).await?;
        }
        let (status, body) = told;
        match status {
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => return Ok(Vec::new()),
            status if status.is_success() => {}
            status => return Err(refused((self.clients_key, path), status)),
        }
        let listed = if path == LIST { read_list(&body) } else { read_tags(self.provider, &body) };
        listed.ok_or_else(|| {
            let message = format!("the upstream's answer to {path} is no list of models");
            Unlisted::new(Code::BadGateway, &message)
        })
    }

    async fn ask(
        self,
        instance: &Instance,
        headers: HeaderMap,
        path: &'static str,
    ) -> Result<(StatusCode, Bytes), Unlisted> {
        let outbound = Outbound {
            method: Method::GET,
            path_and_query: PathAndQuery::from_static(path),
            headers,
            body: Vec::new(),
        };
        let response = instance.send(outbound, self.within).await.map_err(|error| Unlisted {
            fault: error.fault(),
            why: error.chain(),
            nobody: error.kind() != SendErrorKind::TooManyConnections,
        })?;
        let status = response.status();
        if !status.is_success() {
            return Ok((status, Bytes::new()));
        }
        let body = Limited::new(response.into_body(), LIST_BYTES_MAX).collect().await;
        let body = body.map_err(|_| {
            let message = "the upstream's list of models broke off or is too large";
            Unlisted::new(Code::BadGateway, message)
        })?;
        Ok((status, body.to_bytes()))
    }
}

fn read_tags(provider: &Provider, body: &[u8]) -> Option<Vec<Listed>> {
    let (models, _) = manage::read_models(provider, body)?;
    let listed =
        |model: manage::Kept| Listed { id: model.name, context_tokens: None, created: None };
    Some(models.into_iter().map(listed).collect())
}

/// What a status says that is no list.
fn refused((clients_key, path): (bool, &str), status: StatusCode) -> Unlisted {
    let unfound = format!("has no {path}: its base_url must lead to the API itself");
    let (code, said) = match status.as_u16() {
        401 | 403 if clients_key => {
            (Code::InvalidApiKey, "refused the API key of this request, or none was sent")
        }
        401 | 403 => (Code::UpstreamAuth, "refused the key it was shown; an operator must act"),
        300..=399 => (
            Code::BadGateway,
            "answers with a redirect, which is not followed: its base_url must lead to the API itself",
        ),
        404 => (Code::BadGateway, &*unfound),
        429 => (Code::RateLimitExceeded, "limits the rate"),
        503 => (Code::Overloaded, "is busy or still loading its model"),
        _ => (Code::BadGateway, "failed to list its models"),
    };
    Unlisted::new(code, &format!("the upstream {said} (status {})", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::{InstanceAddress, InstanceLive, InstanceSettings};

    /// Answers each path with its status and body, one connection after the other, and tells which were asked.
    fn server(pages: &[(&'static str, u16, &'static str)]) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let pages = pages.to_vec();
        let asked = thread::spawn(move || {
            let mut asked = Vec::new();
            for (path, status, body) in pages {
                let (mut socket, _) = listener.accept().unwrap();
                let mut head = [0; 2048];
                let count = socket.read(&mut head).unwrap();
                let head = String::from_utf8_lossy(&head[..count]).into_owned();
                asked.push(head.split(' ').nth(1).unwrap_or_default().to_owned());
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                assert_eq!(asked.last().unwrap(), path);
                socket.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        (address, asked)
    }

    async fn list(provider: &str, base_url: &str) -> Result<Vec<String>, Unlisted> {
        let address = InstanceAddress::parse(base_url).unwrap();
        let (settings, live) = (InstanceSettings::default(), Arc::<InstanceLive>::default());
        let instance = Instance::http(address, settings, None, live);
        let provider = Provider::by_name(provider).unwrap();
        let asking = Asking { provider, clients_key: false, within: Deadlines::default() };
        let listed = asking.list(&instance, HeaderMap::new()).await?;
        Ok(listed.into_iter().map(|model| model.id).collect())
    }

    const TAGS: &str = r#"{"models":[{"name":"m:latest","size":7}]}"#;

    /// It was asked below the path for what it has at its root alone: no client saw its models.
    #[tokio::test]
    async fn an_ollama_below_a_path_gives_its_own_list() {
        let (url, asked) = server(&[("/own/models", 404, ""), ("/own/api/tags", 200, TAGS)]);
        assert_eq!(list("ollama", &format!("{url}/own")).await.unwrap(), ["m:latest"]);
        assert_eq!(asked.join().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_is_no_list_is_told_by_its_own_path() {
        let (url, asked) = server(&[("/v1/models", 404, ""), ("/api/tags", 404, "")]);
        let unlisted = list("ollama", &url).await.unwrap_err();
        assert!(unlisted.why.contains("has no /api/tags"), "{}", unlisted.why);
        asked.join().unwrap();
        let (url, asked) = server(&[("/v1/models", 404, "")]);
        let unlisted = list("vllm", &url).await.unwrap_err();
        assert!(unlisted.why.contains("has no /v1/models") && !unlisted.nobody, "{}", unlisted.why);
        asked.join().unwrap();
        let (url, asked) = server(&[("/v1/models", 200, "<html>")]);
        let unlisted = list("ollama", &url).await.unwrap_err();
        assert!(unlisted.why.contains("/v1/models is no list"), "{}", unlisted.why);
        asked.join().unwrap();
    }
}

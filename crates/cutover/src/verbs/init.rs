//! `cutover init`: a first config file from what is found on this machine.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use cutover_config::{
    BaseUrl, Discovery, FoundServer, Provider, SERVICES, render_init, server_at, usual_servers,
};
use cutover_control::client::Call;
use cutover_wire::providers::request_path;
use serde_json::Value;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::env;
use crate::exit::{Exit, Failed};
use crate::operator;
use crate::term::Term;

/// Write a first config file from what is found here.
///
/// Looks for API keys in the environment and for Ollama, vLLM and llama.cpp's server on their usual
/// ports of this machine, and lists their models. No model is loaded and no key is read out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write; - is stdout
    #[arg(long, short, value_name = "FILE", default_value = "cutover.toml")]
    output: PathBuf,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
    /// Look for a server here, such as ollama=http://gpu-1:11434, and not on the usual ports of this machine; may be
    /// given several times
    #[arg(long, value_name = "PROVIDER=URL", value_parser = server_at)]
    server: Vec<Server>,
}

/// A provider and where it may answer.
type Server = (&'static Provider, BaseUrl);

/// A server on this machine that does not list its models within this time is busy or none.
const PROBE_TIMEOUT: Duration = Duration::from_millis(800);

/// Somebody knows of one that is named, and it may be another machine.
const NAMED_PROBE_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Args, term: &mut Term) -> Result<Exit, Failed> {
    let keys: Vec<_> = SERVICES
        .iter()
        .filter(|service| env::any(service.env).is_some())
        .map(|service| service.env.to_owned())
        .collect();
    let (asked, within) = match &*args.server {
        [] => (usual_servers().collect(), PROBE_TIMEOUT),
        named => (named.to_vec(), NAMED_PROBE_TIMEOUT),
    };
    let servers = operator::block_on(probe_all(asked, within))?;
    for (provider, url) in &args.server {
        if servers.iter().all(|server| server.base_url != url.to_string()) {
            term.warn(format_args!("no {} that lists its models answers at {url}", provider.name));
        }
    }
    for key in &keys {
        term.talk(format_args!("found  key in ${key}"));
    }
    for server in &servers {
        let models = server.models.len();
        term.talk(format_args!(
            "found  {} at {} with {models} models",
            server.provider, server.base_url
        ));
    }
    if keys.is_empty() && servers.is_empty() {
        term.talk("found  neither keys nor servers: the embedded engine answers");
    }
    let text = render_init(&Discovery { keys, servers });
    if args.output.as_os_str() == "-" {
        write!(term.out, "{text}")?;
        return Ok(Exit::Done);
    }
    write_file(args, &text)?;
    let path = args.output.display();
    term.say(format_args!("wrote {path}"))?;
    let flag = if path.to_string() == "cutover.toml" {
        String::new()
    } else {
        format!(" --config {path}")
    };
    term.talk(format_args!("next   cutover check{flag}; cutover serve{flag}"));
    Ok(Exit::Done)
}

fn write_file(args: &Args, text: &str) -> Result<(), Failed> {
    let path = args.output.display();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    if !args.force {
        options.create_new(true);
    }
    let file = options.open(&args.output);
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Failed::new(Exit::Failed, format!("{path} exists"))
                .hint("replace it with --force, or write another file with --output"));
        }
        file => file.with_context(|| format!("cannot write {path}"))?,
    };
    Ok(file.write_all(text.as_bytes()).with_context(|| format!("cannot write {path}"))?)
}

/// Asks all these servers at once, and answers in their order.
async fn probe_all(servers: Vec<Server>, within: Duration) -> Vec<FoundServer> {
    let mut probes = JoinSet::new();
    for (at, (provider, url)) in servers.into_iter().enumerate() {
        let path = if provider.name == "ollama" {
            "/api/tags".to_owned()
        } else {
            request_path(url.path(), "/v1/models")
        };
        probes.spawn(async move {
            let models = async {
                let mut addresses = lookup_host((url.host(), url.port())).await.ok()?;
                probe(addresses.next()?, &path, within).await
            };
            let models = timeout(within, models).await.ok()??;
            let (provider, base_url) = (provider.name.to_owned(), url.to_string());
            Some((at, FoundServer { provider, base_url, models }))
        });
    }
    let mut found: Vec<_> = probes.join_all().await.into_iter().flatten().collect();
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, server)| server).collect()
}

/// The models that a server lists; none if it is no such server.
async fn probe(address: SocketAddr, path: &str, within: Duration) -> Option<Vec<String>> {
    let answer = Call::get(address, path, within).send().await.ok()?;
    if answer.status != 200 {
        return None;
    }
    let listed: Value = serde_json::from_slice(&answer.body).ok()?;
    // OpenAI's form has `data` with `id`, Ollama's `models` with `name`.
    let models = listed.get("data").or_else(|| listed.get("models"))?.as_array()?;
    let name = |model: &Value| {
        let name = model.get("id").or_else(|| model.get("name"))?;
        name.as_str().map(str::to_owned)
    };
    Some(models.iter().filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;

    async fn answers_with(body: &'static str) -> Option<Vec<String>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        TaskTracker::new().spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0u8; 1_024];
            let _ = socket.read(&mut request).await.unwrap();
            let head = "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n";
            socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        });
        probe(address, "/v1/models", PROBE_TIMEOUT).await
    }

    #[tokio::test]
    async fn both_forms_of_a_model_list_are_read_and_others_are_no_server() {
        let openai = answers_with(r#"{"object":"list","data":[{"id":"a"},{"id":"b"}]}"#).await;
        assert_eq!(openai.unwrap(), ["a", "b"]);
        let ollama = answers_with(r#"{"models":[{"name":"qwen2.5:32b","size":1}]}"#).await;
        assert_eq!(ollama.unwrap(), ["qwen2.5:32b"]);
        assert_eq!(answers_with("<html>").await, None);
        assert_eq!(answers_with(r#"{"detail":"Not Found"}"#).await, None);
    }
}

//! A CA file that is replaced under the same name: a reload takes it, and nothing under way is lost.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use cutover_testkit::names::NameServer;
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Rig, ask, until};

const ANSWER: &str = r#"{"id":"a","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// A certificate for `localhost`: the server's side, and the PEM that trusts it.
fn certificate() -> (Arc<ServerConfig>, String) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), cert.pem())
}

/// An https upstream whose certificate can be exchanged. Requests that say `hold` are answered when
/// `release` says so.
struct Secure {
    address: SocketAddr,
    shows: Arc<Mutex<Arc<ServerConfig>>>,
    accepted: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
    release: Arc<Notify>,
    _runtime: Runtime,
}

impl Secure {
    fn start(config: Arc<ServerConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        // An address of either family: `localhost` may be looked up as both.
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (shows, release) = (Arc::new(Mutex::new(config)), Arc::new(Notify::new()));
        let (accepted, held) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let server = (Arc::clone(&shows), Arc::clone(&accepted));
        let holding = (Arc::clone(&held), Arc::clone(&release));
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&server.0.lock().unwrap()));
                let (accepted, holding) = (Arc::clone(&server.1), holding.clone());
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(socket).await else { return };
                    accepted.fetch_add(1, Ordering::SeqCst);
                    while let Some(request) = read_request(&mut tls).await {
                        if request.contains("hold") {
                            holding.0.fetch_add(1, Ordering::SeqCst);
                            holding.1.notified().await;
                        }
                        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
                        let length = ANSWER.len();
                        let response = format!("{head}content-length: {length}\r\n\r\n{ANSWER}");
                        if tls.write_all(response.as_bytes()).await.is_err() {
                            return;
                        }
                        let _ = tls.flush().await;
                    }
                });
            }
        });
        Self { address, shows, accepted, held, release, _runtime: runtime }
    }

    fn show(&self, config: Arc<ServerConfig>) {
        *self.shows.lock().unwrap() = config;
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A request with its body; None at the end of the connection.
async fn read_request(from: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length: ").and_then(|n| n.parse::<usize>().ok())
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        match from.read(&mut bytes).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => text.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
        }
    }
}

#[test]
fn a_reload_takes_a_ca_file_that_was_replaced_and_keeps_what_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let (first, first_pem) = certificate();
    let (second, second_pem) = certificate();
    fs::write(&ca_file, &first_pem).unwrap();
    let server = Secure::start(first);
    let config = format!(
        "[upstreams.cloud]\nprovider = \"openai-compatible\"\nbase_url = \"https://localhost:{}\"\nca_file = {ca_file:?}\n",
        server.address.port()
    );
    let rig = Rig::start(&config);
    let status = |text: &str| rig.chat(&[], &ask("m").replace("hi", text)).status;
    assert_eq!((status("hi"), server.accepted()), (200, 1));

    // Written anew with what it held: the connection stays.
    fs::write(&ca_file, &first_pem).unwrap();
    rig.try_reload(&config).unwrap();
    assert_eq!((status("hi"), server.accepted()), (200, 1));

    // Bad files are refused by file and key, and what is in force serves on.
    for bad in
        ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        fs::write(&ca_file, bad).unwrap();
        let error = rig.try_reload(&config).unwrap_err();
        assert_eq!(error.key, "upstreams.cloud.ca_file");
        assert!(error.why.contains("ca.pem"), "{error}");
    }
    fs::remove_file(&ca_file).unwrap();
    assert_eq!(rig.try_reload(&config).unwrap_err().key, "upstreams.cloud.ca_file");
    assert_eq!((status("hi"), server.accepted()), (200, 1));

    // Replaced while a request is under way.
    thread::scope(|scope| {
        let held = scope.spawn(|| status("hold"));
        until("the request is held", || server.held.load(Ordering::SeqCst) == 1);
        server.show(second);
        fs::write(&ca_file, &second_pem).unwrap();
        rig.try_reload(&config).unwrap();
        assert_eq!(
            (status("hi"), server.accepted()),
            (200, 2),
            "a connection that trusts the new one"
        );
        let live = rig.gateway.live();
        let instance = &live.lanes[0].upstream.instances[0].instance;
        assert_eq!(instance.live().in_flight(), 1, "what is under way is counted");
        server.release.notify_one();
        assert_eq!(held.join().unwrap(), 200, "it ends on the connection it began on");
    });
    assert_eq!((status("hi"), server.accepted()), (200, 2));
}

#[test]
fn an_address_of_a_resolved_name_is_trusted_by_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let (server, pem) = certificate();
    fs::write(&ca_file, &pem).unwrap();
    let (server, names) = (Secure::start(server), NameServer::start());
    names.set("localhost", &[Ipv4Addr::LOCALHOST]);
    names.set("another.test", &[Ipv4Addr::LOCALHOST]);
    let status = |host: &str| {
        let rig = Rig::start(&format!(
            "[upstreams.cloud]\nprovider = \"openai-compatible\"\nbase_url = \"https://{host}:{}\"\n\
             ca_file = {ca_file:?}\nresolve = \"1 s\"\nname_server = \"{}\"\n",
            server.address.port(),
            names.address(),
        ));
        rig.watch_instances();
        until("its address is the instance", || {
            let live = rig.gateway.live();
            live.lanes[0].upstream.instances.first().is_some_and(|it| it.id.as_str() == "cloud/0.1")
        });
        rig.chat(&[], &ask("m")).status
    };
    assert_eq!(status("localhost"), 200, "the certificate is for the name");
    assert_eq!(
        status("another.test"),
        503,
        "the same machine under a name it has no certificate for"
    );
}

//! A scripted upstream: answers as one of five real services does, and misbehaves on command.
//!
//! Contract: everything is decided by the script and the request, nothing by the clock; the fake
//! records each request byte for byte and each client that left early, so a test can say "the cloud
//! saw zero bytes" or "the upstream was cancelled within a second". It listens on 127.0.0.1 only and
//! is gone when dropped.
//!
//! What each persona does was taken from captured exchanges with the real servers (llama.cpp b10434,
//! vLLM 0.32.0, Ollama 0.33.0-rc2) and from OpenAI's and Google's published interfaces. That the fake is not an
//! invention of ours is tested from outside: the official OpenAI SDKs, in strict mode, pass their
//! probes against it (`tests/fake_sdk.rs`).
//!
//! ```text
//! accept > read request > record > key? > info route? ------------> page
//!                                    |       model? limits? types? > refusal, in the persona's words
//!                                    v
//!                        script: marker > once > always > usual answer
//!                                    |
//!                       fault instead of a response, or answer / stream with faults inside
//! ```

mod ask;
mod embeddings;
mod gate;
mod gemini;
mod http;
mod info;
mod ollama;
mod openai;
mod play;
mod refusal;
mod responses;
mod schema;
mod script;
mod seen;
mod serve;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub use gate::Gate;
pub use script::{Call, Fault, Reply};
pub use seen::{Disconnect, Seen};

use crate::conformance::Discovery;
use crate::wait;
use seen::Recorder;

/// Which real server the fake behaves like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persona {
    /// OpenAI and the services that follow it closely.
    OpenAi,
    /// vLLM 0.32.
    Vllm,
    /// llama.cpp's server, b10434.
    LlamaCpp,
    /// Ollama 0.33: its own dialect and its /v1.
    Ollama,
    /// Google's Gemini API, v1beta.
    Gemini,
}

/// What a fake is before it starts.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which server to behave like.
    pub persona: Persona,
    /// Appears in the usual answer ("Hello from NAME"), to tell fakes apart.
    pub name: String,
    /// Models it knows. llama.cpp ignores the name in the request.
    pub models: Vec<String>,
    /// If set, requests without this bearer key get a 401.
    pub key: Option<String>,
    /// Context limit in tokens (four bytes each).
    pub context: u64,
    /// Whether the model can call tools.
    pub tools: bool,
    /// llama.cpp: the requests it says that it takes at once. It takes any number.
    pub slots: usize,
    /// Ollama: whether the model thinks (by itself, unless told not to).
    pub thinking: bool,
    /// Whether `stream_options` is taken; some services refuse it.
    pub stream_options: bool,
    /// Whether embeddings are served.
    pub embeddings: bool,
    /// Ollama: requests that may wait while the model loads; more get a 503.
    pub load_queue: usize,
    /// Ollama: loading the model takes until this gate opens.
    pub load_gate: Option<Gate>,
    /// Ollama: a fetch is silent after its first line until this gate opens.
    pub pull_gate: Option<Gate>,
    /// Ollama: a version that does not know `truncate` yet, and cuts whatever it is told.
    pub ignores_truncate: bool,
    /// Gemini: the published description, by which requests are judged.
    pub spec: Option<Arc<Discovery>>,
}

impl Setup {
    /// A capable server of this kind with one model, `fake-model`.
    pub fn new(persona: Persona) -> Self {
        Self {
            persona,
            name: format!("{persona:?}").to_lowercase(),
            models: vec!["fake-model".to_owned()],
            key: None,
            context: 4096,
            tools: true,
            slots: 1,
            thinking: false,
            stream_options: true,
            embeddings: true,
            load_queue: 512,
            load_gate: None,
            pull_gate: None,
            ignores_truncate: false,
            spec: None,
        }
    }

    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets the models.
    #[must_use]
    pub fn models(mut self, models: &[&str]) -> Self {
        self.models = models.iter().map(|&model| model.to_owned()).collect();
        self
    }

    /// Demands this bearer key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub(crate) fn first_model(&self) -> String {
        self.models.first().cloned().unwrap_or_default()
    }
}

/// Parts of the script that change while the fake runs.
#[derive(Debug, Default)]
struct Script {
    always: Reply,
    once: VecDeque<Reply>,
    /// How often each marker was met.
    markers: HashMap<String, u64>,
    loading: bool,
    /// Context length with which Ollama's model is loaded.
    loaded: Option<u64>,
    loads: u64,
    load_waiting: usize,
    /// Models fetched and removed since the start.
    shelf: ollama::Shelf,
}

#[derive(Debug)]
struct Shared {
    setup: Setup,
    recorder: Arc<Recorder>,
    script: Mutex<Script>,
    sockets: Mutex<HashMap<u64, TcpStream>>,
    stop: AtomicBool,
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running fake; stops when dropped.
#[derive(Debug)]
pub struct Fake {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl Fake {
    /// Starts a fake of this kind with the usual setup.
    pub fn start(persona: Persona) -> Self {
        Self::start_with(Setup::new(persona))
    }

    /// Starts a fake.
    pub fn start_with(setup: Setup) -> Self {
        Self::start_at(setup, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts a fake at this address, such as a second one at another loopback address and the same port.
    pub fn start_at(setup: Setup, at: SocketAddr) -> Self {
        let warm = setup.load_gate.is_none();
        let script = Script { loaded: warm.then_some(setup.context), ..Script::default() };
        let shared = Arc::new(Shared {
            setup,
            recorder: Arc::default(),
            script: Mutex::new(script),
            sockets: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let listener = TcpListener::bind(at).expect("a free loopback address");
        let address = listener.local_addr().expect("a bound address");
        let acceptor = Some(accept(listener, &shared));
        Self { shared, address, acceptor }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, without a path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What every request gets from now on, once those of [`Self::once`] are used up.
    pub fn always(&self, reply: Reply) {
        self.shared.script().always = reply;
    }

    /// What the next request that is not yet spoken for gets.
    pub fn once(&self, reply: Reply) {
        self.shared.script().once.push_back(reply);
    }

    /// Answers everything with "loading" (503) until set to false.
    pub fn set_loading(&self, loading: bool) {
        self.shared.script().loading = loading;
    }

    /// Ollama: how often the model was loaded, first load and changes of `num_ctx` alike.
    pub fn loads(&self) -> u64 {
        self.shared.script().loads
    }

    /// All requests so far, probes and lists included.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.recorder.counts().seen.clone()
    }

    /// The requests that asked the model for something.
    pub fn inferences(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(Seen::is_inference).collect()
    }

    /// Bytes received on all connections.
    pub fn bytes(&self) -> u64 {
        self.shared.recorder.counts().bytes
    }

    /// Connections accepted.
    pub fn connections(&self) -> u64 {
        self.shared.recorder.counts().connections
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.sockets().len()
    }

    /// Inference requests answered to their end.
    pub fn answered(&self) -> usize {
        self.shared.recorder.counts().answered
    }

    /// Inference requests being answered now.
    pub fn in_flight(&self) -> usize {
        self.shared.recorder.counts().in_flight
    }

    /// The most inference requests that were being answered at one time.
    pub fn in_flight_max(&self) -> usize {
        self.shared.recorder.counts().in_flight_max
    }

    /// Clients that left before their answer was complete.
    pub fn disconnects(&self) -> Vec<Disconnect> {
        self.shared.recorder.counts().disconnects.clone()
    }

    /// Waits until `count` requests for the model have arrived.
    pub async fn wait_for_inferences(&self, count: usize) {
        let arrived = || {
            let counts = self.shared.recorder.counts();
            counts.seen.iter().filter(|seen| seen.is_inference()).count() >= count
        };
        wait::until_async("requests at the fake", arrived).await;
    }

    /// Waits until a client has left early, and tells about the first one.
    pub async fn wait_for_disconnect(&self) -> Disconnect {
        let left = || !self.shared.recorder.counts().disconnects.is_empty();
        wait::until_async("a client to leave", left).await;
        self.disconnects()[0]
    }

    /// Closes the listener and all connections, as a stopped process does.
    pub fn go_down(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then drops the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for (_, socket) in self.shared.sockets().drain() {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Listens again on the same port.
    pub fn come_back(&mut self) {
        self.shared.stop.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind(self.address).expect("the fake's own port is still free");
        self.acceptor = Some(accept(listener, &self.shared));
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if self.acceptor.is_some() {
            self.go_down();
        }
    }
}

fn accept(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming()) {
            if shared.stop.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            if let Ok(copy) = stream.try_clone() {
                shared.sockets().insert(number, copy);
            }
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                serve::connection(stream, &shared);
                shared.sockets().remove(&number);
            });
        }
    })
}

/// An address on which nobody listens, reserved until dropped: connections are refused.
#[derive(Debug)]
pub struct Refusing {
    _socket: socket2::Socket,
    address: SocketAddr,
}

impl Refusing {
    /// Reserves a port.
    pub fn start() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a free loopback port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket());
        Self { _socket: socket, address: address.expect("a bound address") }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

//! The embedded engine behind the gateway's in-process door.
//!
//! Models are fetched and loaded on threads of their own, so that the listener is open from the first
//! moment. A request that comes meanwhile waits a little (a load from disk takes a second or two) and
//! then gets 503 with `retry-after`, which SDKs obey; `/ready` says what is being waited for. The model
//! for embeddings is loaded when somebody first asks for one.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cutover_config::Embedded;
use cutover_engine::models::{MINILM_L6_V2, Model};
use cutover_engine::service::{self, Answer, EventStream, Served, Service};
use cutover_upstream::{Body, BodySender, InProcess};
use cutover_wire::Endpoint;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::models::{self, Watcher};
use crate::surroundings;

/// The model that answers `/v1/embeddings`.
const EMBEDDER: &Model = &MINILM_L6_V2;

/// A request waits so long for a model that is being loaded: well within every SDK's timeout, and
/// longer than any load from disk.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client is told to wait when the model takes longer than that.
const RETRY_AFTER_S: &str = "5";

/// Events of a stream that wait for the client before the engine's own queue fills.
const EVENTS_WAITING_MAX: usize = 16;

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// All embedded engines of this process, one per setting. A clone is the same.
#[derive(Clone)]
pub(crate) struct Engines {
    known: Arc<Mutex<BTreeMap<String, Arc<Embed>>>>,
    watcher: Watcher,
}

/// One engine with its models, some of which may not be there yet.
struct Embed {
    service: Service,
    chat: Loading,
    embeddings: Loading,
    embeddings_asked: AtomicBool,
    watcher: Watcher,
    tasks: TaskTracker,
}

/// How far a model is.
#[derive(Clone)]
struct Loading {
    name: Arc<str>,
    stage: watch::Sender<Stage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Nobody has asked for it.
    Idle,
    /// What is being done.
    Coming(String),
    Ready,
    Failed(String),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl surroundings::Engines for Engines {
    fn get(&self, settings: &Embedded) -> Arc<dyn InProcess> {
        let mut known = lock(&self.known);
        let engine = known.entry(format!("{settings:?}")).or_insert_with(|| {
            let engine = Arc::new(Embed::new(&settings.model, self.watcher.clone()));
            engine.load_chat(settings.clone());
            engine
        });
        Arc::new(Door(Arc::clone(engine)))
    }
}

impl Engines {
    /// No engine yet. Their loading is shown to the watcher.
    pub(crate) fn new(watcher: Watcher) -> Self {
        Self { known: Arc::default(), watcher }
    }

    /// Lets go of all engines but those of these settings. Requests in flight keep theirs.
    pub(crate) fn retain<'s>(&self, settings: impl Iterator<Item = &'s Embedded>) {
        let wanted: Vec<_> = settings.map(|settings| format!("{settings:?}")).collect();
        lock(&self.known).retain(|key, _| wanted.contains(key));
    }

    /// The models that somebody waits for, and why.
    pub(crate) fn waiting_for(&self) -> Vec<String> {
        let known = lock(&self.known);
        let models = known.values().flat_map(|engine| [&engine.chat, &engine.embeddings]);
        models.filter_map(Loading::waiting_for).collect()
    }

    /// Returns when no model is being loaded any more: the failures, if there were any.
    pub(crate) async fn settled(&self) -> Vec<String> {
        let engines: Vec<_> = lock(&self.known).values().cloned().collect();
        for engine in &engines {
            engine.chat.settled().await;
        }
        self.waiting_for()
    }
}

impl Embed {
    fn new(model: &str, watcher: Watcher) -> Self {
        Self {
            service: Service::new(|| clock::now().0 / 1_000),
            chat: Loading::new(model),
            embeddings: Loading::new(EMBEDDER.name),
            embeddings_asked: AtomicBool::new(false),
            watcher,
            tasks: TaskTracker::new(),
        }
    }

    fn load_chat(&self, settings: Embedded) {
        self.load(&self.chat, move |watcher, tell| {
            models::load_chat(&settings, watcher, tell).map(Served::Chat)
        });
        let coming = "is loaded when embeddings are first asked for".to_owned();
        self.service.serve(EMBEDDER.name, Served::Coming(coming));
    }

    /// Once.
    fn load_embedder(&self) {
        if !self.embeddings_asked.swap(true, Ordering::Relaxed) {
            self.load(&self.embeddings, |watcher, tell| {
                models::load_embedder(EMBEDDER, watcher, tell).map(Served::Embeddings)
            });
        }
    }

    fn load(
        &self,
        loading: &Loading,
        load: impl FnOnce(&Watcher, &dyn Fn(&str)) -> Result<Served, String> + Send + 'static,
    ) {
        loading.tell(&self.service, Stage::Coming("is being looked for".to_owned()));
        let (service, watcher, noted) =
            (self.service.clone(), self.watcher.clone(), loading.clone());
        let work = move || {
            let tell = |what: &str| noted.tell(&service, Stage::Coming(what.to_owned()));
            match load(&watcher, &tell) {
                Ok(served) => {
                    service.serve(&noted.name, served);
                    noted.stage.send_replace(Stage::Ready);
                }
                Err(error) => noted.fail(&service, &error),
            }
        };
        let spawned = std::thread::Builder::new().name("cutover-model".to_owned()).spawn(work);
        if let Err(error) = spawned {
            loading.fail(&self.service, &format!("no thread to load it: {error}"));
        }
    }

    async fn answer(&self, path: &str, body: Bytes) -> Response<Body> {
        let asked = Endpoint::from_path(path);
        match asked {
            Some(Endpoint::Embeddings) => {
                self.load_embedder();
                self.embeddings.patience().await;
            }
            Some(_) => self.chat.patience().await,
            None => {}
        }
        let answer = self.service.call(path, body).await;
        self.shape(answer)
    }

    fn shape(&self, answer: Answer) -> Response<Body> {
        let body = match answer.body {
            service::Body::Full(bytes) => Body::whole(bytes),
            service::Body::Events(events) => {
                let (sender, body) = Body::channel(EVENTS_WAITING_MAX);
                self.tasks.spawn(pump(events, sender));
                body
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        if answer.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}

/// Hands events over as they come. A client that has gone drops the stream, which ends the work.
async fn pump(mut events: Box<EventStream>, sender: BodySender) {
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = sender.closed() => return,
        };
        match event {
            Some(event) => {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
            None => return sender.finish(),
        }
    }
}

impl Loading {
    fn new(name: &str) -> Self {
        Self { name: name.into(), stage: watch::Sender::new(Stage::Idle) }
    }

    fn tell(&self, service: &Service, stage: Stage) {
        if let Stage::Coming(what) = &stage {
            service.serve(&self.name, Served::Coming(what.clone()));
        }
        self.stage.send_replace(stage);
    }

    fn fail(&self, service: &Service, error: &str) {
        tracing::error!(model = &*self.name, error, "the embedded model cannot be used");
        // Paths and addresses are the operator's; a client needs to know only that it is not there.
        let told = "could not be loaded; the log says why".to_owned();
        service.serve(&self.name, Served::Failed(told));
        self.stage.send_replace(Stage::Failed(error.to_owned()));
    }

    fn waiting_for(&self) -> Option<String> {
        match &*self.stage.borrow() {
            Stage::Coming(what) | Stage::Failed(what) => {
                Some(format!("embedded model {}: {what}", self.name))
            }
            Stage::Idle | Stage::Ready => None,
        }
    }

    /// Returns when it is there or will never be.
    async fn settled(&self) {
        let mut stage = self.stage.subscribe();
        let settled = |stage: &Stage| matches!(stage, Stage::Ready | Stage::Failed(_));
        // An error means that the sender is gone, which cannot be: `self` holds it.
        let _ = stage.wait_for(settled).await;
    }

    async fn patience(&self) {
        if matches!(*self.stage.borrow(), Stage::Coming(_)) {
            // Whether it came in time is told by the service.
            let _ = tokio::time::timeout(PATIENCE, self.settled()).await;
        }
    }
}

/// What the gateway holds.
struct Door(Arc<Embed>);

impl InProcess for Door {
    fn call(&self, path: &str, body: Vec<Bytes>) -> Answering {
        let (engine, path) = (Arc::clone(&self.0), path.to_owned());
        Box::pin(async move {
            let body = join(body);
            engine.answer(&path, body).await
        })
    }
}

/// One piece as it is; several are copied together.
fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in &pieces {
        whole.extend_from_slice(piece);
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surroundings::Engines as _;

    #[tokio::test(start_paused = true)]
    async fn a_model_that_does_not_exist_is_said_to_be_missing() {
        let engines = Engines::new(Watcher::new(false));
        let settings = Embedded {
            model: "/nowhere/model.gguf".to_owned(),
            quantization: cutover_config::Quantization::File,
            slots: 1,
            context_tokens: None,
        };
        let door = engines.get(&settings);
        let waiting = engines.settled().await;
        assert!(waiting[0].contains("neither a file nor a known model"), "{waiting:?}");
        let body = br#"{"model":"/nowhere/model.gguf","messages":[{"role":"user","content":"x"}]}"#;
        let answer = door.call("/v1/chat/completions", vec![Bytes::from_static(body)]).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], RETRY_AFTER_S);
    }

    #[test]
    fn pieces_are_joined_in_order() {
        let pieces = ["a", "", "bc"].map(|text| Bytes::from_static(text.as_bytes()));
        assert_eq!(join(pieces.to_vec()), "abc");
        assert_eq!(join(Vec::new()), "");
    }
}

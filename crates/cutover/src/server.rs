//! Everything that serves, put together in the order that keeps traffic safe: state before weights,
//! weights before the gateway, both listeners bound before anything is announced.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cutover_config::Checked;
use cutover_control::rollouts::{RolloutParts, Rollouts, Webhooks};
use cutover_control::{
    Admin, Controller, Deadlines, Doors, Host as _, Outgoing, Parts as ControllerParts, Spec,
    State, TokensInForce, token,
};
use cutover_gateway::{Doors as ClientDoors, Gateway, Live, Parts as GatewayParts, open_files};
use cutover_store::{Options, Store, StoreError, StoreEvent};
use cutover_telemetry::{Registry, events, families};
use cutover_units::Millis;
use cutover_upstream::{Tls, bound_open_connections};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::accelerators;
use crate::claim;
use crate::clock;
use crate::database::{self, Unwritten};
use crate::doorkeys;
use crate::doors::Places;
use crate::embedded::Engines;
use crate::exit::Failed;
use crate::files::{self, Source};
use crate::kept;
use crate::memory;
use crate::models::Watcher;
use crate::named;
use crate::observed::Observed;
use crate::operator::ADDRESS_FILE;
use crate::plans;
use crate::process::{Handle, Overruled, Parts, Process};
use crate::prompts;
use crate::questions::Questions;
use crate::rehearsal;
use crate::sockets::Sockets;
use crate::surroundings::{EngineChoice, Outside};
use crate::term::Term;

/// The file with the key of the units' hashes, in the state directory.
pub(crate) const UNIT_KEY_FILE: &str = "unit-key";

/// Time between two looks at what overflow has cost by the records.
const OTHERS_EVERY: Duration = Duration::from_secs(10);

/// Time between two looks for log lines that were left out.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What to serve.
pub(crate) struct Plan {
    pub(crate) source: Source,
    pub(crate) checked: Checked,
    pub(crate) overruled: Overruled,
    /// Whether to wait until another process has left the state directory and the addresses.
    pub(crate) waits: bool,
}

/// All that serves, ready to run.
pub(crate) struct Server {
    pub(crate) checked: Checked,
    pub(crate) source: Source,
    pub(crate) directory: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: SocketAddr,
    pub(crate) controller: Controller,
    pub(crate) host: Handle,
    pub(crate) gateway: Gateway,
    pub(crate) store: Store,
    pub(crate) rollouts: Rollouts,
    registry: Registry,
    unwritten: Unwritten,
    admin: Admin,
    sockets: Sockets,
    /// Held as long as the state directory is this process's.
    claim: Option<File>,
}

impl Server {
    /// Puts everything together and binds both listeners.
    pub(crate) async fn start(plan: Plan, term: &mut Term) -> Result<Self, Failed> {
        memory::note_program();
        let Plan { source, mut checked, overruled, waits } = plan;
        let directory = state_directory(&checked, &source)?;
        named::refuse(&checked, &source, term)?;
        rehearsal::refuse(&checked, &source, (waits, &directory)).await?;
        let claim = claim::claim(&directory, waits, term).await?;
        let listen = (checked.server.listen, checked.admin.listen);
        let sockets = Sockets::open(listen, waits, term).await?;
        let (address, admin_address) =
            (sockets.clients.local_addr()?, sockets.operators.local_addr()?);
        let (registry, unwritten) = (Registry::new(), Unwritten::default());
        let store = open_store(&checked, &directory, (&registry, &unwritten))?;
        // Meanwhile the store's thread opens the database: what is written anew waits for the disk, too.
        let places = Places { base: source.base.clone(), state: directory.clone() };
        let tokens = TokensInForce::new(places.read(&checked, &source)?);
        let unit_key = unit_key(&directory);
        let keys = doorkeys::read(&store, &checked, term).await;
        let book = prompts::load(&store, checked.needs_prompts()).await;
        prompts::fit_first(&mut checked, book.as_ref(), &source)?;
        let process = Arc::new(Process::new(Parts {
            source: source.clone(),
            overruled,
            checked: checked.clone(),
            engines: Engines::new(Watcher::new(term.colour)),
            registry: registry.clone(),
            keys,
            prompts: book,
            tokens: (places, tokens.clone()),
        }));
        let host = Handle(process.clone());
        let use_cases = use_cases(&checked, &source)?;
        let controller = control(use_cases.clone(), (&store, &directory), &host, &registry).await;
        let gateway = controller.adopt(use_cases, |weights| {
            let live = process.first(weights)?;
            let gateway =
                Gateway::new(gateway_parts(live, &checked, (&store, unit_key), &registry));
            process.set_gateway(gateway.clone());
            Ok(gateway)
        });
        let gateway = gateway.map_err(|error| source.unusable(&error))?;
        process.set_controller(controller.clone());
        restore(&store, (&gateway, &host)).await;
        // Before anybody is served, and for a moment at most; what is not found is in the log.
        gateway.find_names().await;
        let doors = Doors { listen: admin_address, tokens: tokens.clone() };
        let rollouts = rollouts(&process, &controller, &registry);
        process.set_rollouts(rollouts.clone());
        process.take_plans(&checked).map_err(|error| source.unusable(&error))?;
        rollouts.begin().await;
        let admin = Admin::new(doors, Arc::new(host.clone()), rollouts.clone());
        note_address(&directory, admin_address, term);
        events::Started { version: env!("CARGO_PKG_VERSION"), at: clock::now() }.emit(&registry);
        Ok(Self {
            checked,
            source,
            directory,
            address,
            admin_address,
            controller,
            host,
            gateway,
            store,
            rollouts,
            registry,
            unwritten,
            admin,
            sockets,
            claim,
        })
    }
}

/// Serves until `stop`, lets requests in flight end, and writes what waits.
pub(crate) async fn run(server: Server, stop: CancellationToken) {
    let Server { checked, host, gateway, admin, controller, store, rollouts, .. } = server;
    let Sockets { clients, operators, inherited } = server.sockets;
    let mut claim = server.claim;
    let draining = async {
        stop.cancelled().await;
        host.0.drain();
        if inherited {
            // The next process is there already: it may have the state while we end what we began.
            rollouts.close().await;
            drop(claim.take());
        }
    };
    // Operators and probes see the drain; their listener ends after it, unless the next process has it.
    let drained = CancellationToken::new();
    let clients = async {
        gateway.serve(clients, doors(&checked), stop.cancelled()).await;
        drained.cancel();
    };
    let leaves = if inherited { stop.clone() } else { drained.clone() };
    let operators = admin.serve(operators, leaves.cancelled());
    let watching = drained.run_until_cancelled(gateway.watch_instances());
    let counting = drained.run_until_cancelled(count_others_overflow(&store, &gateway));
    let giving = drained.run_until_cancelled(memory::give_back(&gateway));
    let telling = tell_left_out(&server.registry, drained.cancelled());
    let watched = (&host, &server.registry);
    let database = database::watch(&store, &server.unwritten, watched, drained.cancelled());
    let hardware = accelerators::watch(&checked.hardware, &server.registry, drained.cancelled());
    let looking = async { tokio::join!(watching, counting, giving, hardware) };
    tokio::join!(operators, clients, draining, telling, database, looking);
    if !inherited {
        rollouts.close().await;
    }
    controller.close().await;
    let stats = store.close().await;
    let lost = stats.dropped_full + stats.dropped_failed + stats.dropped_closed;
    tracing::info!(records_written = stats.written, records_lost = lost, "stopped");
}

/// Log lines that were left out are told also when none of their kind follows, and series of names that
/// have left the config go in the end.
async fn tell_left_out(registry: &Registry, until: impl Future<Output = ()>) {
    let telling = async {
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            registry.tell_left_out(clock::now());
            registry.sweep(clock::now());
        }
    };
    tokio::select! {
        () = until => registry.tell_left_out(clock::now()),
        () = telling => {}
    }
}

fn state_directory(checked: &Checked, source: &Source) -> Result<PathBuf, Failed> {
    let configured = checked.state.directory.as_deref();
    let directory = files::state_directory(None, configured, &source.base)?;
    files::make_private(&directory)?;
    Ok(directory)
}

fn open_store(
    checked: &Checked,
    directory: &Path,
    (registry, unwritten): (&Registry, &Unwritten),
) -> Result<Store, Failed> {
    let (observed, unwritten) = (registry.clone(), unwritten.clone());
    let options = Options::new(directory, clock::now).with_observer(move |event| {
        unwritten.note(&event);
        observe(event, &observed);
    });
    let millis = |age: Duration| Millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let options = Options {
        retain: Some(millis(checked.state.retention)),
        retain_responses: Some(millis(checked.state.responses_retention)),
        ..options
    };
    let store = Store::open(options).context("cannot start the store's thread")?;
    let (mirrored, stats) = (registry.clone(), store.clone());
    registry.on_scrape(move || mirror(&mirrored, &stats));
    Ok(store)
}

fn observe(event: StoreEvent, registry: &Registry) {
    let failed = |operation, error: &StoreError| {
        let (reason, at) = (error.word(), clock::now());
        events::StoreFailed { operation, reason, at }.emit(registry);
    };
    match event {
        StoreEvent::RecordsWait(error) => failed("write_records", &error),
        StoreEvent::SweepFailed(error) => failed("sweep", &error),
        StoreEvent::ResponsesWait(error) => failed("write_responses", &error),
        StoreEvent::ResponsesFlow => tracing::info!("stored responses are written again"),
        StoreEvent::RecordsFlow => tracing::info!("request records are written again"),
        StoreEvent::RecordsDropped { count, reason } => {
            events::RecordsDropped { count, reason: reason.as_str() }.emit(registry);
        }
    }
}

/// The store counts by itself; a scrape mirrors what it says.
fn mirror(registry: &Registry, store: &Store) {
    let stats = store.stats();
    registry.counter(families::RECORDS_WRITTEN, []).raise_to(stats.written);
    let queued = i64::try_from(stats.queued).unwrap_or(i64::MAX);
    registry.gauge(families::RECORDS_QUEUED, []).set(queued);
    let kept = store.responses().stats();
    registry.counter(families::RESPONSES_KEPT, []).raise_to(kept.written);
    registry.counter(families::RESPONSES_DROPPED, []).raise_to(kept.dropped);
    let waiting = i64::try_from(kept.waiting).unwrap_or(i64::MAX);
    registry.gauge(families::RESPONSES_WAITING, []).set(waiting);
}

fn use_cases(checked: &Checked, source: &Source) -> Result<Vec<Spec>, Failed> {
    let outside = Outside::new(&source.base, EngineChoice::Name);
    plans::use_cases(checked, &outside).map_err(|error| source.unusable(&error))
}

async fn control(
    use_cases: Vec<Spec>,
    (store, directory): (&Store, &Path),
    host: &Handle,
    registry: &Registry,
) -> Controller {
    let parts = ControllerParts {
        publisher: Box::new(host.clone()),
        state: State::new(store.clone(), directory, registry),
        clock: clock::shared(),
        registry: registry.clone(),
        deadlines: Deadlines::default(),
    };
    Controller::start(parts, use_cases).await
}

/// Rollouts, with nothing under way yet.
fn rollouts(process: &Arc<Process>, controller: &Controller, registry: &Registry) -> Rollouts {
    // Without TLS only `https` addresses of webhooks and scorers fail, each with its reason.
    let tls = Tls::new(&[]).inspect_err(|error| tracing::error!(%error, "no TLS")).ok();
    let outgoing = Outgoing::new(tls);
    let webhooks = Webhooks::new(outgoing.clone(), controller, registry.clone());
    Rollouts::new(RolloutParts {
        controller: controller.clone(),
        source: Arc::new(Observed(process.clone())),
        caller: Arc::new(Questions(process.clone())),
        outgoing,
        webhooks,
        registry: registry.clone(),
        read_spec: plans::spec_reader(&process.source().base),
    })
}

/// What held before a restart holds on.
async fn restore(store: &Store, (gateway, host): (&Gateway, &Handle)) {
    restore_overflow(store, gateway).await;
    take_drains(store, host).await;
}

/// The instances that are out of service. What cannot be read now is read later: until then all are in.
async fn take_drains(store: &Store, host: &Handle) {
    match store.drains().await {
        Ok(drains) => host.take_drains(drains),
        Err(error) => {
            tracing::warn!(%error, "it is not known yet which instances are out of service");
        }
    }
}

/// What overflow has cost today counts on. Where the state cannot be read nothing is restored: every
/// candidate has weight zero then, and without candidates there is no overflow.
async fn restore_overflow(store: &Store, gateway: &Gateway) {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    if !gateway.overflows() {
        return;
    }
    let now = clock::now();
    let today = Millis(now.0 - now.0 % DAY_MS);
    for (use_case, spent) in store.overflow_costs(today).await.unwrap_or_default() {
        gateway.restore_overflow_spent(&use_case, today, spent);
    }
}

/// Requests that a process which stops still answers cost money after this one has begun to count, and so do those of
/// others that write into the same records.
async fn count_others_overflow(store: &Store, gateway: &Gateway) {
    loop {
        tokio::time::sleep(OTHERS_EVERY).await;
        restore_overflow(store, gateway).await;
    }
}

fn gateway_parts(
    live: Live,
    checked: &Checked,
    (store, unit_key): (&Store, [u8; 16]),
    registry: &Registry,
) -> GatewayParts {
    let mut prefix = [0u8; 8];
    // Without randomness ids still differ from those of other moments.
    let prefix = match getrandom::fill(&mut prefix) {
        Ok(()) => u64::from_le_bytes(prefix),
        Err(_) => clock::now().0,
    };
    GatewayParts {
        live,
        clock: clock::shared(),
        records: checked.state.records.then(|| store.records()),
        feedback: Some(store.feedback()),
        answers: checked.state.responses.then(|| kept::shared(store)),
        registry: registry.clone(),
        id_prefix: prefix,
        unit_key,
    }
}

/// The installation's key for unit hashes: a unit has the same hash after a restart. A directory
/// that cannot be written must not stop traffic: hashes then hold for this run only.
fn unit_key(directory: &Path) -> [u8; 16] {
    let secret = match token::read_or_create(&directory.join(UNIT_KEY_FILE)) {
        Ok(secret) => secret,
        Err(error) => {
            tracing::error!(%error, "unit hashes in records hold for this run only");
            let mut random = [0u8; 16];
            // All zero if there is no randomness: hashes that can be guessed, in records only.
            let _ = getrandom::fill(&mut random);
            return random;
        }
    };
    let mut key = [0u8; 16];
    key.copy_from_slice(&Sha256::digest(secret.as_bytes())[..16]);
    key
}

/// As many clients and connections to upstreams as this process may open files for.
fn doors(checked: &Checked) -> ClientDoors {
    let server = &checked.server;
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let files = open_files(size(server.connections_max.into()));
    bound_open_connections(files.upstreams);
    ClientDoors {
        header_bytes_max: size(server.header_limit_bytes),
        header_count_max: size(server.header_count_max.into()),
        header_timeout: server.header_timeout,
        idle_timeout: server.idle_timeout,
        connections_max: files.clients,
        drain_timeout: server.drain_timeout,
    }
}

/// Where commands find this process. They have other ways, so a failure is a warning.
fn note_address(directory: &Path, address: SocketAddr, term: &mut Term) {
    let path = directory.join(ADDRESS_FILE);
    if let Err(error) = std::fs::write(&path, format!("{address}\n")) {
        term.warn(format_args!("cannot write {}: {error}", path.display()));
    }
}

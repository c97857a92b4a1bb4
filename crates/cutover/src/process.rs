//! The running process: how a config file comes into force.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cutover_config::{Checked, ClientKeys, Embedded};
use cutover_control::api::ConfigStatus;
use cutover_control::rollouts::{Plan, Rollouts, Webhook};
use cutover_control::{Controller, TokensInForce, Weights};
use cutover_gateway::build::{self, Materials};
use cutover_gateway::{Gateway, Live};
use cutover_prompts::Book;
use cutover_store::{KeyRing, Keys};
use cutover_telemetry::Registry;

use crate::doors::Places;
use crate::embedded::Engines;
use crate::files::Source;
use crate::instances::Drains;
use crate::plans;
use crate::prompts::{InForce, Refitted};
use crate::surroundings::{EngineChoice, Outside};
use crate::{clock, doorkeys, env, named, programs, watched, whereabouts};

mod host;

pub(crate) use host::{Handle, engine_status};

/// What flags say instead of the config file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overruled {
    /// `--listen`.
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// `--admin-listen`.
    pub(crate) admin_listen: Option<std::net::SocketAddr>,
    /// `--state-dir`.
    pub(crate) state_dir: Option<PathBuf>,
}

impl Overruled {
    pub(crate) fn apply(&self, checked: &mut Checked) {
        if let Some(listen) = self.listen {
            checked.server.listen = listen;
        }
        if let Some(listen) = self.admin_listen {
            checked.admin.listen = listen;
        }
        if let Some(directory) = &self.state_dir {
            checked.state.directory = Some(directory.clone());
        }
    }
}

/// The running process. It exists before the gateway does.
pub(crate) struct Process {
    source: Source,
    overruled: Overruled,
    engines: Engines,
    registry: Registry,
    gateway: OnceLock<Gateway>,
    controller: OnceLock<Controller>,
    rollouts: OnceLock<Rollouts>,
    /// The config the process was started with: settings that need a restart are compared with it.
    started_with: Checked,
    /// Whether that config's file said nothing, so that one that says nothing may come into force.
    started_empty: bool,
    /// Held by a reload from its reading on. Apart from `in_force`: whose file system does not answer stops nothing else.
    reloading: Mutex<()>,
    /// The config in force with its prompts. Held while either is exchanged.
    in_force: Mutex<InForce>,
    /// Whether prompts that it needs could not be read, and what is wrong with others.
    prompts: Mutex<Prompts>,
    /// None: they could not be read yet.
    ring: Mutex<Option<Ring>>,
    status: Mutex<ConfigStatus>,
    /// Files that the config in force names and that change while it stays.
    watched: Mutex<Vec<PathBuf>>,
    /// The instances that operators took out.
    drains: Mutex<Drains>,
    /// What is wrong with the database; none when all is well.
    database: Mutex<Option<String>>,
    draining: std::sync::atomic::AtomicBool,
    /// Where operators' tokens are, and those in force.
    tokens: (Places, TokensInForce),
}

/// The client keys, and what they were made from.
struct Ring {
    keys: Arc<KeyRing>,
    seen: Keys,
}

/// What stands between variants and their prompts.
#[derive(Default)]
struct Prompts {
    unread: bool,
    unfit: Vec<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a file that says nothing any more is refused.
const EMPTIED: &str = "it says nothing any more, as while it is being written: what is in force stays. \
                       To serve the built-in defaults, restart with it";

/// Whether a file holds no setting: it is empty, or all of it is comments.
fn says_nothing(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

/// A line for each use case that only the config before had.
fn gone<'c>(before: &'c Checked, now: &'c Checked) -> impl Iterator<Item = String> + use<'c> {
    let names = |checked: &'c Checked| checked.use_cases.iter().map(|use_case| &use_case.name);
    let gone = names(before).filter(move |old| names(now).all(|name| name != *old));
    gone.map(|name| {
        format!(
            "use_cases.{name} is gone from the file: what matched it goes to the default upstream, and \
             what names it or has its key is refused"
        )
    })
}

/// Whose tokens let nobody in any more.
fn tell_changed(owners: Vec<Option<String>>) {
    for owner in owners {
        let key = owner.map_or_else(
            || "admin.token".to_owned(),
            |name| format!("admin.operators.{name}.token"),
        );
        tracing::info!(key, "another token: the one before is refused from now on");
    }
}

/// Rollouts and webhooks of a config file, or the first thing that is wrong with them.
fn moves(
    checked: &Checked,
    outside: &Outside,
) -> Result<(Vec<Plan>, Vec<Webhook>), build::BuildError> {
    Ok((plans::plans(checked, outside)?, plans::webhooks(checked, outside)?))
}

/// What a process is made of.
pub(crate) struct Parts {
    pub(crate) source: Source,
    pub(crate) overruled: Overruled,
    pub(crate) checked: Checked,
    pub(crate) engines: Engines,
    pub(crate) registry: Registry,
    /// The client keys; none if they could not be read.
    pub(crate) keys: Option<Keys>,
    /// The prompts that `checked` is fitted to; none if they could not be read.
    pub(crate) prompts: Option<Book>,
    /// Where operators' tokens are, and those in force.
    pub(crate) tokens: (Places, TokensInForce),
}

impl Process {
    pub(crate) fn new(parts: Parts) -> Self {
        let started_empty = parts.source.read().is_ok_and(|text| says_nothing(&text));
        Self {
            watched: Mutex::new(watched::files(&parts.source, &parts.checked)),
            database: Mutex::default(),
            drains: Mutex::default(),
            source: parts.source,
            overruled: parts.overruled,
            engines: parts.engines,
            registry: parts.registry,
            gateway: OnceLock::new(),
            controller: OnceLock::new(),
            rollouts: OnceLock::new(),
            prompts: Mutex::new(Prompts {
                unread: parts.prompts.is_none() && parts.checked.needs_prompts(),
                unfit: Vec::new(),
            }),
            reloading: Mutex::default(),
            in_force: Mutex::new(InForce { checked: parts.checked.clone(), book: parts.prompts }),
            started_with: parts.checked,
            started_empty,
            ring: Mutex::new(parts.keys.map(Ring::new)),
            status: Mutex::default(),
            draining: std::sync::atomic::AtomicBool::new(false),
            tokens: parts.tokens,
        }
    }

    /// From now on weights go to this gateway. Once.
    pub(crate) fn set_gateway(&self, gateway: Gateway) {
        let _ = self.gateway.set(gateway);
    }

    /// From now on reloads go through this controller. Once.
    pub(crate) fn set_controller(&self, controller: Controller) {
        let _ = self.controller.set(controller);
    }

    /// From now on rollouts follow what reloads bring. Once.
    pub(crate) fn set_rollouts(&self, rollouts: Rollouts) {
        let _ = self.rollouts.set(rollouts);
    }

    /// The gateway, once there is one.
    pub(crate) fn gateway(&self) -> Option<&Gateway> {
        self.gateway.get()
    }

    /// What is wrong with the database, from now on.
    pub(crate) fn note_database(&self, problem: Option<String>) {
        *lock(&self.database) = problem;
    }

    /// From now on `/ready` says no.
    pub(crate) fn drain(&self) {
        self.draining.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Where the config comes from.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The embedded engines.
    pub(crate) fn engines(&self) -> &Engines {
        &self.engines
    }

    fn outside(&self) -> Outside {
        Outside::new(&self.source.base, EngineChoice::Load(Arc::new(self.engines.clone())))
    }

    /// Builds the first picture.
    pub(crate) fn first(&self, weights: &Weights) -> Result<Live, build::BuildError> {
        let outside = self.outside().with_weights(weights.clone());
        let live = self.build(&self.started_with, &outside, None)?;
        self.note_loaded(&live.config_digest);
        self.registry.open();
        self.open(&self.started_with);
        Ok(live)
    }

    fn build(
        &self,
        checked: &Checked,
        outside: &Outside,
        previous: Option<&Live>,
    ) -> Result<Live, build::BuildError> {
        let keys = match checked.server.keys {
            ClientKeys::Off => None,
            ClientKeys::Required => {
                let ring = lock(&self.ring).as_ref().map(|ring| ring.keys.clone());
                let open = previous.is_some_and(|live| live.keys.is_none());
                if ring.is_none() && open {
                    // Who is served now would be served no more.
                    let (key, why) =
                        ("server.keys", "the keys cannot be read from the state directory");
                    return Err(build::BuildError { key: key.to_owned(), why: why.to_owned() });
                }
                Some(ring.unwrap_or_else(|| Arc::new(KeyRing::unread())))
            }
        };
        build::live(&Materials {
            checked,
            surroundings: outside,
            keys,
            registry: &self.registry,
            previous,
            now: clock::now(),
        })
    }

    fn note_loaded(&self, digest: &str) {
        *lock(&self.status) = ConfigStatus {
            file: self.source.path.as_ref().map(|path| path.display().to_string()),
            digest: digest.to_owned(),
            loaded: clock::now(),
            refused: None,
        };
    }

    /// Takes what the first config says of rollouts and webhooks.
    pub(crate) fn take_plans(&self, checked: &Checked) -> Result<(), build::BuildError> {
        let moves = moves(checked, &self.outside())?;
        self.put_plans(checked, moves);
        Ok(())
    }

    fn put_plans(&self, checked: &Checked, (plans, webhooks): (Vec<Plan>, Vec<Webhook>)) {
        if let Some(rollouts) = self.rollouts.get() {
            rollouts.take_webhooks(webhooks);
            rollouts.take_plans_but(plans, plans::untold(checked));
        }
    }

    /// Reads the file and puts it into force, or says everything that is wrong with it.
    fn take_file(&self) -> Result<Vec<String>, Vec<String>> {
        let (Some(gateway), Some(controller)) = (self.gateway.get(), self.controller.get()) else {
            return Err(vec!["the process is still starting".to_owned()]);
        };
        let _turn = lock(&self.reloading);
        let text = self.source.read().map_err(|error| vec![format!("{error:#}")])?;
        if says_nothing(&text) && !self.started_empty {
            return Err(vec![format!("{}: {EMPTIED}", self.source.name())]);
        }
        let checked = cutover_config::check(&text, &self.source.name(), &|name| env::any(name));
        let mut checked = checked
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        self.overruled.apply(&mut checked);
        let mut in_force = lock(&self.in_force);
        let mut named = watched::files(&self.source, &in_force.checked);
        watched::add(&mut named, watched::files(&self.source, &checked));
        *lock(&self.watched) = named;
        let wrong = |error: build::BuildError| vec![self.source.locate(&text, &error)];
        in_force.fit(&mut checked).map_err(wrong)?;
        let (places, tokens) = &self.tokens;
        let (found, kept) = places.read_again(&checked, &tokens.now()).map_err(wrong)?;
        self.refuse_unusable((&in_force.checked, &checked), &wrong)?;
        let unfound = self.install((gateway, controller), &checked, &wrong)?;
        tell_changed(tokens.replace(found));
        self.forget(&checked);
        self.open(&checked);
        let mut warnings: Vec<_> = checked.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(unfound);
        let programs = programs::unfound(&checked, &self.source.base);
        warnings.extend(programs.iter().map(|problem| self.source.locate(&text, problem)));
        if let Some(ring) = lock(&self.ring).as_ref() {
            let unmatched = doorkeys::unmatched(&checked, &ring.seen);
            warnings.extend(unmatched.iter().map(|problem| self.source.locate(&text, problem)));
        }
        warnings.extend(kept);
        warnings.extend(self.needs_restart(&checked));
        let (own, named) = (&places.state, checked.state.directory.as_deref());
        let own_token = checked.admin.token.is_none();
        warnings.extend(whereabouts::leave_word(own, named, &self.source.base, own_token));
        warnings.extend(gone(&in_force.checked, &checked));
        let unread = in_force.book.is_none() && checked.needs_prompts();
        *lock(&self.prompts) = Prompts { unread, unfit: Vec::new() };
        in_force.checked = checked;
        Ok(warnings)
    }

    /// Refuses a config that names files that cannot be used. An engine that serves has its model.
    fn refuse_unusable(
        &self,
        (before, now): (&Checked, &Checked),
        wrong: &dyn Fn(build::BuildError) -> Vec<String>,
    ) -> Result<(), Vec<String>> {
        let serves = |engine: &Embedded| {
            before.upstreams.iter().any(|upstream| upstream.embedded.as_ref() == Some(engine))
        };
        let unusable = named::unusable(now, &self.outside()).into_iter();
        let refused = unusable.filter(|file| !file.engine.is_some_and(serves));
        let told: Vec<_> = refused.flat_map(|file| wrong(file.problem)).collect();
        if told.is_empty() { Ok(()) } else { Err(told) }
    }

    /// Puts a config into force, all of it or nothing. Tells which names have no address yet. Off the
    /// runtime's workers: names are waited for.
    fn install(
        &self,
        (gateway, controller): (&Gateway, &Controller),
        checked: &Checked,
        wrong: &dyn Fn(build::BuildError) -> Vec<String>,
    ) -> Result<Vec<String>, Vec<String>> {
        let outside = self.outside();
        let moves = moves(checked, &outside).map_err(wrong)?;
        let use_cases = plans::use_cases(checked, &outside).map_err(wrong)?;
        // Twice: the first time for all that takes long, the second time with the weights that are
        // in force then, while nobody can change them.
        let draft = self.build(checked, &outside, Some(&gateway.live())).map_err(wrong)?;
        let unfound = tokio::runtime::Handle::try_current()
            .map(|runtime| runtime.block_on(gateway.find_names_of(&draft)))
            .unwrap_or_default();
        controller.adopt(use_cases, |weights| {
            let outside = outside.with_weights(weights.clone());
            let live = self.build(checked, &outside, Some(&draft)).map_err(wrong)?;
            let digest = live.config_digest.clone();
            gateway.publish(live);
            self.note_loaded(&digest);
            Ok::<_, Vec<String>>(())
        })?;
        self.put_plans(checked, moves);
        *lock(&self.watched) = watched::files(&self.source, checked);
        Ok(unfound)
    }

    /// Puts other prompts into force, unless newer ones are.
    fn take_prompts(&self, book: Book) -> Result<Vec<String>, String> {
        let (Some(gateway), Some(controller)) = (self.gateway.get(), self.controller.get()) else {
            return Err("the process is still starting".to_owned());
        };
        let mut in_force = lock(&self.in_force);
        let Some(Refitted { checked, effects, unfit }) = in_force.with(&book)? else {
            return Ok(Vec::new());
        };
        if !effects.is_empty() {
            let wrong = |error: build::BuildError| vec![error.to_string()];
            let installed = self.install((gateway, controller), &checked, &wrong);
            installed.map_err(|problems| problems.join("; "))?;
            for effect in &effects {
                tracing::info!(effect = effect.as_str(), "prompts");
            }
        }
        for why in &unfit {
            tracing::error!(why, "a prompt cannot be used: chats of its variant get a 503");
        }
        *lock(&self.prompts) = Prompts { unread: false, unfit };
        *in_force = InForce { checked, book: Some(book) };
        Ok(effects)
    }

    /// Begins the counts of what this file names.
    fn open(&self, checked: &Checked) {
        let open = |label: &str, name: &str| self.registry.open_for(label, name);
        checked.use_cases.iter().for_each(|use_case| open("use_case", use_case.name.as_str()));
        checked.upstreams.iter().for_each(|upstream| open("upstream", upstream.name.as_str()));
        checked.webhooks.iter().for_each(|webhook| open("webhook", webhook.name.as_str()));
    }

    /// Lets go of what only the file before had.
    fn forget(&self, checked: &Checked) {
        let registry = &self.registry;
        registry
            .retain("use_case", |name| checked.use_cases.iter().any(|u| u.name.as_str() == name));
        registry
            .retain("upstream", |name| checked.upstreams.iter().any(|u| u.name.as_str() == name));
        let live = self.gateway.get().map(Gateway::live);
        registry.retain("variant", |name| {
            let variants = live.iter().flat_map(|live| live.snapshot.variants());
            variants.into_iter().any(|variant| variant.name.as_str() == name)
        });
        self.engines.retain(checked.upstreams.iter().filter_map(|u| u.embedded.as_ref()));
    }

    fn needs_restart(&self, now: &Checked) -> Vec<String> {
        let then = &self.started_with;
        let pairs = [
            ("server.listen", then.server.listen != now.server.listen),
            ("server.workers", then.server.workers != now.server.workers),
            ("server.drain_timeout", then.server.drain_timeout != now.server.drain_timeout),
            ("server.max_connections", then.server.connections_max != now.server.connections_max),
            (
                "server.header_limit",
                then.server.header_limit_bytes != now.server.header_limit_bytes,
            ),
            ("server.header_count", then.server.header_count_max != now.server.header_count_max),
            ("server.header_timeout", then.server.header_timeout != now.server.header_timeout),
            ("server.idle_timeout", then.server.idle_timeout != now.server.idle_timeout),
            ("admin.listen", then.admin.listen != now.admin.listen),
            ("state.records", then.state.records != now.state.records),
            ("state.responses", then.state.responses != now.state.responses),
            (
                "state.responses_retention",
                then.state.responses_retention != now.state.responses_retention,
            ),
            ("state.retention", then.state.retention != now.state.retention),
            ("hardware.watch", then.hardware.watch != now.hardware.watch),
            ("hardware.interval", then.hardware.interval != now.hardware.interval),
            ("log.level", then.log.level != now.log.level),
            ("log.format", then.log.format != now.log.format),
        ];
        let changed = pairs.into_iter().filter(|(_, differs)| *differs);
        changed
            .map(|(key, _)| format!("{key} has changed: it takes effect at the next start"))
            .collect()
    }
}

impl Ring {
    fn new(keys: Keys) -> Self {
        Self { seen: keys.clone(), keys: Arc::new(KeyRing::new(keys)) }
    }
}

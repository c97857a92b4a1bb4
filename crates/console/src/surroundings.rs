//! What lies outside the config file: secrets, files, the embedded engine, the weights in force.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cutover_config::{Embedded, SecretRef};
use cutover_control::{Traffic, Weights};
use cutover_gateway::build::Surroundings;
use cutover_units::{UseCaseName, WeightBp};
use cutover_upstream::{Body, InProcess};
use http::{Response, StatusCode};

use crate::env;
use crate::reading::{self, Unread};

/// The embedded engines of a process.
pub trait Engines: Send + Sync {
    /// The engine of these settings. The first call starts to load it.
    fn get(&self, settings: &Embedded) -> Arc<dyn InProcess>;
}

/// What is asked of the embedded engine.
#[derive(Clone)]
pub enum EngineChoice {
    /// Load it.
    Load(Arc<dyn Engines>),
    /// Only say that there is one.
    Name,
}

/// Stands for an engine that nobody will ask anything: for checks.
struct Unasked;

impl InProcess for Unasked {
    fn call(
        &self,
        _path: &str,
        _body: Vec<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        let mut response = Response::new(Body::whole(Bytes::new()));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Box::pin(std::future::ready(response))
    }
}

/// The real surroundings of one config file.
pub struct Outside {
    base: PathBuf,
    engines: EngineChoice,
    /// Whether a secret that is missing is made up: for a check on a machine that has none.
    lenient: bool,
    weights: Weights,
    /// What was read once is not read again: a picture may be built while a lock is held.
    files: Mutex<BTreeMap<PathBuf, Vec<u8>>>,
}

impl Outside {
    /// Of a file whose relative paths start here.
    pub fn new(base: &Path, engines: EngineChoice) -> Self {
        Self {
            base: base.to_owned(),
            engines,
            lenient: false,
            weights: Weights::new(),
            files: Mutex::default(),
        }
    }

    /// A secret that is missing is made up.
    pub fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    /// With the weights in force.
    pub fn with_weights(self, weights: Weights) -> Self {
        Self { weights, ..self }
    }

    /// Where a path of the file leads.
    pub fn place(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, Unread> {
        let path = self.place(path);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = files.get(&path) {
            return Ok(known.clone());
        }
        let content = reading::bytes(&path)?;
        files.insert(path, content.clone());
        Ok(content)
    }

    /// A file's text.
    pub fn text(&self, path: &Path) -> Result<String, Unread> {
        self.read(path).and_then(reading::text)
    }

    /// A secret, or why there is none and whether that is because it is not there or empty.
    pub fn look_up(&self, reference: &SecretRef) -> Result<String, (String, bool)> {
        match reference {
            SecretRef::Env { name, .. } => {
                env::any(name).ok_or_else(|| (format!("{reference} is not set"), true))
            }
            SecretRef::File { path, .. } => {
                let found = self.read(path).and_then(reading::secret);
                found.map_err(|why| (format!("{reference} {why}"), why.is_absence()))
            }
        }
    }
}

impl Surroundings for Outside {
    fn secret(&self, reference: &SecretRef) -> Result<Option<String>, String> {
        match self.look_up(reference) {
            Ok(secret) => Ok(Some(secret)),
            Err((_, true)) if reference.is_optional() => Ok(None),
            Err(_) if self.lenient => Ok(Some("not-looked-up".to_owned())),
            Err((why, _)) => Err(why),
        }
    }

    fn file(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.read(path).map_err(|why| format!("{} {why}", path.display()))
    }

    fn embedded(&self, settings: &Embedded) -> Result<Arc<dyn InProcess>, String> {
        match &self.engines {
            EngineChoice::Load(engines) => Ok(engines.get(settings)),
            EngineChoice::Name => Ok(Arc::new(Unasked)),
        }
    }

    fn weight(&self, use_case: &UseCaseName, initial: WeightBp) -> WeightBp {
        self.weights.get(use_case).map_or(initial, |traffic| traffic.weight)
    }

    fn traffic(&self, use_case: &UseCaseName, initial: WeightBp) -> Traffic {
        let unknown = Traffic { weight: initial, shadow: WeightBp::NONE };
        self.weights.get(use_case).copied().unwrap_or(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_or_named_by_where_they_should_be() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), " sk-secret \r\n").unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        let outside = Outside::new(folder.path(), EngineChoice::Name);
        let file = |name: &str, optional| SecretRef::File { path: name.into(), optional };
        assert_eq!(outside.secret(&file("key", false)), Ok(Some("sk-secret".to_owned())));
        assert_eq!(outside.secret(&file("none", true)), Ok(None));
        assert_eq!(
            outside.secret(&file("none", false)),
            Err("file none does not exist".to_owned())
        );
        assert_eq!(outside.secret(&file("empty", false)), Err("file empty is empty".to_owned()));
        let message = "file . is a directory";
        assert_eq!(outside.secret(&file(".", true)), Err(message.to_owned()));
        let name = "CUTOVER_TEST_NEVER_SET".to_owned();
        let unset = SecretRef::Env { name, optional: false };
        let message = "environment variable CUTOVER_TEST_NEVER_SET is not set";
        assert_eq!(outside.secret(&unset), Err(message.to_owned()));
        assert!(outside.lenient().secret(&unset).unwrap().is_some());
    }
}

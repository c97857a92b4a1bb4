//! The two places that outlive the process: the database and the overrides directory.

use std::path::{Path, PathBuf};

use cutover_store::overrides;
use cutover_store::{
    Override, Overrides, SetWeight, SetWeightError, Store, StoreError, UseCaseState, WeightSet,
};
use cutover_telemetry::{Registry, events};
use cutover_units::{Millis, UseCaseName};

/// Database and overrides of one data directory.
#[derive(Debug, Clone)]
pub struct State {
    store: Store,
    directory: PathBuf,
    registry: Registry,
}

impl State {
    /// The state in a data directory. The store may be one whose database cannot be opened.
    pub fn new(store: Store, directory: &Path, registry: &Registry) -> Self {
        Self { store, directory: directory.to_owned(), registry: registry.clone() }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) async fn load(&self, now: Millis) -> Result<Vec<UseCaseState>, StoreError> {
        self.note("load_states", now, self.store.load_states().await)
    }

    pub(crate) async fn commit(&self, change: SetWeight) -> Result<WeightSet, SetWeightError> {
        let now = change.now;
        let result = self.store.set_weight(change).await;
        if let Err(SetWeightError::Store(error)) = &result {
            self.tell("set_weight", error, now);
        }
        result
    }

    pub(crate) fn overrides(&self) -> Overrides {
        Overrides::load(&self.directory)
    }

    pub(crate) fn put_override(&self, name: &UseCaseName, held: &Override) -> std::io::Result<()> {
        overrides::put(&self.directory, name, held)
    }

    pub(crate) fn clear_override(&self, name: &UseCaseName) -> std::io::Result<bool> {
        overrides::clear(&self.directory, name)
    }

    fn note<T>(
        &self,
        operation: &'static str,
        now: Millis,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        result.inspect_err(|error| self.tell(operation, error, now))
    }

    fn tell(&self, operation: &'static str, error: &StoreError, at: Millis) {
        events::StoreFailed { operation, reason: error.word(), at }.emit(&self.registry);
    }
}

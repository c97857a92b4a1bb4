//! Whether the state database can be used while the process runs: removed, replaced, read-only and full
//! are told where an operator looks (status, `/ready`, a metric), and so is that it can be used again.
//!
//! That it can be read is tried; that it can be written shows when records are written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cutover_store::{Store, StoreEvent};
use cutover_telemetry::{Registry, families};

use crate::process::Handle;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why records cannot be written; none when they can.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unwritten(Arc<Mutex<Option<String>>>);

impl Unwritten {
    /// Takes what the store tells.
    pub(crate) fn note(&self, event: &StoreEvent) {
        let problem = match event {
            StoreEvent::RecordsWait(error) => Some(error.to_string()),
            StoreEvent::RecordsFlow => None,
            StoreEvent::RecordsDropped { .. }
            | StoreEvent::SweepFailed(_)
            | StoreEvent::ResponsesWait(_)
            | StoreEvent::ResponsesFlow => return,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks after the database until `until`.
pub(crate) async fn watch(
    store: &Store,
    unwritten: &Unwritten,
    (host, registry): (&Handle, &Registry),
    until: impl Future<Output = ()>,
) {
    let usable = registry.gauge(families::STATE_USABLE, []);
    let watching = async {
        loop {
            let unread = store.check().await.err().map(|error| error.to_string());
            let problem = unread.or_else(|| unwritten.why());
            usable.set(i64::from(problem.is_none()));
            host.0.note_database(problem);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = until => {}
        () = watching => {}
    }
}

//! Rollbacks that others wrote while this process runs, or before it did.

use cutover_store::Override;
use cutover_telemetry::events;
use cutover_units::UseCaseName;

use super::{Controller, lock};

impl Controller {
    /// Takes overrides that somebody else wrote: the CLI when it cannot reach this process, or a hand.
    /// Blocks for a small read.
    pub fn read_overrides(&self) {
        let new = self.take_overrides();
        if !new.is_empty() {
            self.put_into_force(&mut lock(&self.0.book));
            self.0.rolled_back.notify_waiters();
        }
    }

    pub(super) fn take_overrides(&self) -> Vec<(UseCaseName, Override)> {
        let _disk = lock(&self.0.disk);
        let found = self.0.parts.state.overrides();
        let new = lock(&self.0.book).take_overrides(&found);
        if found.holds_all() || !new.is_empty() {
            for unreadable in found.unreadable() {
                let path = unreadable.path.display().to_string();
                events::OverridesUnreadable { path: &path, why: &unreadable.why }.emit();
            }
        }
        for (name, held) in &new {
            if lock(&self.0.book).find(name.as_str()).is_err() {
                tracing::warn!(
                    override_of = name.as_str(),
                    "an override holds a use case that the config does not have: is its name right?"
                );
                continue;
            }
            let (use_case, actor) = (name.as_str(), held.actor.as_str());
            events::RolledBack { use_case, actor, reason: &held.reason, held: true }
                .emit(&self.0.parts.registry);
            lock(&self.0.pending).insert(name.clone());
        }
        new
    }
}

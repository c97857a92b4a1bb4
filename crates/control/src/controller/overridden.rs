//! Overrides: those that rollbacks write here, and those that others wrote while this process runs, or before it did.

use std::io;

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

    /// Writes the override. The write goes on after the deadline.
    pub(super) async fn keep_override(
        &self,
        name: &UseCaseName,
        held: &Override,
        warnings: &mut Vec<String>,
    ) -> bool {
        let (controller, name, held) = (self.clone(), name.clone(), held.clone());
        let writing = tokio::task::spawn_blocking(move || controller.write_override(&name, &held));
        match tokio::time::timeout(self.0.parts.deadlines.overrides, writing).await {
            Ok(Ok(Ok(()))) => return true,
            Ok(Ok(Err(error))) => warnings.push(format!("the override was not written: {error}")),
            Ok(Err(_)) => warnings.push("the override was not written".to_owned()),
            Err(_) => warnings.push("the override is still being written".to_owned()),
        }
        false
    }

    /// Writes an override, however long the disk takes. One that was lifted while this waited for the disk is
    /// not: it would come back as somebody else's.
    pub(super) fn write_override(&self, name: &UseCaseName, held: &Override) -> io::Result<()> {
        let _disk = lock(&self.0.disk);
        if lock(&self.0.book).overridden(name) != Some(held) {
            return Ok(());
        }
        self.0.parts.state.put_override(name, held)
    }

    /// Writes a rollback's override that could not be written when it took effect.
    pub(super) async fn keep_missing_override(&self, name: UseCaseName) {
        let controller = self.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let held = lock(&controller.0.book).overridden(&name).cloned();
            let Some(held) = held else { return };
            if controller.0.parts.state.overrides().weight(&name).is_none() {
                // Tried again; whoever rolled back was told why.
                let _ = controller.write_override(&name, &held);
            }
        });
        // It can only die with the process.
        let _ = writing.await;
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

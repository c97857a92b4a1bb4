//! A share in force is stored as its candidate's, so that the config file cannot hand it to another one.
//!
//! The book notes at once whose it is. Storing follows within moments, and never holds up a reload. A kill in
//! between, or before a database that cannot be written takes it, loses the note: then the next start goes by
//! what the file says, as at the first one.

use cutover_store::{Cause, SetWeight as Commit, SetWeightError, StoreError};
use tokio::runtime::Handle;

use super::{Controller, lock};
use crate::book::{Book, FILE_ACTOR, Unclaimed};

impl Controller {
    /// Stores the config file's share with its candidate, and lets the addresses that are known of a
    /// candidate follow the file. What cannot be stored now is tried again by [`Controller::tend`].
    pub async fn settle_owners(&self) {
        let unclaimed = lock(&self.0.book).unclaimed();
        for unclaimed in unclaimed {
            let _one_at_a_time = self.0.committing.lock().await;
            // Whoever was here before may have stored it, or something newer.
            if !lock(&self.0.book).is_open(&unclaimed) {
                continue;
            }
            let stored = if unclaimed.is_news {
                self.store_share(&unclaimed).await
            } else {
                self.store_owner(&unclaimed).await
            };
            if stored.is_err() {
                // Each of the others would wait as long.
                return;
            }
        }
    }

    /// The same in the background, if there is anything to store.
    pub(super) fn settle_soon(&self, book: &Book) {
        if book.unclaimed().is_empty() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let controller = self.clone();
            let settling = async move { controller.settle_owners().await };
            self.0.tasks.spawn_on(settling, &runtime);
        }
    }

    async fn store_owner(&self, unclaimed: &Unclaimed) -> Result<(), StoreError> {
        let (name, candidate) = (unclaimed.name.clone(), unclaimed.candidate.clone());
        let store = self.state().store();
        if store.note_candidate(name, unclaimed.generation, candidate).await? {
            lock(&self.0.book).note_stored(unclaimed, unclaimed.generation);
        }
        Ok(())
    }

    async fn store_share(&self, unclaimed: &Unclaimed) -> Result<(), StoreError> {
        let commit = Commit {
            use_case: unclaimed.name.clone(),
            expected: Some(unclaimed.generation),
            weight: unclaimed.weight,
            cause: Cause::Set,
            actor: FILE_ACTOR.to_owned(),
            reason: String::new(),
            now: self.now(),
            candidate: unclaimed.candidate.clone(),
        };
        match self.commit_noting(commit, |book, set| book.note_stored(unclaimed, set)).await {
            Ok(_) => Ok(()),
            // Another process that was faster has said something that is newer than the file.
            Err(SetWeightError::Conflict { current, .. }) => {
                let mut book = lock(&self.0.book);
                book.commit(*current);
                self.put_into_force(&mut book);
                Ok(())
            }
            Err(SetWeightError::Store(error)) => Err(error),
        }
    }
}

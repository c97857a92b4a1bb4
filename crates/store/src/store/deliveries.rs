//! The handle's methods for the outbox.

use cutover_units::Millis;

use super::Store;
use crate::deliveries::{Delivery, DeliveryCounts, Tried};
use crate::error::StoreError;

impl Store {
    /// At most `limit` decisions that wait for a webhook, what is due first first.
    pub async fn deliveries(
        &self,
        webhook: impl Into<String>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let webhook = webhook.into();
        self.call(move |backend| backend.deliveries(&webhook, limit)).await?
    }

    /// Notes what came of a try to tell a decision.
    pub async fn note_delivery(
        &self,
        seq: u64,
        tried: Tried,
        now: Millis,
    ) -> Result<(), StoreError> {
        self.call(move |backend| backend.note_delivery((seq, now), &tried)).await?
    }

    /// What has become of each webhook's messages, by its name.
    pub async fn delivery_counts(&self) -> Result<Vec<DeliveryCounts>, StoreError> {
        self.call(|backend| backend.delivery_counts()).await?
    }

    /// Forgets messages that ended before the first of two moments, and gives up those from before the
    /// second one whose webhook is not among the known. Tells how many were given up.
    pub async fn sweep_deliveries(
        &self,
        before: (Millis, Millis),
        known: Vec<String>,
        now: Millis,
    ) -> Result<u64, StoreError> {
        self.call(move |backend| backend.sweep_deliveries(before, (&known, now))).await?
    }
}

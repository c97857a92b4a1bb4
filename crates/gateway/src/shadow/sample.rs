//! A request that is to be copied, while its live answer is under way.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cutover_relay::Own;
use cutover_rollout::Served;
use cutover_route::VariantIx;
use cutover_units::{Millis, UseCaseName};
use cutover_wire::extract::Extract;
use cutover_wire::{Endpoint, Fault, Finish};

use super::{Captured, Copies, Settings};
use crate::live::Live;

/// Keeps the request and the answer's pieces as they pass: the same memory, counted, not copied. No
/// `Debug`: it holds prompt and answer.
pub(crate) struct Sample {
    copies: Arc<Copies>,
    candidate: VariantIx,
    settings: Settings,
    prompt: Bytes,
    pieces: Vec<Bytes>,
    bytes: usize,
}

/// A live request that has ended.
pub(crate) struct Seen {
    pub(crate) live: Arc<Live>,
    pub(crate) use_case: UseCaseName,
    pub(crate) local_only: bool,
    pub(crate) seed: u64,
    pub(crate) request_id: String,
    pub(crate) unit: u64,
    pub(crate) at: Millis,
    pub(crate) endpoint: Endpoint,
    pub(crate) stream: bool,
    /// See [`cutover_wire::Head::stream_options_are_ours`].
    pub(crate) stream_options_are_ours: bool,
    pub(crate) finish: Option<Finish>,
    pub(crate) fault: Option<&'static str>,
    /// What a strict variant says to the request, where its dialect holds what cannot be carried.
    pub(crate) refusal: Option<Fault>,
    /// What every variant says to it, but for one whose upstream speaks the client's dialect.
    pub(crate) never: Option<Fault>,
    /// The request in its client's own words, which the candidate gets if it speaks the same.
    pub(crate) own: Option<Own>,
    /// What its metadata said in the client's own words.
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) served: Served,
}

/// A copy that waits for its turn. No `Debug`: it holds prompt and answer.
pub(crate) struct Job {
    pub(super) seen: Seen,
    pub(super) candidate: VariantIx,
    pub(super) settings: Settings,
    pub(super) prompt: Bytes,
    pieces: Vec<Bytes>,
}

impl Sample {
    pub(crate) fn new(
        copies: Arc<Copies>,
        candidate: VariantIx,
        settings: Settings,
        prompt: Bytes,
    ) -> Self {
        Self { copies, candidate, settings, prompt, pieces: Vec::new(), bytes: 0 }
    }

    /// Keeps a piece of the live answer, unless there are too many already.
    pub(crate) fn keep(&mut self, piece: &Bytes) {
        self.bytes = self.bytes.saturating_add(piece.len());
        if self.is_too_large() {
            self.pieces = Vec::new();
        } else {
            self.pieces.push(piece.clone());
        }
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.bytes > self.settings.capture_bytes_max
    }

    /// Who gets the copy.
    pub(crate) fn candidate(&self) -> VariantIx {
        self.candidate
    }

    pub(crate) fn copies(&self) -> &Arc<Copies> {
        &self.copies
    }

    /// Its bodies lie apart from now on: what live bodies may hold together, those hold alone.
    pub(crate) fn into_job(self, mut seen: Seen) -> (Arc<Copies>, Job) {
        let Self { copies, candidate, settings, prompt, pieces, .. } = self;
        let prompt = Bytes::copy_from_slice(&prompt);
        if let Some(own) = &mut seen.own {
            own.body = Bytes::copy_from_slice(&own.body);
        }
        (copies, Job { seen, candidate, settings, prompt, pieces })
    }
}

impl Job {
    /// What the client got.
    pub(super) fn baseline(&self) -> Captured {
        let said = match self.pieces.first() {
            None => Extract::default(),
            Some(_) if self.seen.stream => Extract::of_stream(&self.pieces),
            Some(whole) => Extract::of_json(whole),
        };
        Captured {
            text: said.text,
            tool_calls: said.tool_calls,
            finish: self.seen.finish.or(said.finish),
            fault: self.seen.fault,
            served: self.seen.served,
        }
    }
}

//! One request's facts, from its head to its record.
//!
//! An [`Exchange`] is made when a request has been decided and dropped when it has ended, whatever the
//! end was: its drop counts the request and hands the record to the writer. So nothing is forgotten
//! when a client goes away in the middle.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use bytes::Bytes;
use cutover_rollout::{Exposure, Served};
use cutover_route::overflow::Why;
use cutover_route::{Assignment, Leg, Legs, UseCaseIx};
use cutover_store::Record;
use cutover_telemetry::{Dropped, Finished, InFlight, NONE, Outcome, events};
use cutover_units::{Arm, Code, Micros, Millis, NanoUsd, UpstreamName, UseCaseName, WeightBp};
use cutover_wire::{Endpoint, Fault, Finish, Head, Loss, LossAction, Mint, Usage};
use http::HeaderMap;
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::admission::Admission;
use crate::attempt::{Uncounted, hedge};
use crate::continuation::Part;
use crate::foreign::Foreign;
use crate::gateway::Shared;
use crate::live::{InstanceLane, Lane, Live, UpstreamLane};
use crate::prices::{self, counted};
use crate::rescue::{self, Words};
use crate::shadow::{Sample, Seen};
use crate::{context_guard, overflow};
use cutover_dialects::{Sent, Shown};
use cutover_route::ids::RequestId;
use cutover_telemetry::marks::{Mark, Marks};

/// What was decided about a request, owned.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) use_case: Option<UseCaseIx>,
    pub(crate) arm: Arm,
    pub(crate) assignment: Assignment,
    pub(crate) bucket: Option<u16>,
    pub(crate) unit_hash: u64,
    /// Whether the client named a unit, which other requests have too.
    pub(crate) unit_is_known: bool,
    /// Whether local upstreams alone may see it.
    pub(crate) local_only: bool,
    pub(crate) legs: Legs,
}

/// A leg and instance that was tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    pub(crate) leg: Leg,
    pub(crate) instance: usize,
    pub(crate) asked_at: Millis,
}

/// What happened on the way.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// Requests sent to an instance, without [`Self::hedge`].
    pub(crate) attempts: u32,
    /// While a second attempt runs beside the first, which borrows the rest of this, its instance and one more.
    pub(crate) hedge: AtomicU32,
    /// The last one tried: the one that answered, if any did.
    pub(crate) tried: Option<Tried>,
    /// What is not counted of the last one.
    pub(crate) uncounted: Uncounted,
    /// Why the last attempt failed, until another takes over.
    pub(crate) failed: Option<&'static str>,
    /// Whether the upstream was sent the client's own words, in a dialect that both speak.
    pub(crate) own: bool,
    /// What the client sees of a stream, if its dialect is another than OpenAI's.
    pub(crate) shown: Option<Shown>,
    /// Fields that could not be passed on.
    pub(crate) losses: Vec<Loss>,
    /// Time spent waiting for others: for upstreams, and for the client to send its body.
    pub(crate) waited_us: u64,
    /// When the attempt under way began: a client may go in the middle of it.
    pub(crate) asking_since: Option<Instant>,
    /// From head to first content.
    pub(crate) first_token: Option<Micros>,
    /// Solid bytes of the prompt as it was sent; 0: not counted.
    pub(crate) prompt_bytes: u64,
    /// A bit for each instance of the leg's whose context does not hold the prompt.
    pub(crate) too_small: u64,
    /// What is out of the ordinary.
    pub(crate) marks: Marks,
    /// What came of the answer before it broke off and was continued.
    pub(crate) before: Option<Part>,
    /// What the answer said it took.
    pub(crate) usage: Option<Usage>,
    /// Why the answer ended.
    pub(crate) finish: Option<Finish>,
    /// Content events sent.
    pub(crate) chunks: u64,
    /// Whether an upstream saw it that may not: never, unless the router is wrong.
    pub(crate) leaked: bool,
    /// The upstreams that were sent it.
    pub(crate) seen: SmallVec<[UpstreamName; 2]>,
    /// The upstream that gets a copy.
    pub(crate) copy_for: Option<UpstreamName>,
    /// The error the client saw.
    pub(crate) code: Option<Code>,
    /// Whether content had been sent when the stream broke off.
    pub(crate) interrupted: bool,
    /// Whether the answer, or its error, was handed over whole.
    pub(crate) answered: bool,
    /// The HTTP status the client saw.
    pub(crate) status: u16,
}

/// One request. No `Debug`: it holds the client's key and the prompt.
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) live: Arc<Live>,
    pub(crate) id: RequestId,
    pub(crate) id_text: String,
    /// How it came to its upstream.
    pub(crate) admission: Admission,
    pub(crate) endpoint: Endpoint,
    pub(crate) head: Head,
    /// What the head was read from. It has every setting; the conversation stands in [`Self::chat`] alone.
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
    /// What else there is if the client speaks another dialect; None: OpenAI's.
    pub(crate) foreign: Option<Box<Foreign>>,
    pub(crate) chosen: Chosen,
    /// What is kept of it for a copy, if there shall be one.
    pub(crate) sample: Option<Box<Sample>>,
    pub(crate) key_name: Option<Arc<str>>,
    pub(crate) started: Instant,
    pub(crate) started_at: Millis,
    pub(crate) trail: Trail,
    pub(crate) _in_flight: InFlight,
}

impl Exchange {
    /// Time since the request's head.
    pub(crate) fn elapsed(&self) -> Micros {
        micros(self.started.elapsed())
    }

    /// Ids and names for the client.
    pub(crate) fn mint(&self) -> Mint {
        Mint {
            id: self.id.with_prefix(self.endpoint.id_prefix()),
            model: Arc::clone(&self.head.model),
            created: self.started_at.0 / 1_000,
        }
    }

    /// The client's own words for an error, if its dialect is another than OpenAI's.
    pub(crate) fn words(&self) -> Words<'_> {
        self.foreign.as_ref().map(|foreign| (foreign.dialect, &*self.id_text))
    }

    /// The request as a chat: what it was decided by, unless that was an outline.
    pub(crate) fn chat(&self) -> Result<(&Head, &Bytes), Fault> {
        let late = self.foreign.as_ref().map(|foreign| foreign.chat.main()).transpose()?;
        let late = late.flatten().map(|form| (&form.head, &form.body));
        Ok(late.unwrap_or((&self.head, &self.body)))
    }

    /// The client's endpoint, as records and the log name it.
    fn endpoint_name(&self) -> &'static str {
        self.foreign.as_ref().map_or(self.endpoint.as_str(), |foreign| foreign.dialect.name)
    }

    /// A piece of the answer passes.
    pub(crate) fn keep(&mut self, piece: &Bytes) {
        if let Some(sample) = &mut self.sample {
            sample.keep(piece);
        }
    }

    /// The lane that answered, or was tried last.
    pub(crate) fn lane(&self) -> Option<(&Lane, &InstanceLane, Arm)> {
        let tried = self.trail.tried?;
        let lane = self.live.lane(tried.leg.variant)?;
        Some((lane, lane.upstream.instances.get(tried.instance)?, tried.leg.arm))
    }

    /// What was sent to the one that answered.
    pub(crate) fn sent(&self) -> Option<Sent<'_>> {
        let target = &self.live.lane(self.trail.tried?.leg.variant)?.target;
        Some(Sent::to(target, &self.trail.losses))
    }

    /// The upstream seems to have cut the prompt and answered all the same: reported like any loss.
    pub(crate) fn note_truncated_prompt(&mut self) {
        self.trail.losses.push(Loss {
            field: self.endpoint.prompt_field().to_owned(),
            action: LossAction::Truncated,
            why: "the upstream counted far fewer tokens than the prompt has",
        });
    }

    /// Whether its stream broke off and went on elsewhere.
    fn is_continued(&self) -> bool {
        self.trail.marks.has(Mark::Continued)
    }

    /// It is sent to an upstream's instance: the upstream sees it from now on.
    pub(crate) fn show(&mut self, upstream: &UpstreamLane, instance: &InstanceLane) {
        self.trail.leaked |= self.chosen.local_only && !upstream.local;
        if !self.trail.seen.contains(&upstream.name) {
            self.trail.seen.push(upstream.name.clone());
        }
        self.admission.sent_to(upstream, instance);
    }

    /// Whether another arm than the assigned one answered because that one failed.
    pub(crate) fn failed_over(&self) -> bool {
        self.admission.overflow.is_none() && self.another_arm_answered()
    }

    /// Whether another arm than the assigned one answered.
    pub(crate) fn another_arm_answered(&self) -> bool {
        self.trail.tried.is_some_and(|tried| tried.leg.arm != self.chosen.arm)
    }

    /// Who answered, for events.
    pub(crate) fn served(&self) -> events::Served<'_> {
        let use_case = self.chosen.use_case.and_then(|at| self.live.snapshot.use_case(at));
        let lane = self.lane();
        events::Served {
            request_id: &self.id_text,
            use_case: use_case.map_or(NONE, |u| u.name.as_str()),
            arm: lane.map_or(self.chosen.arm, |(_, _, arm)| arm),
            variant: lane.and_then(|(l, _, _)| l.variant.to_str().ok()).unwrap_or(NONE),
            upstream: lane.map_or(NONE, |(l, _, _)| l.upstream.name.as_str()),
            instance: lane.and_then(|(_, i, _)| i.header.to_str().ok()).unwrap_or(NONE),
        }
    }

    fn outcome(&self) -> Outcome {
        let trail = &self.trail;
        match trail.code {
            Some(Code::ShuttingDown) => Outcome::Drained,
            _ if !trail.answered => Outcome::ClientGone,
            _ if trail.interrupted => Outcome::Interrupted,
            None => Outcome::Ok,
            Some(code) => rescue::outcome(code),
        }
    }

    /// Counts, logs and records.
    fn finish(&mut self) {
        hedge::abandoned(self);
        self.waits_no_more();
        self.count_last(None);
        context_guard::learn(self);
        let total = self.elapsed();
        if !self.trail.answered && self.trail.code.is_none() && self.shared.is_cut() {
            let row = Code::ShuttingDown.row();
            self.trail.code = Some(row.code);
            if self.trail.status == 0 {
                self.trail.status = row.status;
            }
        }
        let outcome = self.outcome();
        let (tokens, part) = self.last_part();
        let cost = self.cost_with(part);
        let booked = overflow::settle(self, part);
        let arm = self.trail.tried.map_or(self.chosen.arm, |tried| tried.leg.arm);
        self.live.metrics(self.chosen.use_case, arm).finish(&Finished {
            outcome,
            total,
            first_token: self.trail.first_token,
            tokens: tokens.map(counted),
            cost: part.map(|c| c.amount),
            stream_chunks: self.trail.chunks,
        });
        if let Some(before) = self.first_part() {
            let metrics = self.live.metrics(self.chosen.use_case, before.arm);
            metrics.took(counted(prices::tokens(&before.usage)), before.cost.map(|c| c.amount));
        }
        if let Some(since) = self.trail.asking_since {
            self.trail.waited_us += micros(since.elapsed()).0;
            self.mark_part_of_cost();
        }
        let overhead = Micros(total.0.saturating_sub(self.trail.waited_us));
        self.shared.overhead(self.endpoint).observe(overhead);
        self.emit(outcome, total);
        // A part of what it cost is no evidence of what such requests cost.
        let whole = cost.filter(|_| !self.trail.marks.has(Mark::CostPartial));
        self.tell(outcome, total, whole.map(|c| c.amount));
        if let Some(records) = &self.shared.records {
            let record = self.record(outcome, (total, overhead), (cost, booked));
            records.try_push(record);
        }
    }

    /// The candidate's share when the arm was assigned, where a rollout looks at it.
    fn watched_share(&self) -> Option<WeightBp> {
        let at = self.chosen.use_case?;
        let watched = self.live.use_case(at)?.feed.is_watched();
        watched.then_some(self.live.snapshot.use_case(at)?.weight)
    }

    /// Tells the controller, and hands a sampled request over to be copied.
    fn tell(&mut self, outcome: Outcome, total: Micros, cost: Option<NanoUsd>) {
        let Some(at) = self.chosen.use_case else { return };
        let sample = self.sample.take();
        if sample.is_none() && !self.live.use_case(at).is_some_and(|lane| lane.feed.is_watched()) {
            return;
        }
        let live = Arc::clone(&self.live);
        let (Some(use_case), Some(lane)) = (live.snapshot.use_case(at), live.use_case(at)) else {
            return;
        };
        // A refusal is the client's mistake if the other arm, which was asked then, refuses as well. Where
        // nobody else is asked it is the arm's: chance gives both arms as many clients' mistakes.
        let alone = !use_case.failover || self.chosen.local_only;
        // What the drain cut off tells as little of the arm as what its client cut off.
        let client_ended = match outcome {
            Outcome::ClientError => !alone,
            outcome => matches!(outcome, Outcome::ClientGone | Outcome::Drained),
        };
        let completion = self.trail.usage.map(|usage| usage.completion_tokens);
        let served = Served {
            // An answer that another had to finish is none of its arm's.
            failed: (outcome != Outcome::Ok && !client_ended) || self.is_continued(),
            invalid: None,
            total_ms: rescue::ms(total.0 / 1_000),
            first_token_ms: self.trail.first_token.map(|it| rescue::ms(it.0 / 1_000)),
            completion_tokens: completion.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            cost,
        };
        lane.feed.push(Exposure {
            at: self.started_at,
            unit: self.chosen.unit_hash,
            bucket: self.chosen.bucket.unwrap_or(0),
            arm: self.chosen.arm,
            share: use_case.weight,
            random: self.chosen.assignment.is_random(),
            client_ended,
            fell_back: self.failed_over() || self.is_continued(),
            leaked: self.trail.leaked,
            excluded: self.admission.overflow.is_some(),
            served,
        });
        let Some(sample) = sample else { return };
        match outcome {
            _ if self.is_continued() => sample.copies().dropped(Dropped::Continued),
            Outcome::ClientGone | Outcome::Drained => {
                sample.copies().dropped(Dropped::ClientGone);
            }
            Outcome::ClientError => sample.copies().dropped(Dropped::ClientError),
            _ => {
                let copy_for = live.lane(sample.candidate()).map(|lane| &lane.upstream.name);
                self.trail.copy_for = copy_for.cloned();
                let seen = self.seen(served, use_case.name.clone());
                sample.ended(seen, &self.shared);
            }
        }
    }

    fn seen(&mut self, served: Served, use_case: UseCaseName) -> Seen {
        Seen {
            live: Arc::clone(&self.live),
            use_case,
            local_only: self.chosen.local_only,
            seed: self.id.seed(),
            request_id: self.id_text.clone(),
            unit: self.chosen.unit_hash,
            at: self.started_at,
            endpoint: self.endpoint,
            stream: self.head.stream,
            stream_options_are_ours: self.head.stream_options_are_ours,
            finish: self.trail.finish,
            fault: self.trail.code.map(Code::name),
            refusal: self.foreign.as_ref().and_then(|foreign| foreign.chat.refusal().cloned()),
            never: self.foreign.as_ref().and_then(|foreign| foreign.chat.never().cloned()),
            own: self.foreign.as_ref().and_then(|foreign| foreign.own.clone()),
            metadata: self.own_metadata().cloned().unwrap_or_default(),
            served,
        }
    }

    fn emit(&self, outcome: Outcome, total: Micros) {
        let limits = &self.live.limits;
        let slow = u128::from(total.0) > limits.slow.as_micros();
        let usual = outcome == Outcome::Ok && self.trail.losses.is_empty();
        if usual && !slow && !limits.access_log {
            return;
        }
        let (registry, at) = (&self.shared.registry, self.shared.now());
        for loss in &self.trail.losses {
            let (field, action) = (loss.label(), loss.action.as_str());
            events::LossReported { served: self.served(), field, action, at }.emit(registry);
        }
        if let Some(code) = self.trail.code {
            let attempts = self.attempts();
            let status = Some(self.trail.status).filter(|_| self.trail.interrupted);
            events::RequestFailed { served: self.served(), code, status, attempts, total, at }
                .emit(registry);
        }
        if outcome == Outcome::ClientGone {
            events::ClientGone { served: self.served(), total }.emit();
        }
        if slow {
            let first_token = self.trail.first_token;
            let (served, limit) = (self.served(), micros(limits.slow));
            events::SlowRequest { served, total, first_token, limit, at }.emit(registry);
        }
        if limits.access_log {
            let served = self.served();
            tracing::info!(
                request_id = served.request_id,
                endpoint = self.endpoint_name(),
                use_case = served.use_case,
                arm = served.arm.as_str(),
                variant = served.variant,
                instance = served.instance,
                status = self.trail.status,
                outcome = outcome.as_str(),
                total_us = total.0,
                "request"
            );
        }
    }

    fn record(
        &self,
        outcome: Outcome,
        (total, overhead): (Micros, Micros),
        (cost, booked): (Option<cutover_ledger::Cost>, Option<NanoUsd>),
    ) -> Record {
        let trail = &self.trail;
        let lane = self.lane();
        let use_case = self.chosen.use_case.and_then(|at| self.live.snapshot.use_case(at));
        let variant = trail
            .tried
            .and_then(|tried| self.live.snapshot.variants().get(usize::from(tried.leg.variant.0)));
        let usage = trail.usage;
        Record {
            request_id: self.id_text.clone(),
            at: self.started_at,
            use_case: use_case.map(|u| u.name.clone()),
            arm: self.chosen.arm,
            answered_arm: trail.tried.map(|tried| tried.leg.arm),
            variant: variant.map(|v| v.name.clone()),
            prompt: lane
                .and_then(|(l, _, _)| l.prompt_at(self.endpoint))
                .map(|prompt| Arc::clone(&prompt.reference)),
            upstream: lane.map(|(l, _, _)| l.upstream.name.clone()),
            instance: lane.map(|(_, i, _)| i.id.clone()),
            endpoint: self.endpoint_name(),
            stream: self.head.stream,
            assignment: self.chosen.assignment.as_str(),
            share: self.watched_share(),
            bucket: self.chosen.bucket,
            unit_hash: self.chosen.unit_hash,
            outcome: outcome.as_str(),
            status: trail.status,
            code: trail.code.map(Code::name),
            first_token: trail.first_token,
            total,
            overhead,
            prompt_tokens: usage.map(|u| u.prompt_tokens),
            completion_tokens: usage.map(|u| u.completion_tokens),
            cached_tokens: usage.and_then(|u| u.cached_tokens),
            usage_estimated: usage.is_some_and(|u| u.estimated),
            cost: cost.map(|c| c.amount),
            price_source: cost.map(|c| c.source),
            finish_reason: trail.finish.map(Finish::as_str),
            attempts: self.attempts(),
            failed_over: self.failed_over(),
            losses: trail.losses.iter().map(|loss| loss.field.clone()).collect(),
            marks: trail.marks.words(),
            seen_by: trail.seen.to_vec(),
            copy_for: trail.copy_for.clone(),
            overflow: self.admission.overflow.map(Why::as_str),
            overflow_cost: booked,
            queued: self.admission.waited(),
            passed_bytes: None,
            key_name: self.key_name.clone(),
            sdk_retry: crate::answer::sdk_retry(&self.headers),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A duration in whole microseconds.
pub(crate) fn micros(duration: Duration) -> Micros {
    Micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

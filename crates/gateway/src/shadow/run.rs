//! Workers that ask the candidate, one copy at a time each, and end when none waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cutover_images::Bound;
use cutover_ledger::Tokens;
use cutover_relay::{Intake, Own};
use cutover_rollout::Served;
use cutover_route::balance::{Draw, Seat as Place};
use cutover_telemetry::{Dropped, Registry};
use cutover_units::{Millis, NanoUsd, WeightBp};
use cutover_upstream::{Body, Deadlines, Outbound, SendError, Sending, Turn, is_stream};
use cutover_wire::adapt::Outgoing;
use cutover_wire::extract::{Extract, StreamExtractor};
use cutover_wire::reply::Received;
use cutover_wire::stream::Limits as TapLimits;
use cutover_wire::{Finish, Head, Mint, Target, Unsupported, Usage};
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::copies::Seat;
use super::sample::{Job, Sample, Seen};
use super::{Captured, Copies, Settings, ShadowPair};
use crate::attempt::{collect, cut_off};
use crate::flow::END_WITHIN;
use crate::gateway::Shared;
use crate::live::{InstanceLane, Lane};
use crate::prices::tokens;
use crate::rescue::Failure;

/// How often a copy that waits looks whether there is room: a copy has time, and looking costs a few
/// loads of atomics.
const LOOK: Duration = Duration::from_millis(20);

/// What an answer is taken to have when neither arm tells: enough for most, so that a budget is kept
/// rather than overdrawn.
const COMPLETION_TOKENS: u64 = 1_000;

/// Bytes of text per token, roughly.
const BYTES_PER_TOKEN: u64 = 4;

impl Sample {
    /// The live answer has ended: the copy takes its place in the line.
    pub(crate) fn ended(self, seen: Seen, shared: &Arc<Shared>) {
        let Ok(runtime) = Handle::try_current() else {
            return self.copies().dropped(Dropped::Shutdown);
        };
        if shared.ending.is_near() {
            return self.copies().dropped(Dropped::Shutdown);
        }
        if self.is_too_large() {
            return self.copies().dropped(Dropped::TooLarge);
        }
        let (copies, job) = self.into_job(seen);
        if copies.offer(job) {
            let seat = Seat::take(copies);
            shared.tasks.spawn_on(work(Arc::clone(shared), seat), &runtime);
        }
    }
}

async fn work(shared: Arc<Shared>, mut seat: Seat) {
    while let Some(job) = seat.next() {
        let copies = Arc::clone(seat.copies());
        let ended = tokio::select! {
            ended = Box::pin(one(&shared, &copies, job)) => ended,
            () = shared.ending.cut.cancelled() => Err(Dropped::Shutdown),
        };
        match ended {
            Ok(pair) => copies.paired(pair),
            Err(why) => copies.dropped(why),
        }
    }
}

async fn one(shared: &Shared, copies: &Copies, job: Job) -> Result<ShadowPair, Dropped> {
    let live = Arc::clone(&job.seen.live);
    let lane = live.lane(job.candidate).ok_or(Dropped::Stopped)?;
    if job.seen.local_only && !lane.upstream.local {
        return Err(Dropped::Residency);
    }
    // It was read before: this cannot fail.
    let mut head = Head::read(job.seen.endpoint, &job.prompt).map_err(|_| Dropped::ClientError)?;
    head.stream_options_are_ours = job.seen.stream_options_are_ours;
    let (instance, place) = room(shared, &job, lane).await?;
    let (most, _) = lane.target.most_tokens(&head, job.prompt.len());
    let bill = Bill { copies, lane, head: &head, most, reserved: None };
    let bill = bill.open(shared.now(), &job)?;
    let registry = &shared.registry;
    let asking = Asking { job: &job, lane, instance, head: &head, registry, began: Instant::now() };
    let reading = lane.reads_in(instance, "");
    let answered = asking.ask(place).await;
    if let Some(reading) = reading.filter(|_| answered.is_ok()) {
        reading.done();
    }
    let cost = bill.close(shared.now(), &answered);
    let candidate = captured(answered, cost);
    let baseline = job.baseline();
    let Job { seen, prompt, .. } = job;
    Ok(ShadowPair {
        request_id: seen.request_id,
        use_case: seen.use_case,
        unit: seen.unit,
        at: seen.at,
        endpoint: seen.endpoint,
        prompt,
        baseline,
        candidate,
    })
}

/// Waits until live traffic leaves room at one of the candidate's instances.
async fn room<'a>(
    shared: &Shared,
    job: &Job,
    lane: &'a Lane,
) -> Result<(&'a InstanceLane, Place), Dropped> {
    let by = Instant::now() + job.settings.timeout;
    let turn = lane.upstream.turn.fetch_add(1, Ordering::Relaxed);
    loop {
        if shared.ending.is_near() {
            return Err(Dropped::Shutdown);
        }
        if !still_wanted(shared, job) {
            return Err(Dropped::Stopped);
        }
        let now = shared.now();
        let instances = &lane.upstream.instances;
        let busy = instances.iter().enumerate().take(64);
        let busy = busy.filter(|(_, instance)| !has_room(instance, &job.settings));
        let busy = busy.fold(0u64, |busy, (at, _)| busy | 1 << at);
        let draw = Draw { tried: busy, seed: job.seen.seed, turn, ..Draw::default() };
        if let Some(taken) = lane.take("", &draw, now)
            && let Some(instance) = instances.get(taken.at)
        {
            return Ok((instance, taken.seat));
        }
        if Instant::now() >= by {
            return Err(Dropped::Busy);
        }
        sleep(LOOK).await;
    }
}

/// The live gauge counts attempts for clients only; the pool counts copies, too.
fn has_room(instance: &InstanceLane, settings: &Settings) -> bool {
    let live = u32::try_from(instance.metrics.in_flight.get()).unwrap_or(0);
    let copies = instance.instance.live().in_flight().saturating_sub(live);
    live <= settings.live_max && (copies as usize) < settings.concurrency
}

/// Whether the use case is still copied under the configuration that the request was decided by. So a
/// rollback, a pause or a change of the candidate also stops what waits.
fn still_wanted(shared: &Shared, job: &Job) -> bool {
    let current = shared.live();
    current.config_digest == job.seen.live.config_digest
        && current
            .snapshot
            .use_cases()
            .iter()
            .find(|use_case| use_case.name == job.seen.use_case)
            .is_some_and(|use_case| use_case.shadow != WeightBp::NONE)
}

/// What a copy costs, before and after.
struct Bill<'a> {
    copies: &'a Copies,
    lane: &'a Lane,
    head: &'a Head,
    /// Tokens of all that is sent, by its bytes.
    most: u64,
    /// Booked as it was estimated if it is cut off in the middle.
    reserved: Option<cutover_route::overflow::Bill>,
}

impl Bill<'_> {
    /// Sets aside what the copy will roughly cost.
    fn open(mut self, now: Millis, job: &Job) -> Result<Self, Dropped> {
        let completion = job.seen.served.completion_tokens.map(u64::from);
        let completion = completion.or(self.head.max_tokens).unwrap_or(COMPLETION_TOKENS);
        let Some(money) = self.price(now, self.most, completion) else {
            let allowed = self.lane.upstream.own || job.settings.unpriced;
            return if allowed { Ok(self) } else { Err(Dropped::Unpriced) };
        };
        let purse = self.copies.purse();
        let reserved = purse.open(now, Some(money), job.settings.budget_per_day);
        self.reserved = Some(reserved.ok_or(Dropped::Budget)?);
        Ok(self)
    }

    fn price(&self, now: Millis, prompt: u64, completion: u64) -> Option<NanoUsd> {
        self.cost(now, Tokens { prompt, cached: 0, completion })
    }

    fn cost(&self, now: Millis, tokens: Tokens) -> Option<NanoUsd> {
        Some(self.lane.price.cost(&self.head.model, tokens, now)?.amount)
    }

    /// Books what was spent: by the answer's usage, else by the estimate; nothing where the upstream
    /// refused. Returns the cost as far as it is known for certain.
    fn close(mut self, now: Millis, answered: &Result<Answer, Fault>) -> Option<NanoUsd> {
        let usage = answered.as_ref().ok().and_then(|answer| answer.said.usage);
        let known = usage.and_then(|usage| self.cost(now, tokens(&usage)));
        let reserved = self.reserved.take()?;
        let spent = match answered {
            Ok(answer) => known.or_else(|| {
                let completion = answer.said.text.len() as u64 / BYTES_PER_TOKEN;
                self.price(now, self.most, completion)
            }),
            Err(fault) if fault.refused => Some(NanoUsd(0)),
            Err(_) => None,
        };
        if let Some(spent) = spent {
            reserved.settle(now, spent);
        }
        known
    }
}

/// What the candidate said.
struct Answer {
    said: Extract,
    first_token: Option<Duration>,
    total: Duration,
}

/// Why there is no answer.
struct Fault {
    /// The reason's word, or none: the answer was too large to keep.
    reason: Option<&'static str>,
    /// Whether the upstream said no, so that nothing is billed.
    refused: bool,
    total: Duration,
}

/// One copy at one instance.
struct Asking<'a> {
    job: &'a Job,
    lane: &'a Lane,
    instance: &'a InstanceLane,
    head: &'a Head,
    began: Instant,
    registry: &'a Registry,
}

impl Asking<'_> {
    /// The copy as the candidate is sent it.
    async fn adapted(&self, target: &Target) -> Result<Outgoing, cutover_wire::Fault> {
        let prompt = &self.job.prompt;
        let bound = Bound {
            images: &self.job.seen.live.images,
            registry: self.registry,
            upstream: &self.lane.upstream.name,
            image_urls: self.lane.upstream.image_urls,
            local_only: self.job.seen.local_only,
        };
        let own = self.job.seen.own.as_ref();
        let inside = || bound.names_outside(self.head, prompt) == Ok(false);
        let own = own.filter(|own| own.is_for(target) && inside());
        if let Some(adapted) = own.and_then(|own| own.adapted((self.head, prompt), target)) {
            // Its answer is read for what it says, and goes to nobody.
            return adapted.map(|mut outgoing| {
                outgoing.reply.own = false;
                outgoing
            });
        }
        if bound.concerns(self.head, prompt)
            && let Some(form) = Box::pin(bound.inside(self.head, prompt)).await?
        {
            return cutover_relay::adapted(&form.head, &form.body, target);
        }
        cutover_relay::adapted(self.head, prompt, target)
    }

    async fn ask(&self, place: Place) -> Result<Answer, Fault> {
        let failed = |failure: Failure| Fault {
            refused: failure.status.is_some() || failure.reason == "unsupported",
            reason: Some(failure.reason),
            total: self.began.elapsed(),
        };
        let speaks_it = |own: &Own| own.is_for(&self.lane.target);
        let strict = self.lane.target.unsupported == Unsupported::Strict;
        let refusal = self.job.seen.refusal.as_ref().filter(|_| strict);
        if let Some(fault) = refusal.or(self.job.seen.never.as_ref())
            && !self.job.seen.own.as_ref().is_some_and(speaks_it)
        {
            return Err(failed(Failure::refused(fault.clone())));
        }
        let own = Some(&self.job.seen.metadata);
        let metadata = |name: &str| self.head.metadata_said(&self.job.prompt, own, name);
        let target = self.lane.target_for(self.head.endpoint, metadata);
        let target = target.map_err(|fault| failed(Failure::refused(fault)))?;
        let outgoing =
            self.adapted(&target).await.map_err(|fault| failed(Failure::refused(fault)))?;
        let response = self.send(&outgoing, place).await.map_err(|error| Fault {
            refused: !error.anything_sent(),
            ..failed(Failure::send(&error))
        })?;
        let answer = if outgoing.reply.stream && is_stream(&response) {
            self.stream(&outgoing, response.into_body()).await
        } else {
            self.whole(&outgoing, response).await
        };
        let answer = answer.map_err(failed)?;
        answer.ok_or(Fault { reason: None, refused: false, total: self.began.elapsed() })
    }

    fn ends_at(&self) -> Instant {
        self.began + self.job.settings.timeout.min(self.lane.upstream.timeouts.total)
    }

    fn mint(&self) -> Mint {
        Mint {
            id: "shadow".to_owned(),
            model: Arc::clone(&self.head.model),
            created: self.job.seen.at.0 / 1_000,
        }
    }

    async fn send(&self, outgoing: &Outgoing, place: Place) -> Result<Response<Body>, SendError> {
        let timeouts = &self.lane.upstream.timeouts;
        let outbound = || Outbound {
            method: Method::POST,
            path_and_query: cutover_upstream::path_and_query(&outgoing.path),
            // Nothing of the client's: its trace would show a call that it did not make.
            headers: self.lane.upstream.headers.for_client(&HeaderMap::new()),
            body: outgoing.body.clone(),
        };
        let within = self.ends_at().saturating_duration_since(Instant::now());
        let first_byte =
            if outgoing.reply.stream { within.min(timeouts.first_token) } else { within };
        let deadlines = Deadlines { connect: timeouts.connect, first_byte };
        let sending = Sending { deadlines, started: Instant::now(), turn: Turn::InARow };
        let answered = self.instance.instance.send_made(place, &outbound, sending).await?;
        Ok(answered.response)
    }

    /// None: it is too large to keep.
    async fn whole(
        &self,
        outgoing: &Outgoing,
        response: Response<Body>,
    ) -> Result<Option<Answer>, Failure> {
        let (parts, body) = response.into_parts();
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let received = Received {
            status: parts.status.as_u16(),
            content_type: text("content-type"),
            retry_after: None,
            retry_after_ms: None,
            date: None,
            body: collect(body, &self.lane.upstream, self.ends_at()).await?,
        };
        let total = self.began.elapsed();
        let status = Some(received.status).filter(|status| *status >= 300);
        let mint = self.mint();
        let (_, reply) = cutover_relay::read(&outgoing.reply, &mint, received);
        let reply = reply.map_err(|fault| Failure { status, ..Failure::upstream(fault) })?;
        if outgoing.reply.stream {
            let message = "the upstream answered a stream request whole";
            return Err(Failure::broken("not_a_stream", message));
        }
        if reply.body.len() > self.job.settings.capture_bytes_max {
            return Ok(None);
        }
        let mut said = Extract::of_json(&reply.body);
        told(&mut said, reply.usage, reply.finish);
        // Of a stream that was gathered first, nothing would have come before all of it.
        let first_token = self.head.stream.then_some(total);
        Ok(Some(Answer { said, first_token, total }))
    }

    /// None: it is too large to keep.
    async fn stream(&self, outgoing: &Outgoing, body: Body) -> Result<Option<Answer>, Failure> {
        let upstream = &self.lane.upstream;
        let limits = TapLimits { event_bytes: upstream.event_bytes_max };
        let mut intake = Intake::new(outgoing.reply.clone(), self.mint(), limits);
        let mut reading = Reading { body, ends_at: self.ends_at(), idle: upstream.timeouts.idle };
        let first_by = self.began + upstream.timeouts.first_token;
        let (mut said, mut bytes, mut first_token) = (StreamExtractor::default(), 0, None);
        let mut pieces = Vec::new();
        while !intake.tap.ended_well() {
            let by = if intake.first_content_seen() { None } else { Some(first_by) };
            match reading.next(by).await? {
                Some(data) => intake.push(data, &mut pieces),
                None => intake.finish(&mut pieces),
            }
            .map_err(Failure::upstream)?;
            if first_token.is_none() && intake.first_content_seen() {
                first_token = Some(self.began.elapsed());
            }
            for piece in pieces.drain(..) {
                bytes += piece.len();
                said.push(piece);
            }
            if bytes > self.job.settings.capture_bytes_max {
                return Ok(None);
            }
        }
        let total = self.began.elapsed();
        reading.end().await;
        let mut said = said.finish();
        told(&mut said, intake.tap.usage(), intake.tap.finish_reason());
        Ok(Some(Answer { said, first_token, total }))
    }
}

/// Why an answer above `capture_limit` counts as failed.
const TOO_LARGE: &str = "answer_too_large";

/// What is kept of the candidate's answer.
fn captured(answered: Result<Answer, Fault>, cost: Option<NanoUsd>) -> Captured {
    match answered {
        Ok(Answer { said, first_token, total }) => Captured {
            served: Served {
                total_ms: millis(total),
                first_token_ms: first_token.map(millis),
                completion_tokens: said
                    .usage
                    .map(|usage| u32::try_from(usage.completion_tokens).unwrap_or(u32::MAX)),
                cost,
                ..Served::default()
            },
            text: said.text,
            tool_calls: said.tool_calls,
            finish: said.finish,
            fault: None,
        },
        // An answer too large to be kept counts as failed: left out, a candidate that rambles would lose
        // its worst answers from the evidence.
        Err(Fault { reason, total, .. }) => Captured {
            text: String::new(),
            tool_calls: Vec::new(),
            finish: None,
            fault: Some(reason.unwrap_or(TOO_LARGE)),
            served: Served { failed: true, total_ms: millis(total), ..Served::default() },
        },
    }
}

/// A stream's body under its deadlines.
struct Reading {
    body: Body,
    ends_at: Instant,
    idle: Duration,
}

impl Reading {
    async fn next(&mut self, first_by: Option<Instant>) -> Result<Option<Bytes>, Failure> {
        let idle_at = Instant::now() + self.idle;
        let ends_at = first_by.map_or(self.ends_at, |by| by.min(self.ends_at));
        loop {
            return match timeout_at(ends_at.min(idle_at), self.body.frame()).await {
                Err(_) if ends_at > idle_at => {
                    Err(Failure::late("idle_timeout", "the upstream's stream stalled"))
                }
                Err(_) if first_by.is_some_and(|by| by <= self.ends_at) => {
                    let message = "the upstream sent no content in time";
                    Err(Failure::late("first_token_timeout", message))
                }
                Err(_) => {
                    Err(Failure::late("total_timeout", "the upstream's stream took too long"))
                }
                Ok(None) => Ok(None),
                Ok(Some(Err(_))) => Err(cut_off()),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    Err(_) => continue,
                },
            };
        }
    }

    /// Awaits the body's end, so that its connection can be used again.
    async fn end(mut self) {
        let reading = async { while let Some(Ok(_)) = self.body.frame().await {} };
        let _ = timeout(END_WITHIN, reading).await;
    }
}

/// What was told beside the text counts more: it is there although the client did not ask for it.
fn told(said: &mut Extract, usage: Option<Usage>, finish: Option<Finish>) {
    said.usage = usage.or(said.usage);
    said.finish = finish.or(said.finish);
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

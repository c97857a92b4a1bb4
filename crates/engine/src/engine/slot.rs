//! The threads that compute answers, and the queue before them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::Model;
use super::intake::Prepared;
use crate::llama::{Cache, PREFILL_CHUNK};
use crate::sample;
use crate::tokenizer::{Piece, Tokenizer};
use crate::{Alternative, Delta, Done, Event, Finish, RequestError, TokenLogprob, Usage};

/// One answer to compute.
pub(super) struct Job {
    pub(super) prepared: Prepared,
    pub(super) events: mpsc::UnboundedSender<Event>,
    pub(super) ticket: Ticket,
}

/// Jobs that wait for a slot.
pub(super) struct Queue {
    bound: usize,
    state: Mutex<State>,
    ready: Condvar,
    waiting: AtomicUsize,
    running: AtomicUsize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// A place in the queue, given back when dropped.
pub(super) struct Ticket {
    queue: Arc<Queue>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Queue {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            state: Mutex::default(),
            ready: Condvar::new(),
            waiting: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
        }
    }

    /// Takes a place, unless all are taken.
    pub(super) fn enter(queue: &Arc<Self>) -> Result<Ticket, RequestError> {
        let full = |bound| RequestError::Overloaded { waiting: bound };
        // Idle slots take jobs at once, so the bound counts beyond one that is just passing through.
        let bound = queue.bound.max(1);
        if queue.waiting.load(Ordering::Acquire) >= bound {
            queue.forget_cancelled();
        }
        let entered = queue
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < bound).then_some(n + 1));
        match entered {
            Ok(_) => Ok(Ticket { queue: queue.clone() }),
            Err(_) => Err(full(bound)),
        }
    }

    pub(super) fn push(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.ready.notify_one();
    }

    /// Lets the slots end once they have nothing to do.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(state);
        self.ready.notify_all();
    }

    /// Running and waiting.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.running.load(Ordering::Acquire), self.waiting.load(Ordering::Acquire))
    }

    fn forget_cancelled(&self) {
        let mut state = self.lock();
        let all = std::mem::take(&mut state.jobs);
        let (gone, kept): (VecDeque<_>, _) = all.into_iter().partition(|j| j.events.is_closed());
        state.jobs = kept;
        drop(state);
        // Dropped outside the lock: each gives its ticket back.
        drop(gone);
    }

    /// The next job, its place given back while the lock is held: who looks at the queue sees it
    /// either waiting or running.
    fn next(&self) -> Option<(Prepared, mpsc::UnboundedSender<Event>)> {
        let mut state = self.lock();
        loop {
            if let Some(Job { prepared, events, ticket }) = state.jobs.pop_front() {
                self.running.fetch_add(1, Ordering::AcqRel);
                drop(ticket);
                return Some((prepared, events));
            }
            if state.closed {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a slot's thread.
pub(super) fn start(number: usize, model: Arc<Model>, queue: Arc<Queue>) -> std::io::Result<()> {
    let name = format!("engine-slot-{number}");
    std::thread::Builder::new().name(name).spawn(move || {
        let mut cache = Cache::new(&model.llama);
        while let Some((prepared, events)) = queue.next() {
            if !events.is_closed() {
                serve(&model, &mut cache, prepared, &events);
            }
            queue.running.fetch_sub(1, Ordering::AcqRel);
        }
    })?;
    Ok(())
}

fn serve(
    model: &Model,
    cache: &mut Cache,
    prepared: Prepared,
    events: &mpsc::UnboundedSender<Event>,
) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        Answer { model, cache, events, usage: Usage::default(), due: VecDeque::new() }.run(prepared)
    }));
    let failure = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(reason)) => reason,
        Err(_) => {
            // A half-written cache must not serve as anyone's prefix.
            *cache = Cache::new(&model.llama);
            "the engine failed unexpectedly".to_owned()
        }
    };
    drop(events.send(Event::Failed(failure)));
}

/// One answer in the making.
struct Answer<'a> {
    model: &'a Model,
    cache: &'a mut Cache,
    events: &'a mpsc::UnboundedSender<Event>,
    usage: Usage,
    /// Tokens whose text is not yet shown, each with where its text begins and ends.
    due: VecDeque<(usize, usize, TokenLogprob)>,
}

impl Answer<'_> {
    /// Computes the whole answer. Returns early without an event once nobody listens.
    fn run(mut self, mut p: Prepared) -> Result<(), String> {
        if !self.read_prompt(&p.prompt) {
            return Ok(());
        }
        let finish = loop {
            let token = self.choose(&mut p)?;
            self.usage.completion_tokens += 1;
            let complete = match &mut p.constraint {
                Some(constraint) => constraint.advance(token)?,
                None => false,
            };
            if self.model.tokenizer.is_stop(token) {
                self.due.pop_back();
                break Finish::Stop;
            }
            let begin = p.text.decoded();
            let released = p.text.push(self.model.tokenizer.bytes(token));
            if let Some(last) = self.due.back_mut() {
                (last.0, last.1) = (begin, p.text.decoded());
            }
            let shown = p.text.released();
            let stopped = released.stopped;
            let visible =
                |begin: usize, end: usize| if stopped { begin < shown } else { end <= shown };
            if !self.show(released.text, visible) {
                return Ok(());
            }
            if stopped || complete {
                if stopped {
                    self.due.clear();
                }
                break Finish::Stop;
            }
            if self.usage.completion_tokens >= p.max_tokens {
                break Finish::Length;
            }
            self.model.llama.append(&[token], self.cache);
        };
        let rest = p.text.finish();
        if self.show(rest, |_, _| true) {
            drop(self.events.send(Event::Done(Done { finish, usage: self.usage })));
        }
        Ok(())
    }

    /// Brings the cache to the prompt's end, keeping what it already shares with it. False if the
    /// request was cancelled meanwhile.
    fn read_prompt(&mut self, prompt: &[u32]) -> bool {
        let shared = prompt.iter().zip(self.cache.tokens()).take_while(|(a, b)| a == b).count();
        // The last token is always computed: its scores are what the answer starts from.
        let keep = shared.min(prompt.len() - 1);
        self.cache.truncate(keep);
        self.usage.prompt_tokens = prompt.len();
        self.usage.cached_tokens = keep;
        for chunk in prompt[keep..].chunks(PREFILL_CHUNK) {
            if self.events.is_closed() {
                return false;
            }
            self.model.llama.append(chunk, self.cache);
        }
        true
    }

    fn choose(&mut self, p: &mut Prepared) -> Result<u32, String> {
        let logits = self.model.llama.logits(self.cache);
        let token = match &mut p.constraint {
            None => p.sampler.choose(logits, None),
            Some(constraint) => {
                let mask = constraint.allowed()?;
                p.sampler.choose(logits, Some(&|token| mask.is_allowed(token)))
            }
        };
        if let Some(top) = p.logprobs {
            let (logprob, top) = sample::logprobs(logits, token, top);
            let tokenizer = &self.model.tokenizer;
            let token = alternative(tokenizer, token, logprob);
            let top = top.iter().map(|s| alternative(tokenizer, s.token, s.logprob)).collect();
            self.due.push_back((0, 0, TokenLogprob { token, top }));
        }
        Ok(token)
    }

    /// Sends text with the tokens that are now visible; false if nobody listens any more.
    fn show(&mut self, text: String, visible: impl Fn(usize, usize) -> bool) -> bool {
        let mut tokens = Vec::new();
        while let Some((begin, end, token)) = self.due.pop_front() {
            if !visible(begin, end) {
                self.due.push_front((begin, end, token));
                break;
            }
            tokens.push(token);
        }
        if text.is_empty() && tokens.is_empty() {
            return !self.events.is_closed();
        }
        self.events.send(Event::Delta(Delta { text, tokens })).is_ok()
    }
}

fn alternative(tokenizer: &Tokenizer, token: u32, logprob: f32) -> Alternative {
    let bytes = tokenizer.bytes(token).to_vec();
    let text = match tokenizer.pieces().get(token as usize) {
        Some(Piece::Control(name)) => name.clone(),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    };
    Alternative { text, bytes, logprob }
}

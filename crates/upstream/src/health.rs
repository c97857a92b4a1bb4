//! How an instance is, as balancing, status and metrics see it: atomics, written by requests and by
//! the probes' task, read by every pick.
//!
//! Judged by whole answers, not by their heads: an instance that says 200 and then stalls or breaks off
//! fails each time.

use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed,
    Ordering::Release,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use cutover_route::balance::Post;
use cutover_route::health::{
    FAILURES_MAX, Judged, REST_MAX_MS, Row, Seen, State, lasts, rested_at, rests,
};
use cutover_units::Millis;
use cutover_wire::probe::{Facts, Loaded, with_tag};
use tokio::time::Instant;

use crate::loads::Load;
use crate::models::MODELS_MAX;

mod contexts;
mod full;
mod outlier;

/// So long a stream flows before its instance is no longer tried with that one alone: ends of streams are far away.
const FLOWS_MS: u128 = 1_000;

/// So long after an instance was told to read a model in it is not told again: it may be at it, or have
/// no room for it beside the others that are to be kept.
const WARM_AGAIN_MS: u64 = 60_000;

/// How an instance is.
#[derive(Debug, Default)]
pub struct Health {
    /// Where it is doubted while it is not plainly well, and which of the upstream's variants' models are in
    /// memory: beside its upstream's other instances.
    post: Arc<Post>,
    /// A [`Row`].
    row: AtomicU64,
    failed_at: AtomicU64,
    /// Whether a probe has ended a rest of this row.
    was_found: AtomicBool,
    /// Since the last look at outliers.
    ok: AtomicU32,
    failed: AtomicU32,
    /// What requests have [`Seen`] last since the last probe.
    seen: AtomicU8,
    /// Goes on with each sign of life: answers that begin, go on, or end.
    signs: AtomicU32,
    /// Whether an answer has flowed for [`FLOWS_MS`] since the last failure: that ends a rest like an answer that has ended.
    flows: AtomicBool,
    /// A bit for each kind of request that it refused, and nobody has taken since.
    doubts: AtomicU32,
    ejections: AtomicU32,
    ejected_until: AtomicU64,
    full_until: AtomicU64,
    /// The same, by a limit of its rates.
    limited_until: AtomicU64,
    /// When that is over, by what it told, however long it is believed.
    promised: AtomicU64,
    /// How long its refusals take.
    refusal_ms: AtomicU64,
    /// When it refused one as one too many for the first time since it last gave a sign of life; 0: it has not since.
    refuses_since: AtomicU64,
    /// When it refused one last.
    refused_at: AtomicU64,
    /// Whether it gave a sign of life between these refusals and the ones before.
    was_served: AtomicBool,
    /// When a probe found it at work last.
    works_at: AtomicU64,
    /// Its address is one of its name's no more.
    leaving: AtomicBool,
    /// An operator took it out.
    drained: AtomicBool,
    probed: AtomicU8,
    misses: AtomicU32,
    /// When it was told to read in which of them; at most 64.
    told_to_warm: Mutex<HashMap<u8, u64>>,
    /// The models that requests under way have it read in: one entry for each of those requests.
    reading: Mutex<Vec<Load>>,
    /// Whether an answer has shown since the last probe began what that cannot have seen.
    was_shown: AtomicBool,
    contexts: contexts::Contexts,
    facts: ArcSwapOption<Facts>,
}

/// Which model a request asks an instance for.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// One of the upstream's variants' models, by its place.
    Known(u8),
    /// Any other name.
    Named(&'a str),
}

/// A request under way that has an instance read its model in. Until it is dropped the instance draws others of
/// that model: they wait less there than where it would have to be read in once more. Engines end a load whose
/// last request has left.
#[derive(Debug)]
#[must_use = "it is read in no more when this is dropped"]
pub struct Reading {
    health: Arc<Health>,
    load: Load,
}

impl Reading {
    /// The request was answered: its model is in memory, whatever the last probe saw.
    pub fn done(self) {
        self.health.loaded(self.load.place, &self.load.model);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut all = self.health.reading();
        if let Some(at) = all.iter().position(|load| *load == self.load) {
            all.swap_remove(at);
        }
        if let Some(place) = self.load.place
            && all.iter().all(|load| load.model != self.load.model)
        {
            self.health.post.set_reading(place, false);
        }
    }
}

impl Health {
    /// Failures since the last success, but for those of requests that had been asked before it began to rest.
    pub fn failures(&self) -> u32 {
        Row::from_u64(self.row.load(Relaxed)).failures
    }

    /// When it failed last, or was tried again after that.
    pub fn failed_at(&self) -> Millis {
        Millis(self.failed_at.load(Relaxed))
    }

    /// What its last probe told; None: it has not been probed, or did not answer.
    pub fn facts(&self) -> Option<Arc<Facts>> {
        self.facts.load_full()
    }

    /// Of an instance with this place on its upstream's board.
    pub fn at(post: Arc<Post>) -> Self {
        Self { post, ..Self::default() }
    }

    /// What it is fit for. Who finds it plainly well again saves others the look.
    pub fn state(&self, now: Millis) -> State {
        let state = self.state_seen(now);
        if state < State::Saturated {
            self.post.trust(|| self.is_well(now));
        }
        state
    }

    /// Whether nothing can make it unfit but what raises a doubt.
    fn is_well(&self, now: Millis) -> bool {
        self.failures() < FAILURES_MAX && self.state_seen(now) < State::Saturated
    }

    fn state_seen(&self, now: Millis) -> State {
        if self.is_out() {
            return State::Draining;
        }
        let rests = self.rests_for_failures(now) || self.is_outlier(now);
        let probed = State::from_u8(self.probed.load(Relaxed));
        match (rests, self.is_full(now)) {
            (true, _) => probed.max(State::Ejected),
            (false, true) => probed.max(State::Saturated),
            (false, false) => probed,
        }
    }

    /// Whether it has failed so often that it rests, or has rested, and nothing shows that it is well again.
    pub fn is_on_trial(&self) -> bool {
        self.failures() >= FAILURES_MAX && !self.flows.load(Relaxed)
    }

    fn rests_for_failures(&self, now: Millis) -> bool {
        self.is_on_trial() && rests(self.failures(), self.failed_at(), now)
    }

    /// When its rest ends, where it rests and nothing can end that sooner. `may_recover`: a probe, or a request under
    /// way there, may end a rest after failures in a row.
    pub fn rests_until(&self, may_recover: bool, now: Millis) -> Option<Millis> {
        let (failures, failed_at) = (self.failures(), self.failed_at());
        let rests = !may_recover && self.rests_for_failures(now);
        let row = rests.then(|| rested_at(failures, failed_at));
        let ejected = self.is_outlier(now).then(|| Millis(self.ejected_until.load(Relaxed)));
        row.max(ejected)
    }

    /// Whether its address is one of its name's no more.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Whether no new request goes there.
    pub fn is_out(&self) -> bool {
        self.is_leaving() || self.drained.load(Relaxed)
    }

    /// An operator takes it out, or back.
    pub fn drain(&self, drained: bool) {
        self.drained.store(drained, Relaxed);
        self.post.doubt();
    }

    /// No new request goes there from now on, or they do again.
    pub fn leave(&self, leaving: bool) {
        self.leaving.store(leaving, Relaxed);
        self.post.doubt();
    }

    /// Whether a model is in its memory, as far as it tells; one that does not tell has what it has.
    pub fn has(&self, wanted: Wanted<'_>) -> bool {
        match wanted {
            Wanted::Known(place) => self.post.has(place),
            Wanted::Named(_) if !self.post.tells_models() => true,
            Wanted::Named(name) => {
                let name = with_tag(name);
                let facts = self.facts.load();
                let loaded = facts.as_deref().and_then(|facts| facts.loaded.as_deref());
                loaded.is_some_and(|loaded| loaded.iter().any(|model| model.serves(&name)))
            }
        }
    }

    /// Whether a request of this model need not wait longer here than for others: it is in memory, or on its way.
    pub fn draws(&self, wanted: Wanted<'_>) -> bool {
        match wanted {
            Wanted::Known(place) => self.post.draws(place),
            Wanted::Named(name) => {
                let name = with_tag(name);
                self.has(wanted) || self.reading().iter().any(|load| load.model == name)
            }
        }
    }

    /// Whether it has been reading a model in for so long that it may hang.
    pub(crate) fn loads_long(&self, wanted: Wanted<'_>) -> bool {
        self.reading().iter().filter(|load| load.is_long()).any(|load| match wanted {
            Wanted::Known(place) => load.place == Some(place),
            Wanted::Named(name) => load.model == with_tag(name),
        })
    }

    /// A request is sent that has it read a model in: this one, in this place, if it has one.
    pub fn reads_in(self: &Arc<Self>, model: &str, place: Option<u8>) -> Reading {
        let load = Load { model: with_tag(model).into_owned(), place, since: Instant::now() };
        let mut all = self.reading();
        all.push(load.clone());
        if let Some(place) = place {
            self.post.set_reading(place, true);
        }
        drop(all);
        Reading { health: Arc::clone(self), load }
    }

    fn reading(&self) -> MutexGuard<'_, Vec<Load>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is sent a request. One that has rested after failures in a row is tried with this one alone:
    /// it rests again until that is known to have gone well, or as long as the last time.
    pub fn asked(&self, now: Millis) {
        if self.failures() >= FAILURES_MAX {
            self.failed_at.store(now.0, Relaxed);
        }
    }

    /// An answer came to its end.
    pub fn succeeded(&self) {
        self.post.answered();
        self.took_part();
        self.serves_one();
    }

    /// It said no to a request, which is an answer, and came sooner than one.
    pub fn refused(&self) {
        self.draws_less();
        self.took_part();
    }

    /// For as long as peers take to answer a request it counts as if it had one more.
    pub fn draws_less(&self) {
        self.post.owes();
    }

    fn took_part(&self) {
        self.ok.fetch_add(1, Relaxed);
        // Nearly always they are so already, and reading costs other cores nothing.
        if self.failures() != 0 {
            let well = |row| Some(Row::from_u64(row).succeeded().to_u64());
            let _ = self.row.fetch_update(Relaxed, Relaxed, well);
            self.was_found.store(false, Relaxed);
        }
        self.was_seen(Seen::Answers);
    }

    fn was_seen(&self, what: Seen) {
        self.signs.store(self.signs().wrapping_add(1), Relaxed);
        // Nearly always they are so already, and reading costs other cores nothing.
        if self.seen.load(Relaxed) != what as u8 {
            self.seen.store(what as u8, Relaxed);
        }
    }

    /// A piece of an answer came, of which some had come before at that time. Whether it ends well is to be seen.
    pub fn goes_on(&self, since: Instant) {
        self.was_seen(Seen::Answers);
        self.serves_one();
        if self.is_on_trial() && since.elapsed().as_millis() >= FLOWS_MS {
            self.flows.store(true, Relaxed);
        }
    }

    /// A number that is another once it gave a sign of life: to whoever, and whatever became of it.
    pub fn signs(&self) -> u32 {
        self.signs.load(Relaxed)
    }

    /// The instance is to blame for a failure of a request that it was asked then. Those of a row that makes it rest
    /// are paid for with that: against its peers only the others count.
    pub fn failed(&self, asked_at: Millis, now: Millis) {
        let failed = |row| Some(Row::from_u64(row).failed(asked_at, now)?.to_u64());
        let Ok(before) = self.row.fetch_update(Relaxed, Relaxed, failed) else { return };
        self.failed_at.store(now.0, Relaxed);
        self.flows.store(false, Relaxed);
        let failures = Row::from_u64(before).failures + 1;
        if failures < FAILURES_MAX {
            self.failed.fetch_add(1, Relaxed);
        } else {
            let others = if failures == FAILURES_MAX { FAILURES_MAX - 1 } else { 0 };
            let fewer = |failed: u32| Some(failed.saturating_sub(others));
            let _ = self.failed.fetch_update(Relaxed, Relaxed, fewer);
            self.post.doubt();
        }
    }

    /// A probe finds it well where the last one did not: it is tried at once. Once in a row, as one whose probes come
    /// and go while its requests fail would never rest long.
    fn found(&self, now: Millis) {
        if self.failures() >= FAILURES_MAX && !self.was_found.swap(true, Relaxed) {
            let rested = |row| Some(Row::from_u64(row).rested(now).to_u64());
            let _ = self.row.fetch_update(Relaxed, Relaxed, rested);
            let row = Row::from_u64(self.row.load(Relaxed));
            self.failed_at.store(row.rests_from.0, Relaxed);
        }
    }

    /// It refused our key, our account or a model for requests of this kind, a bit: what is wrong shows when
    /// another takes such a request.
    pub fn doubt(&self, kind: u32) {
        self.doubts.fetch_or(kind, Relaxed);
    }

    /// Whether it refused such requests last.
    pub fn is_doubted(&self, kind: u32) -> bool {
        self.doubts.load(Relaxed) & kind != 0
    }

    /// Whether it was doubted, which is over: it is known who is to blame.
    pub fn take_doubt(&self, kind: u32) -> bool {
        self.is_doubted(kind) && self.doubts.fetch_and(!kind, Relaxed) & kind != 0
    }

    /// How often in a row it failed, if that was not long ago: one that failed once is tried again.
    pub fn recent_failures(&self, now: Millis) -> u32 {
        let until = Millis(self.failed_at().0.saturating_add(REST_MAX_MS));
        if lasts(until, REST_MAX_MS, now) { self.failures() } else { 0 }
    }

    /// Whether it may be told now to read the model in this place in; it then counts as told.
    pub fn may_warm(&self, place: u8, now: Millis) -> bool {
        let mut told = self.told_to_warm.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| lasts(Millis(at.saturating_add(WARM_AGAIN_MS)), WARM_AGAIN_MS, now));
        let is_new = !told.contains_key(&place);
        if is_new {
            told.insert(place, now.0);
        }
        is_new
    }

    /// It has this model in memory, until a probe that begins from now on says otherwise.
    fn loaded(&self, place: Option<u8>, model: &str) {
        // Before the rest: a probe under way that has seen it absent looks whether this is set.
        self.was_shown.store(true, Release);
        if let Some(place) = place {
            self.contexts.has_read_in(model);
            self.post.set_warm(place, true);
        }
        self.facts.rcu(|facts| {
            let facts = facts.as_ref()?;
            let loaded = facts.loaded.as_ref()?;
            if loaded.iter().any(|known| known.serves(model)) {
                return Some(Arc::clone(facts));
            }
            let new = Loaded { name: model.to_owned(), ..Loaded::default() };
            let others = loaded.iter().filter(|known| known.name != model).cloned();
            let loaded = Some(others.chain([new]).collect());
            Some(Arc::new(Facts { loaded, ..Facts::clone(facts) }))
        });
        let (cold, healthy) = (State::Cold as u8, State::Healthy as u8);
        if place.is_some() {
            let _ = self.probed.compare_exchange(cold, healthy, Relaxed, Relaxed);
        }
    }

    /// What probes have said so far.
    pub fn judged(&self) -> Judged {
        Judged {
            state: State::from_u8(self.probed.load(Relaxed)),
            misses: self.misses.load(Relaxed),
        }
    }

    /// One begins. What answers have shown so far it will see itself.
    pub fn begin_probe(&self) {
        self.was_shown.store(false, Relaxed);
    }

    /// What they say now. `models` are the upstream's variants' models, in their places.
    pub fn probed(&self, (judged, now): (Judged, Millis), facts: Option<Facts>, models: &[String]) {
        // What it saw of models may be from before: the next one tells.
        let is_late = self.was_shown.load(Acquire);
        let state = match judged.state {
            State::Cold if is_late => self.judged().state.min(State::Cold),
            state => state,
        };
        let before = self.judged();
        self.probed.store(state as u8, Relaxed);
        self.misses.store(judged.misses, Relaxed);
        if facts.is_some() && (before.misses > 0 || before.state == State::Down) {
            self.found(now);
        }
        if judged.state >= State::Saturated {
            self.post.doubt();
        }
        // Of an instance that did not answer the last word stands: it is late, not empty.
        let Some(mut facts) = facts else {
            self.was_missed(now);
            if judged.state == State::Down {
                self.facts.store(None);
                self.post.set_tells_models(false);
                self.post.tells_room(None);
            }
            return;
        };
        let known = self.facts().and_then(|known| known.loaded.clone());
        if is_late && known.is_some() && facts.loaded.is_some() {
            facts.loaded = known;
        } else if let Some(loaded) = &facts.loaded {
            self.find(models, loaded);
        }
        self.post.set_tells_models(facts.loaded.is_some());
        self.post.tells_room(facts.slots);
        self.was_found(facts.running, now);
        self.facts.store(Some(Arc::new(facts)));
    }

    /// The upstream's variants' models are these from now on, in these places: what it told last holds for new ones, too.
    pub fn is_asked_for(&self, models: &[String]) {
        if let Some(loaded) = self.facts().as_deref().and_then(|facts| facts.loaded.as_deref()) {
            self.find(models, loaded);
        }
    }

    /// Which of these are in memory.
    fn find(&self, models: &[String], loaded: &[Loaded]) {
        for (place, model) in (0..=u8::MAX).zip(models.iter().take(MODELS_MAX)) {
            self.post.set_warm(place, loaded.iter().any(|known| known.serves(model)));
        }
    }

    /// Whether requests were refused last since the last probe: it may tell why.
    pub fn refuses(&self) -> bool {
        self.seen.load(Relaxed) == Seen::Refusals as u8
    }

    /// What requests have seen last since this was asked last.
    pub fn take_seen(&self) -> Seen {
        match self.seen.swap(0, Relaxed) {
            0 => Seen::Silence,
            1 => Seen::Refusals,
            _ => Seen::Answers,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use cutover_route::balance::{Board, Draw, Lineup, POLICIES, Peer, Room};
    use cutover_route::health::Tally;

    /// Any time.
    const NOW: Millis = Millis(0);

    fn told(names: &[&str]) -> Facts {
        let loaded = names.iter().map(|name| Loaded { name: (*name).into(), ..Loaded::default() });
        Facts { loaded: Some(loaded.collect()), ..Facts::default() }
    }

    #[test]
    fn what_is_loaded_is_known_by_place_and_by_name() {
        let health = Health::default();
        assert!(health.has(Wanted::Known(0)) && health.has(Wanted::Named("x")), "nobody told");
        let models = ["a:latest".to_owned(), "b:7b".to_owned()];
        health.probed((Judged::default(), NOW), Some(told(&["b:7b", "c:latest"])), &models);
        assert!(!health.has(Wanted::Known(0)) && health.has(Wanted::Known(1)));
        assert!(health.has(Wanted::Named("c")) && !health.has(Wanted::Named("a")));
        // A late probe leaves it as it was; an absent instance tells nothing.
        health.probed((Judged { misses: 1, ..Judged::default() }, NOW), None, &models);
        assert!(!health.has(Wanted::Known(0)));
        health.probed((Judged { state: State::Down, misses: 3 }, NOW), None, &models);
        assert!(health.has(Wanted::Known(0)) && health.facts().is_none());
    }

    /// Requests went on to load a second copy elsewhere until the next probe.
    #[test]
    fn an_answer_shows_that_its_model_is_in_memory_and_the_next_probe_that_it_is_not() {
        let health = Arc::new(Health::default());
        let models = ["a:latest".to_owned()];
        let cold = Judged { state: State::Cold, ..Judged::default() };
        let probe = |names: &[&str]| health.probed((cold, NOW), Some(told(names)), &models);
        let (known, named) = (Wanted::Known(0), Wanted::Named("A"));
        let all = |wanted: [bool; 4]| {
            let found = [health.has(known), health.has(named), health.draws(known)];
            assert_eq!([found[0], found[1], found[2], health.draws(named)], wanted);
        };
        probe(&["c:latest"]);
        all([false; 4]);
        let (one, two) = (health.reads_in("a", Some(0)), health.reads_in("A:latest", Some(0)));
        all([false, false, true, true]);
        drop(one);
        all([false, false, true, true]);
        drop(two);
        all([false; 4]);
        // While a probe is under way, which saw what was before.
        health.begin_probe();
        health.reads_in("a", Some(0)).done();
        all([true; 4]);
        assert_eq!(health.judged().state, State::Healthy);
        probe(&["c:latest"]);
        all([true; 4]);
        assert_eq!(health.judged().state, State::Healthy);
        assert!(health.has(Wanted::Named("c")));
        health.begin_probe();
        probe(&[]);
        all([false; 4]);
        assert_eq!((health.judged().state, health.has(Wanted::Named("c"))), (State::Cold, false));
    }

    #[test]
    fn the_worst_source_decides() {
        let health = Health::default();
        for _ in 0..FAILURES_MAX {
            health.failed(Millis(1_000), Millis(1_000));
        }
        assert_eq!(health.state(Millis(1_001)), State::Ejected);
        health.probed((Judged { state: State::Down, misses: 3 }, NOW), None, &[]);
        assert_eq!(health.state(Millis(1_001)), State::Down);
        health.probed((Judged::default(), NOW), None, &[]);
        health.succeeded();
        assert_eq!(health.state(Millis(1_001)), State::Healthy);
    }

    #[test]
    fn after_a_rest_one_request_tries_it_and_the_others_wait_for_what_it_finds() {
        let health = Health::default();
        for _ in 0..FAILURES_MAX {
            health.asked(Millis(1_000));
            health.failed(Millis(1_000), Millis(1_000));
        }
        assert_eq!(health.state(Millis(2_000)), State::Healthy, "it has rested");
        health.asked(Millis(2_000));
        assert_eq!(health.state(Millis(2_001)), State::Ejected, "one tries it");
        assert_eq!(health.state(Millis(3_000)), State::Healthy, "that one is silent, or has left");
        health.asked(Millis(3_000));
        health.succeeded();
        health.asked(Millis(3_001));
        assert_eq!(health.state(Millis(3_002)), State::Healthy);
    }

    /// The first stream after an outage may last for minutes: all others were refused until its end.
    #[tokio::test(start_paused = true)]
    async fn a_stream_that_flows_ends_a_rest_and_one_that_breaks_begins_the_next() {
        let health = Health::default();
        for _ in 0..FAILURES_MAX {
            health.failed(Millis(1_000), Millis(1_000));
        }
        health.asked(Millis(2_000));
        let begun = Instant::now();
        health.goes_on(begun);
        assert_eq!(health.state(Millis(2_100)), State::Ejected, "a first word is no answer");
        tokio::time::advance(Duration::from_secs(1)).await;
        health.goes_on(begun);
        assert_eq!(health.state(Millis(3_000)), State::Healthy);
        health.asked(Millis(3_001));
        assert_eq!(health.state(Millis(3_002)), State::Healthy, "others are no trials");
        // It is as it was before, and the others that break with this one are one failure with it.
        health.failed(Millis(2_000), Millis(4_000));
        health.failed(Millis(3_001), Millis(4_000));
        assert_eq!(health.failures(), FAILURES_MAX + 1);
        assert_eq!(health.state(Millis(5_999)), State::Ejected);
        assert_eq!(health.state(Millis(6_000)), State::Healthy);
    }

    #[test]
    fn all_that_requests_see_is_a_sign_of_life_and_refusals_are_no_answers() {
        let health = Health::default();
        let (now, mut before) = (Instant::now(), health.signs());
        assert_eq!(health.take_seen(), Seen::Silence);
        let deeds: [(&dyn Fn(), Seen); 5] = [
            (&|| health.was_full((NOW, 0), None), Seen::Refusals),
            (&|| health.goes_on(now), Seen::Answers),
            (&|| health.succeeded(), Seen::Answers),
            (&|| health.refused(), Seen::Answers),
            (&|| health.failed(NOW, NOW), Seen::Silence),
        ];
        for (nth, (deed, seen)) in deeds.into_iter().enumerate() {
            deed();
            assert_eq!(health.signs() != before, seen != Seen::Silence, "{nth}");
            assert_eq!(health.take_seen(), seen, "{nth}");
            before = health.signs();
        }
        health.goes_on(now);
        health.was_full((NOW, 0), None);
        assert!(health.refuses());
        assert_eq!(health.take_seen(), Seen::Refusals, "the last word counts");
    }

    /// A request that is asked then, and is a failure at once.
    fn tried(health: &Health, at: u64) {
        health.asked(Millis(at));
        health.failed(Millis(at), Millis(at + 1));
    }

    /// Ten streams broke with one restart, and the rest was of 30 s.
    #[test]
    fn what_breaks_at_once_is_one_rest_and_each_trial_that_fails_doubles_it() {
        let health = Health::default();
        (0..10).for_each(|_| health.asked(Millis(1_000)));
        (0..10).for_each(|_| health.failed(Millis(1_000), Millis(5_000)));
        assert_eq!(health.failures(), FAILURES_MAX);
        assert_eq!(health.state(Millis(5_999)), State::Ejected);
        assert_eq!(health.state(Millis(6_000)), State::Healthy);
        let mut at = 6_000;
        for rest_ms in [2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            tried(&health, at);
            // Those that were there before, and one that was sent though it rests.
            health.failed(Millis(1_000), Millis(at + 2));
            tried(&health, at + 2);
            let rested = at + 2 + rest_ms;
            assert_eq!(health.state(Millis(rested - 1)), State::Ejected, "{rest_ms}");
            assert_eq!(health.state(Millis(rested)), State::Healthy, "{rest_ms}");
            at = rested;
        }
        assert_eq!(health.take_tally(), Tally::default(), "its peers have nothing to add");
    }

    #[test]
    fn a_probe_that_finds_it_again_lets_it_be_tried_and_once_in_a_row() {
        let health = Health::default();
        let gone = Judged { state: State::Down, misses: 3 };
        let probed = |judged, at| {
            let facts = (judged != gone).then(Facts::default);
            health.probed((judged, Millis(at)), facts, &[]);
        };
        let well = Judged::default();
        for _ in 0..2 {
            (0..FAILURES_MAX).for_each(|_| health.failed(Millis(100), Millis(1_000)));
            for at in [2_000, 4_100, 8_200, 16_300] {
                tried(&health, at);
            }
            // Probes that find it as they did before say nothing new.
            probed(well, 17_000);
            assert_eq!(health.state(Millis(17_001)), State::Ejected);
            probed(gone, 18_000);
            probed(well, 19_000);
            assert_eq!(health.state(Millis(19_000)), State::Healthy, "it is there again");
            health.failed(Millis(18_999), Millis(19_001));
            assert_eq!(health.failures(), FAILURES_MAX + 4, "asked before it was found");
            tried(&health, 19_002);
            assert_eq!(health.failures(), FAILURES_MAX + 5);
            // It comes and goes, and answers nothing.
            for at in (20_000..49_000).step_by(1_000) {
                probed(gone, at);
                probed(well, at + 500);
                assert_eq!(health.state(Millis(at + 501)), State::Ejected, "{at}");
            }
            assert_eq!(health.state(Millis(49_003)), State::Healthy);
            health.succeeded();
            // As if it were new: the times begin again.
            let _ = health.row.swap(0, Relaxed);
        }
    }

    #[test]
    fn single_failures_are_for_its_peers_to_compare() {
        let health = Health::default();
        for at in 1..=30 {
            health.failed(Millis(at), Millis(at));
            if at % 3 == 0 {
                health.succeeded();
            }
        }
        assert_eq!(health.take_tally(), Tally { ok: 10, failed: 30 });
    }

    /// Another engine comes to stand behind its address, one that is late, one that is gone.
    #[test]
    fn what_a_probe_tells_of_slots_is_the_room_until_the_next_one_tells_otherwise() {
        let board = Arc::new(Board::default());
        let [post, peer] = [(); 2].map(|()| Arc::new(board.post().unwrap()));
        let (health, other) = (Health::at(Arc::clone(&post)), Health::at(peer));
        let room = || Room { most: 9, told: true }.at(&post);
        let tells = |health: &Health, slots| {
            let facts = Facts { slots, ..Facts::default() };
            health.probed((Judged::default(), NOW), Some(facts), &[]);
        };
        assert_eq!(room(), 9, "nobody told");
        tells(&health, Some(2));
        assert_eq!(room(), 2);
        health.probed((Judged { misses: 1, ..Judged::default() }, NOW), None, &[]);
        assert_eq!(room(), 2);
        tells(&health, Some(4));
        assert_eq!(room(), 4);
        tells(&other, Some(3));
        health.probed((Judged { state: State::Down, misses: 3 }, NOW), None, &[]);
        assert_eq!(room(), 3, "as few as the other's");
        tells(&other, None);
        assert_eq!(room(), 9);
    }

    #[test]
    fn a_refusal_is_an_answer_that_weighs_at_its_instance() {
        let board = Arc::new(Board::default());
        let [post, peer] = [(); 2].map(|()| Arc::new(board.post().unwrap()));
        let (health, other) = (Health::at(Arc::clone(&post)), Health::at(peer));
        (1..5).for_each(|at| health.failed(Millis(at), Millis(at)));
        health.refused();
        assert_eq!((health.failures(), post.owed(), post.in_flight()), (0, 1, 0));
        assert_eq!(health.take_seen(), Seen::Answers);
        other.succeeded();
        assert_eq!(post.owed(), 0);
    }

    #[test]
    fn one_that_refused_as_full_is_passed_over_for_a_moment_and_not_ejected() {
        let health = Health::default();
        for _ in 0..10 {
            health.was_full((Millis(1_000), 0), None);
        }
        assert_eq!(health.state(Millis(1_999)), State::Saturated);
        assert_eq!(health.state(Millis(2_000)), State::Healthy);
        health.was_full((Millis(2_000), 0), Some(5_000));
        assert_eq!(health.state(Millis(6_999)), State::Saturated);
        health.was_full((Millis(2_000), 0), Some(u64::MAX));
        assert_eq!(health.state(Millis(32_000)), State::Healthy);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out_until_it_is_there_again() {
        const HOUR_MS: u64 = 3_600_000;
        let (then, back) = (Millis(10 * HOUR_MS), Millis(9 * HOUR_MS));
        let spoil: [fn(&Health, Millis); 3] = [
            |health, at| (0..20).for_each(|_| health.failed(at, at)),
            |health, at| health.was_full((at, 0), None),
            |health, at| health.judged_by_peers(true, at),
        ];
        for (nth, spoil) in spoil.into_iter().enumerate() {
            let health = Health::default();
            spoil(&health, then);
            assert_ne!(health.state(then), State::Healthy, "{nth}");
            assert_eq!(health.state(back), State::Healthy, "{nth}");
        }
        let health = Health::default();
        assert!(health.may_warm(0, then) && !health.may_warm(0, then) && health.may_warm(0, back));
    }

    /// Whether a pick looks at it, or takes it for well.
    fn is_looked_at(post: &Arc<Post>) -> bool {
        let looked = Cell::new(false);
        let look = |_| {
            looked.set(true);
            let (state, failed_at) = (State::Down, Millis(0));
            Peer { state, warm: true, in_flight: 0, latency_us: 0, failed_at, id: 1 }
        };
        let lineup = Lineup::new([(Arc::clone(post), 1)].into_iter(), 9);
        assert!(lineup.with(None, look).pick(&POLICIES[0], &Draw::default()).is_some());
        looked.get()
    }

    #[test]
    fn what_makes_it_unfit_makes_picks_look_at_it_until_it_is_well_again() {
        let judged = |state| Judged { state, misses: 0 };
        let spoil: [fn(&Health); 5] = [
            |health| (0..FAILURES_MAX).for_each(|_| health.failed(Millis(1_000), Millis(1_000))),
            |health| health.was_full((Millis(1_000), 0), None),
            |health| health.judged_by_peers(true, Millis(1_000)),
            |health| health.drain(true),
            |health| health.leave(true),
        ];
        let probes = [State::Saturated, State::Down];
        for nth in 0..spoil.len() + probes.len() {
            let post = Arc::<Post>::default();
            let health = Health::at(Arc::clone(&post));
            assert!(!is_looked_at(&post), "{nth}");
            match spoil.get(nth) {
                Some(spoil) => spoil(&health),
                None => health.probed((judged(probes[nth - spoil.len()]), NOW), None, &[]),
            }
            assert!(is_looked_at(&post), "{nth}");
            assert!(health.state(Millis(1_001)) >= State::Saturated);
            assert!(is_looked_at(&post), "{nth}: it is still unfit");
            health.succeeded();
            health.probed((judged(State::Healthy), NOW), None, &[]);
            health.drain(false);
            health.leave(false);
            assert_eq!(health.state(Millis(100_000)), State::Healthy);
            assert!(!is_looked_at(&post), "{nth}: it is well");
        }
    }

    #[test]
    fn an_outlier_rests_longer_each_time_in_a_row() {
        let health = Health::default();
        health.judged_by_peers(true, Millis(0));
        assert_eq!(health.state(Millis(29_999)), State::Ejected);
        assert_eq!(health.state(Millis(30_000)), State::Healthy);
        health.judged_by_peers(true, Millis(30_000));
        assert_eq!(health.state(Millis(89_999)), State::Ejected);
        assert_eq!(health.state(Millis(90_000)), State::Healthy);
        health.judged_by_peers(false, Millis(90_000));
        health.judged_by_peers(true, Millis(100_000));
        assert_eq!(health.state(Millis(159_999)), State::Ejected);
        assert_eq!(health.state(Millis(160_000)), State::Healthy);
    }
}

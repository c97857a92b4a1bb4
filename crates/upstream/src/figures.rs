//! What is known of an instance at one moment, for who asks how full its upstream is.

use cutover_route::health::{Load, State};
use cutover_route::overflow::Figures;
use cutover_units::Millis;

use crate::health::Health;
use crate::live::InstanceLive;

/// The figures of an instance.
pub fn figures(live: &InstanceLive, health: &Health, now: Millis) -> Figures {
    let load = health.facts().map_or_else(Load::default, |facts| Load {
        waiting: facts.waiting,
        running: facts.running,
        slots: facts.slots.filter(|slots| *slots > 0),
        cache_permille: facts.cache_permille,
        warm: None,
    });
    // Where some wait still no stream begins: that it was long ago is no news of an engine that is idle.
    let some_wait = load.waiting.is_some_and(|waiting| waiting > 0)
        || load.slots.is_some_and(|slots| live.in_flight() > slots);
    let latency_us =
        if some_wait { live.any_first_content_us() } else { live.first_content_us(now) };
    // Nobody waits for one that refuses and serves nobody.
    let state = match health.state(now) {
        State::Saturated if !health.is_waited_for(now) => health.judged().state,
        state => state,
    };
    Figures {
        state,
        in_flight: live.in_flight(),
        placed: live.placed(),
        latency_us,
        load,
        on_trial: health.is_on_trial(),
        rests: health.rests_until(false, now).is_some() || health.is_waited_for(now),
    }
}

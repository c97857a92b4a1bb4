//! Loads of models that take long: which instance is told instead, and who is told of it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use cutover_route::health::State;
use tokio::time::{Instant, timeout};

use crate::health::{Health, Wanted};

/// A load that takes longer may hang. Forty gigabytes from a disk that reads a gigabyte in a second take less; where a
/// disk is slower, a second copy is read in elsewhere, which serves as well.
pub const LONG: Duration = Duration::from_mins(1);

/// A load that a request has under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) model: String,
    pub(crate) place: Option<u8>,
    pub(crate) since: Instant,
}

impl Load {
    /// Whether it may hang.
    pub(crate) fn is_long(&self) -> bool {
        self.since.elapsed() >= LONG
    }
}

/// Which of these instances, by their order, are to be told to read a model in, one by one until one of them does. None:
/// one reads it in that has not taken long, or all of them do.
pub fn to_be_told<'a>(
    able: impl Iterator<Item = &'a Health> + Clone,
    wanted: Wanted<'_>,
) -> Vec<usize> {
    if able.clone().any(|health| health.draws(wanted) && !health.loads_long(wanted)) {
        return Vec::new();
    }
    let idle = able.enumerate().filter(|(_, health)| !health.draws(wanted));
    idle.map(|(at, _)| at).collect()
}

/// A bit for each of these instances (its place, how it is, and whether it has a model in memory) that would have to read
/// the model in first, if one that can serve has it and is not full, or all do. None: whoever is asked now waits for a
/// load. One that is down tells nothing, and may not count as having what it had.
pub fn beside_warm(all: impl Iterator<Item = (usize, State, bool)>) -> Option<u64> {
    let (mut warm, mut cold, mut set) = (None, None, 0);
    for (at, state, has) in all {
        let fittest = if has { &mut warm } else { &mut cold };
        if state.can_serve() {
            *fittest = Some(fittest.map_or(state, |other: State| other.min(state)));
        }
        if !has && at < 64 {
            set |= 1 << at;
        }
    }
    match (warm, cold) {
        (None, Some(_)) => None,
        (Some(warm), Some(cold)) if warm >= State::Saturated && cold < State::Saturated => None,
        // Where none can serve, all may be tried.
        (None, None) => Some(0),
        _ => Some(set),
    }
}

/// Waits for a load, and says once that it takes long.
pub async fn noticed<T>(load: impl Future<Output = T>, is_long: impl FnOnce()) -> T {
    let mut load = pin!(load);
    if let Ok(loaded) = timeout(LONG, &mut load).await {
        return loaded;
    }
    is_long();
    load.await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use cutover_route::health::Judged;
    use cutover_wire::probe::Facts;
    use tokio::time::{advance, sleep};

    /// One whose load hung kept all others from being told for a quarter of an hour.
    #[tokio::test(start_paused = true)]
    async fn while_a_load_hangs_the_next_instance_is_told_and_one_at_a_time() {
        let healths = [(); 3].map(|()| Arc::new(Health::default()));
        let empty = || Facts { loaded: Some(Vec::new()), ..Facts::default() };
        for health in &healths {
            let now = cutover_units::Millis(0);
            health.probed((Judged::default(), now), Some(empty()), &["a:latest".to_owned()]);
        }
        for wanted in [Wanted::Known(0), Wanted::Named("a")] {
            let told = || to_be_told(healths.iter().map(|health| &**health), wanted);
            assert_eq!(told(), [0, 1, 2]);
            let first = healths[0].reads_in("a", Some(0));
            advance(Duration::from_millis(59_999)).await;
            assert!(told().is_empty(), "it may take its time");
            advance(Duration::from_millis(1)).await;
            assert_eq!(told(), [1, 2], "it hangs, and is not told again");
            // One more is asked of the same instance: it hangs nevertheless.
            let another = healths[0].reads_in("a", Some(0));
            assert_eq!(told(), [1, 2]);
            let second = healths[1].reads_in("a", Some(0));
            assert!(told().is_empty(), "one more at a time");
            advance(LONG).await;
            assert_eq!(told(), [2]);
            drop(second);
            assert_eq!(told(), [1, 2], "that one failed");
            drop(first);
            drop(another);
            assert_eq!(told(), [0, 1, 2]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_takes_long_is_told_of_once() {
        for (seconds, told) in [(59, 0), (61, 1), (900, 1)] {
            let mut times = 0;
            let load = async {
                sleep(Duration::from_secs(seconds)).await;
                seconds
            };
            assert_eq!(noticed(load, || times += 1).await, seconds);
            assert_eq!(times, told, "{seconds} s");
        }
    }
}

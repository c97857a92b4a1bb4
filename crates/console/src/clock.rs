//! The wall clock: the only place that reads it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cutover_units::{Millis, Utc};

/// Now, in milliseconds since the Unix epoch, UTC. A clock before 1970 reads 0.
pub fn now() -> Millis {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock file")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The clock as a value.
pub fn shared() -> Arc<dyn Fn() -> Millis + Send + Sync> {
    Arc::new(now)
}

/// A point in time as people read it: `2026-11-21 10:15:03 UTC`.
pub fn show(at: Millis) -> String {
    Utc::at(at).to_string()
}

/// How long ago, in the largest unit that says enough.
pub fn ago(at: Millis, now: Millis) -> String {
    match now.0.saturating_sub(at.0) / 1_000 {
        s @ 0..120 => format!("{s} s ago"),
        s @ 120..7_200 => format!("{} min ago", s / 60),
        s @ 7_200..172_800 => format!("{} h ago", s / 3_600),
        s => format!("{} d ago", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_are_shown_in_utc() {
        assert_eq!(show(Millis(0)), "1970-01-01 00:00:00 UTC");
        assert_eq!(show(Millis(951_782_399_999)), "2000-02-28 23:59:59 UTC");
        assert_eq!(show(Millis(951_782_400_000)), "2000-02-29 00:00:00 UTC");
        assert_eq!(show(Millis(1_795_256_103_000)), "2026-11-21 10:15:03 UTC");
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let now = Millis(10_000_000_000);
        let at = |seconds: u64| ago(Millis(now.0 - seconds * 1_000), now);
        assert_eq!(at(5), "5 s ago");
        assert_eq!(at(150), "2 min ago");
        assert_eq!(at(7_300), "2 h ago");
        assert_eq!(at(200_000), "2 d ago");
        assert_eq!(ago(Millis(now.0 + 5_000), now), "0 s ago");
    }
}

//! Times as texts.

use cutover_units::{Millis, Utc};

/// `2026-11-21T08:42:10.040Z`.
pub(crate) fn rfc3339(at: Millis) -> String {
    Utc::at(at).rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_date_says() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_868_799_000, "2000-02-29T23:59:59.000Z"),
            (1_795_250_530_040, "2026-11-21T08:42:10.040Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Millis(at)), text);
        }
        // Nothing a clock can say makes it panic.
        assert!(rfc3339(Millis(u64::MAX)).ends_with('Z'));
    }
}

//! Words that several crates write alike: bytes as digits, points in time, the word that was meant.

use std::fmt;

use crate::quantities::Millis;

/// Bytes as hexadecimal digits, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// A count with marks between thousands: `1,234,567`.
pub fn grouped(value: impl Into<u128>) -> String {
    let digits = value.into().to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A point in time as a calendar shows it, UTC. Displayed as `2026-11-21 10:15:03 UTC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utc {
    /// The year, from 1970 on.
    pub year: u64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59.
    pub second: u8,
    /// The millisecond, 0 to 999.
    pub ms: u16,
}

impl Utc {
    /// The calendar's reading at a point in time.
    pub fn at(at: Millis) -> Self {
        let (days, ms) = (at.0 / 86_400_000, at.0 % 86_400_000);
        let (year, month, day) = civil(days);
        let small = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
        Self {
            year,
            month: small(month),
            day: small(day),
            hour: small(ms / 3_600_000),
            minute: small(ms / 60_000 % 60),
            second: small(ms / 1_000 % 60),
            ms: u16::try_from(ms % 1_000).unwrap_or(u16::MAX),
        }
    }

    /// `2026-11-21T08:42:10.040Z`, after RFC 3339.
    pub fn rfc3339(&self) -> String {
        let Self { year, month, day, hour, minute, second, ms } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

/// Year, month and day of a day since 1970-01-01 (Howard Hinnant's `civil_from_days`, for days after
/// the epoch): years are counted from March, so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_0000_TO_1970: u64 = 719_468;
    const DAYS_OF_ERA: u64 = 146_097;
    let days = days + DAYS_0000_TO_1970;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, of_month)
}

/// The candidate that a mistyped word most likely meant, if one is near enough to be worth naming.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // The distance is quadratic in the length; no key or name of ours is longer.
    const WORD_BYTES_MAX: usize = 64;
    // So many names are compared; with more of them, a few mistakes go without a suggestion.
    const CANDIDATES_MAX: usize = 500;
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let folded = word.to_ascii_lowercase().replace('-', "_");
    let length = word.chars().count();
    let allowed = (length / 3).clamp(1, 3).min(length.saturating_sub(1));
    let candidates: Vec<_> = candidates.into_iter().take(CANDIDATES_MAX).collect();
    let misspelt = candidates
        .iter()
        .copied()
        .map(|c| {
            let other = c.to_ascii_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&folded, &other), c)
        })
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, c)| c);
    // `warning` for `warn`, `temp` for `temperature`.
    let is_longer = |c: &&str| {
        let shorter = length.min(c.len());
        shorter >= 4 && (c.starts_with(&folded) || folded.starts_with(c))
    };
    misspelt.or_else(|| candidates.iter().copied().find(|c| is_longer(c)))
}

/// The hint that goes with [`nearest`].
pub fn did_you_mean<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    nearest(word, candidates).map(|c| format!("did you mean {c:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_marks_between_thousands() {
        let texts = [0u32, 7, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "7", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(hex(&[]), "");
        assert_eq!(hex(&[0x00, 0x0f, 0xa5, 0xff]), "000fa5ff");
    }

    #[test]
    fn times_are_what_date_says() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_868_799_000, "2000-02-29T23:59:59.000Z"),
            (1_795_250_530_040, "2026-11-21T08:42:10.040Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Utc::at(Millis(at)).rfc3339(), text);
        }
        assert_eq!(Utc::at(Millis(1_795_256_103_000)).to_string(), "2026-11-21 10:15:03 UTC");
        // Nothing a clock can say makes it panic.
        assert!(Utc::at(Millis(u64::MAX)).rfc3339().ends_with('Z'));
    }

    #[test]
    fn a_hint_is_given_only_for_a_near_miss() {
        let keys = ["instances", "base_url", "key"];
        assert_eq!(nearest("instanses", keys), Some("instances"));
        assert_eq!(nearest("base-url", keys), Some("base_url"));
        assert_eq!(nearest("temperature", keys), None);
        assert_eq!(nearest("k", ["a", "b"]), None, "any letter is as near");
        assert_eq!(nearest("warning", ["info", "warn"]), Some("warn"));
        assert_eq!(nearest(&"k".repeat(1_000), keys), None);
        assert_eq!(did_you_mean("kee", keys).as_deref(), Some("did you mean \"key\"?"));
    }
}

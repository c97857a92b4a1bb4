//! Numbers, percentages, durations and money as people write them.

use std::fmt;

use cutover_units::{Millis, NanoUsd};

use super::{TextError, did_you_mean};

/// Units of time, largest first, with their milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// Nobody writes a longer duration on purpose.
const DURATION_MAX: u64 = 3_660 * 86_400_000;

/// A duration that prints in the largest unit that holds it exactly: `90 min`, `1 d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Millis);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.0;
        if ms == 0 {
            return f.write_str("0 s");
        }
        for (unit, size) in UNITS {
            if ms.is_multiple_of(size) {
                return write!(f, "{} {unit}", ms / size);
            }
        }
        write!(f, "{ms} ms")
    }
}

/// A measured or expected duration as reports tell it, without digits that nobody reads: its two
/// largest units, rounded up to 1 s below 10 s, to 10 s below 10 min, to 1 min below 10 h, to 1 h
/// above. With [`Age`] the one place that rounds times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About(pub Millis);

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.0;
        let to = if (10_000..600_000).contains(&ms) { 10_000 } else { precision(ms) };
        two_units(f, ms.div_ceil(to).saturating_mul(to))
    }
}

/// A time that has passed: its two largest units, rounded down to 1 s below 10 min, to 1 min below
/// 10 h, to 1 h above. Nothing is older than what it began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(pub Millis);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = precision(self.0.0);
        two_units(f, self.0.0 / to * to)
    }
}

/// To what a time of this length is told.
fn precision(ms: u64) -> u64 {
    match ms {
        0..600_000 => 1_000,
        600_000..36_000_000 => 60_000,
        _ => 3_600_000,
    }
}

fn two_units(f: &mut fmt::Formatter<'_>, ms: u64) -> fmt::Result {
    let largest = UNITS.iter().position(|(_, size)| ms >= *size);
    let Some((place, (unit, size))) = largest.map(|place| (place, UNITS[place])) else {
        return f.write_str("0 s");
    };
    write!(f, "{} {unit}", ms / size)?;
    match UNITS.get(place + 1).map(|(unit, size)| (unit, ms % UNITS[place].1 / size)) {
        Some((unit, rest)) if rest > 0 => write!(f, " {rest} {unit}"),
        _ => Ok(()),
    }
}

/// Reads `1 h`, `30 min`, `0.5 d`, `800ms`.
pub fn parse_duration(text: &str) -> Result<Millis, TextError> {
    let text = text.trim();
    let bad = |problem: String| TextError::new(text, problem, "30 min");
    let (number, unit) = split_number(text);
    let size = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size);
    let Some(size) = size else {
        let names: Vec<_> = UNITS.iter().map(|(name, _)| *name).collect();
        let problem = if unit.is_empty() {
            format!("a duration needs a unit ({})", names.join(", "))
        } else {
            format!("{unit:?} is no unit of time{}", did_you_mean(unit, &names))
        };
        return Err(bad(problem));
    };
    let value = number_of(number).ok_or_else(|| bad("a duration begins with a number".into()))?;
    let ms = value * size as f64;
    if ms > DURATION_MAX as f64 {
        return Err(bad("longer than ten years".into()));
    }
    Ok(Millis(rounded(ms)))
}

/// `4 s` > (`4`, `s`); `95%` > (`95`, `%`).
pub(super) fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (number, rest.trim())
}

/// A plain decimal number: digits and at most one point.
pub(super) fn number_of(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| text.parse::<f64>().ok())?.filter(|value| value.is_finite())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by the caller and not negative"
)]
fn rounded(value: f64) -> u64 {
    value.round() as u64
}

/// A number without noise behind the tenth decimal: what `0.07 * 100` prints as.
pub(crate) fn decimal(value: f64) -> String {
    let text = format!("{value:.10}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Dollars with up to nine decimals.
pub(super) fn parse_usd(text: &str) -> Option<NanoUsd> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || part.len() > 9 || !digits(whole) || !digits(part) {
        return None;
    }
    let nano: u64 = format!("{part:0<9}").parse().ok()?;
    Some(NanoUsd(whole.parse::<u64>().ok()? * 1_000_000_000 + nano))
}

/// Dollars with at least two decimals and no noise.
pub(crate) fn usd(amount: NanoUsd) -> String {
    let (whole, nano) = (amount.0 / 1_000_000_000, amount.0 % 1_000_000_000);
    let part = format!("{nano:09}");
    let part = part.trim_end_matches('0');
    format!("{whole}.{part:0<2}")
}

//! Money as text, exactly.

/// Most that one amount may be, in billionths: a billion dollars.
const NANO_MAX: i128 = 1_000_000_000_000_000_000;

/// Reads a decimal such as `12.5`, `-0.00031` or `1.2e-6` times ten to the `shift` as an integer. Digits
/// below the last are rounded half away from zero.
pub(crate) fn scaled(text: &str, shift: i32) -> Result<i64, String> {
    let bad = || format!("{} is no amount", shown(text));
    let text = text.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| bad())?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + part.len() == 0 || !all_digits(whole) || !all_digits(part) {
        return Err(bad());
    }
    if whole.len() + part.len() > 60 || exponent.abs() > 60 {
        return Err(bad());
    }
    // Places that stay before the point after the shift.
    let places = i32::try_from(whole.len()).map_err(|_| bad())? + exponent + shift;
    let all: Vec<u8> = whole.bytes().chain(part.bytes()).collect();
    let mut sum: i128 = 0;
    for at in 0..places.max(0) {
        let digit = usize::try_from(at).ok().and_then(|at| all.get(at)).map_or(0, |b| b - b'0');
        sum = sum.saturating_mul(10).saturating_add(i128::from(digit));
        if sum > NANO_MAX {
            return Err(format!("{} is too much to be true", shown(text)));
        }
    }
    let next = usize::try_from(places).ok().and_then(|at| all.get(at));
    if next.is_some_and(|digit| *digit >= b'5') {
        sum += 1;
    }
    i64::try_from(if negative { -sum } else { sum }).map_err(|_| bad())
}

/// Billionths of a unit.
pub(crate) fn nano(text: &str) -> Result<i64, String> {
    scaled(text, 9)
}

/// At most so much of a cell is repeated in an error: it may be anything.
pub(crate) fn shown(text: &str) -> String {
    const CHARS: usize = 32;
    let short: String = text.chars().take(CHARS).collect();
    let more = if text.chars().nth(CHARS).is_some() { "..." } else { "" };
    format!("{short:?}{more}")
}

/// Billionths of a dollar per million tokens as dollars, without needless zeros: `0.15`.
pub fn usd_text(nano: u64) -> String {
    let (whole, part) = (nano / 1_000_000_000, nano % 1_000_000_000);
    let part = format!("{part:09}");
    let part = part.trim_end_matches('0');
    if part.is_empty() { whole.to_string() } else { format!("{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_exact_to_the_billionth() {
        for (text, expect) in [
            ("0.1", 100_000_000),
            ("12", 12_000_000_000),
            ("-0.000000031", -31),
            ("2.5e-6", 2_500),
            ("1e-10", 0),
            ("5e-10", 1),
            ("9.9999999995", 10_000_000_000),
            ("+.5", 500_000_000),
            ("1E2", 100_000_000_000),
        ] {
            assert_eq!(nano(text), Ok(expect), "{text}");
        }
        for bad in ["", ".", "1,5", "$3", "1.2.3", "NaN", "inf", "1e999", "9999999999999", "--1"] {
            assert!(nano(bad).is_err(), "{bad}");
        }
        assert_eq!(scaled("123.45", 7), Ok(1_234_500_000), "cents");
        assert_eq!((usd_text(150_000_000), usd_text(0)), ("0.15".into(), "0".into()));
    }

    proptest! {
        #[test]
        fn a_dollar_text_reads_back_equal(value in 0u64..1_000_000_000_000_000) {
            prop_assert_eq!(nano(&usd_text(value)), Ok(i64::try_from(value).unwrap()));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = (nano(&text), scaled(&text, -40));
        }
    }
}

//! Durations, sizes and prices as people write them.
//!
//! Each reader accepts a number and a unit, refuses a bare number (its unit would be a guess), and
//! each printer gives a text that reads back as the same value.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `"10 s"`, `"250ms"`, `"1 min"`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let form = "write a whole number and ms, s, min, h or d, such as \"10 s\"";
    quantity(text, &DURATION_UNITS).map(Duration::from_millis).map_err(|unit| match unit {
        Some("m") => format!("unit \"m\" could be minutes or months; {form}"),
        Some(unit) => format!("{unit:?} is not a unit of time; {form}"),
        None => form.to_owned(),
    })
}

/// Prints a duration with the largest unit that keeps it whole. Parts below a millisecond are
/// dropped: no reader makes them.
pub fn print_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    print(ms, &DURATION_UNITS)
}

/// Reads `"32 MiB"`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let form = "write a whole number and B, KiB, MiB or GiB, such as \"32 MiB\"";
    quantity(text, &SIZE_UNITS).map_err(|unit| match unit {
        Some(unit @ ("kB" | "KB" | "MB" | "GB" | "K" | "M" | "G" | "k" | "kb" | "mb" | "gb")) => {
            format!("unit {unit:?} could mean 1000 or 1024; {form}")
        }
        Some(unit) => format!("{unit:?} is not a unit of size; {form}"),
        None => form.to_owned(),
    })
}

/// Prints a size with the largest unit that keeps it whole.
pub(crate) fn print_size(bytes: u64) -> String {
    print(bytes, &SIZE_UNITS)
}

/// The number of the unit in a text; on failure the unit that is not known, if one is there.
fn quantity<'t>(text: &'t str, units: &[(&str, u64)]) -> Result<u64, Option<&'t str>> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let number: u64 = number.parse().map_err(|_| None)?;
    if unit.is_empty() || !unit.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(None);
    }
    let factor = units.iter().find(|(name, _)| *name == unit).ok_or(Some(unit))?.1;
    number.checked_mul(factor).ok_or(None)
}

fn print(value: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    let (unit, factor) = whole.or(units.last()).copied().unwrap_or(("", 1));
    format!("{} {unit}", value / factor)
}

/// Digits after the point that a price may have: `"0.0375"` and much finer are exact.
const PRICE_DECIMALS: usize = 9;

/// The dearest price accepted, in US dollars per million tokens: above every price ever listed,
/// and small enough that a request's cost cannot overflow.
const PRICE_USD_MAX: u64 = 1_000_000;

/// Reads US dollars per million tokens (`"0.15"`, `2.5`, `10`) as billionths of a dollar per million
/// tokens, exactly: decimal digits only, no floating point on the way.
pub(crate) fn parse_price(text: &str) -> Result<u64, String> {
    let form = || {
        format!(
            "write US dollars per million tokens as a decimal number with at most {PRICE_DECIMALS} \
             decimals, such as \"0.15\""
        )
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > PRICE_DECIMALS {
        return Err(form());
    }
    let whole: u64 = whole.parse().map_err(|_| form())?;
    if whole > PRICE_USD_MAX {
        return Err(format!("a price is at most {PRICE_USD_MAX} US dollars per million tokens"));
    }
    let part: u64 = format!("{part:0<PRICE_DECIMALS$}").parse().map_err(|_| form())?;
    Ok(whole * 1_000_000_000 + part)
}

/// Reads US dollars (`"5.00"`) as billionths of one, exactly.
pub(crate) fn parse_usd(text: &str) -> Result<u64, String> {
    parse_price(text).map_err(|_| {
        format!(
            "write US dollars as a decimal number of at most {PRICE_USD_MAX}, such as \"5.00\", or \
             \"unlimited\""
        )
    })
}

/// Prints a price, or an amount of dollars, so that it reads back equal.
pub(crate) fn print_price(nano_usd_per_mtok: u64) -> String {
    let (whole, part) = (nano_usd_per_mtok / 1_000_000_000, nano_usd_per_mtok % 1_000_000_000);
    let part = format!("{part:09}");
    let part = part.trim_end_matches('0');
    if part.is_empty() { format!("{whole}") } else { format!("{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(parse_duration("10 s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration(" 30 d "), Ok(Duration::from_hours(720)));
        assert_eq!(print_duration(Duration::from_secs(90)), "90 s");
        assert_eq!(print_duration(Duration::from_mins(2)), "2 min");
        for bad in
            ["", "10", "s", "-1 s", "1.5 s", "1e3 s", "10 sec", "99999999999999 d", "1 s 2 s"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert!(parse_duration("5m").expect_err("ambiguous").contains("months"));
    }

    #[test]
    fn sizes_refuse_units_that_could_mean_two_things() {
        assert_eq!(parse_size("32 MiB"), Ok(32 << 20));
        assert_eq!(print_size(64 << 10), "64 KiB");
        assert!(parse_size("32 MB").expect_err("ambiguous").contains("1000 or 1024"));
        assert!(parse_size("32").is_err());
    }

    #[test]
    fn prices_are_exact() {
        assert_eq!(parse_price("0.15"), Ok(150_000_000));
        assert_eq!(parse_price("0.0375"), Ok(37_500_000));
        assert_eq!(parse_price("10"), Ok(10_000_000_000));
        for bad in ["", ".5", "5.", "-1", "1e3", "1,5", "0.0000000001", "1000001", "$1", "٣"] {
            assert!(parse_price(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_equal(value in 0u64..1 << 50) {
            let duration = Duration::from_millis(value);
            prop_assert_eq!(parse_duration(&print_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&print_size(value)), Ok(value));
            let price = value % (PRICE_USD_MAX * 1_000_000_000);
            prop_assert_eq!(parse_price(&print_price(price)), Ok(price));
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in ".{0,30}") {
            let _ = (parse_duration(&text), parse_size(&text), parse_price(&text));
        }
    }
}

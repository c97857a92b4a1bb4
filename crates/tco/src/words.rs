//! Numbers as a person reads them.

use cutover_units::grouped;

use crate::inputs::Unit;
use crate::nano::Nano;

/// Dollars: two decimals, more below a dollar, marks between thousands.
pub fn usd(value: Nano) -> String {
    let decimals = match value.abs().0 {
        0 => 2,
        v if v < 10_000_000 => 6,
        v if v < 1_000_000_000 => 4,
        _ => 2,
    };
    let text = fixed(value.abs(), decimals);
    let sign = if value.0 < 0 { "-" } else { "" };
    format!("{sign}${text}")
}

/// Dollars in a sentence: no cents from a thousand on.
pub fn about(value: Nano) -> String {
    if value.abs() < Nano::whole(1_000) {
        return usd(value);
    }
    let sign = if value.0 < 0 { "-" } else { "" };
    format!("{sign}${}", fixed(value.abs(), 0))
}

/// A percentage with at most one decimal.
pub fn percent(share: Nano) -> String {
    let text = fixed(Nano(share.0 * 100), 1);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// With so many decimals and marks between thousands.
pub fn fixed(value: Nano, decimals: u32) -> String {
    let step = 10_u128.pow(9 - decimals.min(9));
    let scaled = (value.0.unsigned_abs() + step / 2) / step;
    let unit = 10_u128.pow(decimals.min(9));
    let sign = if value.0 < 0 && scaled > 0 { "-" } else { "" };
    let whole = grouped(scaled / unit);
    if decimals == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{:0width$}", scaled % unit, width = decimals as usize)
}

/// A number with at most so many decimals, none of them a trailing zero.
pub fn short(value: Nano, decimals: u32) -> String {
    let text = fixed(value, decimals);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A value of an input with its unit.
pub fn quantity(unit: Unit, value: Nano) -> String {
    match unit {
        Unit::Usd => usd(value),
        Unit::UsdPerMillion => format!("{} per million", usd(value)),
        Unit::Share => format!("{} %", short(Nano(value.0 * 100), 2)),
        Unit::Count | Unit::Tokens => short(value, 0),
        Unit::Factor => short(value, 3),
        Unit::Hours => format!("{} h", short(value, 2)),
        Unit::Kilowatts => format!("{} kW", short(value, 3)),
        Unit::Months => format!("{} months", short(value, 1)),
        Unit::TokensPerSecond => format!("{} tokens/s", short(value, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_as_people_write_it() {
        let usd = |text: &str| usd(Nano::parse(text).unwrap());
        assert_eq!(usd("1234567.894"), "$1,234,567.89");
        assert_eq!(usd("-0.0003"), "-$0.000300");
        assert_eq!(
            (usd("0"), usd("0.2348"), usd("999.999")),
            ("$0.00".into(), "$0.2348".into(), "$1,000.00".into())
        );
        assert_eq!(percent(Nano::parse("0.666666667").unwrap()), "66.7 %");
        assert_eq!(quantity(Unit::Share, Nano::parse("0.05").unwrap()), "5 %");
        assert_eq!(short(Nano::parse("9").unwrap(), 1), "9");
        assert_eq!(short(Nano::parse("100").unwrap(), 0), "100");
    }
}

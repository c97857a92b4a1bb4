//! Numbers in billionths: dollars, shares, hours and tokens alike, exact to nine decimals.
//!
//! Contract: sums are exact; a product or quotient is rounded once, half away from zero. Inputs are bounded
//! (see `inputs`), so that nothing of a checked scenario reaches the ends of 128 bits; what would is held there.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub};

use cutover_units::Wrong;

/// A number in billionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nano(pub i128);

const UNIT: i128 = 1_000_000_000;

impl Nano {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(UNIT);

    /// A whole number.
    pub const fn whole(n: i64) -> Self {
        Self(n as i128 * UNIT)
    }

    /// The product.
    #[must_use]
    pub fn times(self, by: Self) -> Self {
        Self(rounded(self.0.saturating_mul(by.0), UNIT))
    }

    /// The quotient; none by zero.
    pub fn over(self, by: Self) -> Option<Self> {
        (by.0 != 0).then(|| Self(rounded(self.0.saturating_mul(UNIT), by.0)))
    }

    /// The next whole number that is not smaller.
    #[must_use]
    pub fn up(self) -> Self {
        Self(-(-self.0).div_euclid(UNIT) * UNIT)
    }

    /// Halfway to another number.
    #[must_use]
    pub fn middle(self, other: Self) -> Self {
        Self(self.0 + (other.0 - self.0) / 2)
    }

    /// Without its sign.
    #[must_use]
    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// For charts and for ordering only: money is never computed with it.
    pub fn approx(self) -> f64 {
        self.0 as f64 / UNIT as f64
    }

    /// Reads `3`, `0.015`, `4,200`, `3_600`, `100k`, `50M`, `1.2B`.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let bad = || Wrong::new(format!("{text:?} is not a number such as 3, 0.015, 4,200 or 50M"));
        let text = text.trim();
        let (sign, rest) = match text.strip_prefix(['-', '\u{2212}']) {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (digits, scale) = match rest.char_indices().last() {
            Some((at, 'k' | 'K')) => (&rest[..at], 1_000),
            Some((at, 'M')) => (&rest[..at], 1_000_000),
            Some((at, 'B' | 'G')) => (&rest[..at], 1_000_000_000),
            _ => (rest, 1),
        };
        let (whole, part) = digits.trim_end().split_once('.').unwrap_or((digits.trim_end(), ""));
        let whole = ungrouped(whole).ok_or_else(bad)?;
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        // Nine decimals are kept: a tenth would be dropped in silence.
        if whole.len() > 18 || part.len() > 9 || !all_digits(part) {
            return Err(bad());
        }
        let whole: i128 = whole.parse().map_err(|_| bad())?;
        let part: i128 = format!("{part:0<9}").parse().map_err(|_| bad())?;
        Ok(Self(sign * (whole * UNIT + part) * scale))
    }
}

/// Digits without the marks between groups. A comma that does not stand before three digits is none.
fn ungrouped(text: &str) -> Option<String> {
    let mark = if text.contains('_') { '_' } else { ',' };
    let groups: Vec<&str> = text.split(mark).collect();
    let digits = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    let grouped = groups.len() == 1
        || (groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3));
    (grouped && groups.iter().all(|group| digits(group))).then(|| groups.concat())
}

fn rounded(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    let away = rest.abs().saturating_mul(2) >= by.abs();
    let sign = if (value < 0) == (by < 0) { 1 } else { -1 };
    if away { quotient + sign } else { quotient }
}

impl Add for Nano {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nano {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Nano {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Nano {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for Nano {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, |sum, one| sum + one)
    }
}

/// All decimals that are not zero, without marks between groups: what a program reads.
impl fmt::Display for Nano {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) =
            (self.0.unsigned_abs() / 1_000_000_000, self.0.unsigned_abs() % 1_000_000_000);
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        let part = format!("{part:09}");
        write!(f, "{sign}{whole}.{}", part.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn n(text: &str) -> Nano {
        Nano::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, wanted) in [
            ("3", "3"),
            ("0.015", "0.015"),
            ("4,200", "4200"),
            ("3_600", "3600"),
            ("100k", "100000"),
            ("1.2B", "1200000000"),
            ("-2.50", "-2.5"),
            ("0.000000001", "0.000000001"),
        ] {
            assert_eq!(n(text).to_string(), wanted);
        }
        for bad in ["", "x", "1,23", "1.2.3", "0.0000000001", "1e5", "--1", "k", "4,20,000"] {
            assert!(Nano::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn products_and_quotients_are_rounded_half_away() {
        assert_eq!(n("0.45").times(n("8760")), n("3942"));
        assert_eq!(Nano(1).times(Nano(500_000_000)), Nano(1));
        assert_eq!(Nano(-1).times(Nano(500_000_000)), Nano(-1));
        assert_eq!(n("2").over(n("3")).unwrap(), n("0.666666667"));
        assert_eq!(n("1").over(Nano::ZERO), None);
        assert_eq!((n("2.1").up(), n("2").up(), n("-2.1").up()), (n("3"), n("2"), n("-2")));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in -1_000_000_000_000_000_000i128..1_000_000_000_000_000_000) {
            prop_assert_eq!(Nano::parse(&Nano(value).to_string()).unwrap(), Nano(value));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = Nano::parse(&text);
        }
    }
}

//! Classes of use cases. A bill does not know what a mistake costs: it knows when requests come and how
//! many, so the rules are about that, and what is critical for other reasons is the user's word.

/// A class of use cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Move it last.
    Critical,
    /// Requests on most days.
    Steady,
    /// Most requests within three hours of the day.
    Scheduled,
    /// The rest.
    Occasional,
}

/// A class and its rule.
#[derive(Debug)]
pub struct ClassRule {
    /// The class.
    pub class: Class,
    /// Its name.
    pub name: &'static str,
    /// When a use case is of it; the first rule that holds decides.
    pub rule: &'static str,
}

/// All classes in the order in which their rules are tried.
pub const CLASSES: &[ClassRule] = &[
    ClassRule {
        class: Class::Critical,
        name: "critical",
        rule: "named with --critical, or it has half of all requests (where they are counted) or half of \
               the cost, and usage on 90 % of the days",
    },
    ClassRule {
        class: Class::Scheduled,
        name: "scheduled",
        rule: "80 % of its requests within the same 3 hours of the day (UTC), at least 20 of them on at \
               least 2 days; unknown where a source has only sums of days",
    },
    ClassRule { class: Class::Steady, name: "steady", rule: "usage on half of the days" },
    ClassRule { class: Class::Occasional, name: "occasional", rule: "all others" },
];

/// What the rules look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) named: bool,
    /// Of all requests and of all cost, per mille; the larger one.
    pub(crate) share: u64,
    pub(crate) active_days: u64,
    pub(crate) all_days: u64,
    pub(crate) by_hour: &'a [u64; 24],
    pub(crate) without_hour: u64,
}

impl Class {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        CLASSES.iter().find(|row| row.class == self).map_or("", |row| row.name)
    }

    pub(crate) fn of(shape: Shape<'_>) -> Self {
        let days = shape.all_days.max(1);
        if shape.named || (shape.share >= 500 && shape.active_days * 10 >= days * 9) {
            return Self::Critical;
        }
        if is_scheduled(shape) {
            return Self::Scheduled;
        }
        if shape.active_days * 2 >= days { Self::Steady } else { Self::Occasional }
    }
}

fn is_scheduled(shape: Shape<'_>) -> bool {
    let all: u64 = shape.by_hour.iter().sum();
    let window = |at: usize| -> u64 { (0..3).map(|n| shape.by_hour[(at + n) % 24]).sum() };
    let most = (0..24).map(window).max().unwrap_or(0);
    shape.without_hour == 0 && all >= 20 && shape.active_days >= 2 && most * 10 >= all * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_holds_decides() {
        let mut night = [0; 24];
        (night[23], night[0], night[1], night[12]) = (40, 30, 20, 10);
        let flat = [10; 24];
        let shape = |share, active_days, by_hour| Shape {
            named: false,
            share,
            active_days,
            all_days: 30,
            by_hour,
            without_hour: 0,
        };
        assert_eq!(Class::of(Shape { named: true, ..shape(0, 1, &flat) }), Class::Critical);
        assert_eq!(Class::of(shape(500, 27, &night)), Class::Critical);
        assert_eq!(Class::of(shape(499, 27, &night)), Class::Scheduled);
        assert_eq!(Class::of(shape(100, 1, &night)), Class::Occasional, "one night is no schedule");
        assert_eq!(Class::of(shape(100, 15, &flat)), Class::Steady);
        assert_eq!(Class::of(shape(900, 14, &flat)), Class::Occasional);
        let daily = Shape { without_hour: 9, ..shape(100, 20, &night) };
        assert_eq!(Class::of(daily), Class::Steady, "sums of days know no hour");
    }
}

//! What is out of the ordinary about a request, for its record.

/// One such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// An attempt was not made because a retry budget was spent.
    HeldBack = 1,
    /// A second instance was asked while the first was silent.
    Hedged = 2,
    /// The stream broke off and went on elsewhere.
    Continued = 4,
    /// An attempt that was given up may be billed, or tools that ran at the vendor's: the cost is that of the
    /// answer's tokens alone.
    CostPartial = 8,
}

const ALL: [(Mark, &str); 4] = [
    (Mark::HeldBack, "retry_held_back"),
    (Mark::Hedged, "hedged"),
    (Mark::Continued, "continued"),
    (Mark::CostPartial, "cost_partial"),
];

/// Those of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// Adds one.
    pub fn add(&mut self, mark: Mark) {
        self.0 |= mark as u8;
    }

    /// Whether it is among them.
    pub fn has(self, mark: Mark) -> bool {
        self.0 & mark as u8 != 0
    }

    /// Their words in the record.
    pub fn words(self) -> Vec<&'static str> {
        ALL.iter().filter(|(mark, _)| self.has(*mark)).map(|(_, word)| *word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_its_own() {
        let mut marks = Marks::default();
        assert!(marks.words().is_empty());
        for (count, (mark, word)) in ALL.into_iter().enumerate() {
            assert!(!marks.has(mark));
            marks.add(mark);
            assert_eq!((marks.words().len(), marks.words().last()), (count + 1, Some(&word)));
        }
    }
}

//! Equal observations in a row, taken at the price of one: most units did not fail. A run never outlives
//! its window, so a checkpoint has none.

/// The present run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Run {
    value: f64,
    times: u64,
}

impl Run {
    /// Takes one; the run that it ended, if it ended one.
    pub(crate) fn push(&mut self, value: f64) -> Option<(f64, u64)> {
        if self.times > 0 && value.to_bits() == self.value.to_bits() {
            self.times += 1;
            return None;
        }
        let ended = self.end();
        *self = Self { value, times: 1 };
        ended
    }

    /// Ends the run.
    pub(crate) fn end(&mut self) -> Option<(f64, u64)> {
        let Self { value, times } = std::mem::take(self);
        (times > 0).then_some((value, times))
    }
}

//! What an instance is fit for, in one word.
//!
//! The words are ordered: the balancer takes the first of them for which there is an instance left,
//! so that a doubt about an instance costs it traffic only while another can serve. `Cold` is for it
//! the same as `Healthy`: what a load is worth is the policy's to say. `Draining` alone is final: its
//! requests end, and no new one begins.

/// What an instance is fit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum State {
    /// It answers.
    #[default]
    Healthy = 0,
    /// It answers, but has to load the model first.
    Cold = 1,
    /// It answers others: its queue or its slots are full.
    Saturated = 2,
    /// It failed lately and rests.
    Ejected = 3,
    /// Its probe finds nobody there.
    Down = 4,
    /// It was taken out: what it has begun it ends.
    Draining = 5,
}

/// All states, in their order.
pub const STATES: [State; 6] =
    [State::Healthy, State::Cold, State::Saturated, State::Ejected, State::Down, State::Draining];

impl State {
    /// The word in status, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Cold => "cold",
            Self::Saturated => "saturated",
            Self::Ejected => "ejected",
            Self::Down => "down",
            Self::Draining => "draining",
        }
    }

    /// The state that was stored as a number; what no state has is `Down`.
    pub fn from_u8(stored: u8) -> Self {
        STATES.get(usize::from(stored)).copied().unwrap_or(Self::Down)
    }

    /// Whether a request sent now is expected to be answered, if perhaps late.
    pub fn can_serve(self) -> bool {
        matches!(self, Self::Healthy | Self::Cold | Self::Saturated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_being_stored() {
        for state in STATES {
            assert_eq!(State::from_u8(state as u8), state);
        }
        assert_eq!(State::from_u8(77), State::Down);
    }

    #[test]
    fn the_order_is_the_one_in_which_instances_are_taken() {
        assert!(STATES.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

//! One after the other.

use super::{Choice, Draw, Policy};

pub(super) const POLICY: Policy = Policy {
    name: "round-robin",
    doc: "One after the other. Even in number, blind to load: for equal instances and equal requests.",
    reads_prefix: false,
    choose,
};

fn choose(choice: &Choice<'_>, draw: &Draw) -> usize {
    choice.nth(draw.turn as usize)
}

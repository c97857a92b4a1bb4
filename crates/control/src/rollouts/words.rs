//! Words for what is decided, as in the API, in labels and in the log.

use cutover_rollout::{Action, Actor};

/// The word of an action, as in the API.
pub(crate) fn action_word(action: Action) -> &'static str {
    match action {
        Action::Start => "start",
        Action::Advance => "advance",
        Action::Hold => "hold",
        Action::Resume => "resume",
        Action::Pause => "pause",
        Action::Approve => "approve",
        Action::Promote => "promote",
        Action::RollBack => "roll_back",
        Action::Restart => "restart",
        Action::Alarm => "alarm",
    }
}

/// Who acted.
pub(crate) fn actor_word(actor: &Actor) -> &str {
    match actor {
        Actor::Controller => "controller",
        Actor::User { name } => name,
    }
}

//! `[webhooks.NAME]`.

use cutover_rollout::Action;
use cutover_units::UseCaseName;

use crate::fields::EVENTS;
use crate::reader::{NamedTable, Weight};
use crate::rollouts::Webhook;
use crate::sections::shapes;
use crate::values::{self, Wrong};

/// The actions behind [`EVENTS`], in the same order.
const ACTIONS: [Action; 10] = [
    Action::Start,
    Action::Advance,
    Action::Hold,
    Action::Resume,
    Action::Pause,
    Action::Approve,
    Action::Promote,
    Action::RollBack,
    Action::Restart,
    Action::Alarm,
];

pub(crate) fn read(entry: &NamedTable<'_>) -> Option<Webhook> {
    let table = &entry.table;
    // A webhook's name obeys the same rules as all others: it becomes a label.
    let name = UseCaseName::new(entry.name)
        .map_err(|why| table.note_self(Weight::Wrong, Wrong::new(why.to_string())))
        .ok();
    let url = table.read("url", values::web_url);
    let secret_given = table.given("secret").is_some();
    let secret = shapes::secret_key(table, "secret");
    let events = table.read_set("events", values::choice);
    let timeout = table.read("timeout", values::duration);
    if secret_given && secret.is_none() {
        return None;
    }
    let events: Vec<Action> = events?.iter().filter_map(|word| action(word)).collect();
    if table.given("events").is_some() && events.is_empty() {
        table.wrong("events", "nothing would ever be told", None);
    }
    Some(Webhook {
        name: name?.to_string(),
        url: url?,
        secret,
        events: if events.is_empty() { ACTIONS.to_vec() } else { events },
        timeout: timeout?,
    })
}

fn action(word: &str) -> Option<Action> {
    let at = EVENTS.iter().position(|event| *event == word)?;
    ACTIONS.get(at).copied()
}

/// The word of an action in the file.
pub(crate) fn word(action: Action) -> &'static str {
    let at = ACTIONS.iter().position(|known| *known == action);
    at.and_then(|at| EVENTS.get(at)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_its_actions_own() {
        for (action, event) in ACTIONS.into_iter().zip(EVENTS) {
            assert_eq!(serde_json::to_value(action).unwrap(), *event);
            assert_eq!(word(action), *event);
        }
        assert_eq!(ACTIONS.len(), EVENTS.len());
    }
}

//! `[webhooks.NAME]`.

use cutover_rollout::Action;
use cutover_units::UseCaseName;

use crate::reader::{NamedTable, Weight};
use crate::rollouts::Webhook;
use crate::sections::shapes;
use crate::values::{self, Wrong};

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
    let give_up = table.read("give_up", values::duration);
    if secret_given && secret.is_none() {
        return None;
    }
    let known = |word: &&str| Action::ALL.into_iter().find(|action| action.as_str() == *word);
    let events: Vec<Action> = events?.iter().filter_map(known).collect();
    if table.given("events").is_some() && events.is_empty() {
        table.wrong("events", "nothing would ever be told", None);
    }
    Some(Webhook {
        name: name?.to_string(),
        url: url?,
        secret,
        events: if events.is_empty() { Action::ALL.to_vec() } else { events },
        timeout: timeout?,
        give_up: give_up?,
    })
}

//! Rows of what engines hold and take at a time.

use super::Field;
use super::Kind::{Bool, Choice};
use super::kinds::{COUNT_MAX, count, value, words};
use crate::loading::Cold;

pub(super) const IN_FLIGHT_LIMIT: Field = words(
    "in_flight_limit",
    count(1, COUNT_MAX),
    "4 for provider ollama, else none",
    "So many requests of cutover's at once make an instance count as saturated: it is passed over while another one is not, and overflow sees it. Ollama tells of no queue, so that its default allows one request to be answered and three to wait; with OLLAMA_NUM_PARALLEL set, give some multiple of that. `max_connections` is the hard limit.",
);

pub(super) const WARM: Field = value(
    "warm",
    Bool,
    "false",
    "For provider ollama: whether cutover keeps the model in memory on every instance. It is read in at the start, before the variant gets traffic, and again (at most once a minute) when a probe finds that an instance has let go of it; so it needs `probes`. Without it the first request waits for that.",
);

pub(super) const COLD: Field = value(
    "cold",
    Choice(Cold::WORDS),
    r#""wait""#,
    "What becomes of a request for the candidate while no instance has its model in memory (provider ollama). \"wait\": it waits until the model is read in. \"baseline\": the baseline answers, and the model is read in meanwhile; such requests count as fallen back. So it is while all that have it are full and another has room: nobody waits for its load.",
);

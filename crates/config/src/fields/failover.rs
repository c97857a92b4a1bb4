//! Rows of what says how often, until when and where a request is asked again.

use super::Field;
use super::Kind::{Bool, Choice, Percent};
use super::kinds::{count, deadline, value, words};
use crate::failover::OnInterrupt;

pub(super) const RETRY_BUDGET: Field = value(
    "retry_budget",
    Percent,
    r#""20%""#,
    "How much may be asked again: retries as a share of the requests of the last ten seconds, so that retries cannot double the load of a service that is down. It holds for a second attempt at this upstream, a hedge and a continued stream. The baseline's answer for a candidate that failed is never held back by it.",
);

pub(super) const RETRY_BUDGET_MIN: Field = value(
    "retry_budget_min",
    count(0, 1_000),
    "10",
    "Retries per second that are allowed however few requests there are.",
);

pub(super) const RETRIES: Field = value(
    "retries",
    count(0, 3),
    "0",
    "How often this upstream is asked again by the last arm of a request when no other instance is left: after a wait that doubles from 0.1 s, or as long as the upstream says in `retry-after`. At 0 the client is told, whose SDK then asks again by itself.",
);

pub(super) const DEADLINE: Field = words(
    "deadline",
    deadline(),
    "none: each attempt has its upstream's deadlines, and there are at most four",
    "Until when an answer must be there whole, or a stream begun, over all attempts and waits. What is left of it shortens each attempt's own deadlines, and no attempt begins after it. A stream that has begun has kept it, also where its rest is asked for later.",
);

pub(super) const HEDGE_AFTER: Field = words(
    "hedge_after",
    deadline(),
    "off",
    "For answers that are not streams: the time after which a second instance of the same upstream is asked as well. The first good answer wins, and the other is cancelled; both are attempts and count against `retry_budget`. Never for requests that have an effect at the upstream (`store`, web search).",
);

pub(super) const PREFILL: Field = words(
    "prefill",
    Bool,
    "as its provider is known to do (`docs/reference/failures.md`)",
    "Whether the model goes on from an unfinished last message of the assistant's, so that a stream which broke off may be continued there (`on_interrupt`). With Ollama it depends on the model's template, with Anthropic on the model: current ones refuse it. Try it before you set it: a model that begins anew gives users two answers as one.",
);

pub(super) const ON_INTERRUPT: Field = value(
    "on_interrupt",
    Choice(OnInterrupt::WORDS),
    r#""terminate""#,
    "What becomes of a stream that breaks off after content was sent. \"terminate\" ends it with the error `stream_interrupted`. \"continue\" has the baseline go on from the text so far where that is safe: text alone, in any dialect, and a model that takes the beginning of an answer (see `docs/guides/failover.md`); elsewhere it ends, too.",
);

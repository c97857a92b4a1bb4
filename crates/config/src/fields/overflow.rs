//! Rows of what becomes of requests that an upstream has no room for.

use super::Kind::{Bool, Choice, Usd};
use super::kinds::{count, deadline, value, words};
use super::{Field, Kind, Section};

pub(super) const QUEUE: Field = words(
    "queue",
    Kind::Table(&QUEUE_SECTION),
    "off: what an engine has no room for waits inside it",
    QUEUE_SECTION.doc,
);

static QUEUE_SECTION: Section = Section {
    path: "upstreams.NAME.queue",
    doc: "A line before an upstream that is full, with a fair share for each client key. Present, even empty, it is on.",
    fields: &[
        value(
            "length",
            count(0, 10_000),
            "64",
            "Requests that wait at most. Who has most of a full line makes room for others; else a newcomer overflows or is answered 503 with a `retry-after`.",
        ),
        value(
            "wait",
            deadline(),
            r#""10 s""#,
            "Longest wait. After it a request overflows or is answered 503.",
        ),
        words(
            "first_token",
            deadline(),
            "not predicted",
            "The upstream counts as full, too, while the predicted time to the first token (the streams' average so far, once more for each row of requests that wait; where no stream was answered nothing is predicted) is longer than this. Without it: while its instances have no slot left (`in_flight_limit`, or what the engine tells) or are saturated.",
        ),
    ],
};

pub(super) const OVERFLOW: Field = words(
    "overflow",
    Kind::Table(&OVERFLOW_SECTION),
    "off: what the candidate has no room for waits",
    OVERFLOW_SECTION.doc,
);

static OVERFLOW_SECTION: Section = Section {
    path: "use_cases.NAME.overflow",
    doc: "Sends the candidate's requests to the baseline while the candidate's upstream is full. Present, even empty, it is on, at weight 100% as well: remove it with the baseline. Never for what is local-only, and not while the baseline cannot answer.",
    fields: &[
        value(
            "wait",
            Kind::Duration { min_ms: 0, max_ms: 86_400_000 },
            r#""2 s""#,
            "How long a request waits in the upstream's `queue` first, if there is one. Once a wait ran out others go at once, until the upstream has recovered to three quarters.",
        ),
        value(
            "budget_per_day",
            Usd,
            r#""5.00""#,
            "What overflow may cost in a UTC day. Beyond it requests wait as if there were no overflow.",
        ),
        value(
            "unpriced",
            Bool,
            "false",
            "Whether a baseline at a service of others is asked although nobody knows its price.",
        ),
        value(
            "batch",
            Bool,
            "false",
            "Whether requests of `priority_class` \"batch\" overflow, too, instead of waiting.",
        ),
    ],
};

pub(super) const PRIORITY_CLASS: Field = value(
    "priority_class",
    Choice(&["interactive", "batch"]),
    r#""interactive""#,
    "Who goes first where requests wait in line: \"interactive\" before \"batch\". A client's key (`cutover key add --batch`) or a request's header `x-cutover-priority-class` can make a request batch; nothing makes batch interactive.",
);

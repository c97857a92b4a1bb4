//! Rows of the sections that say how a use case moves, and who is told.

use super::Kind::{Bool, Choice, Gate, List, Number, Percent, Secret, Step, Text, Usd, WebUrl};
use cutover_rollout::Action;

use super::Section;
use super::kinds::{count, deadline, required, size, table, value, words};
use crate::fields::Kind;

/// Times of a rollout: from nothing to ten years, which nobody writes on purpose.
const fn span(min_ms: u64) -> Kind {
    Kind::Duration { min_ms, max_ms: 3_660 * 86_400_000 }
}

const fn level() -> Kind {
    Number { min: 0.0, max: 1.0 }
}

/// The words of `rollout::Metric`.
pub(crate) const METRICS: &[&str] = &[
    "quality",
    "errors",
    "duration",
    "first_token",
    "token_rate",
    "invalid",
    "feedback",
    "fallback",
    "cost",
    "privacy",
];

/// The words of `rollout::Action`, in a form that a table can hold.
static EVENTS: [&str; Action::ALL.len()] = {
    let mut words = [""; Action::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = Action::ALL[at].as_str();
        at += 1;
    }
    words
};

pub(crate) static ROLLOUT: Section = Section {
    path: "use_cases.NAME.rollout",
    doc: "How the use case moves from its baseline to its candidate: the way, and what must be proved on it. `cutover rollout start` begins it; `cutover rollout simulate` tells what it is worth before.",
    fields: &[
        required(
            "gates",
            List(&Gate),
            "What must be proved, and what must not happen: texts such as `\"quality >= 0.95 x baseline\"`, `\"errors <= baseline + 0.5 pp\"`, `\"p95 <= 4 s\"`, or tables (see below).",
        ),
        words(
            "steps",
            List(&Step),
            "`[\"shadow 50%\", \"canary 5%\", \"ramp 25%\", \"ramp 75%\", \"100%\"]`, without the first where there is no scorer",
            "The way, in order: texts such as `\"shadow 50%\"`, `\"canary 5% for 1 h\"`, `\"ramp 25% until 7 d\"`, `\"100%\"`, or tables (see below). Shares never fall.",
        ),
        value(
            "comparison",
            Choice(&["matched", "all_control"]),
            r#""matched""#,
            "Which baseline units stand beside the candidate's in reports: as many, or all.",
        ),
        table("levels", &LEVELS),
        table("grader", &GRADER),
        value(
            "interval",
            Kind::Duration { min_ms: 1_000, max_ms: 3_600_000 },
            r#""30 s""#,
            "Time between two looks at the evidence. Looking more often costs no certainty.",
        ),
        value(
            "min_units",
            count(0, 1_000_000_000),
            "100",
            "Units that each arm must have seen in a step that does not say otherwise (`min 200 units`).",
        ),
        value(
            "unit_rule",
            Choice(&["first", "mean"]),
            r#""first""#,
            "What of a unit's traffic within `unit_window` is one observation: its first request, or the mean of all.",
        ),
        value("unit_window", span(1_000), r#""30 min""#, "A unit counts once in so long."),
        value(
            "pair_window",
            span(1_000),
            r#""1 d""#,
            "A unit gives at most one scored pair in so long.",
        ),
        value(
            "stale_after",
            span(1_000),
            r#""15 min""#,
            "Age from which numbers are stale while traffic should give some.",
        ),
        value(
            "on_stale",
            Choice(&["hold", "roll_back"]),
            r#""hold""#,
            "What happens while numbers are stale.",
        ),
        value(
            "on_inconclusive",
            Choice(&["hold", "roll_back", "advance"]),
            r#""hold""#,
            "What happens when a step's longest time is over without proof. With \"advance\" every report says that it was not proved.",
        ),
        value(
            "roll_back_after_promotion",
            Bool,
            "false",
            "Whether harm that is found after promotion takes the traffic back. Otherwise it raises an alarm.",
        ),
        value(
            "alarm_every",
            span(60_000),
            r#""365 d""#,
            "Mean time between two false alarms after promotion.",
        ),
    ],
};

pub(crate) static GRADER: Section = Section {
    path: "use_cases.NAME.rollout.grader",
    doc: "What a judge's record must show before its scores count for a gate that moves traffic. Below it the rollout holds, and says so.",
    fields: &[
        value(
            "agreement_min",
            level(),
            "0.4",
            "The least agreement with people beyond chance (Cohen's kappa).",
        ),
        value(
            "flip_rate_max",
            level(),
            "0.25",
            "The largest share of pairs whose verdict changes with the order of the two answers.",
        ),
    ],
};

pub(crate) static LEVELS: Section = Section {
    path: "use_cases.NAME.rollout.levels",
    doc: "How often a wrong decision is accepted, over the whole rollout and however often one looks.",
    fields: &[
        value(
            "promote",
            level(),
            "0.05",
            "Probability of promoting a candidate that is not good enough, per gate.",
        ),
        value(
            "rollback",
            level(),
            "0.05",
            "Probability of taking a good candidate back, over all gates and steps.",
        ),
        value(
            "srm",
            level(),
            "0.001",
            "Probability of holding although units were split as they should.",
        ),
    ],
};

pub(crate) static GATE: Section = Section {
    path: "gate",
    doc: "The full form of a gate. What is compared: one of `ratio`, `margin_pp` and `limit`; nothing for privacy.",
    fields: &[
        words("id", Text, "made of metric and quantile", "Its name, unique within the rollout."),
        required("metric", Choice(METRICS), "What is measured."),
        words(
            "quantile",
            Text,
            "\"p95\" for times, \"p5\" for token_rate",
            "The quantile of a time or speed.",
        ),
        words(
            "ratio",
            Number { min: 0.0, max: 1e6 },
            "none",
            "Times the baseline's value. Quality: the share that is retained at least.",
        ),
        words(
            "margin_pp",
            Number { min: 0.0, max: 100.0 },
            "none",
            "Percentage points by which it may be worse than the baseline's.",
        ),
        words(
            "limit",
            Text,
            "none",
            "A bound of its own: \"4 s\", \"2%\", \"2.50 USD per 1000\", \"20\" tokens a second.",
        ),
        words(
            "role",
            Choice(&["required", "rollback", "signal", "dry_run"]),
            "required; rollback for ratios of errors; signal for feedback",
            "What its verdict does: required must pass where a step requires it, and rolls back when it fails; rollback only rolls back; signal only holds; dry_run is shown.",
        ),
    ],
};

pub(crate) static STEP: Section = Section {
    path: "step",
    doc: "The full form of a step.",
    fields: &[
        words("name", Text, "made of kind and share", "Its name, unique within the rollout."),
        required(
            "kind",
            Choice(&["shadow", "canary", "ramp", "soak"]),
            "shadow: the candidate sees copies, clients never see its answers; canary: a small share, to see harm early; ramp: a growing share; soak: a share that is watched for long.",
        ),
        words(
            "weight",
            Percent,
            "required, except \"0%\" for shadow and \"100%\" for soak",
            "The candidate's share of units.",
        ),
        words(
            "shadow",
            Percent,
            "required for shadow, else \"0%\"",
            "The share of the baseline's requests that the candidate is shown a copy of.",
        ),
        words(
            "min_duration",
            span(0),
            "\"1 h\"; \"1 d\" for soak",
            "The step lasts at least so long.",
        ),
        words(
            "max_duration",
            span(0),
            "none: it waits for ever",
            "After so long without proof the step is inconclusive.",
        ),
        words(
            "min_units",
            count(0, 1_000_000_000),
            "the rollout's",
            "Units that each arm, or pairs that the shadow, must have seen in this step.",
        ),
        words(
            "requires",
            List(&Text),
            "shadow: the required gates that pairs can prove; the last step below 100%: all required gates; the last step: those that need no baseline; else none",
            "Ids of the gates that must have passed before the next step. Empty means the default. Gates that are not named still watch for harm.",
        ),
        words(
            "approval",
            List(&Text),
            "no approval",
            "A person has to agree before this step begins: one of these names, or with an empty list anyone who may use the admin API.",
        ),
        words(
            "schedule",
            Text,
            "any time",
            "The step begins only at such times, in UTC: \"mon-fri 09:00-17:00\".",
        ),
        words(
            "min_instances",
            count(1, 64),
            "any number",
            "The step begins only while so many instances of the candidate's upstream can answer with its model at once: they are well, and have it in memory where the engine tells (provider ollama). Those that have not are told to read it in.",
        ),
    ],
};

/// What every kind of scorer has; further keys are the kind's own.
pub(crate) static SCORER: Section = Section {
    path: "use_cases.NAME.scorer",
    doc: "What an answer is worth: scores both answers of each shadow pair. A kind's own options stand beside these keys; where an option is a JSON document, write the path of the file that holds it.",
    fields: &[
        required("kind", Text, "The kind of scorer: see below."),
        value("concurrency", count(1, 256), "2", "Pairs scored at once."),
        value(
            "queue",
            count(1, 100_000),
            "256",
            "Pairs that wait at most. Those beyond are missing, and counted.",
        ),
        value("timeout", deadline(), r#""1 min""#, "Time for one question to a model."),
        value(
            "budget_per_day",
            Usd,
            r#""5.00""#,
            "What questions to models may cost in a UTC day.",
        ),
    ],
};

pub(crate) static SHADOW: Section = Section {
    path: "use_cases.NAME.shadow",
    doc: "Limits of the copies that the candidate is shown, and what is kept of the pairs.",
    fields: &[
        value(
            "concurrency",
            count(1, 1_024),
            "2",
            "Copies under way at once, for this use case and at any instance.",
        ),
        value(
            "queue",
            count(1, 100_000),
            "64",
            "Copies that wait at most. Those beyond are dropped, and counted. Their bodies are in no other bound: together they hold up to `queue` and `concurrency` times `capture_limit`, once more where the client speaks another dialect, and the live answers.",
        ),
        value(
            "capture_limit",
            size(1 << 10, 16 << 20),
            r#""256 KiB""#,
            "Largest request body, and largest answer of either arm. What is larger is not compared.",
        ),
        value(
            "timeout",
            deadline(),
            r#""2 min""#,
            "Time for a copy to find room, and again to be answered.",
        ),
        value(
            "budget_per_day",
            Usd,
            r#""5.00""#,
            "What copies may cost in a UTC day. Those beyond are dropped, and counted.",
        ),
        value(
            "unpriced",
            Bool,
            "false",
            "Whether a candidate at a service of others is asked although nobody knows its price.",
        ),
        value(
            "live_limit",
            count(0, 1_000_000),
            "0",
            "Live requests in flight on an instance, at most, for a copy to be sent there.",
        ),
        value(
            "keep",
            Choice(&["text", "redacted", "none"]),
            r#""redacted""#,
            "What is kept of prompts and answers of pairs: \"text\" as they are; \"redacted\" without what looks like a mail address, a phone, card or account number, or a key (a heuristic: it finds what has the form); \"none\" length and digest only.",
        ),
        value("retention", span(3_600_000), r#""14 d""#, "Age at which pairs are deleted."),
    ],
};

pub(crate) static WEBHOOK: Section = Section {
    path: "webhooks.NAME",
    doc: "Someone who is told of each decision by a POST of JSON.",
    fields: &[
        required("url", WebUrl, "Where it is posted."),
        words(
            "secret",
            Secret,
            "none: messages are not signed",
            "What messages are signed with: HMAC-SHA256 over time stamp and body, in the header `x-cutover-signature`.",
        ),
        words("events", List(&Choice(&EVENTS)), "all", "The decisions that are told."),
        value("timeout", deadline(), r#""10 s""#, "Time for one try."),
        value(
            "give_up",
            span(1_000),
            r#""1 d""#,
            "A decision that was not taken for so long is given up, and shown as undelivered.",
        ),
    ],
};

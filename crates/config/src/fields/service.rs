//! Rows of the file itself and of the sections about cutover as a service.

use super::Kind::{Bool, Choice, Listen, Name, Path, Secret};
use super::kinds::{COUNT_MAX, count, deadline, named, required, size, table, value, words};
use super::numbers::{HARDWARE, PRICES};
use super::rollouts::WEBHOOK;
use super::routing::{UPSTREAM, USE_CASE, VARIANT};
use super::surface::{IMAGES, SURFACE};
use super::{Kind, Section};
use crate::checked::{LogFormat, LogLevel, UpstreamMessages};

/// The whole file.
pub(crate) static ROOT: Section = Section {
    path: "",
    doc: "The file itself. Everything is optional: an empty file serves from the embedded engine.",
    fields: &[
        words(
            "default_upstream",
            Name("upstreams"),
            "the only upstream; the embedded engine if none is configured; else it must be given",
            "The upstream that serves requests no use case matches, untouched.",
        ),
        table("server", &SERVER),
        table("admin", &ADMIN),
        table("state", &STATE),
        table("log", &LOG),
        table("surface", &SURFACE),
        table("images", &IMAGES),
        table("prices", &PRICES),
        table("hardware", &HARDWARE),
        named("upstreams", &UPSTREAM),
        named("variants", &VARIANT),
        named("use_cases", &USE_CASE),
        named("webhooks", &WEBHOOK),
    ],
};

pub(crate) static SERVER: Section = Section {
    path: "server",
    doc: "The listener that clients use.",
    fields: &[
        value(
            "listen",
            Listen,
            r#""127.0.0.1:4000""#,
            "Address of the listener. A port of 0 takes any free one.",
        ),
        words(
            "keys",
            Choice(&["required", "off"]),
            "\"off\" on a loopback address, else \"required\"",
            "Whether clients must send an API key made with `cutover key add`. A public address with keys off is refused.",
        ),
        value(
            "body_limit",
            size(1 << 10, 1 << 30),
            r#""32 MiB""#,
            "Largest request body. More is answered 413.",
        ),
        value(
            "body_memory",
            size(1 << 10, 1 << 40),
            r#""1 GiB""#,
            "Most memory that request bodies hold together, of those above 128 KiB that come in pieces: counted byte by byte as they arrive, and until they are answered. More is answered 503 with `retry-after`. Not less than `body_limit`.",
        ),
        value(
            "header_limit",
            size(4 << 10, 1 << 20),
            r#""64 KiB""#,
            "Largest request head: request line and headers together, blanks around values not counted. More is answered 431.",
        ),
        value(
            "header_count",
            count(16, 1_000),
            "100",
            "Most headers in a request. More is answered 431.",
        ),
        value(
            "header_timeout",
            deadline(),
            r#""10 s""#,
            "Time for a whole request head to arrive; then the connection is closed.",
        ),
        value(
            "idle_timeout",
            deadline(),
            r#""75 s""#,
            "How long a client's connection may be idle between two requests; then it is closed. Longer than load balancers keep theirs (commonly 60 s), so that they close first: a request that crosses our closing is a failed request. Each idle connection holds some kilobytes and one of `max_connections`.",
        ),
        value(
            "body_timeout",
            deadline(),
            r#""60 s""#,
            "Time for a whole request body to arrive. More is answered 408.",
        ),
        value(
            "drain_timeout",
            deadline(),
            r#""30 s""#,
            "Time that requests in flight get to end at shutdown.",
        ),
        value(
            "keep_alive_interval",
            Kind::Duration { min_ms: 100, max_ms: 3_600_000 },
            r#""15 s""#,
            "Silence on a stream, such as during a long prefill, after which a comment is sent so that proxies keep the connection.",
        ),
        value(
            "max_connections",
            count(1, COUNT_MAX),
            "10000",
            "Most client connections at once. Further ones wait to be accepted.",
        ),
        words("workers", count(1, 1_024), "one per core", "Runtime threads."),
    ],
};

pub(crate) static ADMIN: Section = Section {
    path: "admin",
    doc: "The listener that operators and `cutover` commands use: weights, status, metrics.",
    fields: &[
        value(
            "listen",
            Listen,
            r#""127.0.0.1:4001""#,
            "Address of the listener. Anything but loopback needs a `token` of your own.",
        ),
        words(
            "token",
            Secret,
            "a token generated in the state directory",
            "The token that callers must show. Who shows it says by which name they act.",
        ),
        named("operators", &OPERATOR),
    ],
};

pub(crate) static OPERATOR: Section = Section {
    path: "admin.operators.NAME",
    doc: "A person or a program with a token of its own: what it does is recorded under this name, and nobody else can act by it.",
    fields: &[required("token", Secret, "Its token; at least 16 characters, and no one else's.")],
};

pub(crate) static STATE: Section = Section {
    path: "state",
    doc: "What cutover remembers: weights, keys, request records.",
    fields: &[
        words(
            "directory",
            Path,
            "the platform's folder for state",
            "The folder. A relative path starts at the config file's folder.",
        ),
        value(
            "retention",
            Kind::Duration { min_ms: 3_600_000, max_ms: 315_360_000_000 },
            r#""30 d""#,
            "Age at which request records are deleted.",
        ),
        value(
            "records",
            Bool,
            "true",
            "Whether a record is kept for each request: use case, arm, variant, status, times, tokens, cost. Never prompt or answer text.",
        ),
        value(
            "responses",
            Bool,
            "false",
            "Whether answers of the Responses API are kept, as its clients ask by default (`store`), so that they can be gone on from (`previous_response_id`), shown and deleted. This writes prompts and answers into the database.",
        ),
        value(
            "responses_retention",
            Kind::Duration { min_ms: 60_000, max_ms: 315_360_000_000 },
            r#""30 d""#,
            "Age at which kept answers are deleted and overwritten. A conversation whose beginning is gone cannot be gone on with.",
        ),
    ],
};

pub(crate) static LOG: Section = Section {
    path: "log",
    doc: "What is logged, and how. Prompt and answer text never is, unless `upstream_messages` is \"full\".",
    fields: &[
        value("level", Choice(LogLevel::WORDS), r#""info""#, "Least severe level that is logged."),
        value(
            "format",
            Choice(LogFormat::WORDS),
            r#""text""#,
            "Form of a line: for people, or one JSON object each.",
        ),
        value(
            "access",
            Bool,
            "false",
            "Whether every request gets a line. Errors, failovers and slow requests do anyway, at most 20 lines of a kind in a second; what is left out is counted and told.",
        ),
        value("slow", deadline(), r#""30 s""#, "Duration from which a request counts as slow."),
        value(
            "upstream_messages",
            Choice(UpstreamMessages::WORDS),
            r#""words""#,
            "What is logged of an upstream's own words when an attempt fails, beside its status and the error's type and code. \"words\": of its message the words of a fixed list (`rate limit reached for …`), which no prompt can be read from. \"full\": the message, at most 300 characters, without what looks like a key; engines quote what they were asked in some errors, so it may hold parts of prompts.",
        ),
    ],
};

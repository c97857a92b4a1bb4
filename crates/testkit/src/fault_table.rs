//! Everything that goes wrong at an upstream, and what becomes of a request: one table that the tests
//! run over real sockets (`gateway/tests/it/fault_table.rs`) and that
//! `docs/reference/failures.md` is printed from. What the page says is what was seen.

use std::fmt::Write as _;

use crate::fake::{Fault, Gate, Reply};

/// How a fault is brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody listens at the address.
    Refused,
    /// The host's name does not exist.
    NoSuchHost,
    /// TLS is spoken to somebody who does not speak it.
    NoTls,
    /// The connection is reset when the request has been read.
    Reset,
    /// An answer with this status, and a time to wait in seconds.
    Status(u16, Option<u32>),
    /// Nothing comes, not even a head.
    Silent,
    /// The answer begins, and after so many pieces of content of a stream this happens.
    Within(Within, usize),
}

/// What happens within an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// Silence, while the connection stays.
    Stall,
    /// The connection ends in the middle of an event, or of the body.
    Cut,
    /// Something that is no JSON.
    Malformed,
    /// An orderly end before the answer's.
    EarlyEnd,
    /// An error object in an answer whose status is 200.
    ErrorEvent,
}

/// What a fault is to the client if nobody else can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The error's code in OpenAI's dialect.
    pub code: &'static str,
    /// Whether content had been sent: the error comes within the stream, and nobody else is asked.
    pub after_content: bool,
    /// `retry-after`, in seconds.
    pub wait_s: Option<u32>,
    /// Whether the failed attempt may be billed by its upstream.
    pub billed: bool,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called.
    pub name: &'static str,
    /// How it comes about in life.
    pub life: &'static str,
    /// How it is brought about in the test.
    pub kind: Kind,
    /// To a client that waits for a whole answer.
    pub whole: Seen,
    /// To a client that reads a stream.
    pub stream: Seen,
}

const fn before(code: &'static str) -> Seen {
    Seen { code, after_content: false, wait_s: None, billed: false }
}

impl Seen {
    const fn wait(self, seconds: u32) -> Self {
        Self { wait_s: Some(seconds), ..self }
    }

    const fn billed(self) -> Self {
        Self { billed: true, ..self }
    }
}

/// A stream that had begun.
const BROKEN: Seen =
    Seen { code: "stream_interrupted", after_content: true, wait_s: None, billed: true };

const fn same(name: &'static str, life: &'static str, kind: Kind, seen: Seen) -> Row {
    Row { name, life, kind, whole: seen, stream: seen }
}

/// All faults.
pub const FAULTS: &[Row] = &[
    same(
        "refused connection",
        "the process is not running",
        Kind::Refused,
        before("upstream_unavailable"),
    ),
    same(
        "DNS failure",
        "the host's name is wrong, or its record is gone",
        Kind::NoSuchHost,
        before("upstream_unavailable"),
    ),
    same("TLS failure", "a wrong port or certificate", Kind::NoTls, before("upstream_unavailable")),
    same(
        "reset before headers",
        "the process died, or a proxy between gave up",
        Kind::Reset,
        before("upstream_unavailable").billed(),
    ),
    same(
        "429 with retry-after",
        "a rate limit",
        Kind::Status(429, Some(7)),
        before("rate_limit_exceeded").wait(7),
    ),
    same(
        "429 without retry-after",
        "a rate limit",
        Kind::Status(429, None),
        before("rate_limit_exceeded"),
    ),
    same("500", "a fault of the engine's", Kind::Status(500, None), before("bad_gateway")),
    same(
        "503, queue full",
        "an engine with more requests than it takes",
        Kind::Status(503, None),
        before("server_is_overloaded").wait(1),
    ),
    same(
        "slow first token",
        "a hung engine, or a prompt that takes longer than `first_token_timeout` allows (for a whole \
         answer `first_byte_timeout`)",
        Kind::Silent,
        before("upstream_timeout").billed(),
    ),
    Row {
        name: "stall mid-stream",
        life: "a frozen engine, a network that lost its way; also one on whose behalf a proxy still pings",
        kind: Kind::Within(Within::Stall, 2),
        whole: before("upstream_timeout").billed(),
        stream: BROKEN,
    },
    Row {
        name: "cut mid-event",
        life: "the process died",
        kind: Kind::Within(Within::Cut, 2),
        whole: before("bad_gateway").billed(),
        stream: BROKEN,
    },
    Row {
        name: "malformed event",
        life: "a fault of the engine's or of a proxy's",
        kind: Kind::Within(Within::Malformed, 2),
        whole: before("bad_gateway").billed(),
        stream: BROKEN,
    },
    Row {
        name: "clean end without terminal event",
        life: "a proxy that makes an orderly end of a broken one",
        kind: Kind::Within(Within::EarlyEnd, 2),
        whole: before("bad_gateway").billed(),
        stream: BROKEN,
    },
    Row {
        name: "error inside a 200",
        life: "an engine that fails when its status has been sent",
        kind: Kind::Within(Within::ErrorEvent, 2),
        whole: before("bad_gateway"),
        stream: BROKEN,
    },
    Row {
        name: "cut before the first content",
        life: "the process died while it read the prompt",
        kind: Kind::Within(Within::Cut, 0),
        whole: before("bad_gateway").billed(),
        stream: before("bad_gateway").billed(),
    },
    Row {
        name: "error before the first content",
        life: "a prompt that the engine fails at",
        kind: Kind::Within(Within::ErrorEvent, 0),
        whole: before("bad_gateway"),
        stream: before("bad_gateway"),
    },
];

/// A dialect that clients speak.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Its name.
    pub name: &'static str,
    /// Where it is spoken.
    pub path: &'static str,
    /// How a stream that broke off ends in it.
    pub broken: &'static str,
}

/// All dialects of clients.
pub const DIALECTS: &[Dialect] = &[
    Dialect {
        name: "OpenAI chat",
        path: "/v1/chat/completions",
        broken: "`data: {\"error\": {... \"code\": \"stream_interrupted\"}}`, and no `[DONE]`",
    },
    Dialect {
        name: "OpenAI Responses",
        path: "/v1/responses",
        broken: "`response.failed` with the error's code `server_error`",
    },
    Dialect {
        name: "Anthropic",
        path: "/v1/messages",
        broken: "`event: error` with the type `api_error`, and no `message_stop`",
    },
    Dialect {
        name: "Ollama",
        path: "/api/chat",
        broken: "a line `{\"error\": ...}`, and none with `\"done\": true`",
    },
    Dialect {
        name: "Gemini",
        path: "/v1beta/models/app:generateContent",
        broken: "`data: {\"error\": {... \"status\": \"INTERNAL\"}}` with the reason `STREAM_INTERRUPTED`, and no \
                 `finishReason`",
    },
];

/// How an error before the first content is said in each dialect.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The code.
    pub code: &'static str,
    /// The status in all dialects but Anthropic's.
    pub status: u16,
    /// The status in Anthropic's.
    pub anthropic_status: u16,
    /// The type in Anthropic's.
    pub anthropic_type: &'static str,
    /// The word in Gemini's.
    pub gemini_status: &'static str,
}

const fn words(
    code: &'static str,
    status: u16,
    (anthropic_status, anthropic_type): (u16, &'static str),
    gemini_status: &'static str,
) -> Words {
    Words { code, status, anthropic_status, anthropic_type, gemini_status }
}

/// All codes that the faults have.
pub const WORDS: &[Words] = &[
    words("upstream_unavailable", 503, (503, "api_error"), "UNAVAILABLE"),
    words("rate_limit_exceeded", 429, (429, "rate_limit_error"), "RESOURCE_EXHAUSTED"),
    words("bad_gateway", 502, (502, "api_error"), "INTERNAL"),
    words("server_is_overloaded", 503, (529, "overloaded_error"), "UNAVAILABLE"),
    words("upstream_timeout", 504, (504, "timeout_error"), "DEADLINE_EXCEEDED"),
];

impl Words {
    /// Those of a code.
    pub fn of(code: &str) -> Option<&'static Self> {
        WORDS.iter().find(|words| words.code == code)
    }
}

impl Row {
    /// What a client sees of it.
    pub fn seen(&self, stream: bool) -> Seen {
        if stream { self.stream } else { self.whole }
    }

    /// What a scripted upstream does to bring it about; None: it is not the upstream that does.
    pub fn reply(&self, stream: bool) -> Option<Reply> {
        Some(match self.kind {
            Kind::Refused | Kind::NoSuchHost | Kind::NoTls => return None,
            Kind::Reset => Reply::fault(Fault::Reset),
            Kind::Status(status, wait) => Reply::fault(Fault::Status {
                status,
                retry_after: wait.map(|seconds| seconds.to_string()),
                retry_after_ms: None,
            }),
            Kind::Silent => Reply::words(3).hold_headers(&Gate::new()),
            Kind::Within(within, after) if stream => {
                Reply::words(4).and_then(after, within.stream())
            }
            Kind::Within(within, _) => Reply::fault(within.whole()),
        })
    }

    /// Whether a request reaches the upstream.
    pub fn arrives(&self) -> bool {
        self.reply(false).is_some()
    }
}

impl Within {
    fn stream(self) -> Fault {
        match self {
            Self::Stall => Fault::Stall(Gate::new()),
            Self::Cut => Fault::Cut,
            Self::Malformed => Fault::Malformed,
            Self::EarlyEnd => Fault::EarlyEnd,
            Self::ErrorEvent => Fault::ErrorEvent,
        }
    }

    fn whole(self) -> Fault {
        match self {
            Self::Stall => Fault::HalfThen(Gate::new()),
            Self::Cut => Fault::Half,
            Self::Malformed => Fault::NotJson,
            Self::EarlyEnd => Fault::Raw(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                  transfer-encoding: chunked\r\n\r\n11\r\n{\"id\":\"chatcmpl-\r\n0\r\n\r\n"
                    .to_vec(),
            ),
            Self::ErrorEvent => Fault::Raw(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 66\r\n\r\n\
                  {\"error\":{\"message\":\"it failed\",\"type\":\"server_error\",\"code\":500}}"
                    .to_vec(),
            ),
        }
    }
}

/// The page of all this.
pub fn reference() -> String {
    let mut page = String::from(
        "# Failures\n\n\
         <!-- Generated from crates/testkit/src/fault_table.rs by `cargo xtask docs`. Do not edit. -->\n\n\
         What goes wrong at an upstream, and what becomes of a request. A test brings each fault about over \
         real sockets, in each of the five dialects, as a whole answer and as a stream: with another arm that \
         can answer, with an arm alone, and with both arms failing. It reads this very table.\n\n\
         **With another arm that can answer**, a fault before the first content is not seen: the status is \
         200, the answer the other arm's, `x-cutover-attempts` 2 and `x-cutover-assigned-arm` the arm that \
         failed. After the first content nobody else is asked (but see `on_interrupt` in \
         [failover](../guides/failover.md)).\n\n\
         **Alone, or with both arms failing**, the client sees the error in the table, of the last arm that \
         was asked. With more than one attempt the SDKs are told `x-should-retry: false`, unless the upstream \
         named a time to wait, which is passed on as `retry-after`.\n\n\
         \"Billed\" is whether the failed attempt may have cost something at its upstream, which tells \
         nobody: its record is then marked `cost_partial` where the upstream has a price, and the cost is that of the answer \
         alone. A stream of Anthropic's or Gemini's that broke after its first content is booked with the usage that its \
         vendor had told by then, and marked, too.\n\n\
         | fault | in life | whole answer: code | stream: code | retry-after | billed |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in FAULTS {
        let code = |seen: Seen| {
            let place = if seen.after_content { " within the stream" } else { "" };
            format!("`{}`{place}", seen.code)
        };
        let wait = row.whole.wait_s.map_or_else(|| "-".to_owned(), |s| format!("{s} s"));
        let billed = match (row.whole.billed, row.stream.billed) {
            (true, true) => "perhaps",
            (false, false) => "no",
            (false, true) => "perhaps, as a stream",
            (true, false) => "perhaps, as a whole",
        };
        let (whole, stream) = (code(row.whole), code(row.stream));
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            page,
            "| {} | {} | {whole} | {stream} | {wait} | {billed} |",
            row.name, row.life
        );
    }
    page.push_str(
        "\n## Before the first content\n\n\
         The same error in each dialect:\n\n\
         | code | OpenAI chat and Responses, Ollama | Anthropic | Gemini |\n|---|---|---|---|\n",
    );
    for words in WORDS {
        let _infallible = writeln!(
            page,
            "| `{}` | {} | {} `{}` | {} `{}` |",
            words.code,
            words.status,
            words.anthropic_status,
            words.anthropic_type,
            words.status,
            words.gemini_status
        );
    }
    page.push_str("\n## Within a stream\n\n| dialect | how it ends |\n|---|---|\n");
    for dialect in DIALECTS {
        let _infallible = writeln!(page, "| {} | {} |", dialect.name, dialect.broken);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_words_and_each_fault_its_own_name() {
        for (at, row) in FAULTS.iter().enumerate() {
            assert!(FAULTS[..at].iter().all(|other| other.name != row.name), "{}", row.name);
            for stream in [false, true] {
                let seen = row.seen(stream);
                assert!(seen.after_content || Words::of(seen.code).is_some(), "{}", row.name);
            }
        }
    }
}

//! What an upstream said of its failure, in a form that a log may hold.
//!
//! Engines echo what they were sent in their errors, quoted or not, so nothing of a message may be
//! passed on for looking harmless. By default only words of a fixed list are shown, the rest is left
//! out as `…`: enough to tell a rate limit from a missing model or a full card, and nothing that a prompt
//! or a key could be read from. Numbers are left out, too: they may be an account's. The message as it
//! came is shown only where an operator has asked for it, and even then without what looks like a key.

use std::fmt;

/// An upstream's words. No `Debug` of the message: it may hold a prompt.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Said {
    kind: String,
    code: String,
    message: String,
}

/// The longest type or code that is one.
const NAME_BYTES_MAX: usize = 64;

/// The most characters of a message that are shown.
const SHOWN_CHARS_MAX: usize = 300;

/// The most characters of a message that are looked at.
const READ_CHARS_MAX: usize = 2_000;

/// A word with so many letters and digits in a row that is no word: a key, an id, a hash.
const OPAQUE_CHARS: usize = 20;

/// What engines' and services' own errors are made of.
const WORDS: &[&str] = &[
    "a",
    "about",
    "accepted",
    "access",
    "account",
    "after",
    "again",
    "allocate",
    "allocated",
    "already",
    "an",
    "and",
    "api",
    "are",
    "at",
    "available",
    "backend",
    "balance",
    "be",
    "been",
    "being",
    "billing",
    "blocked",
    "budget",
    "busy",
    "but",
    "by",
    "cannot",
    "capacity",
    "card",
    "check",
    "client",
    "closed",
    "concurrent",
    "connect",
    "connection",
    "contact",
    "context",
    "could",
    "credit",
    "credits",
    "cuda",
    "current",
    "currently",
    "daily",
    "day",
    "deadline",
    "denied",
    "deprecated",
    "details",
    "device",
    "disabled",
    "disk",
    "do",
    "does",
    "down",
    "due",
    "empty",
    "endpoint",
    "engine",
    "error",
    "exceeded",
    "exceeds",
    "exist",
    "expired",
    "failed",
    "failure",
    "find",
    "first",
    "for",
    "found",
    "free",
    "full",
    "gateway",
    "gpu",
    "handle",
    "has",
    "have",
    "high",
    "hour",
    "if",
    "in",
    "input",
    "instance",
    "insufficient",
    "internal",
    "invalid",
    "is",
    "it",
    "kv",
    "later",
    "layer",
    "length",
    "limit",
    "limits",
    "load",
    "loaded",
    "loading",
    "long",
    "maintenance",
    "many",
    "max",
    "maximum",
    "memory",
    "method",
    "minute",
    "missing",
    "model",
    "month",
    "monthly",
    "must",
    "not",
    "of",
    "offline",
    "on",
    "or",
    "organization",
    "out",
    "output",
    "overloaded",
    "payment",
    "pending",
    "per",
    "permission",
    "plan",
    "please",
    "process",
    "processing",
    "project",
    "prompt",
    "provider",
    "pull",
    "pulling",
    "queue",
    "quota",
    "rate",
    "rates",
    "reached",
    "ready",
    "refused",
    "region",
    "request",
    "requested",
    "requests",
    "required",
    "reset",
    "resource",
    "resources",
    "response",
    "retry",
    "runner",
    "running",
    "second",
    "seconds",
    "see",
    "server",
    "service",
    "slot",
    "slots",
    "slow",
    "soon",
    "space",
    "start",
    "started",
    "stopped",
    "stream",
    "support",
    "supported",
    "temporarily",
    "terminated",
    "the",
    "this",
    "tier",
    "time",
    "timed",
    "timeout",
    "to",
    "token",
    "tokens",
    "too",
    "try",
    "trying",
    "unable",
    "unauthorized",
    "unavailable",
    "unexpected",
    "unexpectedly",
    "unknown",
    "upstream",
    "usage",
    "used",
    "using",
    "version",
    "vram",
    "wait",
    "waiting",
    "was",
    "while",
    "with",
    "within",
    "worker",
    "you",
    "your",
];

impl Said {
    /// Takes what an error answer said.
    pub(super) fn new(kind: &str, code: &str, message: &str) -> Option<Box<Self>> {
        let message: String = message.chars().take(READ_CHARS_MAX).collect();
        let said = Self { kind: kind.to_owned(), code: code.to_owned(), message };
        (said != Self::default()).then(|| Box::new(said))
    }

    /// The error's type, if it has the form of one.
    pub fn kind(&self) -> Option<&str> {
        name(&self.kind)
    }

    /// The error's code, if it has the form of one.
    pub fn code(&self) -> Option<&str> {
        name(&self.code)
    }

    /// The message's known words; none if it has none.
    pub fn known_words(&self) -> Option<String> {
        let mut shown = String::new();
        let mut any = false;
        for word in self.message.split_whitespace() {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            let known = WORDS.binary_search(&bare.as_str()).is_ok();
            any |= known && bare.len() > 2;
            if !known && shown.ends_with('…') {
                continue;
            }
            if !shown.is_empty() {
                shown.push(' ');
            }
            shown.push_str(if known { &bare } else { "…" });
        }
        any.then(|| shown.chars().take(SHOWN_CHARS_MAX).collect())
    }

    /// The message, on one line, without what looks like a key or an id.
    pub fn message(&self) -> Option<String> {
        let words = self.message.split_whitespace().map(|word| {
            let run = word.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
            let opaque = run.map(str::len).max().unwrap_or(0) >= OPAQUE_CHARS;
            if opaque || word.contains("sk-") { "…" } else { word }
        });
        let line = words.collect::<Vec<_>>().join(" ");
        let shown = line.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX);
        (!line.is_empty()).then(|| shown.collect())
    }
}

/// How keys begin that can be told from other words.
const KEY_MARKS: &[&str] =
    &["sk-", "sk_", "rk-", "gsk_", "xai-", "hf_", "pplx-", "nvapi-", "AIza", "AKIA", "ya29"];

/// So many characters have those that are whole; services show fewer of the keys that they refuse.
const KEY_CHARS_MIN: usize = 16;

/// Whether a key stands in a word that a client is shown: one that looks like one, since longer words may be the
/// client's own, such as a call's id.
pub(super) fn has_key(word: &str) -> bool {
    let mut runs = word.split(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_'));
    runs.any(|run| run.len() >= KEY_CHARS_MIN && KEY_MARKS.iter().any(|mark| run.starts_with(mark)))
}

/// A type or code is one word of a program's, not of a person's: no number alone, no sentence.
fn name(text: &str) -> Option<&str> {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let named = text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(part)
        && !text.starts_with("sk-");
    named.then_some(text)
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said")
            .field("kind", &self.kind())
            .field("code", &self.code())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> Said {
        *Said::new("server_error", "x", message).unwrap()
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(WORDS.is_sorted(), "it is searched by halves");
    }

    #[test]
    fn what_services_say_stays_readable_and_nothing_else_does() {
        let cases = [
            (
                "Rate limit reached for gpt-4o in organization org-a1 on tokens per min (TPM): Limit 30000",
                "rate limit reached for … in organization … on tokens per … limit …",
            ),
            (
                "CUDA out of memory. Tried to allocate 2.00 GiB",
                "cuda out of memory … to allocate …",
            ),
            (
                "model 'qwen2:7b' not found, try pulling it first",
                "model … not found try pulling it first",
            ),
            ("Loading model", "loading model"),
        ];
        for (message, shown) in cases {
            assert_eq!(said(message).known_words().as_deref(), Some(shown));
        }
        let echo = "could not parse my account is 4711 0815, pin 1234, password hunter2, sk-abc";
        let shown = said(echo).known_words().unwrap();
        for secret in ["4711", "0815", "1234", "hunter2", "sk-", "password", "parse"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert_eq!(said("Hinterlegte Kundennummer 1234").known_words(), None);
        assert!(!format!("{:?}", said(echo)).contains("account"));
    }

    #[test]
    fn the_message_as_it_came_has_no_keys_and_one_line() {
        let shown = said("bad\nkey sk-12 or abcdefghijklmnopqrst-1").message().unwrap();
        assert_eq!(shown, "bad key … or …");
        assert!(said(&"word ".repeat(500)).message().unwrap().chars().count() <= SHOWN_CHARS_MAX);
    }

    #[test]
    fn a_key_is_found_in_a_word_and_a_clients_own_word_is_none() {
        for word in ["sk-proj-0123456789ab", "'sk-ant-api03-abcdef',", "key=AIzaSyA0123456789abcd"]
        {
            assert!(has_key(word), "{word}");
        }
        for word in [
            "sk-proj-****wxyz",
            "max_completion_tokens",
            "call_0123456789abcdef01234567",
            "task-list-of-today",
        ] {
            assert!(!has_key(word), "{word}");
        }
    }

    #[test]
    fn types_and_codes_are_names_or_nothing() {
        let both = |text: &str| Said::new(text, text, "m").unwrap().kind().map(str::to_owned);
        assert_eq!(both("rate_limit_error").as_deref(), Some("rate_limit_error"));
        for text in ["what the user wrote", "500", "sk-abc", "", &"a".repeat(65)] {
            assert_eq!(both(text), None, "{text}");
        }
    }
}

//! Smoothing: an even pace for a stream that arrives in bursts.
//!
//! Engines that batch, and networks that coalesce, hand over several tokens at once and then none
//! for a while; a reader sees stutter. The pacer releases one event per `interval`, never holds one longer
//! than `delay_max` after it arrived, and never more than [`HELD_EVENTS_MAX`]: beyond either bound the oldest
//! goes at once. The upstream is read on all the while: what waited in its socket would be delay, too, and
//! nobody would count it. The contract of the stream (order, content, terminal event) is unchanged.
//!
//! What holds no text (a role, the beginnings and ends of a message and its parts) waits for what is before it and
//! for no interval of its own: no reader sees its pace, and all would wait for it.
//!
//! Pure: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;

use crate::json;

/// How a use case's streams are paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The least time between two events.
    pub interval: Duration,
    /// The longest an event is held.
    pub delay_max: Duration,
}

/// The most events held, once those that are due have gone.
pub const HELD_EVENTS_MAX: usize = 256;

/// Holds events and says when the next may go. Times are durations since the stream began.
#[derive(Debug)]
pub struct Pacer {
    pace: Pace,
    held: VecDeque<Held>,
    /// When text was released last.
    released_at: Option<Duration>,
}

#[derive(Debug)]
struct Held {
    arrived: Duration,
    paced: bool,
    event: Bytes,
}

impl Pacer {
    /// A pacer that holds nothing yet.
    pub fn new(pace: Pace) -> Self {
        Self { pace, held: VecDeque::new(), released_at: None }
    }

    /// Takes an event in.
    pub fn hold(&mut self, now: Duration, event: Bytes) {
        let paced = says_something(&event);
        self.held.push_back(Held { arrived: now, paced, event });
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// When the oldest event may go: one interval after the last release, or when its delay or the number
    /// of those held reaches its bound, whichever is sooner. The first text goes at once, and what holds none as
    /// soon as all before it has gone: the end of an answer is not a word of it.
    pub fn due(&self) -> Option<Duration> {
        let Held { arrived, paced, .. } = self.held.front()?;
        if !paced || self.held.len() > HELD_EVENTS_MAX {
            return Some(*arrived);
        }
        let by_pace = self.released_at.map_or(*arrived, |last| last + self.pace.interval);
        Some(by_pace.min(*arrived + self.pace.delay_max))
    }

    /// The oldest event, if it is due.
    pub fn release(&mut self, now: Duration) -> Option<Bytes> {
        if self.due()? > now {
            return None;
        }
        let Held { paced, event, .. } = self.held.pop_front()?;
        if paced {
            self.released_at = Some(now);
        }
        Some(event)
    }

    /// All that is held, at once: the stream ends.
    pub fn drain(&mut self) -> impl Iterator<Item = Bytes> + '_ {
        self.held.drain(..).map(|held| held.event)
    }
}

/// The members that hold text, a piece of it or a call's arguments, in the dialects that clients speak.
const TEXTS: &[&str] = &[
    "\"content\"",
    "\"text\"",
    "\"delta\"",
    "\"response\"",
    "\"reasoning\"",
    "\"reasoning_content\"",
    "\"thinking\"",
    "\"refusal\"",
    "\"arguments\"",
    "\"partial_json\"",
];

/// Whether an event holds text: one of the members is a string that is not empty.
fn says_something(event: &[u8]) -> bool {
    TEXTS.iter().any(|name| {
        memmem::find_iter(event, name).any(|at| {
            let colon = json::skip_space(event, at + name.len());
            let value = json::skip_space(event, colon + 1);
            let rest = event.get(value..).unwrap_or_default();
            event.get(colon) == Some(&b':') && rest.starts_with(b"\"") && rest.get(1) != Some(&b'"')
        })
    })
}

/// The events (or lines) of a piece, each with its end. Only whole ones are handed out before.
pub fn split(mut piece: Bytes, lines: bool) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        if piece.is_empty() {
            return None;
        }
        let end = if lines { end_of_line(&piece) } else { end_of_event(&piece) };
        let end = end.unwrap_or(piece.len());
        Some(piece.split_to(end))
    })
}

fn end_of_line(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes).map(|at| at + 1)
}

/// Just behind the first blank line, whichever line ends the upstream uses.
fn end_of_event(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).map(|at| at + 1).find_map(|after| {
        let rest = &bytes[after..];
        let blank =
            if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.first() == Some(&b'\n')) };
        (blank > 0).then_some(after + blank)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace =
        Pace { interval: Duration::from_millis(50), delay_max: Duration::from_millis(200) };

    /// Runs a pacer over arrivals on a virtual clock; gives (arrived, released) in milliseconds.
    fn run(arrivals_ms: &[u64]) -> Vec<(u64, u64)> {
        let mut pacer = Pacer::new(PACE);
        let mut out = Vec::new();
        let mut next = 0;
        for now_ms in 0..100_000u64 {
            let now = Duration::from_millis(now_ms);
            while arrivals_ms.get(next).is_some_and(|&at| at <= now_ms) {
                pacer.hold(now, Bytes::from(format!("{{\"text\": \"{next}\"}}")));
                next += 1;
            }
            while let Some(event) = pacer.release(now) {
                let event: serde_json::Value = serde_json::from_slice(&event).unwrap();
                let n: usize = event["text"].as_str().unwrap().parse().unwrap();
                assert_eq!(n, out.len(), "order is kept");
                out.push((arrivals_ms[n], now_ms));
            }
            if out.len() == arrivals_ms.len() {
                break;
            }
        }
        out
    }

    #[test]
    fn a_burst_becomes_an_even_pace() {
        let released: Vec<_> = run(&[0, 0, 0, 0]).into_iter().map(|(_, at)| at).collect();
        assert_eq!(released, [0, 50, 100, 150]);
    }

    #[test]
    fn a_slow_stream_is_not_delayed() {
        assert!(run(&[0, 80, 170, 400]).iter().all(|(arrived, at)| arrived == at));
    }

    #[test]
    fn nothing_waits_longer_than_the_bound() {
        let all = run(&[0; 20]);
        assert_eq!(all.last(), Some(&(0, 200)));
    }

    /// The rest of a long burst waited in the upstream's socket, 256 events per bound, for ever.
    #[test]
    fn what_is_beyond_the_number_goes_at_once() {
        let all = run(&[0; 3 * HELD_EVENTS_MAX]);
        let at_once = all.iter().filter(|(_, at)| *at == 0).count();
        assert_eq!(at_once, 2 * HELD_EVENTS_MAX, "the pace is kept for those that may be held");
        assert_eq!(all[2 * HELD_EVENTS_MAX], (0, 50));
        assert_eq!(all.last(), Some(&(0, 200)));
    }

    /// A Responses client waited four intervals for its first word, and as many for the end after its last.
    #[test]
    fn what_holds_no_text_waits_for_nothing_but_what_is_before_it() {
        let chat = [
            r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"data: {"choices":[{"delta":{"content" : "a"}}]}"#,
            r#"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        ];
        let anthropic = [
            r#"data: {"type":"message_start","message":{"content":[],"usage":{"input_tokens":1}}}"#,
            r#"data: {"type":"content_block_start","content_block":{"type":"text","text":""}}"#,
            r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"\"a"}}"#,
            r#"data: {"type":"content_block_stop","index":0}"#,
        ];
        let responses = [
            r#"data: {"type":"response.created","response":{"output":[],"text":{"format":{"type":"text"}}}}"#,
            r#"data: {"type":"response.output_item.added","item":{"type":"message","content":[]}}"#,
            r#"data: {"type":"response.content_part.added","part":{"type":"output_text","text":""}}"#,
            r#"data: {"type":"response.output_text.delta","delta":"a"}"#,
            r#"data: {"type":"response.output_text.delta","delta":"b"}"#,
            r#"data: {"type":"response.completed","response":{"output":[]}}"#,
        ];
        let ollama = [
            r#"{"message":{"role":"assistant","content":""}}"#,
            r#"{"message":{"role":"assistant","content":"","thinking":"a"}}"#,
            r#"{"response":"b"}"#,
            r#"{"response":"","done":true}"#,
        ];
        let gemini = [
            r#"data: {"candidates":[{"content":{"parts":[{"text":""}]}}]}"#,
            r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"args":{}}},{"text":"a"}]}}]}"#,
            r#"data: {"candidates":[{"finishReason":"STOP"}]}"#,
        ];
        let cases: [(&[&'static str], usize); 5] =
            [(&chat, 3), (&anthropic, 4), (&responses, 4), (&ollama, 2), (&gemini, 3)];
        for (events, at_once) in cases {
            let mut pacer = Pacer::new(PACE);
            for event in events {
                pacer.hold(Duration::ZERO, Bytes::from(*event));
            }
            let gone = std::iter::from_fn(|| pacer.release(Duration::ZERO)).count();
            assert_eq!(gone, at_once, "{events:?}");
            let rest = events.len() - gone;
            assert_eq!(pacer.due(), (rest > 0).then_some(PACE.interval), "{events:?}");
            let later = std::iter::from_fn(|| pacer.release(PACE.interval)).count();
            assert_eq!(later, rest, "the last word, and the end with it: {events:?}");
        }
    }

    #[test]
    fn a_piece_of_several_events_is_paced_event_by_event() {
        let text = "data: a\n\ndata: b\ndata: c\r\n\r\n: x\n\ndata: d\n\n";
        let all: Vec<_> = split(Bytes::from(text), false).collect();
        assert_eq!(all, ["data: a\n\n", "data: b\ndata: c\r\n\r\n", ": x\n\n", "data: d\n\n"]);
    }

    proptest! {
        #[test]
        fn delay_is_bounded_and_nothing_is_lost(gaps in prop::collection::vec(0u64..300, 1..60)) {
            let mut at = 0;
            let arrivals: Vec<_> = gaps.iter().map(|g| { at += g; at }).collect();
            let out = run(&arrivals);
            prop_assert_eq!(out.len(), arrivals.len());
            prop_assert!(out.iter().all(|&(arrived, at)| at >= arrived && at - arrived <= 200));
        }
    }
}

//! What clients are told of a stream that breaks off. No target of the fuzzer's, so that it is in a file of its own.

use bytes::Bytes;
use cutover_units::Millis;
use cutover_vendors::{anthropic, gemini};
use cutover_wire::Endpoint;

use super::targets::{Events, asked, drive};

/// What an upstream's stream is written in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Vendor {
    /// Chat completions.
    Chat,
    /// Anthropic's events.
    Messages,
    /// Google's.
    Gemini,
}

/// Whether a stream ends for each client like a whole one; `None` if they are not told the same.
pub(crate) fn cut_short(data: &[u8], vendor: Vendor) -> Option<bool> {
    let mut out = Vec::new();
    let mut events: Box<dyn Events> = match vendor {
        Vendor::Chat => return told(data),
        Vendor::Messages => Box::new(anthropic::EventsIn::new(Millis(0))),
        Vendor::Gemini => Box::new(gemini::EventsIn::new(Millis(0))),
    };
    events.push(Bytes::copy_from_slice(data), &mut out);
    events.finish(&mut out);
    told(&out.concat())
}

fn told(chat: &[u8]) -> Option<bool> {
    const ENDS: [&str; 6] = [
        "message_stop",
        "response.completed",
        "response.incomplete",
        "\"done\":true",
        "\"done\": true",
        "\"finishReason\":",
    ];
    let mut ends =
        asked().into_iter().filter(|one| one.endpoint != Endpoint::Embeddings).map(|inbound| {
            let mut out = Vec::new();
            drive(&mut inbound.way_back.stream(), &[chat], &mut out);
            let text = String::from_utf8_lossy(&out);
            let whole = ENDS.iter().any(|end| text.contains(end));
            let broken =
                ["event: error", "event: response.failed", "{\"error\":", "data: {\"error\":"];
            let told = text.lines().any(|line| broken.iter().any(|start| line.starts_with(start)));
            assert_ne!(whole, told, "an end or an error: {text}");
            whole
        });
    let first = ends.next()?;
    ends.all(|whole| whole == first).then_some(first)
}

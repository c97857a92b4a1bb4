//! What the gateway sees, as rollouts read it.

use std::sync::Arc;

use bytes::Bytes;
use cutover_control::rollouts::{Drained, Pair, Side, Source};
use cutover_evals::{Answer, ToolCall};
use cutover_gateway::shadow::{Captured, ShadowPair};
use cutover_rollout::Exposure;
use cutover_units::{Millis, NanoUsd, UseCaseName};
use cutover_wire::openai::chat::Request;

use crate::process::Process;

/// The gateway of a process as a source of observations.
pub(crate) struct Observed(pub(crate) Arc<Process>);

impl Source for Observed {
    fn watch(&self, use_case: &UseCaseName, on: bool) {
        let feed = self.0.gateway().and_then(|gateway| gateway.feed(use_case));
        match feed {
            Some(feed) if on => feed.watch(),
            Some(feed) => feed.unwatch(),
            None => {}
        }
    }

    fn drain(&self, use_case: &UseCaseName, into: &mut Vec<Exposure>) -> Option<Drained> {
        let gateway = self.0.gateway()?;
        let feed = gateway.feed(use_case)?;
        if !feed.is_watched() {
            // A use case that came back with a config file has a new feed: it knew nothing so far.
            feed.watch();
            return None;
        }
        let lost = feed.drain(into);
        let shadow_cost = gateway.copies(use_case).map(|copies| copies.take_cost());
        Some(Drained { lost, shadow_cost: shadow_cost.unwrap_or_default() })
    }

    fn ready_instances(&self, use_case: &UseCaseName, warm: bool) -> Option<u32> {
        self.0.gateway()?.ready_instances(use_case, warm)
    }

    fn drain_pairs(&self, use_case: &UseCaseName, into: &mut Vec<Pair>) {
        let Some(copies) = self.0.gateway().and_then(|gateway| gateway.copies(use_case)) else {
            return;
        };
        let mut pairs = Vec::new();
        copies.drain_pairs(&mut pairs);
        into.extend(pairs.into_iter().map(pair));
    }

    fn shadow_spent(&self, use_case: &UseCaseName, now: Millis) -> NanoUsd {
        let copies = self.0.gateway().and_then(|gateway| gateway.copies(use_case));
        copies.map(|copies| copies.purse().spent_today(now)).unwrap_or_default()
    }

    fn restore_shadow_spent(&self, use_case: &UseCaseName, now: Millis, spent: NanoUsd) {
        if let Some(copies) = self.0.gateway().and_then(|gateway| gateway.copies(use_case)) {
            copies.purse().restore(now, spent);
        }
    }
}

fn pair(pair: ShadowPair) -> Pair {
    Pair {
        request_id: pair.request_id,
        unit: pair.unit,
        at: pair.at,
        endpoint: pair.endpoint.as_str(),
        conversation: conversation(&pair.prompt),
        body: String::from_utf8_lossy(&pair.prompt).into_owned(),
        baseline: side(pair.baseline),
        candidate: side(pair.candidate),
    }
}

fn side(captured: Captured) -> Side {
    let calls = captured.tool_calls.into_iter();
    let answer = Answer {
        text: captured.text,
        tool_calls: calls
            .map(|call| ToolCall { name: call.name, arguments: call.arguments })
            .collect(),
        finish_reason: captured.finish.map(|finish| finish.as_str().to_owned()),
        failed: captured.fault.is_some() || captured.served.failed,
    };
    Side { answer, served: captured.served }
}

/// A chat as people read it; another request as it is.
fn conversation(body: &Bytes) -> String {
    let Ok(request) = serde_json::from_slice::<Request>(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    let lines = request.messages.iter().map(|message| {
        let text = message.content.as_ref().map(|content| content.text()).unwrap_or_default();
        format!("{}: {text}", message.role.as_str())
    });
    lines.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_rendered_and_anything_else_is_shown_as_it_is() {
        let chat = br#"{"model":"m","messages":[{"role":"system","content":"Be brief."},
            {"role":"user","content":[{"type":"text","text":"Hi"}]}]}"#;
        assert_eq!(conversation(&Bytes::from_static(chat)), "system: Be brief.\n\nuser: Hi");
        assert_eq!(conversation(&Bytes::from_static(b"{\"prompt\":1}")), "{\"prompt\":1}");
    }
}

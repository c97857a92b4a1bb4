//! What the messages of a chat client bring along from another vendor's answers, on their way to an upstream that
//! speaks chat completions: signatures are for their maker alone, OpenAI's own API takes no reasoning back, and some
//! take no ids of calls like those of others. What else an `openai-compatible` service takes is its own to say.

use std::borrow::Cow;

use bytes::Bytes;
use cutover_wire::providers::CallIds;
use cutover_wire::{Endpoint, Head, Loss, LossAction, Outgoing, Target, Words};
use memchr::memmem;

use crate::read::{At, Text, key_of};
use crate::split;
use crate::write;

const CALLS: &str = "tool_calls";
const EFFORT: &str = "reasoning_effort";

/// A member of messages that is not for everyone.
struct Mark {
    key: &'static str,
    /// Where it stands, in reports.
    path: &'static str,
    /// Whether self-hosted engines take it.
    engines_take: bool,
    why: &'static str,
}

const fn mark(key: &'static str, path: &'static str, engines_take: bool) -> Mark {
    let why = if engines_take {
        "OpenAI's API takes no reasoning back"
    } else {
        "another vendor's signatures"
    };
    Mark { key, path, engines_take, why }
}

static MARKS: [Mark; 4] = [
    mark("extra_content", "messages[].tool_calls[].extra_content", false),
    mark("reasoning_details", "messages[].reasoning_details", false),
    mark("reasoning_content", "messages[].reasoning_content", true),
    mark("reasoning", "messages[].reasoning", true),
];

/// A chat request without it. One to the default upstream goes as its client wrote it.
pub fn without_others(mut outgoing: Outgoing, head: &Head, target: &Target) -> Outgoing {
    let converted = head.stream_options_are_ours;
    let is_chat = head.endpoint == Endpoint::ChatCompletions && (target.mint || converted);
    let ids = target.call_ids;
    let brings = head.may_have(Words::OTHERS);
    let may = |piece: &Bytes| brings && may_bring(piece) || may_bring_ids(piece, ids);
    if !is_chat || !outgoing.body.iter().any(may) {
        return outgoing;
    }
    if let Some((body, losses)) = left_behind(&outgoing.body.concat(), target, converted) {
        outgoing.body = vec![body];
        outgoing.losses.extend(losses);
    }
    outgoing
}

/// Whether a piece of a request may hold any of it.
fn may_bring(piece: &[u8]) -> bool {
    memmem::find(piece, b"\"reasoning").is_some()
        || memmem::find(piece, b"\"extra_content\"").is_some()
}

/// Whether a piece may hold ids of calls that are not taken.
fn may_bring_ids(piece: &[u8], ids: CallIds) -> bool {
    let least = match ids {
        CallIds::Any => return false,
        CallIds::UpTo(most) => most + 1,
        CallIds::Plain | CallIds::Nine => 0,
    };
    // Of a call's `id`, and of its result's `tool_call_id`.
    memmem::find_iter(piece, b"id\"").any(|at| {
        let after = piece.get(at + 3..).unwrap_or_default().trim_ascii_start();
        let value = after.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
        let inner = value.strip_prefix(b"\"").map(|inner| inner.get(..least).unwrap_or(inner));
        inner.is_some_and(|inner| !inner.contains(&b'"') && inner.len() >= least)
    })
}

/// The request without it, and what is not in it. `None`: it holds nothing of that. `converted`: it was made here of a
/// request in another dialect, so that an effort of `none` is our word for a client's wish not to think.
fn left_behind(body: &[u8], target: &Target, converted: bool) -> Option<(Bytes, Vec<Loss>)> {
    let (provider, ids) = (target.provider, target.call_ids);
    let openai = provider.name == "openai";
    let takes_all = !openai && !provider.self_hosted;
    if takes_all && ids == CallIds::Any {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?.trim_ascii();
    let mut work = Work { openai, takes_all, ids, mended: false, losses: Vec::new() };
    let root: Vec<(&str, &str)> = split::members(text)?.collect();
    let model = root.iter().find(|(key, _)| *key == "\"model\"").map_or("", |(_, raw)| *raw);
    let text = write::object(|j| {
        for (key, raw) in root {
            match &*key_of(key) {
                "messages" => j.put_array("messages", |j| {
                    let messages = split::elements(raw).into_iter().flatten();
                    messages.for_each(|message| j.raw(&work.message(message)));
                }),
                EFFORT if openai && converted && raw == "\"none\"" && !knows_none(model) => {
                    work.note(EFFORT, "this model knows no effort of none");
                }
                key => j.put_raw(key, Some(raw)),
            }
        }
    });
    (work.mended || !work.losses.is_empty()).then(|| (Bytes::from(text), work.losses))
}

/// Whether an effort of `none` is taken: by the general models from GPT-5.1 on. Others answer 400, or have no effort.
fn knows_none(model: &str) -> bool {
    let name = model.trim_matches('"').rsplit('/').next().unwrap_or_default();
    let mut words = name.strip_prefix("gpt-").unwrap_or_default().split('-');
    let version = words.next().unwrap_or_default();
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let version = major.parse::<u32>().ok().zip(minor.parse::<u32>().ok());
    version.is_some_and(|version| version >= (5, 1))
        && !words.any(|word| matches!(word, "pro" | "codex" | "chat"))
}

struct Work {
    openai: bool,
    /// Whether all members of messages are the service's to judge.
    takes_all: bool,
    ids: CallIds,
    /// Whether an id was.
    mended: bool,
    losses: Vec<Loss>,
}

impl Work {
    fn note(&mut self, field: &str, why: &'static str) {
        if !self.losses.iter().any(|loss| loss.field == field) {
            let field = field.to_owned();
            self.losses.push(Loss { field, action: LossAction::Dropped, why });
        }
    }

    fn message<'t>(&mut self, raw: &'t str) -> Cow<'t, str> {
        let brings = may_bring(raw.as_bytes()) || may_bring_ids(raw.as_bytes(), self.ids);
        let Some(members) = split::members(raw).filter(|_| brings) else {
            return raw.into();
        };
        let is_call = |key: &str| key == "\"function\"" || key == "\"custom\"";
        let is_call = split::members(raw).into_iter().flatten().any(|(key, _)| is_call(key));
        let text = write::object(|j| {
            for (key, raw) in members {
                let key = key_of(key);
                match split::elements(raw).filter(|_| key == CALLS) {
                    Some(calls) => j.put_array(CALLS, |j| {
                        calls.for_each(|call| j.raw(&self.message(call)));
                    }),
                    None if self.drops(&key, raw) => {}
                    None if key == "tool_call_id" || (is_call && key == "id") => {
                        j.put_raw(&key, Some(&self.id(raw)));
                    }
                    None => j.put_raw(&key, Some(raw)),
                }
            }
        });
        text.into()
    }

    /// An id of a call, as it is taken.
    fn id<'t>(&mut self, raw: &'t str) -> Cow<'t, str> {
        let Ok(id) = Text::read(raw, At::Root) else { return raw.into() };
        let text = id.decode();
        if self.ids.takes(&text) {
            return raw.into();
        }
        self.mended = true;
        // Of letters that need no escape.
        format!("\"{}\"", self.ids.taken(&text)).into()
    }

    fn drops(&mut self, key: &str, raw: &str) -> bool {
        if self.takes_all {
            return false;
        }
        let taken = |mark: &&Mark| mark.key == key && (self.openai || !mark.engines_take);
        let Some(mark) = MARKS.iter().find(taken).filter(|_| raw != "null") else { return false };
        self.note(mark.path, mark.why);
        true
    }
}

#[cfg(test)]
mod tests {
    use cutover_wire::Provider;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// A turn of Gemini's and one of Anthropic's, as cutover gives them to clients of chat completions.
    fn moved() -> Value {
        json!({"model": "m", "messages": [
            {"role": "user", "content": "\"reasoning_details\""},
            {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"reasoning_content\":1}"},
                 "extra_content": {"google": {"thought_signature": "QUJD"}}}]},
            {"role": "tool", "tool_call_id": "a", "content": "R"},
            {"role": "assistant", "content": "b", "reasoning_content": "hm",
             "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "SG"}]},
        ], "reasoning_effort": "none"})
    }

    fn left(provider: &str, body: &Value, converted: bool) -> Option<(Value, Vec<String>)> {
        let target = Target::untouched(Provider::by_name(provider).unwrap());
        let (body, losses) = left_behind(body.to_string().as_bytes(), &target, converted)?;
        let fields = losses.into_iter().map(|loss| loss.field).collect();
        Some((serde_json::from_slice(&body).unwrap(), fields))
    }

    #[test]
    fn signatures_and_reasoning_stay_with_who_takes_them() {
        let mut engines = moved();
        engines["messages"][1]["tool_calls"][0].as_object_mut().unwrap().remove("extra_content");
        engines["messages"][3].as_object_mut().unwrap().remove("reasoning_details");
        let signed = ["messages[].tool_calls[].extra_content", "messages[].reasoning_details"];
        for provider in ["vllm", "llamacpp"] {
            let (body, losses) = left(provider, &moved(), false).unwrap();
            assert_eq!((&body, &*losses), (&engines, &signed.map(str::to_owned)[..]), "{provider}");
        }
        let (body, losses) = left("openai", &moved(), false).unwrap();
        for at in [1, 3] {
            engines["messages"][at].as_object_mut().unwrap().remove("reasoning_content");
        }
        assert_eq!((&body, losses.len()), (&engines, 3), "{losses:?}");
        // Google's compatible endpoint wants its own back, others take reasoning.
        assert!(left("openai-compatible", &moved(), false).is_none());
        let plain = json!({"model": "m", "messages": [{"role": "user", "content": "a", "reasoning": null}]});
        assert!(left("openai", &plain, false).is_none());
    }

    #[test]
    fn an_effort_of_none_reaches_the_models_of_openai_that_know_it() {
        for (model, knows) in [
            ("gpt-5.1", true),
            ("gpt-6-mini", true),
            ("gpt-5.2-2025-12-11", true),
            ("gpt-5", false),
            ("gpt-5.4-pro", false),
            ("gpt-4o", false),
            ("o4-mini", false),
        ] {
            let body = json!({"model": model, "messages": [], "reasoning_effort": "none"});
            assert_eq!(left("openai", &body, true).is_none(), knows, "{model}");
            // A client's own word is its own.
            assert!(left("openai", &body, false).is_none(), "{model}");
            assert!(left("vllm", &body, true).is_none(), "{model}");
        }
    }

    #[test]
    fn ids_of_calls_that_are_not_taken_become_others_on_both_sides() {
        let long = "chatcmpl-tool-0123456789abcdef0123456789abcdef";
        let talk = |ids: [&str; 2]| {
            let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{\"id\":\"chatcmpl-tool-0123456789abcdef0123456789abcdef\"}"}});
            json!({"model": "m", "messages": [
                {"role": "user", "content": "a", "id": long},
                {"role": "assistant", "content": null, "tool_calls": [call(ids[0]), call(ids[1])]},
                {"role": "tool", "tool_call_id": ids[1], "content": "R"},
                {"role": "tool", "tool_call_id": ids[0], "content": long},
            ]})
        };
        let taken = CallIds::UpTo(40).taken(long);
        let (body, losses) = left("openai", &talk([long, "call_1"]), false).unwrap();
        assert_eq!((body, losses.len()), (talk([&taken, "call_1"]), 0));
        // Nothing must change.
        assert!(left("openai", &talk(["call_0", "call_1"]), false).is_none());
        let short = talk(["call_0", "call_1"]).to_string();
        assert!(!may_bring_ids(short.replace(long, "").as_bytes(), CallIds::UpTo(40)));
        assert!(left("vllm", &talk([long, "call_1"]), false).is_none());
        assert!(left("openai-compatible", &talk([long, "call_1"]), false).is_none());
        // Mistral's own address.
        let compatible = Provider::by_name("openai-compatible").unwrap();
        let mistral = Target {
            call_ids: compatible.call_ids_at("api.mistral.ai"),
            ..Target::untouched(compatible)
        };
        let body = talk([long, "abcDEF123"]).to_string();
        let (body, _) = left_behind(body.as_bytes(), &mistral, false).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, talk([&CallIds::Nine.taken(long), "abcDEF123"]));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..80)) {
            let openai = Target::untouched(Provider::by_name("openai").unwrap());
            left_behind(&body, &openai, true);
            left_behind(&[b"{\"messages\":[{\"reasoning", &body[..]].concat(), &openai, true);
            may_bring_ids(&body, CallIds::Nine);
        }
    }
}

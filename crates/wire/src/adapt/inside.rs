//! What stands inside of messages and is not for every upstream: a participant's name, an image's detail. The rows of
//! the table of providers say who cannot act on it, as they do of the request's own members.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::splice::Edits;
use super::{Loss, dropped, is_neutral};
use crate::errors::Fault;
use crate::head::{Head, Key, Words};
use crate::json;
use crate::openai::content::{Content, Part};
use crate::providers::Rule;
use crate::target::{Target, Unsupported};

/// A field that the target cannot act on: a refusal at its place, or a line in the report, once.
pub(crate) fn lose(
    rule: &Rule,
    place: &str,
    (mode, losses): (Unsupported, &mut Vec<Loss>),
) -> Result<(), Fault> {
    let field = rule.key.name();
    if mode == Unsupported::Strict {
        return Err(Fault::unsupported(place, rule.why));
    }
    if losses.iter().all(|loss| loss.field != field) {
        losses.push(dropped(field, rule.why));
    }
    Ok(())
}

/// Where a message's name stands.
pub(crate) fn name_at(message: usize) -> String {
    format!("messages[{message}].name")
}

/// Where an image's detail stands.
pub(crate) fn detail_at(message: usize, part: usize) -> String {
    format!("messages[{message}].content[{part}].image_url.detail")
}

/// The parts of a content that are images, and the detail that is asked for of each.
pub(crate) fn details(content: &Content) -> impl Iterator<Item = (usize, &str)> {
    let parts = if let Content::Parts(parts) = content { parts.as_slice() } else { &[] };
    parts.iter().enumerate().filter_map(|(at, part)| match part {
        Part::ImageUrl { image_url } => Some((at, image_url.detail.as_deref()?)),
        _ => None,
    })
}

/// Plans the edits, in the client's own dialect. Looks into the messages only if there is something to do.
pub(super) fn apply(
    (head, body): (&Head, &Bytes),
    target: &Target,
    (edits, losses): (&mut Edits<'_>, &mut Vec<Loss>),
) -> Result<(), Fault> {
    // What goes on to the default upstream as it came was ignored there before, too: that first day changes nothing.
    if target.model.is_none() {
        return Ok(());
    }
    let rule = |key, word| {
        let rule = target.provider.rule(key, head.endpoint)?;
        head.may_have(word).then_some(rule)
    };
    let name = rule(Key::MessageName, Words::NAME);
    let detail = rule(Key::ImageDetail, Words::DETAIL);
    if name.is_none() && detail.is_none() {
        return Ok(());
    }
    let Some(messages) = head.members.iter().find(|member| member.key == Key::Messages) else {
        return Ok(());
    };
    // Tools have names, too.
    let bytes = body.get(messages.value.clone()).unwrap_or_default();
    let name = name.filter(|_| json::inside::has_string(bytes, "name"));
    if name.is_none() && detail.is_none() {
        return Ok(());
    }
    let text = head.text(body, &messages.value);
    let mut lost = |rule: &Rule, raw: &str, place: &str, instead: &'static str| {
        if is_neutral(rule, raw) {
            return Ok(());
        }
        lose(rule, place, (target.unsupported, losses))?;
        let range = json::range_in(text, raw);
        let start = messages.value.start;
        edits.replace(start + range.start..start + range.end, instead);
        Ok(())
    };
    let items: Vec<&RawValue> = json::typed_borrowed(text, Key::Messages.name())?;
    for (at, item) in items.iter().enumerate() {
        let of_tool = matches!(member(item.get(), "role"), Some(r#""tool""# | r#""function""#));
        if let (Some(rule), Some(raw)) = (name, member(item.get(), "name").filter(|_| !of_tool)) {
            lost(rule, raw, &name_at(at), "null")?;
        }
        let Some(rule) = detail else { continue };
        let parts: Vec<&RawValue> = member(item.get(), "content")
            .and_then(|content| serde_json::from_str(content).ok())
            .unwrap_or_default();
        for (number, part) in parts.iter().enumerate() {
            let image = member(part.get(), "image_url");
            if let Some(raw) = image.and_then(|image| member(image, "detail")) {
                lost(rule, raw, &detail_at(at, number), "\"auto\"")?;
            }
        }
    }
    Ok(())
}

/// A member of an object, as it is written.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    let _ = json::members(object, |key, raw| {
        if key == name {
            found = Some(raw.get());
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::adapt;
    use crate::providers::Provider;
    use crate::{Endpoint, Target};

    const BODY: &str = r#"{"model":"m","messages":[{"role":"system","content":"the \"name\""},{"role":"user","name" : "ann","content":[{"type":"text","text":"\"detail\""},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk=","detail":"low"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","name":"f","tool_call_id":"a","content":"1"}]}"#;

    fn adapted(provider: &str, unsupported: Unsupported) -> Result<(String, Vec<String>), Fault> {
        let provider = Provider::by_name(provider).unwrap();
        let body = Bytes::from_static(BODY.as_bytes());
        let head = Head::read(Endpoint::ChatCompletions, &body)?;
        let model = Some("m".into());
        let target = Target { model, unsupported, ..Target::untouched(provider) };
        let outgoing = adapt(&head, &body, &target)?;
        let sent = String::from_utf8(outgoing.body.concat()).unwrap();
        Ok((sent, outgoing.losses.into_iter().map(|loss| loss.field).collect()))
    }

    /// Both were left out of a strict variant's request with no more than a line in the report.
    #[test]
    fn a_strict_target_refuses_by_place_and_a_lenient_one_reports() {
        let refused = |provider| adapted(provider, Unsupported::Strict).unwrap_err().param.unwrap();
        assert_eq!(refused("vllm"), "messages[1].content[1].image_url.detail");
        assert_eq!(refused("llamacpp"), "messages[1].content[1].image_url.detail");
        assert_eq!(refused("ollama"), "messages[1].name");
        assert_eq!(refused("embedded"), "messages[1].name");

        let (sent, losses) = adapted("vllm", Unsupported::Lenient).unwrap();
        assert_eq!(losses, ["messages[].content[].image_url.detail"]);
        assert_eq!(
            sent,
            BODY.replace(r#""detail":"low""#, r#""detail":"auto""#),
            "and nothing else"
        );
        let both = ["messages[].name", "messages[].content[].image_url.detail"];
        let (sent, losses) = adapted("embedded", Unsupported::Lenient).unwrap();
        assert!(losses.iter().all(|loss| both.contains(&loss.as_str())) && losses.len() == 2);
        assert!(sent.contains(r#""name" : null"#) && sent.contains(r#""role":"tool","name":"f""#));
        let (sent, losses) = adapted("ollama", Unsupported::Lenient).unwrap();
        assert_eq!(losses, both);
        assert!(!sent.contains("ann") && !sent.contains("low"), "{sent}");
    }

    #[test]
    fn whoever_takes_them_gets_the_clients_bytes() {
        for provider in ["openai", "openai-compatible"] {
            let (sent, losses) = adapted(provider, Unsupported::Strict).unwrap();
            assert_eq!((sent.as_str(), losses.len()), (BODY, 0), "{provider}");
        }
        let named = BODY.replace("\"low\"", "\"auto\"");
        let head = Head::read(Endpoint::ChatCompletions, &Bytes::from(named.clone())).unwrap();
        let model = Some("m".into());
        let vllm = Target { model, ..Target::untouched(Provider::by_name("vllm").unwrap()) };
        let outgoing = adapt(&head, &Bytes::from(named.clone()), &vllm).unwrap();
        assert_eq!(outgoing.body.concat(), named.as_bytes(), "its template may look at names");
    }

    #[test]
    fn the_default_upstream_gets_what_it_got_before() {
        let body = Bytes::from_static(BODY.as_bytes());
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        let vllm = Target::untouched(Provider::by_name("vllm").unwrap());
        let outgoing = adapt(&head, &body, &vllm).unwrap();
        assert_eq!(
            (outgoing.body.concat().as_slice(), outgoing.losses.len()),
            (BODY.as_bytes(), 0)
        );
    }
}

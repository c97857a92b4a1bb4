//! What a variant puts around a conversation moves its messages: an error names the place that its sender
//! knows.

use cutover_wire::Fault;

use crate::split;

/// An error about a request as it was adapted, with the message's place in the one that was sent.
pub fn in_senders_places(fault: Fault, sent: &[u8], adapted: &[u8]) -> Fault {
    let Some(param) = &fault.param else { return fault };
    let named = param.strip_prefix("messages[").and_then(|rest| rest.split_once(']'));
    let Some((Ok(at), rest)) = named.map(|(at, rest)| (at.parse::<usize>(), rest)) else {
        return fault;
    };
    let (own, ours) = (messages(sent), messages(adapted));
    let usual = (at + own.len()).checked_sub(ours.len());
    let same = |place: &usize| own.get(*place) == ours.get(at);
    // A message that stays keeps its text, unless the variant adds to it. Of several alike it is the one
    // as far from the end.
    let found = usual.filter(same).or_else(|| (0..own.len()).find(same));
    let found = found.or_else(|| usual.filter(|_| own.len() == ours.len()));
    // One that was joined with another, or is the variant's own, has no place.
    let place = found.map_or_else(String::new, |at| at.to_string());
    let path = format!("messages[{place}]{rest}");
    let message = fault.message.replace(&format!("'{param}'"), &format!("'{path}'"));
    Fault { message, param: Some(path), ..fault }
}

/// The messages of a body, as raw texts.
fn messages(body: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let mut members = split::members(text.trim_ascii()).into_iter().flatten();
    let list = members.find(|(key, _)| *key == "\"messages\"").map(|(_, list)| list);
    list.and_then(split::elements).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use cutover_units::Code;
    use proptest::prelude::*;

    use super::*;

    fn place(sent: &str, adapted: &str, param: &str) -> String {
        let fault = Fault::of(Code::InvalidValue, param, format!("'{param}' is wrong"));
        let fault = in_senders_places(fault, sent.as_bytes(), adapted.as_bytes());
        let param = fault.param.unwrap();
        assert_eq!(fault.message, format!("'{param}' is wrong"));
        param
    }

    #[test]
    fn a_message_is_found_where_its_sender_put_it() {
        let sent = r#"{"model":"m","messages":[{"a":1},{"a":2},{"a":1}]}"#;
        let more = r#"{"messages": [{"s":0}, {"a":1}, {"a":2},{"a":1}],"model":"x"}"#;
        assert_eq!(place(sent, more, "messages[2].a"), "messages[1].a");
        assert_eq!(place(sent, more, "messages[3].a"), "messages[2].a");
        assert_eq!(place(sent, more, "messages[1].a"), "messages[0].a");
        assert_eq!(place(sent, more, "messages[0].s"), "messages[].s");
        assert_eq!(place(sent, sent, "messages[2].a"), "messages[2].a");
        assert_eq!(place(sent, more, "tools[0]"), "tools[0]");
        let added = r#"{"messages":[{"a":1,"s":0},{"a":2},{"a":1}]}"#;
        assert_eq!(place(sent, added, "messages[0].s"), "messages[0].s");
        // The first two were joined.
        let less = r#"{"messages":[{"b":3},{"a":1}]}"#;
        assert_eq!(place(sent, less, "messages[1].a"), "messages[2].a");
        assert_eq!(place(sent, less, "messages[0].b"), "messages[].b");
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(sent in ".{0,40}", adapted in ".{0,40}", at in any::<u16>()) {
            place(&sent, &adapted, &format!("messages[{at}].x"));
        }
    }
}

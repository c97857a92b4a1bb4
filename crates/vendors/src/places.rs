//! What a variant puts around a conversation moves its messages: an error names the place that its sender
//! knows.

use cutover_wire::Fault;

use crate::split;

const MESSAGES: &str = "messages[";

/// An error about a request as it was adapted, with the message's place in the one that was sent: in the field that it
/// names and in its text.
pub fn in_senders_places(fault: Fault, sent: &[u8], adapted: &[u8]) -> Fault {
    let names = |text: &str| text.contains(MESSAGES);
    if !names(&fault.message) && !fault.param.as_deref().is_some_and(names) {
        return fault;
    }
    let (own, ours) = (messages(sent), messages(adapted));
    let place = |at: usize| {
        let usual = (at + own.len()).checked_sub(ours.len());
        let same = |place: &usize| own.get(*place) == ours.get(at);
        // A message that stays keeps its text, unless the variant adds to it. Of several alike it is the one
        // as far from the end.
        let found = usual.filter(same).or_else(|| (0..own.len()).find(same));
        found.or_else(|| usual.filter(|_| own.len() == ours.len()))
    };
    let param = fault.param.as_deref().map(|param| moved(param, &place));
    Fault { message: moved(&fault.message, &place), param, ..fault }
}

/// The text with the places of messages moved. One that was joined with another, or is the variant's own, has none.
fn moved(text: &str, place: &dyn Fn(usize) -> Option<usize>) -> String {
    let mut parts = text.split(MESSAGES);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(MESSAGES);
        let named = part.split_once(']').and_then(|(at, _)| Some((at, at.parse().ok()?)));
        let rest = match named {
            Some((digits, at)) => {
                out.push_str(&place(at).map(|at| at.to_string()).unwrap_or_default());
                part.get(digits.len()..).unwrap_or_default()
            }
            None => part,
        };
        out.push_str(rest);
    }
    out
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
        let named =
            Fault::new(Code::InvalidRequest, "messages[2] and messages[0], not messages[x]");
        let named = in_senders_places(named, sent.as_bytes(), more.as_bytes());
        assert_eq!(named.message, "messages[1] and messages[], not messages[x]");
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

//! The shape that the content events of one stream share: all but the text of `content`.
//!
//! Most engines send events that differ in their text alone. Once one of them has been looked at, an
//! event with the same bytes before and after its text needs no second look: it holds no finish reason,
//! no usage and no error, the names to be replaced stand where they stood, and it is valid JSON.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::sink::Sink;
use crate::json::inside;

static CONTENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"content\":\""));

/// Shapes learned in a row of which none fitted the next event; then it is given up: some services put
/// something new into every event.
const LEARNED_IN_VAIN_MAX: u8 = 4;

/// What is replaced in an event, and by what, in order.
pub(super) type Places<'a> = [Option<(Range<usize>, &'a [u8])>; 3];

/// What stands before and after the text.
#[derive(Debug, Default)]
struct Around {
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// The shape of a stream's content events, as far as one is known.
#[derive(Debug, Default)]
pub(super) struct Shape {
    theirs: Around,
    /// With everything replaced; none if nothing is to be.
    ours: Option<Around>,
    learned_in_vain: u8,
}

impl Shape {
    /// Passes an event on if it has the shape; false (and nothing put) if not.
    pub(super) fn pass_on(&mut self, range: &Range<usize>, sink: &mut Sink<'_>) -> bool {
        let Around { head, tail } = &self.theirs;
        let event = sink.part(range.clone());
        let inside = event.strip_prefix(&head[..]).and_then(|rest| rest.strip_suffix(&tail[..]));
        let Some(inside) = inside.filter(|_| !head.is_empty()) else { return false };
        if !inside::is_inside_string(inside) {
            return false;
        }
        match &self.ours {
            None => sink.keep(range.clone()),
            Some(ours) => {
                sink.write(&ours.head);
                sink.keep(range.start + head.len()..range.end - tail.len());
                sink.write(&ours.tail);
            }
        }
        self.learned_in_vain = 0;
        true
    }

    /// Learns from an event that holds content alone. Places are those within the event.
    pub(super) fn learn(&mut self, event: &[u8], places: Option<&Places<'_>>) {
        if self.learned_in_vain >= LEARNED_IN_VAIN_MAX {
            return;
        }
        self.learned_in_vain += 1;
        self.theirs.head.clear();
        let Some(start) = CONTENT.find(event).map(|at| at + CONTENT.needle().len()) else { return };
        let Some(end) = inside::string_end(event, start) else { return };
        let (before, after) = (0..start, end..event.len());
        let all = places.iter().flat_map(|places| places.iter().flatten());
        let fits = |part: &Range<usize>, place: &Range<usize>| {
            part.start <= place.start && place.end <= part.end
        };
        if !all.clone().all(|(place, _)| fits(&before, place) || fits(&after, place)) {
            return;
        }
        let with_ours = |part: &Range<usize>| {
            let (mut text, mut from) = (Vec::with_capacity(part.len() + 64), part.start);
            for (place, ours) in all.clone().filter(|(place, _)| fits(part, place)) {
                text.extend_from_slice(event.get(from..place.start).unwrap_or_default());
                text.extend_from_slice(ours);
                from = place.end;
            }
            text.extend_from_slice(event.get(from..part.end).unwrap_or_default());
            text
        };
        self.ours = places.map(|_| Around { head: with_ours(&before), tail: with_ours(&after) });
        self.theirs.head.extend_from_slice(event.get(before).unwrap_or_default());
        self.theirs.tail.clear();
        self.theirs.tail.extend_from_slice(event.get(after).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn passed(shape: &mut Shape, event: &str) -> Option<String> {
        let frame = Bytes::from(event.to_owned());
        let mut sink = Sink::new(&frame);
        let mut out = Vec::new();
        let fits = shape.pass_on(&(0..event.len()), &mut sink);
        sink.finish(&mut out);
        fits.then(|| String::from_utf8(out.concat()).unwrap())
    }

    const EVENT: &str = "data: {\"id\":\"x\",\"delta\":{\"content\":\"a\"},\"m\":1}\n\n";

    fn learned() -> Shape {
        let mut shape = Shape::default();
        shape.learn(EVENT.as_bytes(), None);
        shape
    }

    #[test]
    fn an_event_with_another_text_fits() {
        for text in ["", "b", "\\n", "\\\"", "\\u00e9 and more text than a few words hold", "é\\\\"]
        {
            let event = EVENT.replace("\"a\"", &format!("\"{text}\""));
            assert_eq!(passed(&mut learned(), &event), Some(event));
        }
    }

    #[test]
    fn an_event_that_differs_elsewhere_does_not() {
        for text in ["a\",\"x\":\"b", "a\\", "a\nb", "a\\\\\"", "a\n\ndata: b", "\\\""] {
            let event = EVENT.replace("\"a\"}", &format!("\"{text}\"}}"));
            let fits = passed(&mut learned(), &event).is_some();
            assert_eq!(fits, text == "\\\"", "{text:?}");
        }
        for event in [EVENT.replace(":1", ":2"), EVENT.replace('x', "y"), String::new()] {
            assert_eq!(passed(&mut learned(), &event), None);
        }
        assert_eq!(passed(&mut Shape::default(), EVENT), None, "nothing was learned");
    }

    #[test]
    fn what_is_replaced_is_replaced_in_each() {
        let at = |part: &str| EVENT.find(part).map(|at| at..at + part.len()).unwrap();
        let places = [Some((at("\"x\""), &b"\"ours\""[..])), Some((at("1"), &b"22"[..])), None];
        let mut shape = Shape::default();
        shape.learn(EVENT.as_bytes(), Some(&places));
        let expected = "data: {\"id\":\"ours\",\"delta\":{\"content\":\"b c\"},\"m\":22}\n\n";
        assert_eq!(passed(&mut shape, &EVENT.replace("\"a\"", "\"b c\"")).unwrap(), expected);
    }

    #[test]
    fn nothing_is_learned_where_a_place_lies_in_the_text_or_there_is_none() {
        let at = EVENT.find("\"a\"").unwrap() + 1;
        let mut shape = Shape::default();
        shape.learn(EVENT.as_bytes(), Some(&[Some((at..at + 1, &b"b"[..])), None, None]));
        assert_eq!(passed(&mut shape, EVENT), None);
        shape.learn(b"data: {\"text\":\"a\"}\n\n", None);
        assert_eq!(passed(&mut shape, "data: {\"text\":\"a\"}\n\n"), None);
    }

    #[test]
    fn a_stream_whose_events_all_differ_is_given_up() {
        let mut shape = Shape::default();
        for n in 0..LEARNED_IN_VAIN_MAX {
            shape.learn(EVENT.replace(":1", &format!(":1{n}")).as_bytes(), None);
        }
        shape.learn(EVENT.as_bytes(), None);
        assert_eq!(passed(&mut shape, EVENT), None);
    }
}

//! Ids of calls as Anthropic takes them: of certain letters ([`CallIds::Plain`]), and each once in a conversation.
//! Engines that number their calls anew in each answer give the same ones again.

use std::collections::{HashMap, HashSet, VecDeque};

use cutover_wire::providers::CallIds;

/// The ids of a conversation: those that are sent for those that came. The same conversation, however far it has gone
/// on, has the same ones: a cached prefix stays one.
#[derive(Default)]
pub(super) struct Ids {
    used: HashSet<String>,
    /// For an id that was taken: the number that the next one like it may have. All below are used.
    next: HashMap<String, u32>,
    /// For an id that came: the calls of it that no result has answered, and the last one that was.
    calls: HashMap<String, (VecDeque<String>, String)>,
}

impl Ids {
    /// The id of a call.
    pub(super) fn called(&mut self, id: &str) -> String {
        let taken = CallIds::Plain.taken(id);
        let own =
            if self.used.contains(&*taken) { self.another(&taken) } else { taken.into_owned() };
        self.used.insert(own.clone());
        let (open, last) = self.calls.entry(id.to_owned()).or_default();
        open.push_back(own.clone());
        last.clone_from(&own);
        own
    }

    /// An id like one that is used. It goes on where the last search ended, and passes over each id that a client made
    /// up in this form once: a conversation of one id alone takes no longer than any other.
    fn another(&mut self, taken: &str) -> String {
        let next = self.next.entry(taken.to_owned()).or_insert(2);
        loop {
            let own = format!("{taken}_{next}");
            *next += 1;
            if !self.used.contains(&own) {
                return own;
            }
        }
    }

    /// The id that a result answers to.
    pub(super) fn answered(&mut self, id: &str) -> String {
        let Some((open, last)) = self.calls.get_mut(id) else {
            return CallIds::Plain.taken(id).into_owned();
        };
        if let Some(own) = open.pop_front() {
            last.clone_from(&own);
        }
        last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The search for a number began anew with each call: 3 MB of one id took 18 seconds. As long as it did so, this
    /// would not end.
    #[test]
    fn a_conversation_of_one_id_alone_takes_no_longer_than_any_other() {
        const CALLS: u32 = 200_000;
        let mut ids = Ids::default();
        // A client may write our form itself.
        (2..1_000).for_each(|count| {
            let own = format!("same_{count}");
            assert_eq!(ids.called(&own), own);
        });
        assert_eq!(ids.called("same"), "same");
        for count in 1_000..CALLS {
            let own = format!("same_{count}");
            assert_eq!(ids.called("same"), own);
        }
        assert_eq!(ids.answered("same"), "same");
        assert_eq!(ids.answered("same"), "same_1000");
    }

    #[test]
    fn an_id_that_comes_again_is_another_and_its_result_finds_it() {
        let mut ids = Ids::default();
        assert_eq!(
            (ids.called("call_0"), ids.called("call_1")),
            ("call_0".into(), "call_1".into())
        );
        assert_eq!(
            (ids.answered("call_1"), ids.answered("call_0")),
            ("call_1".into(), "call_0".into())
        );
        assert_eq!(
            (ids.called("call_0"), ids.answered("call_0")),
            ("call_0_2".into(), "call_0_2".into())
        );
        // Another result for the same call, and one for no call at all.
        assert_eq!(
            (ids.answered("call_0"), ids.answered("f:0")),
            ("call_0_2".into(), "f_3a_0".into())
        );
        // One that looks like one of ours.
        assert_eq!(
            (ids.called("call_0_2"), ids.answered("call_0_2")),
            ("call_0_2_2".into(), "call_0_2_2".into())
        );
        // Two at once, with results in order.
        assert_eq!((ids.called("a"), ids.called("a")), ("a".into(), "a_2".into()));
        assert_eq!((ids.answered("a"), ids.answered("a")), ("a".into(), "a_2".into()));
    }
}

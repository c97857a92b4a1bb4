//! Ids of calls in dialects whose calls need not have one: each call gets one here, and a result without
//! finds the call that it answers.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::read::Text;

/// The calls of a conversation. A result finds its call by a look into a map: there may be as many of both as a body
/// has room for.
#[derive(Default)]
pub struct Calls {
    /// The ids of those that no result has answered yet, by their number: the oldest is the first.
    waiting: BTreeMap<u64, String>,
    /// The numbers of those with an id, and of those with a name. Of the latter some may wait no more.
    by_id: HashMap<String, Vec<u64>>,
    by_name: HashMap<String, VecDeque<u64>>,
    count: u64,
    made: u32,
}

impl Calls {
    /// A call was made: its id, or one for it.
    pub fn called<'a>(&mut self, id: Option<Text<'a>>, name: &Text<'_>) -> Text<'a> {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| Text::from(self.make()));
        let (waiting, name) = (id.decode().into_owned(), name.decode().into_owned());
        self.count += 1;
        self.by_id.entry(waiting.clone()).or_default().push(self.count);
        self.by_name.entry(name).or_default().push_back(self.count);
        self.waiting.insert(self.count, waiting);
        id
    }

    /// The id of the call that a result answers: its own, else by the tool's name, else the oldest.
    /// False: there is no such call, and the id is made up.
    pub fn answered<'a>(
        &mut self,
        id: Option<Text<'a>>,
        name: Option<&Text<'_>>,
    ) -> (Text<'a>, bool) {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            self.wait_no_more(&id.decode());
            return (id, true);
        }
        match name.and_then(|name| self.named(&name.decode())).or_else(|| self.oldest()) {
            Some(call) => (Text::from(call), true),
            None => (Text::from(self.make()), false),
        }
    }

    fn wait_no_more(&mut self, id: &str) {
        for number in self.by_id.remove(id).unwrap_or_default() {
            self.waiting.remove(&number);
        }
    }

    /// The oldest call of a name.
    fn named(&mut self, name: &str) -> Option<String> {
        let numbers = self.by_name.get_mut(name)?;
        while let Some(number) = numbers.pop_front() {
            if let Some(call) = self.waiting.remove(&number) {
                return Some(call);
            }
        }
        None
    }

    fn oldest(&mut self) -> Option<String> {
        self.waiting.pop_first().map(|(_, call)| call)
    }

    fn make(&mut self) -> String {
        self.made += 1;
        format!("call_{}", self.made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(calls: &mut Calls, id: Option<&str>, name: Option<&str>) -> (String, bool) {
        let (id, known) = calls.answered(id.map(Text::from), name.map(Text::from).as_ref());
        (id.decode().into_owned(), known)
    }

    #[test]
    fn a_result_without_an_id_finds_its_call_by_name_or_is_for_the_oldest() {
        let mut calls = Calls::default();
        for (id, name) in [("a", "f"), ("b", "g"), ("c", "f"), ("d", "h"), ("b", "g")] {
            calls.called(Some(Text::from(id)), &Text::from(name));
        }
        assert_eq!(answered(&mut calls, Some("a"), Some("g")), ("a".into(), true));
        assert_eq!(answered(&mut calls, None, Some("f")), ("c".into(), true), "a is answered");
        assert_eq!(answered(&mut calls, None, Some("f")), ("b".into(), true), "the oldest");
        assert_eq!(answered(&mut calls, Some("b"), None), ("b".into(), true), "both of that id");
        assert_eq!(answered(&mut calls, None, None), ("d".into(), true));
        assert_eq!(answered(&mut calls, None, None), ("call_1".into(), false));
    }

    /// Each result walked all calls that wait: as long as it did so, this would not end.
    #[test]
    fn results_in_any_order_find_their_calls_at_once() {
        const CALLS: u32 = 100_000;
        let mut calls = Calls::default();
        let name = |at: u32| format!("a function with a name of some length {at}");
        for at in 0..CALLS {
            calls.called(Some(Text::from(format!("id {at}"))), &Text::from(name(at)));
        }
        for at in (0..CALLS).rev() {
            assert_eq!(answered(&mut calls, Some("another"), None), ("another".into(), true));
            let own = answered(&mut calls, None, Some(&name(at)));
            assert_eq!(own, (format!("id {at}"), true));
        }
    }
}

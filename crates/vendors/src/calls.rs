//! Ids of calls in dialects whose calls need not have one: each call gets one here, and a result without
//! finds the call that it answers.

use std::collections::VecDeque;

use crate::read::Text;

/// A call that no result has answered yet.
struct Waiting {
    id: String,
    name: String,
}

/// The calls of a conversation.
#[derive(Default)]
pub struct Calls {
    waiting: VecDeque<Waiting>,
    made: u32,
}

impl Calls {
    /// A call was made: its id, or one for it.
    pub fn called<'a>(&mut self, id: Option<Text<'a>>, name: &Text<'_>) -> Text<'a> {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| Text::from(self.make()));
        let (waiting, name) = (id.decode().into_owned(), name.decode().into_owned());
        self.waiting.push_back(Waiting { id: waiting, name });
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
            let text = id.decode().into_owned();
            self.waiting.retain(|call| call.id != text);
            return (id, true);
        }
        let name = name.map(Text::decode);
        let by_name = name.and_then(|name| self.waiting.iter().position(|c| c.name == name));
        match self.waiting.remove(by_name.unwrap_or(0)) {
            Some(call) => (Text::from(call.id), true),
            None => (Text::from(self.make()), false),
        }
    }

    fn make(&mut self) -> String {
        self.made += 1;
        format!("call_{}", self.made)
    }
}

//! What providers take as the id of a call. A conversation that has moved keeps the ids of who made its calls, and
//! some providers refuse those of others.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Ids of calls that a provider takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallIds {
    /// All of them.
    Any,
    /// Those of at most so many characters.
    UpTo(usize),
    /// Letters, digits, `_` and `-`; no id twice in a conversation.
    Plain,
    /// Nine letters and digits.
    Nine,
}

/// The letters of ids that are made here.
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl CallIds {
    /// Whether an id is taken as it is.
    pub fn takes(self, id: &str) -> bool {
        match self {
            Self::Any => true,
            Self::UpTo(most) => id.len() <= most || id.chars().count() <= most,
            Self::Plain => !id.is_empty() && id.chars().all(is_plain),
            Self::Nine => id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        }
    }

    /// An id that is taken: this one, or one that is always the same for it, so that a call and its result still find
    /// each other and a cached prefix stays one.
    pub fn taken(self, id: &str) -> Cow<'_, str> {
        if self.takes(id) {
            return Cow::Borrowed(id);
        }
        Cow::Owned(match self {
            Self::Any => id.to_owned(),
            Self::UpTo(_) => format!("call_{}", short::<22>(id)),
            Self::Plain => spelled(id),
            Self::Nine => short::<9>(id),
        })
    }
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

/// An id with its other letters spelled by their numbers.
fn spelled(id: &str) -> String {
    let mut text = String::with_capacity(id.len() + 8);
    for letter in id.chars() {
        if is_plain(letter) {
            text.push(letter);
        } else {
            let _infallible = write!(text, "_{:x}_", u32::from(letter));
        }
    }
    text
}

/// So many letters in place of an id: of its 128-bit FNV-1a, the same on every machine.
fn short<const N: usize>(id: &str) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let start: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let mut left = id.bytes().fold(start, |sum, b| (sum ^ u128::from(b)).wrapping_mul(PRIME));
    let letters = (0..N).map(|_| {
        let digit = usize::try_from(left % 62).unwrap_or_default();
        left /= 62;
        char::from(LETTERS.get(digit).copied().unwrap_or(b'0'))
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const ALL: [CallIds; 4] = [CallIds::Any, CallIds::UpTo(40), CallIds::Plain, CallIds::Nine];

    #[test]
    fn an_id_of_another_engines_becomes_one_that_is_taken() {
        let plain = |id: &str| CallIds::Plain.taken(id).into_owned();
        assert_eq!(plain("toolu_01-A"), "toolu_01-A");
        assert_eq!(plain("functions.f:0"), "functions_2e_f_3a_0");
        assert_ne!(plain("call.1/2"), plain("call/1.2"));
        // vLLM's own, which OpenAI finds too long.
        let long = "chatcmpl-tool-0123456789abcdef0123456789abcdef";
        assert_eq!(CallIds::UpTo(40).taken(long), "call_5rSmaV8o8uKkJSpsZJkNl7");
        assert_eq!(CallIds::UpTo(40).taken("functions.f:0"), "functions.f:0");
        assert_eq!(CallIds::Nine.taken("call_1"), "trdxXt5Pu");
        assert_eq!(CallIds::Nine.taken("abcDEF123"), "abcDEF123");
        assert_eq!(CallIds::Any.taken(long), long);
    }

    #[test]
    fn ids_stay_different() {
        for rule in [CallIds::UpTo(40), CallIds::Nine] {
            let mut made = HashMap::new();
            for number in 0..20_000 {
                let id = format!("chatcmpl-tool-{number:032x}");
                assert_eq!(made.insert(rule.taken(&id).into_owned(), id.clone()), None, "{id}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_id_stays_one_that_is_refused(id in ".{0,60}") {
            for rule in ALL {
                let taken = rule.taken(&id);
                prop_assert!(rule.takes(&taken) || id.is_empty(), "{rule:?} {taken}");
                prop_assert_eq!(rule.taken(&id), rule.taken(&id));
            }
        }
    }
}

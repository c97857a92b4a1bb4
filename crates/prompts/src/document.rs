//! A prompt's text as its author writes it: one system prompt, or parts under headings.
//!
//! ```text
//! @@ system append
//! Answer in {{ vars.language }}.
//! @@ user before
//! The statement follows.
//! @@ user after
//! Answer with JSON.
//! @@ example user
//! 12 Jan, rent, -900
//! @@ example assistant
//! {"kind": "rent"}
//! ```
//!
//! A line that begins with `@@` is a heading. A text without any is a system prompt.

use crate::{EXAMPLES_MAX, Problem, TEXT_BYTES_MAX};

/// Where a prompt's system text goes when the client sends a system message of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// Before the client's.
    #[default]
    Prepend,
    /// After the client's.
    Append,
    /// In its stead.
    Replace,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 3] = [Self::Prepend, Self::Append, Self::Replace];

    /// The word in a heading.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepend => "prepend",
            Self::Append => "append",
            Self::Replace => "replace",
        }
    }
}

/// Who says an example's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The user.
    User,
    /// The model.
    Assistant,
}

impl Speaker {
    /// The role's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What a part is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The system prompt.
    System(Place),
    /// What stands before the client's last user message, in it.
    UserBefore,
    /// What stands after it.
    UserAfter,
    /// A message of an example, between the system prompt and the client's messages.
    Example(Speaker),
}

/// One part of a prompt, before it is rendered.
#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is for.
    pub part: Part,
    /// The line of its first character, from 1.
    pub line: usize,
    /// Its template.
    pub text: String,
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at line {} ({} bytes)", self.part, self.line, self.text.len())
    }
}

/// All parts, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The parts.
    pub sections: Vec<Section>,
}

impl Document {
    /// Takes a text apart.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("a prompt has at most {TEXT_BYTES_MAX} bytes, this one has more");
            return Err(Problem::new(1, message));
        }
        // Editors on Windows begin a file with a mark that says nothing.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut open = (Part::System(Place::default()), 1, false);
        let mut lines: Vec<&str> = Vec::new();
        let mut sections = Vec::new();
        for (line, at) in text.lines().zip(1..) {
            let Some(heading) = line.strip_prefix("@@") else {
                lines.push(line);
                continue;
            };
            let part = heading_of(heading).map_err(|message| Problem::new(at, message))?;
            close(open, &lines, &mut sections)?;
            lines.clear();
            open = (part, at + 1, true);
        }
        close(open, &lines, &mut sections)?;
        if sections.is_empty() {
            return Err(Problem::new(1, "the prompt is empty"));
        }
        checked(sections)
    }
}

fn heading_of(heading: &str) -> Result<Part, String> {
    let words: Vec<&str> = heading.split_whitespace().collect();
    match words.as_slice() {
        ["system"] => Ok(Part::System(Place::default())),
        ["system", place] => Place::ALL
            .into_iter()
            .find(|known| known.as_str() == *place)
            .map(Part::System)
            .ok_or_else(|| "a system prompt is to prepend, append or replace".to_owned()),
        ["user", "before"] => Ok(Part::UserBefore),
        ["user", "after"] => Ok(Part::UserAfter),
        ["example", "user"] => Ok(Part::Example(Speaker::User)),
        ["example", "assistant"] => Ok(Part::Example(Speaker::Assistant)),
        _ => Err("no such heading; there are @@ system [prepend|append|replace], @@ user before, \
                  @@ user after, @@ example user, @@ example assistant"
            .to_owned()),
    }
}

/// Ends a part. Blank lines around it belong to nobody.
fn close(
    (part, first, headed): (Part, usize, bool),
    lines: &[&str],
    sections: &mut Vec<Section>,
) -> Result<(), Problem> {
    let blank = |line: &&&str| line.trim().is_empty();
    let before = lines.iter().take_while(blank).count();
    if before == lines.len() {
        return if headed {
            Err(Problem::new(first - 1, "there is nothing under this heading"))
        } else {
            Ok(())
        };
    }
    let after = lines.iter().rev().take_while(blank).count();
    let kept = lines.get(before..lines.len() - after).unwrap_or_default();
    sections.push(Section { part, line: first + before, text: kept.join("\n") });
    Ok(())
}

/// One part of each kind, and examples in pairs: engines' templates want user and assistant in turn.
fn checked(sections: Vec<Section>) -> Result<Document, Problem> {
    let same = |a: Part, b: Part| match (a, b) {
        (Part::System(_), Part::System(_)) => true,
        (Part::Example(_), _) => false,
        (a, b) => a == b,
    };
    for (at, section) in sections.iter().enumerate() {
        if sections.iter().take(at).any(|before| same(before.part, section.part)) {
            return Err(Problem::new(section.line, "a prompt has one such part only"));
        }
    }
    let mut next = Speaker::User;
    let mut last = 0;
    let mut count = 0;
    for section in &sections {
        let Part::Example(speaker) = section.part else { continue };
        if speaker != next {
            let message = format!("expected an example of the {} here", next.as_str());
            return Err(Problem::new(section.line, message));
        }
        next = if speaker == Speaker::User { Speaker::Assistant } else { Speaker::User };
        (last, count) = (section.line, count + 1);
    }
    if next == Speaker::Assistant {
        return Err(Problem::new(last, "the example has no answer: @@ example assistant"));
    }
    if count > EXAMPLES_MAX {
        let message = format!("a prompt has at most {EXAMPLES_MAX} messages of examples");
        return Err(Problem::new(last, message));
    }
    Ok(Document { sections })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        match Document::parse(text) {
            Ok(document) => {
                let line = |s: &Section| format!("{}: {:?} {:?}", s.line, s.part, s.text);
                document.sections.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn a_plain_text_is_a_system_prompt() {
        assert_eq!(
            shown("\nBe brief.\r\nBe kind.\n\n"),
            r#"2: System(Prepend) "Be brief.\nBe kind.""#
        );
        assert_eq!(shown(" \n"), "line 1: the prompt is empty");
    }

    #[test]
    fn a_mark_of_the_byte_order_is_no_text() {
        let marked = Document::parse("\u{feff}@@ user before\nfoo").unwrap();
        assert_eq!(marked, Document::parse("@@ user before\nfoo").unwrap());
    }

    #[test]
    fn headings_part_a_text() {
        let text = "@@ system append\nA\n@@ user before\n\nB\n@@user after\nC\n\
                    @@ example user\nD\n@@ example assistant\nE";
        let expected = "2: System(Append) \"A\"\n5: UserBefore \"B\"\n7: UserAfter \"C\"\n\
                        9: Example(User) \"D\"\n11: Example(Assistant) \"E\"";
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert!(shown("a\n@@ sytem\nb").starts_with("line 2: no such heading"));
        assert_eq!(shown("a\n@@ user after\n"), "line 2: there is nothing under this heading");
        assert_eq!(shown("a\n@@ system\nb"), "line 3: a prompt has one such part only");
        assert!(shown("@@ system before\nb").starts_with("line 1: a system prompt is to"));
        assert_eq!(
            shown("@@ example assistant\nx"),
            "line 2: expected an example of the user here"
        );
        assert!(shown("@@ example user\nx").contains("has no answer"));
        assert!(shown(&"x".repeat(TEXT_BYTES_MAX + 1)).contains("at most"));
        let many = "@@ example user\nx\n@@ example assistant\ny\n".repeat(33);
        assert!(shown(&many).contains("at most 64"), "{}", shown(&many));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(@@( system| user| example| after|x)*\n|[a{}%]*\n){0,12}") {
            let _ = Document::parse(&text);
        }
    }
}

//! Which of the template language's means a prompt may use: a look at the tags before they are compiled.
//!
//! Left out is what could make a short text grow without bound, whatever the limits on steps: operators
//! that join or repeat, lists and maps in the text, captured blocks, macros. What is left: values,
//! filters, tests, comparisons, `if`, `for` over a list of the config file, `raw`.
//!
//! And how deep they may lie in one another: the engine compiles by recursion, and a stack that overflows
//! takes the whole process with it.

use crate::{DEPTH_MAX, Problem, TAG_SIGNS_MAX};

const STATEMENTS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw"];

/// Looks at all tags of a template whose first line has this number.
pub(crate) fn scan(text: &str, first_line: usize) -> Result<(), Problem> {
    let mut rest = Rest { text, at: 0, line: first_line };
    let mut nesting = Nesting::default();
    while let Some(open) = rest.next_tag() {
        match open {
            Open::Comment => rest.past("#}", "a comment that does not end")?,
            Open::Value => rest.tag("}}")?,
            Open::Statement => {
                let word = rest.word();
                if !STATEMENTS.contains(&word) {
                    let message = format!(
                        "{{% {word} %}} is not available in a prompt: there are if, for and raw"
                    );
                    return Err(Problem::new(rest.line, message));
                }
                nesting.take(word).map_err(|message| Problem::new(rest.line, message))?;
                let raw = word == "raw";
                rest.tag("%}")?;
                if raw {
                    rest.past_raw()?;
                }
            }
        }
    }
    Ok(())
}

enum Open {
    Value,
    Statement,
    Comment,
}

/// Blocks within blocks. An `elif` lies within the one before it.
#[derive(Default)]
struct Nesting {
    /// For each block that is open: how many it is.
    open: Vec<usize>,
    depth: usize,
}

impl Nesting {
    fn take(&mut self, word: &str) -> Result<(), String> {
        match word {
            "if" | "for" => self.open.push(0),
            "elif" => {}
            "endif" | "endfor" => {
                self.depth -= self.open.pop().unwrap_or(0);
                return Ok(());
            }
            _ => return Ok(()),
        }
        // An `elif` without an `if` is the engine's to refuse.
        if let Some(last) = self.open.last_mut() {
            *last += 1;
            self.depth += 1;
        }
        if self.depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} times if, elif and for within one another"));
        }
        Ok(())
    }
}

struct Rest<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl<'t> Rest<'t> {
    fn left(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn go(&mut self, bytes: usize) {
        let passed = self.left().get(..bytes).unwrap_or_default();
        self.line += passed.matches('\n').count();
        self.at += bytes;
    }

    /// To behind the next tag's beginning.
    fn next_tag(&mut self) -> Option<Open> {
        let kinds = [("{{", 0), ("{%", 1), ("{#", 2)];
        let found =
            kinds.into_iter().filter_map(|(mark, kind)| Some((self.left().find(mark)?, kind)));
        let (at, kind) = found.min()?;
        self.go(at + 2);
        Some(match kind {
            0 => Open::Value,
            1 => Open::Statement,
            _ => Open::Comment,
        })
    }

    fn past(&mut self, mark: &str, unended: &str) -> Result<(), Problem> {
        let at = self.left().find(mark).ok_or_else(|| Problem::new(self.line, unended))?;
        self.go(at + mark.len());
        Ok(())
    }

    /// The statement's word. The place stays.
    fn word(&self) -> &'t str {
        let left = self.left().trim_start_matches(['-', '+']).trim_start();
        let end = left.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(left.len());
        left.get(..end).unwrap_or_default()
    }

    /// To behind the tag's end, past texts in quotes.
    fn tag(&mut self, close: &str) -> Result<(), Problem> {
        if self.left().starts_with(['-', '+']) {
            self.go(1);
        }
        let (mut signs, mut in_word) = (0, false);
        loop {
            let left = self.left();
            let Some(next) = left.chars().next() else {
                return Err(Problem::new(self.line, "a tag that does not end"));
            };
            if left.starts_with(close) {
                self.go(close.len());
                return Ok(());
            }
            let of_word = next.is_alphanumeric() || next == '_';
            signs += usize::from(!(next.is_whitespace() || of_word && in_word));
            in_word = of_word;
            if signs > TAG_SIGNS_MAX {
                let message = format!("a tag of more than {TAG_SIGNS_MAX} words and signs");
                return Err(Problem::new(self.line, message));
            }
            match next {
                '"' | '\'' => self.quoted(next)?,
                '+' if left.get(1..).is_some_and(|more| more.starts_with(close)) => self.go(1),
                '~' | '*' | '+' | '[' | '{' => {
                    let message = format!("'{next}' is not available in a prompt's tags");
                    return Err(Problem::new(self.line, message));
                }
                other => self.go(other.len_utf8()),
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<(), Problem> {
        let begun = self.line;
        self.go(1);
        loop {
            let mut chars = self.left().chars();
            match chars.next() {
                None => return Err(Problem::new(begun, "a text in quotes that does not end")),
                Some('\\') => self.go(1 + chars.next().map_or(0, char::len_utf8)),
                Some(other) => {
                    self.go(other.len_utf8());
                    if other == quote {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn past_raw(&mut self) -> Result<(), Problem> {
        let begun = self.line;
        loop {
            self.past("{%", "")
                .map_err(|_| Problem::new(begun, "a raw block that does not end"))?;
            if self.word() == "endraw" {
                return self.tag("%}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> String {
        scan(text, 1).map_or_else(|problem| problem.to_string(), |()| "good".to_owned())
    }

    #[test]
    fn values_conditions_and_loops_are_available() {
        for text in [
            "plain { } } % text, 2 * 3 + [x]",
            "{{ vars.x }} {{- model -}} {{+ model +}}",
            "{% if vars.x == 'a+b' %}x{% elif y %}{% else %}{%- endif -%}",
            "{# a + b #}{% raw %}{{ a + b }}{% if %}{% endraw %}",
            "{{ x | default(\"[\\\"*\") }}",
        ] {
            assert_eq!(verdict(text), "good", "{text}");
        }
    }

    #[test]
    fn what_lies_too_deep_is_refused_with_its_line() {
        let many = |unit: &str, count: usize| unit.repeat(count);
        let sign = "line 1: a tag of more than 200 words and signs";
        for tag in [
            format!("{{{{ {}1 }}}}", many("-", 200)),
            format!("{{{{ {}x }}}}", many("not ", 200)),
            format!("{{{{ x{} }}}}", many("|upper", 100)),
            format!("{{{{ x{} }}}}", many(".x", 100)),
            format!("{{% if x{} %}}{{% endif %}}", many(" and x", 100)),
            format!("{{{{ {}x{} }}}}", many("(", 100), many(")", 100)),
        ] {
            assert_eq!(verdict(&tag), sign, "{tag}");
        }
        let block = "line 2: more than 50 times if, elif and for within one another";
        let elifs = format!("{{% if x %}}\n{}{{% endif %}}", many("{% elif x %}", 50));
        assert_eq!(verdict(&elifs), block);
        let ifs = format!("{{% if x %}}\n{}", many("{% if x %}", 50));
        assert_eq!(verdict(&ifs), block);
        let side_by_side = many("{% if x %}{% elif y %}{% endif %}", 500);
        assert_eq!(verdict(&side_by_side), "good");
        // No sign is in a text in quotes.
        assert_eq!(verdict(&format!("{{{{ x == '{}' }}}}", many("-", 5_000))), "good");
    }

    #[test]
    fn what_could_grow_is_refused_with_its_line() {
        for (text, expected) in [
            ("\n{{ a ~ b }}", "line 2: '~' is not available in a prompt's tags"),
            ("{{ a\n+ b }}", "line 2: '+' is not available in a prompt's tags"),
            ("{{ a * 3 }}", "line 1: '*' is not available in a prompt's tags"),
            ("{{ [1] }}", "line 1: '[' is not available in a prompt's tags"),
            ("{{ {1:2} }}", "line 1: '{' is not available in a prompt's tags"),
            ("x\n\n{{ a", "line 3: a tag that does not end"),
            ("{{ 'a }}", "line 1: a text in quotes that does not end"),
            ("{% raw %}", "line 1: a raw block that does not end"),
            ("{# a", "line 1: a comment that does not end"),
        ] {
            assert_eq!(verdict(text), expected, "{text}");
        }
        for word in
            ["set", "include", "import", "macro", "extends", "with", "filter", "call", "do", ""]
        {
            let text = format!("{{% {word} x %}}");
            assert!(verdict(&text).contains("is not available"), "{text}");
        }
    }
}

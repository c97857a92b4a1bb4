//! A Rust file as the rules look at it: code without comments and string contents, the string
//! literals by themselves, and which lines are tests.
//!
//! This is a scanner, not a parser: it knows comments, strings, raw strings, characters and
//! lifetimes, and nothing else of the grammar.

/// A scanned Rust file. Lines count from zero here, from one in findings.
#[derive(Debug, Default)]
pub(crate) struct Rust {
    /// The code line by line; comments and string contents are gone.
    pub(crate) code: Vec<String>,
    /// Each string literal's first line and its content as written.
    pub(crate) literals: Vec<(usize, String)>,
    /// Whether a line belongs to an item under `#[cfg(test)]`.
    pub(crate) test: Vec<bool>,
}

impl Rust {
    /// Scans a file.
    pub(crate) fn scan(text: &str) -> Self {
        let mut scanner = Scanner { rest: text, rust: Self::default(), line: String::new() };
        while !scanner.rest.is_empty() {
            scanner.step();
        }
        scanner.rust.code.push(scanner.line);
        let mut rust = scanner.rust;
        rust.test = mark_tests(&rust.code);
        rust
    }

    /// The code lines outside tests, counted from one.
    pub(crate) fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().filter(|(n, _)| !self.test[*n]).map(|(n, l)| (n + 1, &**l))
    }

    /// The names of modules in other files that are declared under `#[cfg(test)]`.
    pub(crate) fn test_modules(&self) -> impl Iterator<Item = &str> {
        self.code.iter().enumerate().filter(|(n, _)| self.test[*n]).filter_map(|(_, line)| {
            let (_, name) = line.split_once("mod ")?;
            name.trim_end().strip_suffix(';')
        })
    }

    /// The string literals outside tests, with their lines counted from one.
    pub(crate) fn product_literals(&self) -> impl Iterator<Item = (usize, &str)> {
        self.literals.iter().filter(|(n, _)| !self.test[*n]).map(|(n, l)| (n + 1, &**l))
    }
}

struct Scanner<'a> {
    rest: &'a str,
    rust: Rust,
    line: String,
}

impl Scanner<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = &self.rest[end..];
        } else if self.rest.starts_with("/*") {
            self.skip_block_comment();
        } else if let Some((open, hashes)) = raw_string_open(self.rest, &self.line) {
            let close = format!("\"{}", "#".repeat(hashes));
            let end = self.rest[open..].find(&close).map_or(self.rest.len(), |at| open + at);
            self.literal(open, end, close.len());
        } else if self.rest.starts_with('"') {
            let end = string_end(&self.rest[1..]) + 1;
            self.literal(1, end, 1);
        } else if let Some(bytes) = char_literal(self.rest) {
            self.line.push_str("' '");
            self.rest = &self.rest[bytes..];
        } else {
            self.take_one(true);
        }
    }

    /// Moves over one character, into the code if it is code.
    fn take_one(&mut self, code: bool) {
        let Some(c) = self.rest.chars().next() else { return };
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.rust.code.push(std::mem::take(&mut self.line));
        } else if code {
            self.line.push(c);
        }
    }

    /// Moves over a literal whose content is `open..end` and whose closing mark has `close` bytes.
    fn literal(&mut self, open: usize, end: usize, close: usize) {
        self.rust.literals.push((self.rust.code.len(), self.rest[open..end].to_owned()));
        self.line.push_str("\"\"");
        let after = self.rest.len().saturating_sub((end + close).min(self.rest.len()));
        while self.rest.len() > after {
            self.take_one(false);
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while !self.rest.is_empty() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.rest = &self.rest[2..];
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.rest = &self.rest[2..];
                if depth == 0 {
                    return;
                }
            } else {
                self.take_one(false);
            }
        }
    }
}

/// Where the content of a raw string begins and how many hashes close it. `before` is the code on
/// the same line: the `r` of `for` opens nothing.
fn raw_string_open(rest: &str, before: &str) -> Option<(usize, usize)> {
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let marks = ["r", "br", "cr"].into_iter().find(|m| {
        rest.strip_prefix(m).is_some_and(|after| after.starts_with('"') || after.starts_with('#'))
    })?;
    let hashes = rest[marks.len()..].bytes().take_while(|b| *b == b'#').count();
    let open = marks.len() + hashes;
    rest[open..].starts_with('"').then_some((open + 1, hashes))
}

/// The bytes before the quote that ends a string.
fn string_end(content: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in content.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    content.len()
}

/// The length of a character literal, if one opens here; a lifetime is none.
fn char_literal(rest: &str) -> Option<usize> {
    let content = rest.strip_prefix('\'')?;
    let first = content.chars().next()?;
    if first == '\\' {
        // The escaped character may itself be a quote: look for the end behind it.
        return content.get(2..)?.find('\'').map(|at| at + 4);
    }
    content[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

/// Marks the item behind each `#[cfg(test)]`, up to its closing brace or semicolon.
fn mark_tests(code: &[String]) -> Vec<bool> {
    let mut marks = vec![false; code.len()];
    let mut at = 0;
    while at < code.len() {
        let line = code[at].trim_start();
        if line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test") {
            let end = item_end(code, at);
            marks[at..=end].fill(true);
            at = end;
        }
        at += 1;
    }
    marks
}

/// The last line of the item whose attribute stands on line `from`.
fn item_end(code: &[String], from: usize) -> usize {
    let mut depth = 0_usize;
    for (n, line) in code.iter().enumerate().skip(from) {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => return n,
                '}' => depth = depth.saturating_sub(1),
                ';' if depth == 0 => return n,
                _ => {}
            }
        }
    }
    code.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Rust::scan(text).code.join("\n")
    }

    #[test]
    fn comments_and_string_contents_are_no_code() {
        assert_eq!(code("let a = 1; // sleep"), "let a = 1; ");
        assert_eq!(code("a /* x /* y */ z */ b"), "a  b");
        assert_eq!(code("f(\"a \\\" b\")"), "f(\"\")");
        assert_eq!(code("f(r#\"a \" b\"#, 'x', '\\'', b'\"')"), "f(\"\", ' ', ' ', b' ')");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("/* one\ntwo */ three"), "\n three");
    }

    #[test]
    fn literals_keep_their_lines() {
        let rust = Rust::scan("a(\"one\");\nb(\n  \"two\nlines\");\nc(\"three\")");
        let found: Vec<_> = rust.product_literals().collect();
        assert_eq!(found, [(1, "one"), (3, "two\nlines"), (5, "three")]);
        assert_eq!(rust.code.len(), 5);
    }

    #[test]
    fn an_item_under_cfg_test_is_test_to_its_last_brace() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { x(); }\n}\nfn c() {}\n\
                    #[cfg(test)]\nmod more;\nfn d() {}";
        let rust = Rust::scan(text);
        let product: Vec<_> = rust.product().map(|(n, _)| n).collect();
        assert_eq!(product, [1, 6, 9]);
        assert_eq!(rust.test_modules().collect::<Vec<_>>(), ["more"]);
    }
}

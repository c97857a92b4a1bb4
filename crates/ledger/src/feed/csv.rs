//! CSV after RFC 4180, pushed in pieces.

use std::rc::Rc;

/// The cells of a row under their headings.
#[derive(Debug, Clone)]
pub(crate) struct Cells<'a> {
    /// In lower case.
    pub(crate) header: Rc<[String]>,
    pub(crate) cells: &'a [String],
}

impl Cells<'_> {
    /// A cell; none if there is no such column or it is empty.
    pub(crate) fn get(&self, column: &str) -> Option<&str> {
        let at = self.header.iter().position(|name| name == column)?;
        self.cells.get(at).map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
    }

    /// Whether there is such a column.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }
}

/// The separator of a heading line: the one that stands in it most.
pub(super) fn separator(heading: &[u8]) -> u8 {
    let count = |wanted: u8| memchr::memchr_iter(wanted, heading).count();
    let mut best = b',';
    for other in [b';', b'\t'] {
        if count(other) > count(best) {
            best = other;
        }
    }
    best
}

/// Where the next row ends, if it does: the index of its line break, and whether a quote is open at the end
/// of what there is. A quote opens a cell only at its beginning.
pub(super) fn row_end(bytes: &[u8], separator: u8, scan: &mut Scan) -> Option<usize> {
    for (at, byte) in bytes.iter().enumerate().skip(scan.seen) {
        let fresh = std::mem::take(&mut scan.cell_begins);
        match byte {
            b'"' if scan.quoted => scan.quoted = false,
            b'"' if fresh || scan.was_quote => scan.quoted = true,
            b'\n' if !scan.quoted => {
                *scan = Scan::default();
                return Some(at);
            }
            byte if *byte == separator && !scan.quoted => scan.cell_begins = true,
            _ => {}
        }
        // A doubled quote inside of quotes closes and opens again.
        scan.was_quote = *byte == b'"' && !scan.quoted;
    }
    scan.seen = bytes.len();
    None
}

/// How far a row was looked through.
#[derive(Debug)]
pub(super) struct Scan {
    seen: usize,
    pub(super) quoted: bool,
    was_quote: bool,
    cell_begins: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Self { seen: 0, quoted: false, was_quote: false, cell_begins: true }
    }
}

/// The cells of one row without its line break.
pub(super) fn cells(row: &str, separator: char) -> Vec<String> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut begins = true;
    let mut chars = row.chars().peekable();
    while let Some(c) = chars.next() {
        if quoted {
            match c {
                '"' if chars.peek() == Some(&'"') => {
                    chars.next();
                    cell.push('"');
                }
                '"' => quoted = false,
                other => cell.push(other),
            }
            continue;
        }
        match c {
            '"' if begins => quoted = true,
            c if c == separator => {
                cells.push(std::mem::take(&mut cell));
                begins = true;
                continue;
            }
            other => cell.push(other),
        }
        begins = false;
    }
    cells.push(cell);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(rows: &[Vec<String>]) -> String {
        let cell = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\n").collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in prop::collection::vec(
            prop::collection::vec("[a-c\",\n é]{0,6}", 1..4), 1..6)) {
            let text = written(&rows);
            let mut rest = text.as_bytes();
            let mut read = Vec::new();
            let mut scan = Scan::default();
            while let Some(end) = row_end(rest, b',', &mut scan) {
                read.push(cells(std::str::from_utf8(&rest[..end]).unwrap(), ','));
                rest = &rest[end + 1..];
            }
            prop_assert_eq!(read, rows);
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_quote_inside_of_a_bare_cell_is_a_letter() {
        assert_eq!(cells("5\" disk,b", ','), ["5\" disk", "b"]);
        assert_eq!(row_end(b"5\" disk,b\nc", b',', &mut Scan::default()), Some(9));
        assert_eq!(separator(b"time;model;tokens,in"), b';');
    }
}

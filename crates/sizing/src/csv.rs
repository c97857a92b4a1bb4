//! The catalogues' file format: a heading line, then one row a line, cells between commas.
//!
//! No quotes: a catalogue has no need of commas inside a cell, and a row of another width is an error
//! that a test finds before anybody else does.

use std::collections::BTreeMap;

/// One row, cell by heading.
#[derive(Debug, Clone)]
pub(crate) struct Row<'a> {
    /// Its line in the file, from 1.
    pub(crate) line: usize,
    cells: BTreeMap<&'a str, &'a str>,
}

impl<'a> Row<'a> {
    /// A cell; empty if there is no such column.
    pub(crate) fn text(&self, column: &str) -> &'a str {
        self.cells.get(column).copied().unwrap_or_default()
    }

    /// A whole number.
    pub(crate) fn number(&self, column: &str) -> Result<u64, String> {
        self.text(column).parse().map_err(|_| self.complaint(column, "a whole number"))
    }

    /// A number with a fraction.
    pub(crate) fn decimal(&self, column: &str) -> Result<f64, String> {
        let found = self.text(column).parse().ok().filter(|value: &f64| value.is_finite());
        found.ok_or_else(|| self.complaint(column, "a number"))
    }

    /// Several words between bars.
    pub(crate) fn list(&self, column: &str) -> Vec<&'a str> {
        self.text(column).split('|').filter(|word| !word.is_empty()).collect()
    }

    fn complaint(&self, column: &str, wanted: &str) -> String {
        format!("line {}: {column} is {:?}, not {wanted}", self.line, self.text(column))
    }
}

/// All rows of a catalogue.
pub(crate) fn rows(text: &str) -> Result<Vec<Row<'_>>, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((_, heading)) = lines.next() else { return Ok(Vec::new()) };
    let heading: Vec<&str> = heading.split(',').collect();
    lines
        .map(|(at, line)| {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            if cells.len() != heading.len() {
                let (has, wants) = (cells.len(), heading.len());
                return Err(format!("line {}: {has} cells, the heading has {wants}", at + 1));
            }
            Ok(Row { line: at + 1, cells: heading.iter().copied().zip(cells).collect() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_another_width_or_kind_is_named_by_its_line() {
        let table = rows("a,b\n1,x|y\n").unwrap();
        assert_eq!(table[0].number("a"), Ok(1));
        assert_eq!(table[0].list("b"), ["x", "y"]);
        assert!(table[0].decimal("b").unwrap_err().starts_with("line 2: b is"));
        assert!(rows("a,b\n1\n").unwrap_err().starts_with("line 2: 1 cells"));
    }
}

//! The table as a document.

use std::fmt::Write;

use super::{Kind, TABLE};

/// The reference of all metrics as a Markdown document.
pub fn reference() -> String {
    let mut out = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for row in TABLE {
        let labels: Vec<_> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            row.name,
            row.kind.as_str(),
            labels.join(", "),
            row.help
        );
    }
    let opened: Vec<_> = TABLE.iter().filter(|row| row.opens.is_some()).collect();
    let opened: Vec<_> = opened.into_iter().map(|row| format!("`{}`", row.name)).collect();
    let _ = writeln!(
        out,
        "\nThere at 0 before anything happened, so that a first event is a rise: {}. Series of other counters \
         with a cause, a code or an action in their labels appear with their first event.",
        opened.join(", ")
    );
    out.push_str("\nBuckets, in seconds:\n\n");
    for row in TABLE {
        if let Kind::Histogram(bounds) = row.kind {
            let texts: Vec<_> = bounds.iter().map(|b| crate::text::scaled(b.0.into(), 6)).collect();
            let _ = writeln!(out, "- `{}`: {}", row.name, texts.join(", "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_names_every_metric() {
        let text = reference();
        for row in TABLE {
            assert!(text.contains(&format!("| `{}` |", row.name)), "{}", row.name);
        }
        assert!(text.contains("0.00001, 0.00002"), "{text}");
    }
}

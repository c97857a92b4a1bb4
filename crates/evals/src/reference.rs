//! The reference page of scorers, printed from the table.

use std::fmt::Write as _;

use crate::options::{OptionRow, expected};
use crate::scorers::SCORERS;
use crate::spec::{Row, Standing};

/// `docs/reference/scorers.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Scorers\n\n\
         <!-- Generated from the table SCORERS in crates/evals; do not edit. -->\n\n\
         A scorer says what each answer of a shadow pair is worth, from 0 to 100. Where the right \
         answer is not known, scorers that compare take the baseline's answer as the reference, and \
         the score means agreement with the baseline. An answer that failed scores 0 and is not \
         valid. A scorer that crashes, hangs or answers something else than a number gives an error, \
         never a score; a gate holds while more than 5 % of its pairs have none.\n\n\
         A scorer's version covers its kind and all its options. Changing one begins the evidence \
         anew.\n\n\
         | kind | what it does | may gate | asks outside |\n|---|---|---|---|\n",
    );
    for row in SCORERS {
        let asks = if row.asks { "yes" } else { "no" };
        let _ = writeln!(
            out,
            "| [`{kind}`](#{kind}) | {} | {} | {asks} |",
            row.doc,
            standing(row.standing),
            kind = row.kind,
        );
    }
    for row in SCORERS {
        section(row, &mut out);
    }
    out
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::MayGate => "yes",
        Standing::NeedsHealth => "while people agree with it",
        Standing::Advisory => "no, advisory",
    }
}

fn section(row: &Row, out: &mut String) {
    let _ = write!(
        out,
        "\n## {}\n\n{}\n\n- Score: {}.\n- Source: {}.\n",
        row.kind, row.doc, row.meaning, row.source
    );
    if row.options.is_empty() {
        out.push_str("- Options: none.\n");
        return;
    }
    out.push_str("\n| option | value | default | meaning |\n|---|---|---|---|\n");
    for option in row.options {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            option.name,
            expected(option.kind),
            default(option),
            option.doc
        );
    }
}

fn default(option: &OptionRow) -> String {
    match (option.required, option.default) {
        (true, _) => "required".to_owned(),
        (false, Some(value)) => format!("`{value}`"),
        (false, None) => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_scorer_and_option() {
        insta::assert_snapshot!(reference());
    }
}

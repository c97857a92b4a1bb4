//! The difference of two versions, line by line.

use similar::TextDiff;

/// What a comparison may take. Beyond it the rest is shown as replaced, which is true, if long.
const TIME: std::time::Duration = std::time::Duration::from_millis(500);

/// The difference in unified form; empty if the texts are equal.
pub fn compare((old_name, old): (&str, &str), (new_name, new): (&str, &str)) -> String {
    if old == new {
        return String::new();
    }
    let difference = TextDiff::configure().timeout(TIME).diff_lines(old, new);
    difference.unified_diff().context_radius(3).header(old_name, new_name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_shown_with_those_around_them() {
        let shown = compare(("p@1", "a\nb\nc\n"), ("p@2", "a\nB\nc\n"));
        assert_eq!(shown, "--- p@1\n+++ p@2\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        assert_eq!(compare(("a", "x"), ("b", "x")), "");
    }
}

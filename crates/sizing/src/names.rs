//! Names as people write them: `llama3.3:70b`, `meta-llama/Llama-3.3-70B-Instruct`, `RTX 4090`.

/// What is left of a name: lower case, letters and digits only.
pub(crate) fn fold(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The nearest of the known names, if one is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(name);
    let scored = known.into_iter().map(|candidate| {
        let other = fold(candidate);
        let distance = strsim::damerau_levenshtein(&folded, &other);
        // One name inside the other is near whatever its length: `llama70b` in `llama3370b` is not,
        // but `qwen38` in `qwen3827b` is.
        let inside = folded.len() >= 4 && other.contains(&folded);
        (if inside { distance.min(2) } else { distance }, candidate)
    });
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + folded.len() / 4).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter_and_a_near_name_is_found() {
        assert_eq!(fold("RTX 4090"), fold("rtx-4090"));
        assert_eq!(nearest("lama3.3:70b", ["llama3.3:70b", "qwen3:8b"]), Some("llama3.3:70b"));
        assert_eq!(nearest("something", ["llama3.3:70b"]), None);
    }
}

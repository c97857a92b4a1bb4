//! Takes names out of an answer that would tell which model gave it.
//!
//! A heuristic: it knows the names of well-known models and their makers. A word that is also another
//! one (a llama, a command) is taken out only where a version follows it.

/// Names that mean a model or its maker and hardly anything else.
const NAMES: &[&str] = &[
    "gpt",
    "chatgpt",
    "openai",
    "claude",
    "anthropic",
    "gemini",
    "gemma",
    "deepmind",
    "bard",
    "codellama",
    "ollama",
    "qwen",
    "qwq",
    "tongyi",
    "alibaba",
    "mistral",
    "mixtral",
    "ministral",
    "codestral",
    "magistral",
    "deepseek",
    "smollm",
    "grok",
    "xai",
    "cohere",
    "chatglm",
    "zhipu",
    "kimi",
    "moonshot",
    "nemotron",
    "olmo",
    "minimax",
    "ernie",
];

/// Words that are names of models only with a version behind them: `llama-3`, `phi4`.
const WITH_VERSION: &[&str] =
    &["llama", "phi", "granite", "falcon", "command", "nova", "glm", "yi", "o"];

/// What stands in the place of a name.
const MASK: &str = "[model]";

/// The text without such names.
pub(super) fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_alphanumeric()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let joined = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let end = rest.find(|c: char| !joined(c)).unwrap_or(rest.len());
        // A sentence's full stop is no part of its last word.
        let end = rest[..end].trim_end_matches(['-', '_', '.']).len();
        let (word, after) = rest.split_at(end);
        out.push_str(if tells(word) { MASK } else { word });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Whether a word names a model: `GPT-4o`, `qwen2.5-7b`, `meta-llama-3`.
fn tells(word: &str) -> bool {
    let lower = word.to_lowercase();
    let mut parts = lower.split(['-', '_', '.']).peekable();
    while let Some(part) = parts.next() {
        let name = part.trim_end_matches(|c: char| c.is_ascii_digit());
        let version = name.len() < part.len()
            || parts.peek().is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()));
        let stem = part.find(|c: char| c.is_ascii_digit()).map_or(part, |at| &part[..at]);
        if NAMES.contains(&stem) || (version && WITH_VERSION.contains(&name)) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_models_are_taken_out_and_other_words_stay() {
        for (text, shown) in [
            ("I am ChatGPT, made by OpenAI.", "I am [model], made by [model]."),
            ("As Qwen2.5-7B-Instruct I", "As [model] I"),
            ("gpt-4o's answer; o1 too", "[model]'s answer; [model] too"),
            ("meta-llama-3.1 or Llama 3", "[model] or Llama 3"),
            ("A llama eats. Run the command!", "A llama eats. Run the command!"),
            ("Über naïve Phi: 3.14, e.g. -x_1", "Über naïve Phi: 3.14, e.g. -x_1"),
            ("", ""),
        ] {
            assert_eq!(mask(text), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_masked_text_stays(text in "\\PC{0,80}") {
            let once = mask(&text);
            prop_assert_eq!(mask(&once), once.clone());
        }
    }
}

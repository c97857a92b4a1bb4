//! Which family a model is of, by its name.
//!
//! Models of one family share training data and taste, and favour their own (self-preference,
//! arXiv 2404.13076). A name is looked through for the words below; a name without any is its own
//! family by its first word, so that two unknown names compare equal only where they begin alike.

use crate::refusal::Refusal;

/// Families, and the words that give them away. Words of derived models come first: a distillation
/// names its teacher's and its student's family, and counts as both.
const FAMILIES: &[(&str, &[&str])] = &[
    ("gpt", &["gpt", "chatgpt", "o1", "o3", "o4", "davinci", "openai"]),
    ("claude", &["claude", "anthropic"]),
    ("gemini", &["gemini", "gemma", "palm", "bard"]),
    ("llama", &["llama", "codellama", "vicuna", "alpaca", "hermes", "tulu", "nemotron"]),
    ("qwen", &["qwen", "qwq", "qvq"]),
    (
        "mistral",
        &[
            "mistral",
            "mixtral",
            "ministral",
            "codestral",
            "pixtral",
            "magistral",
            "devstral",
            "zephyr",
        ],
    ),
    ("deepseek", &["deepseek"]),
    ("phi", &["phi"]),
    ("smollm", &["smollm"]),
    ("grok", &["grok"]),
    ("command", &["command", "cohere", "aya"]),
    ("yi", &["yi"]),
    ("glm", &["glm", "chatglm"]),
    ("granite", &["granite"]),
    ("falcon", &["falcon"]),
    ("olmo", &["olmo"]),
    ("nova", &["nova", "titan"]),
    ("kimi", &["kimi", "moonshot"]),
    ("minimax", &["minimax", "abab"]),
];

/// The families a model's name gives away, or its first word if none.
fn families(model: &str) -> Vec<String> {
    let lower = model.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let known: Vec<String> = FAMILIES
        .iter()
        .filter(|(_, marks)| words.iter().any(|word| marks.iter().any(|mark| bears(word, mark))))
        .map(|(family, _)| (*family).to_owned())
        .collect();
    if known.is_empty() {
        return words.first().map(|word| (*word).to_owned()).into_iter().collect();
    }
    known
}

/// Whether a word is a mark, alone or with a version behind it: "qwen2", "gpt4o", "phi3".
fn bears(word: &str, mark: &str) -> bool {
    word.strip_prefix(mark)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit()))
        // "o1" is a version itself; "o10" is not known.
        && (mark.len() > 2 || word == mark || !mark.ends_with(|c: char| c.is_ascii_digit()))
}

/// The family of a model, by its name; empty for a name without letters and digits. A name that bears
/// several families' marks is of each; this is the first.
pub fn family(model: &str) -> String {
    families(model).into_iter().next().unwrap_or_default()
}

/// Whether a judge is of another family than every model it would judge.
pub fn independent(judge: &str, contestants: &[&str]) -> Result<(), Refusal> {
    let own = families(judge);
    for contestant in contestants {
        let shared = families(contestant).into_iter().find(|family| own.contains(family));
        if let Some(family) = shared {
            let (judge, contestant) = (judge.to_owned(), (*contestant).to_owned());
            return Err(Refusal::SameFamily { judge, contestant, family });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_their_family_away() {
        for (model, expected) in [
            ("gpt-4o-mini", "gpt"),
            ("o3-mini", "gpt"),
            ("openai/gpt-oss-20b", "gpt"),
            ("claude-opus-4-1", "claude"),
            ("models/gemini-2.5-pro", "gemini"),
            ("gemma3:4b", "gemini"),
            ("meta-llama/Llama-3.1-70B-Instruct", "llama"),
            ("qwen2.5:32b", "qwen"),
            ("QwQ-32B", "qwen"),
            ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistral"),
            ("deepseek-v3", "deepseek"),
            ("phi3:mini", "phi"),
            ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm"),
            ("our-own-model", "our"),
            ("dolphin2", "dolphin2"),
        ] {
            assert_eq!(family(model), expected, "{model}");
        }
        assert_eq!(family("--"), "");
    }

    #[test]
    fn a_judge_of_a_contestants_family_is_refused() {
        assert!(independent("claude-opus-4-1", &["gpt-4o", "qwen2.5:32b"]).is_ok());
        let refused = independent("gpt-4.1", &["qwen2.5:32b", "o3"]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the judge gpt-4.1 is of the same family (gpt) as o3, which it would judge"
        );
        // A distillation belongs to teacher and student.
        let distilled = "deepseek-r1-distill-llama-70b";
        assert!(independent("llama3.1:8b", &[distilled]).is_err());
        assert!(independent("deepseek-v3", &[distilled]).is_err());
        assert!(independent("our-judge", &["our-model"]).is_err());
        assert!(independent("mine", &["yours"]).is_ok());
    }
}

//! What is asked: prompts of a length, or prompts of a file.

use std::path::Path;

use anyhow::Context;
use cutover_console::exit::Failed;
use serde_json::{Value, json};

use super::Args;

/// A row's requests.
pub(super) struct Load {
    /// What it is called.
    pub(super) name: String,
    /// Messages, one request each; used in turn.
    pub(super) prompts: Vec<Value>,
    /// Tokens of an answer at the most.
    pub(super) output: u64,
}

/// Longest prompt that is made, and most tokens that are asked for.
const TOKENS_MAX: u64 = 1_000_000;
/// Largest file of prompts, and most prompts of it.
const FILE_BYTES_MAX: u64 = 64 << 20;
const PROMPTS_MAX: usize = 100_000;

pub(super) fn loads(args: &Args) -> Result<Vec<Load>, Failed> {
    match &args.prompts {
        Some(path) => {
            let prompts = read(path)?;
            let name = format!("{} prompts, up to {} out", prompts.len(), args.output);
            tokens(args.output, "--output")?;
            Ok(vec![Load { name, prompts, output: args.output }])
        }
        None => args.grid.split(',').map(cell).collect(),
    }
}

fn tokens(value: u64, name: &str) -> Result<(), Failed> {
    if value == 0 || value > TOKENS_MAX {
        return Err(Failed::usage(format!(
            "{name}: {value} tokens are not between 1 and {TOKENS_MAX}"
        )));
    }
    Ok(())
}

fn cell(text: &str) -> Result<Load, Failed> {
    let bad = || Failed::usage(format!("--grid: {text:?} is not INxOUT, such as 500x200"));
    let (input, output) = text.trim().split_once('x').ok_or_else(bad)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
    let (input, output) = (number(input)?, number(output)?);
    tokens(input, "--grid")?;
    tokens(output, "--grid")?;
    let message = json!([{ "role": "user", "content": filler(input) }]);
    Ok(Load { name: format!("{input} in, {output} out"), prompts: vec![message], output })
}

/// Words that are one token each in usual vocabularies; what a prompt really had is in the answer's usage.
const WORDS: &[&str] = &[
    "time", "people", "water", "house", "light", "world", "hand", "place", "story", "work",
    "night", "door",
];

fn filler(tokens: u64) -> String {
    let task = "Tell a long story with these words:";
    let count = usize::try_from(tokens).unwrap_or(usize::MAX).saturating_sub(8).max(1);
    let words: Vec<&str> = WORDS.iter().copied().cycle().take(count).collect();
    format!("{task} {}", words.join(" "))
}

fn read(path: &Path) -> Result<Vec<Value>, Failed> {
    let name = path.display();
    let bytes = std::fs::metadata(path).with_context(|| format!("cannot read {name}"))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Failed::usage(format!("{name} has {bytes} bytes, more than {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let prompts = lines
        .map(|(at, line)| {
            messages(line).ok_or_else(|| {
                Failed::usage(format!(
                    "{name}, line {}: neither a text nor JSON with prompt or messages",
                    at + 1
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if prompts.is_empty() || prompts.len() > PROMPTS_MAX {
        return Err(Failed::usage(format!(
            "{name} has {} prompts, not 1 to {PROMPTS_MAX}",
            prompts.len()
        )));
    }
    Ok(prompts)
}

fn messages(line: &str) -> Option<Value> {
    let user = |text: &Value| json!([{ "role": "user", "content": text }]);
    if !line.trim_start().starts_with('{') {
        return Some(user(&Value::from(line)));
    }
    let value: Value = serde_json::from_str(line).ok()?;
    match (&value["messages"], &value["prompt"]) {
        (Value::Array(all), _) if !all.is_empty() => Some(value["messages"].clone()),
        (_, text @ Value::String(_)) => Some(user(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_lengths_and_a_line_is_a_prompt() {
        let load = cell("500x200").ok().unwrap();
        let text = load.prompts[0][0]["content"].as_str().unwrap();
        assert_eq!((text.split(' ').count(), load.output), (499, 200));
        for bad in ["500", "0x3", "3x0", "ax3", "3x9999999"] {
            assert!(cell(bad).is_err(), "{bad}");
        }
        assert_eq!(messages("hello").unwrap()[0]["content"], "hello");
        assert_eq!(messages(r#"{"prompt":"hi"}"#).unwrap()[0]["content"], "hi");
        assert_eq!(messages(r#"{"messages":[{"role":"system"}]}"#).unwrap()[0]["role"], "system");
        assert!(messages("{\"x\":1}").is_none() && messages("{").is_none());
    }
}

//! Scorers' programs: whether they can be found where they run, which is an empty folder.

use std::path::{Path, absolute};

use cutover_config::Checked;
use cutover_control::rollouts::PROGRAM_PATH;
use cutover_gateway::build::BuildError;

/// What is wrong with the commands of a config file's scorers. `base`: where its relative paths start.
pub(crate) fn unfound(checked: &Checked, base: &Path) -> Vec<BuildError> {
    let mut found = Vec::new();
    for use_case in &checked.use_cases {
        let Some(scorer) = &use_case.scorer else { continue };
        let words = scorer.options.get("command").and_then(|words| words.as_array());
        let words = words.into_iter().flatten().filter_map(|word| word.as_str());
        for (place, word) in words.enumerate() {
            if let Some(why) = wrong(word, place == 0, base) {
                let key = format!("use_cases.{}.scorer.command", use_case.name);
                found.push(BuildError { key, why });
            }
        }
    }
    found
}

fn wrong(word: &str, is_program: bool, base: &Path) -> Option<String> {
    let path = Path::new(word);
    if path.is_absolute() {
        return (is_program && !path.exists()).then(|| format!("there is no {word:?}"));
    }
    let beside = base.join(path);
    if beside.is_file() {
        let whole = absolute(&beside).unwrap_or(beside);
        return Some(format!(
            "{word:?} lies beside the config file, and programs run in an empty folder: write {:?}",
            whole.display().to_string()
        ));
    }
    if !is_program {
        return None;
    }
    if word.contains('/') {
        return Some(format!("{word:?} is looked for in an empty folder: write its whole path"));
    }
    let known = PROGRAM_PATH.split(':').any(|folder| Path::new(folder).join(word).is_file());
    (!known).then(|| format!("{word:?} is in none of the folders {PROGRAM_PATH}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_its_program_would_not_find_is_named() {
        let base = tempfile::tempdir().unwrap();
        std::fs::write(base.path().join("score.sh"), "").unwrap();
        let told = |word: &str, is_program| wrong(word, is_program, base.path());
        for (word, is_program, part) in [
            ("score.sh", false, "lies beside the config file"),
            ("./score.sh", true, "programs run in an empty folder: write \"/"),
            ("scores/other", true, "write its whole path"),
            ("/no/such/program", true, "there is no"),
            ("nosuchprogramatall", true, "in none of the folders"),
        ] {
            let why = told(word, is_program).unwrap_or_else(|| panic!("{word}"));
            assert!(why.contains(part), "{why}");
        }
        for (word, is_program) in
            [("sh", true), ("/bin/sh", true), ("-c", false), ("echo 1", false), ("", false)]
        {
            assert_eq!(told(word, is_program), None, "{word}");
        }
    }
}

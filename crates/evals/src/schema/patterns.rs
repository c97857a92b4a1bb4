//! How large a schema's regular expressions are, each of which is compiled once.

use std::collections::{HashMap, HashSet};

use serde_json::json;

/// The largest of them when compiled, in bytes.
const EACH_MAX: usize = 256 << 10;
/// All of them together.
const ALL_MAX: usize = 2 << 20;
/// What one is counted as, at least.
const LEAST: usize = 2 << 10;
/// Their texts together: reading them takes time, too, before it can be seen how large they become.
const TEXT_MAX: usize = 32 << 10;
/// How often a text counts where case does not: each class of letters in it takes milliseconds to fold.
const FOLDED: usize = 64;

/// How schemas are compiled. Patterns run in linear time, because an answer is not to be trusted with a
/// backtracking engine.
pub(super) fn options<'i>(size_max: usize) -> jsonschema::ValidationOptions<'i> {
    let patterns = jsonschema::PatternOptions::regex().size_limit(size_max);
    jsonschema::options().with_pattern_options(patterns)
}

/// Patterns, and about how many bytes each takes when compiled.
#[derive(Debug, Default)]
pub(super) struct Sizes(HashMap<String, usize>);

impl Sizes {
    pub(super) const EACH_MAX: usize = EACH_MAX;

    /// Says what is too large.
    pub(super) fn of(patterns: &HashSet<&str>) -> Result<Self, String> {
        if patterns.iter().map(|pattern| text(pattern)).sum::<usize>() > TEXT_MAX {
            return Err(format!(
                "has more than {} KiB of patterns (one with the flag `i` counts {FOLDED} times)",
                TEXT_MAX >> 10
            ));
        }
        let (mut sizes, mut left) = (HashMap::new(), ALL_MAX);
        for pattern in patterns {
            let size = size(pattern).ok_or_else(|| {
                let shown: String = pattern.chars().take(80).collect();
                format!(
                    "has a pattern that is none, or takes more than {} KiB when compiled: {shown:?}",
                    EACH_MAX >> 10
                )
            })?;
            left = left.checked_sub(size).ok_or_else(|| {
                format!("has patterns that take more than {} MiB when compiled", ALL_MAX >> 20)
            })?;
            sizes.insert((*pattern).to_owned(), size);
        }
        Ok(Self(sizes))
    }

    /// How many steps it takes at most to look for a pattern in so many bytes: where its states are many, each may
    /// have to be looked at for each byte.
    pub(super) fn steps(&self, pattern: &str, bytes: usize) -> usize {
        1 + bytes.saturating_mul(self.0.get(pattern).copied().unwrap_or(EACH_MAX)) / (64 << 10)
    }
}

/// How long a pattern is, or as good as.
fn text(pattern: &str) -> usize {
    let mut flags = pattern.split("(?").skip(1).map(|from| {
        from.split_once(|c: char| !c.is_ascii_alphabetic() && c != '-').unwrap_or((from, "")).0
    });
    let folded = flags.any(|flags| flags.contains('i'));
    pattern.len().saturating_mul(if folded { FOLDED } else { 1 })
}

/// The compiler says only whether a limit holds; for small ones that is soon found out. Nothing where the last one
/// does not: one that takes long to read is read once.
fn size(pattern: &str) -> Option<usize> {
    compiles(pattern, EACH_MAX).then_some(())?;
    let mut tried = std::iter::successors(Some(LEAST), |size| Some(size * 2));
    tried.find(|size| *size >= EACH_MAX || compiles(pattern, *size))
}

fn compiles(pattern: &str, size_max: usize) -> bool {
    let options = options(size_max);
    options.build(&json!({"pattern": pattern})).is_ok()
}

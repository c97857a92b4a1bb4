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
const TEXT_MAX: usize = 64 << 10;

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
        if patterns.iter().map(|pattern| pattern.len()).sum::<usize>() > TEXT_MAX {
            return Err(format!("has more than {} KiB of patterns", TEXT_MAX >> 10));
        }
        let (mut sizes, mut left) = (HashMap::new(), ALL_MAX);
        for pattern in patterns {
            let size = size(pattern, left.min(EACH_MAX)).ok_or_else(|| {
                let shown: String = pattern.chars().take(80).collect();
                if compiles(pattern, EACH_MAX) {
                    let all = ALL_MAX >> 20;
                    format!("has patterns that take more than {all} MiB when compiled")
                } else {
                    let each = EACH_MAX >> 10;
                    format!(
                        "has a pattern that is none, or takes more than {each} KiB when compiled: {shown:?}"
                    )
                }
            })?;
            left = left.saturating_sub(size);
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

/// The compiler says only whether a limit holds; small ones are found out about soon.
fn size(pattern: &str, most: usize) -> Option<usize> {
    let mut tried = std::iter::successors(Some(LEAST), |size| Some(size * 2));
    tried.by_ref().take_while(|size| *size <= most).find(|size| compiles(pattern, *size))
}

fn compiles(pattern: &str, size_max: usize) -> bool {
    let options = options(size_max);
    options.build(&json!({"pattern": pattern})).is_ok()
}

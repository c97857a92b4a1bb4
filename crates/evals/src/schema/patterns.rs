//! How large a schema's regular expressions are, each of which is compiled once, and how long it takes to look for
//! one. An engine remembers the sets of places of a pattern that it has met in texts. Most patterns have few of
//! these, and then each byte is a look into a table. Of `[ab]*a[ab]{30}` there are more than any memory holds, and
//! each byte means to go through the pattern.

use std::collections::{HashMap, HashSet};

use regex_automata::Input;
use regex_automata::hybrid::dfa::DFA;
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
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

/// How many steps from one set of places to the next are tried to know all of them: for one pattern,
const TRIED_EACH: usize = 300_000;
/// for all together (each counts once more for so many bytes of a set),
const TRIED_ALL: usize = 400_000;
const SET: usize = 16;
/// and the memory for them, of which the engine has twice as much.
const REMEMBERED: usize = 1 << 20;

/// How schemas are compiled. Patterns run in linear time, because an answer is not to be trusted with a
/// backtracking engine.
pub(super) fn options<'i>(size_max: usize) -> jsonschema::ValidationOptions<'i> {
    let patterns = jsonschema::PatternOptions::regex().size_limit(size_max);
    jsonschema::options().with_pattern_options(patterns)
}

/// Patterns, and how dear each is.
#[derive(Debug, Default)]
pub(super) struct Sizes(HashMap<String, Cost>);

#[derive(Debug, Clone, Copy)]
struct Cost {
    /// About how many bytes it takes when compiled.
    size: usize,
    /// Whether all sets of its places can be remembered.
    settled: bool,
}

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
            sizes.insert((*pattern).to_owned(), Cost { size, settled: false });
        }
        // Short ones first, and always the same ones where not all can be tried.
        let mut sorted: Vec<_> = sizes.iter_mut().collect();
        sorted.sort_unstable_by_key(|(pattern, _)| (pattern.len(), *pattern));
        let mut untried = TRIED_ALL;
        for (pattern, cost) in sorted {
            cost.settled = settles(pattern, &mut untried).is_some();
        }
        Ok(Self(sizes))
    }

    /// How many steps it takes at most to look for a pattern in so many bytes. One that is a list of words is no
    /// expression for the validator: it goes through them.
    pub(super) fn steps(&self, pattern: &str, bytes: usize) -> usize {
        let dearest = Cost { size: EACH_MAX, settled: false };
        let cost = self.0.get(pattern).copied().unwrap_or(dearest);
        let searched = if cost.settled {
            bytes / 16
        } else {
            bytes.saturating_mul(10 + cost.size / (1 << 10))
        };
        (2 + pattern.len() / 128).saturating_add(searched)
    }
}

/// Goes through all sets of a pattern's places; nothing where they are too many.
fn settles(pattern: &str, left: &mut usize) -> Option<()> {
    let mut tries = TRIED_EACH.min(*left);
    let pattern = jsonschema_regex::to_rust_regex(pattern).ok()?;
    let small = NFA::config().which_captures(WhichCaptures::None).nfa_size_limit(Some(EACH_MAX));
    let nfa = NFA::compiler().configure(small).build(&pattern).ok()?;
    // None that was met is forgotten: it fails where it would have to be.
    let config = DFA::config()
        .cache_capacity(REMEMBERED)
        .skip_cache_capacity_check(true)
        .minimum_cache_clear_count(Some(0));
    let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
    let mut cache = dfa.create_cache();
    let first = dfa.start_state_forward(&mut cache, &Input::new("")).ok()?;
    let (mut seen, mut unseen) = (HashSet::from([first]), vec![first]);
    let (empty, row) = (cache.memory_usage(), size_of::<u32>() << dfa.byte_classes().stride2());
    while let Some(state) = unseen.pop() {
        // A step takes as long as sets are large.
        let each = ((cache.memory_usage() - empty) / seen.len()).saturating_sub(row);
        let step = 1 + each / SET;
        for unit in dfa.byte_classes().representatives(..) {
            tries = tries.checked_sub(step)?;
            *left -= step;
            let next = match unit.as_u8() {
                Some(byte) => dfa.next_state(&mut cache, state, byte),
                None => dfa.next_eoi_state(&mut cache, state),
            };
            let next = next.ok()?;
            if !next.is_dead() && !next.is_quit() && seen.insert(next) {
                unseen.push(next);
            }
        }
    }
    Some(())
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

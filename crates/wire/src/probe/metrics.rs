//! The few lines of an engine's Prometheus page that tell its load.

use super::Facts;

/// What a line adds to.
enum Told {
    Running,
    Waiting,
    /// A ratio from 0 to 1.
    Cache,
}

/// The names, old and new: vLLM hides a deprecated name one minor version later and removes it two
/// later, so that a fleet in the middle of an upgrade has both.
const NAMES: &[(&str, Told)] = &[
    ("vllm:num_requests_running", Told::Running),
    ("vllm:num_requests_waiting", Told::Waiting),
    ("vllm:kv_cache_usage_perc", Told::Cache),
    ("vllm:gpu_cache_usage_perc", Told::Cache),
    ("llamacpp:requests_processing", Told::Running),
    ("llamacpp:requests_deferred", Told::Waiting),
    ("llamacpp:kv_cache_usage_ratio", Told::Cache),
];

/// Reads the page. Several lines of one name (one per engine or model in the process) add up; of cache
/// use the fullest counts. What another page has told of the same requests is not added.
pub(super) fn read(body: &[u8], facts: &mut Facts) {
    let (mut running, mut waiting) = (None, None);
    let lines = body.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    for line in lines.filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        let Some((_, told)) = NAMES.iter().find(|(name, _)| *name == &line[..end]) else {
            continue;
        };
        let Some(value) = value(&line[end..]) else { continue };
        match told {
            Told::Running => add(&mut running, value),
            Told::Waiting => add(&mut waiting, value),
            Told::Cache => {
                let permille = whole(value.min(1.0) * 1_000.0);
                let permille = u16::try_from(permille).unwrap_or(1_000);
                facts.cache_permille = Some(facts.cache_permille.unwrap_or(0).max(permille));
            }
        }
    }
    facts.running = running.or(facts.running);
    facts.waiting = waiting.or(facts.waiting);
}

fn add(to: &mut Option<u32>, value: f64) {
    *to = Some(to.unwrap_or(0).saturating_add(whole(value)));
}

/// The number behind the labels; a timestamp may follow it. None for what is not a number or negative.
fn value(rest: &str) -> Option<f64> {
    let rest = rest.rsplit_once('}').map_or(rest, |(_, after)| after);
    let value: f64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates, and the value is not negative"
)]
fn whole(value: f64) -> u32 {
    value.round() as u32
}

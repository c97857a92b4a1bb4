//! What other gateways call the same thing.

use crate::fields::Section;

/// Words that other gateways use, by the section and key that mean the same here.
const OTHER_NAMES: &[(&str, &str, &str)] = &[
    ("upstreams.NAME", "url", "base_url"),
    ("upstreams.NAME", "api_base", "base_url"),
    ("upstreams.NAME", "endpoint", "base_url"),
    ("upstreams.NAME", "address", "base_url"),
    ("upstreams.NAME", "addresses", "instances"),
    ("upstreams.NAME", "urls", "instances"),
    ("upstreams.NAME", "api_key", "key"),
    ("upstreams.NAME", "type", "provider"),
    ("upstreams.NAME", "kind", "provider"),
    ("upstreams.NAME", "timeout", "total_timeout"),
    ("variants.NAME", "provider", "upstream"),
    ("variants.NAME", "prompt_vars", "vars"),
    ("variants.NAME", "variables", "vars"),
    ("variants.NAME", "system", "system_prompt"),
    ("use_cases.NAME", "control", "baseline"),
    ("use_cases.NAME", "treatment", "candidate"),
    ("use_cases.NAME", "share", "weight"),
    ("use_cases.NAME.match", "headers", "header"),
    ("server", "bind", "listen"),
    ("server", "address", "listen"),
    ("server", "port", "listen"),
    ("server", "host", "listen"),
    ("server", "threads", "workers"),
    ("use_cases.NAME", "judge", "scorer"),
    ("use_cases.NAME", "mirror", "shadow"),
    ("use_cases.NAME.rollout", "analysis", "gates"),
    ("use_cases.NAME.rollout", "checks", "gates"),
    ("use_cases.NAME.rollout", "stages", "steps"),
    ("use_cases.NAME.rollout", "alpha", "levels"),
    ("gate", "name", "id"),
    ("gate", "threshold", "limit"),
    ("gate", "margin", "margin_pp"),
    ("step", "gates", "requires"),
    ("step", "share", "weight"),
    ("step", "duration", "min_duration"),
    ("use_cases.NAME.scorer", "type", "kind"),
    ("admin", "bind", "listen"),
    ("admin", "port", "listen"),
];

pub(super) fn known_by_another_name(section: &Section, word: &str) -> Option<&'static str> {
    let row = OTHER_NAMES.iter().find(|(path, other, _)| *path == section.path && *other == word);
    row.map(|&(_, _, key)| key)
}

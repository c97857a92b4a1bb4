//! A local-only use case names local upstreams alone: both arms, and a variant that its scorer asks. And where its requests
//! may be another's as well, that is local-only, too.

use std::cmp::Reverse;

use crate::address::Reach;
use crate::checked::{Upstream, UseCase, Variant};
use crate::reader::NamedTable;

type Read<'a> = (&'a [Option<Variant>], &'a [Option<Upstream>]);

/// Notes every variant that would show a local-only use case's requests to others, and warns of use cases that may.
pub(crate) fn note_ways_out(
    tables: &[NamedTable<'_>],
    use_cases: &[Option<UseCase>],
    read: Read<'_>,
) {
    note_outweighed(tables, use_cases);
    for (entry, use_case) in tables.iter().zip(use_cases) {
        let Some(use_case) = use_case.as_ref().filter(|use_case| use_case.local_only) else {
            continue;
        };
        let arms = [("baseline", Some(use_case.baseline)), ("candidate", use_case.candidate)];
        for (key, at) in arms {
            if let Some((message, hint)) = at.and_then(|at| not_local(at, read)) {
                entry.table.conflict(key, message, Some(hint));
            }
        }
        let Some(scorer) = &use_case.scorer else { continue };
        let asked = scorer.variant().and_then(|name| {
            read.0.iter().position(|v| v.as_ref().is_some_and(|v| v.name.as_str() == name))
        });
        if let Some((message, hint)) = asked.and_then(|at| not_local(at, read)) {
            entry.table.conflict("scorer", message, Some(hint));
        }
        let url = scorer.options.get("url").and_then(serde_json::Value::as_str);
        if url.is_some_and(leads_away) {
            let message = "its scorer would send texts to a public address";
            entry.table.conflict("scorer", message, Some("use a scorer of your own".to_owned()));
        }
    }
}

/// Warns of each local-only use case whose requests another one takes, if they fit that as well. Whoever asks for all that
/// the local-only one asks for, and more, says which of its requests may leave: that is meant so.
fn note_outweighed(tables: &[NamedTable<'_>], use_cases: &[Option<UseCase>]) {
    let known = || use_cases.iter().enumerate().filter_map(|(at, one)| Some((at, one.as_ref()?)));
    let rank = |at: usize, one: &UseCase| (Reverse(one.matches.precedence()), at);
    for ((at, kept), entry) in known().filter_map(|one| Some((one, tables.get(one.0)?))) {
        let outweighs = |(other, one): &(usize, &UseCase)| {
            !one.local_only
                && rank(*other, one) < rank(at, kept)
                && one.matches.may_fit_with(&kept.matches)
                && !one.matches.asks_for_all_of(&kept.matches)
        };
        let Some((_, other)) = known().find(outweighs).filter(|_| kept.local_only) else {
            continue;
        };
        let message = format!(
            "a request that fits use case {}, too, is {}'s, which is not local-only",
            other.name, other.name
        );
        let hint = format!(
            "set use_cases.{}.residency = \"local-only\", or ask in its match for what this one asks for, if such \
             requests may leave",
            other.name
        );
        entry.table.warn("residency", message, Some(hint));
    }
}

fn leads_away(url: &str) -> bool {
    // A query does not matter for where an address leads.
    let base = url.split(['?', '#']).next().unwrap_or_default();
    crate::address::BaseUrl::rooted(base).is_ok_and(|url| url.reach() == Reach::Public)
}

fn not_local(variant: usize, (variants, upstreams): Read<'_>) -> Option<(String, String)> {
    let variant = variants.get(variant)?.as_ref()?;
    let upstream = upstreams.get(variant.upstream)?.as_ref()?;
    if upstream.local {
        return None;
    }
    let message = format!(
        "variant {} is answered by upstream {}, which is not local, and residency is \"local-only\"",
        variant.name, upstream.name
    );
    let hint = format!(
        "use a variant of a local upstream, or set upstreams.{}.local = true if it may see this data",
        upstream.name
    );
    Some((message, hint))
}

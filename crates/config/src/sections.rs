//! One reader per section, and what must hold between sections.

mod adaptation;
mod clients_key;
mod numbers;
mod residency;
mod rollouts;
mod scorer;
mod server;
mod shapes;
mod sources;
mod surface;
mod upstreams;
mod use_cases;
mod variants;
pub(crate) mod webhooks;

use std::collections::BTreeSet;

use cutover_units::did_you_mean;

use crate::checked::{Checked, ClientKeys, Server, Upstream, UseCase, Variant};
use crate::failover;
use crate::loading;
use crate::overflow;
use crate::reader::{NamedTable, Table};

/// Reads the whole file. `None` only after a problem was noted.
pub(crate) fn read(root: &Table<'_>) -> Option<Checked> {
    let server = server::server(root);
    let admin = server::admin(root, server.as_ref());
    let state = server::state(root);
    let log = server::log(root);

    let upstream_tables = root.named("upstreams");
    let variant_tables = root.named("variants");
    let use_case_tables = root.named("use_cases");
    let webhooks: Vec<_> = root.named("webhooks").iter().map(webhooks::read).collect();
    let keys = server.as_ref().map(|s| s.keys);

    let upstreams: Vec<_> =
        upstream_tables.iter().map(|entry| upstreams::read(entry, keys)).collect();
    let upstream_names = Names::of("upstreams", &upstream_tables);
    let variants: Vec<_> = variant_tables
        .iter()
        .map(|entry| variants::read(entry, &upstream_names, &upstreams))
        .collect();
    let variant_names = Names::of("variants", &variant_tables);
    let prices = numbers::prices(root);
    let hardware = numbers::hardware(root);
    let around = sources::Around {
        keys,
        price_file: prices.file.is_some(),
        records: state.as_ref().map(|state| state.records),
        variants: &variants,
        upstreams: &upstreams,
    };
    let use_cases: Vec<_> = use_case_tables
        .iter()
        .map(|entry| use_cases::read(entry, &variant_names, &around))
        .collect();

    let default_upstream = default_upstream(root, &upstream_names);
    let surface = surface::surface(root, &upstream_names, &upstreams);
    let images = surface::images(root);
    use_cases::note_same_match(&use_case_tables, &use_cases);
    if let Some(admin) = &admin {
        rollouts::note_approvers(&use_case_tables, &use_cases, &admin.operators);
    }
    residency::note_ways_out(&use_case_tables, &use_cases, (&variants, &upstreams));
    clients_key::note_two_vendors(&use_case_tables, &use_cases, (&variants, &upstreams));
    scorer::note_judges(&use_case_tables, &use_cases, &variants);
    failover::note_idle(&use_case_tables, &use_cases, (&variants, &upstreams));
    overflow::note_blind(&use_case_tables, &use_cases, (&variants, &upstreams));
    loading::note_never_cold(&use_case_tables, &use_cases, (&variants, &upstreams));
    loading::note_contexts(&variant_tables, &variants, &upstreams);
    note_unused_variants(&variant_tables, &use_cases);
    let passing = surface.as_ref().and_then(|surface| surface.upstream);
    note_unused_upstreams(&upstream_tables, &variants, [default_upstream, passing]);

    let upstreams = if upstreams.is_empty() {
        vec![upstreams::embedded_default()?]
    } else {
        upstreams.into_iter().collect::<Option<Vec<Upstream>>>()?
    };
    let mut use_cases = use_cases.into_iter().collect::<Option<Vec<UseCase>>>()?;
    // Stable, so that use cases of the same precedence stay sorted by name.
    use_cases.sort_by_key(|use_case| std::cmp::Reverse(use_case.matches.precedence()));
    Some(Checked {
        server: server?,
        admin: admin?,
        state: state?,
        log: log?,
        surface: surface?,
        images: images?,
        prices,
        hardware: hardware?,
        default_upstream: default_upstream?,
        upstreams,
        variants: variants.into_iter().collect::<Option<Vec<Variant>>>()?,
        use_cases,
        webhooks: webhooks.into_iter().collect::<Option<Vec<_>>>()?,
        warnings: Vec::new(),
    })
}

/// The names in one of the tables that others refer to, sorted as their values are.
pub(crate) struct Names<'a> {
    table: &'static str,
    names: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn of(table: &'static str, entries: &[NamedTable<'a>]) -> Self {
        Self { table, names: entries.iter().map(|entry| entry.name).collect() }
    }

    /// Whether a name is one of them.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names.binary_search(&name).is_ok()
    }

    /// The name at a position.
    pub(crate) fn at(&self, position: usize) -> Option<&'a str> {
        self.names.get(position).copied()
    }

    /// What a wrong name most likely meant, or what there is.
    pub(crate) fn nearest(&self, name: &str) -> Option<String> {
        did_you_mean(name, self.names.iter().copied()).or_else(|| {
            Some(match self.names.as_slice() {
                [] => {
                    format!("add a table [{}.{}]", self.table, crate::reader::bare_or_quoted(name))
                }
                names => format!("there are: {}", names.join(", ")),
            })
        })
    }

    /// Reads a key that names one of them: its position.
    pub(crate) fn reference(&self, table: &Table<'_>, key: &'static str) -> Option<usize> {
        let name = table.read(key, crate::values::text)?;
        let position = self.names.binary_search(&name.as_str()).ok();
        if position.is_none() {
            let message = format!("no {name:?} in [{}]", self.table);
            table.conflict(key, message, self.nearest(&name));
        }
        position
    }
}

fn default_upstream(root: &Table<'_>, names: &Names<'_>) -> Option<usize> {
    if root.given("default_upstream").is_some() {
        return names.reference(root, "default_upstream");
    }
    // Without any upstream, position 0 is the embedded one that is about to be added.
    if names.names.len() <= 1 {
        return Some(0);
    }
    let hint = format!("name the one that serves all other requests: {}", names.names.join(", "));
    root.conflict("default_upstream", "required where there are several upstreams", Some(hint));
    None
}

fn note_unused_variants(tables: &[NamedTable<'_>], use_cases: &[Option<UseCase>]) {
    // A use case that could not be read may be the one that uses it.
    if use_cases.iter().any(Option::is_none) {
        return;
    }
    let arms = use_cases.iter().flatten();
    let used: BTreeSet<_> =
        arms.clone().flat_map(|u| std::iter::once(u.baseline).chain(u.candidate)).collect();
    let asked: BTreeSet<_> = arms.filter_map(|u| u.scorer.as_ref()?.variant()).collect();
    for (position, entry) in tables.iter().enumerate() {
        if !used.contains(&position) && !asked.contains(entry.name) {
            entry.table.warn_self("no use case names this variant");
        }
    }
}

fn note_unused_upstreams(
    tables: &[NamedTable<'_>],
    variants: &[Option<Variant>],
    [default, passing]: [Option<usize>; 2],
) {
    if variants.iter().any(Option::is_none) {
        return;
    }
    let Some(default) = default else { return };
    let used: BTreeSet<_> = variants.iter().flatten().map(|v| v.upstream).collect();
    for (position, entry) in tables.iter().enumerate() {
        if !used.contains(&position) && position != default && passing != Some(position) {
            entry.table.warn_self("no variant names this upstream, and it is not the default");
        }
    }
}

/// Whether clients' keys are known to be off or required; `None` where that could not be read.
type Keys = Option<ClientKeys>;

/// Kept here so that both the listener's reader and the checks between sections say it alike.
fn is_public(server: &Server) -> bool {
    !server.listen.ip().to_canonical().is_loopback()
}

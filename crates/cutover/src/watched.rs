//! Files that a config names and that are looked after while it stays.

use std::path::PathBuf;

use cutover_config::{Checked, Holds};

use crate::files::Source;

/// All of them. When one changes it is read anew, with the config file: the next start would read it, too, and what is
/// wrong with it, or whose share of the traffic ends with it, is better known now. What the environment holds does not change
/// while the process lives, and an engine that serves keeps its model.
pub(crate) fn files(source: &Source, checked: &Checked) -> Vec<PathBuf> {
    let changes = |holds: &Holds<'_>| match holds {
        Holds::Secret(_)
        | Holds::Certificates
        | Holds::Prices
        | Holds::Prompt
        | Holds::Document(_) => true,
        Holds::Model(_) | Holds::State => false,
    };
    let named = checked.files().into_iter().filter(|file| changes(&file.holds));
    named.map(|file| source.base.join(file.path)).collect()
}

/// Adds those of a config that may be refused for one of them: it is tried again once that is mended.
pub(crate) fn add(watched: &mut Vec<PathBuf>, files: Vec<PathBuf>) {
    for file in files {
        if !watched.contains(&file) {
            watched.push(file);
        }
    }
}

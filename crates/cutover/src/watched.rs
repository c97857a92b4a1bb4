//! Files that a config names and that change while it stays: certificates, prices, secrets.

use std::path::PathBuf;

use cutover_config::{Checked, Holds};

use crate::files::Source;

/// All of them. What lies in one is read anew when it changes, with the config file. What the environment holds does not
/// change while the process lives. Another prompt, schema or model is another variant or scorer, which somebody should
/// mean: those are read with the config file alone.
pub(crate) fn files(source: &Source, checked: &Checked) -> Vec<PathBuf> {
    let changes = |holds: &Holds<'_>| match holds {
        Holds::Secret(_) | Holds::Certificates | Holds::Prices => true,
        Holds::Prompt | Holds::Document(_) | Holds::Model(_) | Holds::State => false,
    };
    let named = checked.files().into_iter().filter(|file| changes(&file.holds));
    named.map(|file| source.base.join(file.path)).collect()
}

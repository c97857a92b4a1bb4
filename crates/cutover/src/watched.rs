//! Files that a config names and that change while it stays: certificates, prices, secrets.

use std::path::PathBuf;

use cutover_config::Checked;

use crate::files::Source;
use crate::secrets;

/// All of them. What lies in one is read anew when it changes, with the config file. What the environment holds does not
/// change while the process lives.
pub(crate) fn files(source: &Source, checked: &Checked) -> Vec<PathBuf> {
    let trusted = checked.upstreams.iter().filter_map(|upstream| upstream.ca_file.as_deref());
    let named = trusted.chain(checked.prices.file.as_deref()).chain(secrets::files(checked));
    named.map(|path| source.base.join(path)).collect()
}

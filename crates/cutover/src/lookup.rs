//! What verbs that serve nothing look up in the database of a config's state directory. None is made
//! where none is.

use std::path::{Path, PathBuf};

use cutover_config::Checked;
use cutover_store::{Options, Store, StoreError};

use crate::clock;
use crate::exit::Failed;
use crate::files::{self, Source};
use crate::operator;

/// The database's file in the state directory.
const DATABASE: &str = "cutover.db";

/// What a look into the database gave.
pub(crate) enum Stored<T> {
    /// What was looked for.
    Found(T),
    /// There is no database in this directory.
    NoDatabase(PathBuf),
}

/// Reads from the database of the config's state directory, if there is one.
pub(crate) fn stored<T>(
    checked: &Checked,
    source: &Source,
    read: impl AsyncFnOnce(&Store) -> anyhow::Result<T>,
) -> Result<Stored<T>, Failed> {
    let directory = files::state_directory(None, checked.state.directory.as_deref(), &source.base)?;
    if !directory.join(DATABASE).exists() {
        return Ok(Stored::NoDatabase(directory));
    }
    operator::block_on(async {
        let store = Store::open(Options::new(directory, clock::now))?;
        let found = read(&store).await?;
        store.close().await;
        Ok(Stored::Found(found))
    })?
}

/// Reads from the database of a state directory while another cutover, perhaps an older one, may serve from it: its
/// schema stays as it is, and what cannot be read so is None.
pub(crate) async fn beside<T>(
    directory: &Path,
    read: impl AsyncFnOnce(&Store) -> Result<T, StoreError>,
) -> Option<T> {
    if !directory.join(DATABASE).exists() {
        return None;
    }
    let options = Options { migrates: false, ..Options::new(directory, clock::now) };
    let store = Store::open(options).ok()?;
    let found = read(&store).await.ok();
    store.close().await;
    found
}

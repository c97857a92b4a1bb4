//! Real models for tests, from the cache that `cutover` itself uses.

use std::path::PathBuf;

use cutover_engine::models::{self, Model, Sources, Unobserved};
use cutover_testkit::rig::{Unavailable, require};

/// A catalog model's folder; none where the environment allows tests to go without real parts.
pub(crate) fn model(model: &'static Model) -> Option<PathBuf> {
    let cache = cache_folder().join("models");
    let sources = Sources { cache, hub: None, packages: true };
    require(models::acquire(model, &sources, &Unobserved).map_err(|e| Unavailable(e.to_string())))
}

#[expect(clippy::disallowed_methods, reason = "tests find the cache as the binary does")]
fn cache_folder() -> PathBuf {
    let set = |name| std::env::var(name).ok().filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || set("HOME").unwrap_or_else(std::env::temp_dir).join(".cache");
    set("XDG_CACHE_HOME").unwrap_or_else(home).join("cutover")
}

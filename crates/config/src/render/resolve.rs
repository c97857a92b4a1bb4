//! Instances behind names, in the full form.

use super::{Toml, quote};
use crate::resolve::Resolve;

impl Toml {
    pub(super) fn resolve(&mut self, resolve: Option<&Resolve>) {
        let Some(resolve) = resolve else { return };
        self.duration("resolve", resolve.every);
        self.optional("name_server", resolve.server.map(|server| quote(&server.to_string())));
    }
}

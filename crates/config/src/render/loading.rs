//! What engines hold and take at a time, in the full form.

use super::Toml;
use crate::loading::Loading;

impl Toml {
    pub(super) fn loading(&mut self, loading: Loading) {
        self.optional("in_flight_limit", loading.in_flight_limit);
    }
}

//! The full form of `[prices]` and `[hardware]`.

use super::{Toml, quote_path};
use crate::numbers::{HardwareSettings, PriceSettings};

impl Toml {
    pub(super) fn prices(&mut self, prices: &PriceSettings) {
        self.section("prices");
        self.optional("file", prices.file.as_deref().map(quote_path));
    }

    pub(super) fn hardware(&mut self, hardware: &HardwareSettings) {
        self.section("hardware");
        self.line("watch", hardware.watch);
        self.duration("interval", hardware.interval);
    }
}

//! `[prices]` and `[hardware]`.

use crate::numbers::{HardwareSettings, PriceSettings};
use crate::reader::Table;
use crate::values;

pub(crate) fn prices(root: &Table<'_>) -> PriceSettings {
    PriceSettings { file: root.child("prices").read("file", values::path) }
}

pub(crate) fn hardware(root: &Table<'_>) -> Option<HardwareSettings> {
    let table = root.child("hardware");
    let watch = table.read("watch", values::boolean);
    let interval = table.read("interval", values::duration);
    Some(HardwareSettings { watch: watch?, interval: interval? })
}

//! The values of `[prices]` and `[hardware]`.

use std::path::PathBuf;
use std::time::Duration;

/// `[prices]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceSettings {
    /// A price file whose rows win over the built-in list.
    pub file: Option<PathBuf>,
}

/// `[hardware]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardwareSettings {
    /// Whether the machine's accelerators are looked at.
    pub watch: bool,
    /// Time between two looks.
    pub interval: Duration,
}

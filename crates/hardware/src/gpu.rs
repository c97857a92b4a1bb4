//! One accelerator at one moment.

/// Who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
}

/// What is known of an accelerator now.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// Who made it.
    pub vendor: Vendor,
    /// Tells it from the others, also after a restart: its UUID, else its place.
    pub id: String,
    /// What its driver calls it.
    pub name: String,
    /// Its PCI device number, where the kernel says it.
    pub device: Option<String>,
    /// Bytes of its memory. None where GPU and processor share theirs.
    pub memory_total: Option<u64>,
    /// Bytes of it that are taken.
    pub memory_used: Option<u64>,
    /// Share of the last moments in which it did anything, in percent.
    pub busy_percent: Option<u32>,
    /// Degrees Celsius.
    pub temperature_c: Option<u32>,
    /// Watts.
    pub power_w: Option<f64>,
    /// Why it runs slower than it could, as bits of [`THROTTLES`]; none if it does not tell.
    pub throttled: Option<u64>,
}

/// Reasons to slow down that say something is wrong: NVIDIA's bits and a word for each. Idle, and limits that
/// somebody set, are no such reasons.
pub const THROTTLES: &[(u64, &str)] = &[
    (0x04, "power_cap"),
    (0x08, "hardware_slowdown"),
    (0x20, "software_thermal"),
    (0x40, "hardware_thermal"),
    (0x80, "power_brake"),
];

/// Which of them hold.
pub fn throttles(bits: u64) -> impl Iterator<Item = &'static str> {
    THROTTLES.iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, word)| *word)
}

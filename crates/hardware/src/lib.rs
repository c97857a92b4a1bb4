//! The accelerators of this machine: what they are, and what they do now.
//!
//! ```text
//! NVIDIA  the driver's library (NVML), opened when it is asked for; else `nvidia-smi`
//! AMD     the kernel's files under /sys/class/drm
//! ```
//!
//! Contract: blocking, for a thread of its own. What is absent or not told is none, never 0 and never an error: a
//! machine without a GPU is a machine, too. No driver is a build or a start requirement.

mod gpu;
mod nvml;
mod reader;
mod smi;
mod sysfs;
mod tool;

pub use gpu::{Gpu, THROTTLES, Vendor, throttles};
pub use reader::Reader;
pub use tool::said;

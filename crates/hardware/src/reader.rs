//! Looks at all accelerators, again and again.

use std::fmt;
use std::path::{Path, PathBuf};

use nvml_wrapper::Nvml;

use crate::gpu::Gpu;
use crate::{nvml, smi, sysfs};

/// Where the kernel shows graphics cards.
const DRM: &str = "/sys/class/drm";

/// What is held between two looks: the driver's library.
pub struct Reader {
    nvml: Option<Nvml>,
    drm: PathBuf,
    /// Where no library is: whether the tool is asked.
    tool: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("library", &self.nvml.is_some()).finish_non_exhaustive()
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Of this machine.
    pub fn new() -> Self {
        Self { nvml: nvml::open(), drm: DRM.into(), tool: true }
    }

    /// Of a folder that stands for the kernel's, without NVIDIA's driver: for tests.
    pub fn of_folder(drm: &Path) -> Self {
        Self { nvml: None, drm: drm.to_owned(), tool: false }
    }

    /// The accelerators now. Takes milliseconds; seconds where a driver hangs.
    pub fn look(&self) -> Vec<Gpu> {
        let library = self.nvml.as_ref().and_then(nvml::look);
        let nvidia = library.or_else(|| if self.tool { smi::look() } else { None });
        let mut gpus = nvidia.unwrap_or_default();
        gpus.extend(sysfs::look(&self.drm));
        gpus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Here and in most builds there is no driver: that is no error, and costs nothing.
    #[test]
    fn a_machine_without_a_driver_is_looked_at_too() {
        let reader = Reader::new();
        let first: Vec<_> = reader.look().into_iter().map(|gpu| gpu.id).collect();
        let again: Vec<_> = reader.look().into_iter().map(|gpu| gpu.id).collect();
        assert_eq!(first, again);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Reader::of_folder(folder.path()).look(), []);
    }
}

//! AMD's cards, from the kernel's own files. No library, no tool.

use std::fs;
use std::path::Path;

use crate::gpu::{Gpu, Vendor};

/// The cards of a folder such as `/sys/class/drm`.
pub(crate) fn look(drm: &Path) -> Vec<Gpu> {
    let Ok(entries) = fs::read_dir(drm) else { return Vec::new() };
    let mut cards: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            // card0, not card0-DP-1.
            let number: u32 = name.strip_prefix("card")?.parse().ok()?;
            Some((number, name, entry.path().join("device")))
        })
        .collect();
    cards.sort();
    cards.iter().filter_map(|(_, name, device)| card(name, device)).collect()
}

fn card(place: &str, device: &Path) -> Option<Gpu> {
    let text = |name: &str| {
        let text = fs::read_to_string(device.join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let number = |name: &str| text(name)?.parse::<u64>().ok();
    // Only the driver of AMD's cards has this file.
    let total = number("mem_info_vram_total")?;
    let number_of_device = text("device");
    let sensor = |name: &str| sensor(device, name);
    let power = sensor("power1_average").or_else(|| sensor("power1_input"));
    let unnamed = || format!("AMD {}", number_of_device.as_deref().unwrap_or("GPU"));
    Some(Gpu {
        vendor: Vendor::Amd,
        id: text("unique_id").unwrap_or_else(|| place.to_owned()),
        name: text("product_name").unwrap_or_else(unnamed),
        device: number_of_device.clone(),
        memory_total: Some(total),
        memory_used: number("mem_info_vram_used"),
        busy_percent: number("gpu_busy_percent").and_then(|n| u32::try_from(n).ok()),
        temperature_c: sensor("temp1_input").and_then(|milli| u32::try_from(milli / 1_000).ok()),
        power_w: power.map(|micro| micro as f64 / 1e6),
        throttled: None,
    })
}

/// A sensor of the card: the kernel numbers the folders as it finds them.
fn sensor(device: &Path, name: &str) -> Option<u64> {
    let folders = fs::read_dir(device.join("hwmon")).ok()?;
    folders.flatten().find_map(|folder| {
        let text = fs::read_to_string(folder.path().join(name)).ok()?;
        text.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn cards_are_read_from_the_kernels_files() {
        let drm = tempfile::tempdir().unwrap();
        write(
            drm.path(),
            &[
                ("card1/device/mem_info_vram_total", "25753026560\n"),
                ("card1/device/mem_info_vram_used", "1048576\n"),
                ("card1/device/device", "0x744c\n"),
                ("card1/device/gpu_busy_percent", "42\n"),
                ("card1/device/unique_id", "a1b2c3d4e5f60718\n"),
                ("card1/device/hwmon/hwmon3/temp1_input", "67000\n"),
                ("card1/device/hwmon/hwmon3/power1_average", "301000000\n"),
                ("card1-DP-1/status", "connected\n"),
                ("card10/device/mem_info_vram_total", "17095983104\n"),
                ("card2/device/vendor", "0x8086\n"),
                ("renderD128/device/mem_info_vram_total", "1\n"),
                ("card3/device/mem_info_vram_total", "much\n"),
            ],
        );
        let cards = look(drm.path());
        assert_eq!(cards.len(), 2, "{cards:?}");
        let one = &cards[0];
        assert_eq!((one.id.as_str(), one.name.as_str()), ("a1b2c3d4e5f60718", "AMD 0x744c"));
        assert_eq!((one.memory_total, one.memory_used), (Some(25_753_026_560), Some(1_048_576)));
        assert_eq!((one.busy_percent, one.temperature_c), (Some(42), Some(67)));
        assert_eq!((one.power_w, one.throttled), (Some(301.0), None));
        let other = &cards[1];
        assert_eq!((other.id.as_str(), other.name.as_str()), ("card10", "AMD GPU"));
        assert_eq!((other.memory_used, other.temperature_c, other.power_w), (None, None, None));
        assert!(look(&drm.path().join("nothing")).is_empty());
    }
}

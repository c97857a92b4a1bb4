//! What a machine has, from what its own tools and files say.
//!
//! Pure: the text comes as an argument. What is absent or unknown is left out, never guessed.

use crate::hardware::{self, Gpu, from_gib};
use cutover_units::Wrong;

/// What `nvidia-smi` is asked for.
pub const NVIDIA_QUERY: &[&str] =
    &["--query-gpu=name,memory.total,memory.used", "--format=csv,noheader,nounits"];

/// GPUs from `nvidia-smi`'s answer, and a word about each that the catalogue does not know.
pub fn nvidia(text: &str) -> (Vec<Gpu>, Vec<String>) {
    let (mut gpus, mut unknown) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut cells = line.split(',').map(str::trim);
        let name = cells.next().unwrap_or_default();
        // "[N/A]" where GPU and processor share the memory.
        let mib = |cell: Option<&str>| cell.and_then(|cell| cell.parse::<f64>().ok());
        let (total, used) = (mib(cells.next()), mib(cells.next()));
        match by_name(name, total.map(|total| total / 1024.0)) {
            Some(mut gpu) => {
                if let Some(total) = total {
                    gpu.usable = from_gib(total / 1024.0);
                }
                if let Some(used) = used.filter(|used| *used > 512.0) {
                    unknown.push(format!(
                        "{name}: {used:.0} MiB are taken by others; sized as if they were free"
                    ));
                }
                gpus.push(gpu);
            }
            None => unknown.push(format!("{name} is not in the catalogue: left out")),
        }
    }
    (gpus, unknown)
}

/// The GPU of this name whose label is nearest to the memory found: some names come with two sizes.
fn by_name(name: &str, gib: Option<f64>) -> Option<Gpu> {
    let found = hardware::gpu(name).ok();
    let Some(gib) = gib else { return found.filter(|gpu| gpu.usable > 0) };
    let sized = hardware::gpu(&format!("{name} {:.0}gb", gib.round())).ok();
    sized.or(found)
}

/// AMD's PCI numbers of the cards in the catalogue.
const AMD_DEVICES: &[(&str, u64, &str)] = &[
    ("0x744c", 24, "rx-7900-xtx"),
    ("0x744c", 20, "rx-7900-xt"),
    ("0x7550", 16, "rx-9070-xt"),
    ("0x74a1", 192, "mi300x"),
    ("0x1586", 0, "strix-halo"),
];

/// An AMD GPU from its device number and the bytes of its memory, both as sysfs has them.
pub fn amd(device: &str, vram: &str) -> Result<Gpu, Wrong> {
    let bytes: u64 = vram.trim().parse().map_err(|_| {
        Wrong::new(format!("an AMD GPU says its memory is {:?} bytes", vram.trim()))
    })?;
    let gib = bytes as f64 / hardware::GIB as f64;
    let row = AMD_DEVICES.iter().find(|(number, label, _)| {
        *number == device.trim() && (*label == 0 || (gib - *label as f64).abs() < 2.0)
    });
    let Some((_, label, name)) = row else {
        let device = device.trim();
        return Err(Wrong::new(format!(
            "the AMD GPU {device} with {gib:.0} GiB is not in the catalogue"
        ))
        .hint("name it: --gpu 'vram=16,bandwidth=640'"));
    };
    let mut gpu = hardware::gpu(name)?;
    if *label > 0 {
        gpu.usable = bytes;
    }
    Ok(gpu)
}

/// `MemTotal` of /proc/meminfo, in bytes.
pub fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// A Mac from `machdep.cpu.brand_string` and `hw.memsize`.
pub fn apple(brand: &str, bytes: &str) -> Result<Gpu, Wrong> {
    let bytes: u64 =
        bytes.trim().parse().map_err(|_| Wrong::new("this Mac says no amount of memory"))?;
    let gb = bytes / hardware::GIB;
    hardware::gpu(&format!("{}:{gb}", brand.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nvidia_smi_is_read_with_gaps() {
        let text = "NVIDIA GeForce RTX 4090, 24564, 3\nNVIDIA A100-SXM4-80GB, 81920, 40000\n\
                    NVIDIA GB10, [N/A], [N/A]\nNVIDIA Unheard 9, 8192, 0\n";
        let (gpus, unknown) = nvidia(text);
        let titles: Vec<_> = gpus.iter().map(|gpu| gpu.title.as_str()).collect();
        assert_eq!(titles, ["RTX 4090", "A100 80 GB SXM", "DGX Spark (GB10)"]);
        assert_eq!(gpus[0].usable, 24_564 << 20);
        assert_eq!(unknown.len(), 2, "{unknown:?}");
        assert!(nvidia("").0.is_empty());
        let (v100, _) = nvidia("Tesla V100-SXM2-32GB, 32768, 0\n");
        assert_eq!(v100[0].name, "v100-32gb");
    }

    #[test]
    fn amd_apple_and_linux_are_read() {
        assert_eq!(amd("0x744c\n", "25753026560\n").unwrap().name, "rx-7900-xtx");
        assert_eq!(amd("0x744c", "21458059264").unwrap().name, "rx-7900-xt");
        assert!(amd("0x1234", "8589934592").unwrap_err().problem.contains("not in the catalogue"));
        assert_eq!(memory("MemTotal:       65536000 kB\nMemFree: 1 kB\n"), Some(65_536_000 * 1024));
        assert_eq!(memory(""), None);
        assert_eq!(apple("Apple M3 Max\n", "68719476736\n").unwrap().name, "m3-max");
        assert!(apple("Apple M9", "68719476736").is_err());
    }
}

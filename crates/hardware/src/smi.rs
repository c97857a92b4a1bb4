//! `nvidia-smi`, where the library cannot be opened: in a container, for instance, that has the tool alone.

use crate::gpu::{Gpu, Vendor};
use crate::tool::said;

const FIELDS: &str =
    "index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw";

/// The reasons to slow down had another name until driver 535.
const REASONS: [&str; 2] = ["clocks_event_reasons.active", "clocks_throttle_reasons.active"];

/// The GPUs now; none without the tool.
pub(crate) fn look() -> Option<Vec<Gpu>> {
    REASONS.iter().find_map(|reasons| {
        let query = format!("--query-gpu={FIELDS},{reasons}");
        said("nvidia-smi", &[&query, "--format=csv,noheader,nounits"]).map(|text| read(&text))
    })
}

/// Reads the tool's answer. A line that is none is left out.
pub(crate) fn read(text: &str) -> Vec<Gpu> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Gpu> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    let [index, uuid, name, total, used, busy, temperature, power, reasons] = cells.as_slice()
    else {
        return None;
    };
    let _index: u32 = index.parse().ok()?;
    // Whatever is not told is "[N/A]" or "[Not Supported]".
    let mib = |cell: &str| cell.parse::<u64>().ok().and_then(|mib| mib.checked_mul(1 << 20));
    let bits = reasons.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    Some(Gpu {
        vendor: Vendor::Nvidia,
        id: if uuid.starts_with("GPU-") { (*uuid).to_owned() } else { format!("gpu{index}") },
        name: (*name).to_owned(),
        device: None,
        memory_total: mib(total).filter(|bytes| *bytes > 0),
        memory_used: mib(used),
        busy_percent: busy.parse().ok(),
        temperature_c: temperature.parse().ok(),
        power_w: power.parse().ok().filter(|watts: &f64| watts.is_finite()),
        throttled: bits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::throttles;

    /// As the tool writes it: a card that is slowed down by its power cap, an idle one, one with shared memory.
    const SAID: &str = "\
        0, GPU-5f6e2c1a-0000-1111-2222-333344445555, NVIDIA GeForce RTX 4090, 24564, 20480, 97, 71, 449.31, 0x0000000000000004\n\
        1, GPU-aaaa2c1a-0000-1111-2222-333344445555, Tesla T4, 15360, 3, 0, 38, 9.80, 0x0000000000000001\n\
        2, GPU-bbbb2c1a-0000-1111-2222-333344445555, NVIDIA GB10, [N/A], [N/A], 3, 45, 12.01, [N/A]\n";

    #[test]
    fn what_the_tool_says_is_read_and_what_it_does_not_say_is_none() {
        let gpus = read(SAID);
        assert_eq!(gpus.len(), 3);
        assert_eq!(gpus[0].name, "NVIDIA GeForce RTX 4090");
        assert_eq!(gpus[0].id, "GPU-5f6e2c1a-0000-1111-2222-333344445555");
        assert_eq!(gpus[0].memory_total, Some(24_564 << 20));
        assert_eq!((gpus[0].busy_percent, gpus[0].temperature_c), (Some(97), Some(71)));
        assert_eq!(gpus[0].power_w, Some(449.31));
        let reasons =
            |at: usize| gpus[at].throttled.map(|bits| throttles(bits).collect::<Vec<_>>());
        assert_eq!(reasons(0), Some(vec!["power_cap"]));
        assert_eq!(reasons(1), Some(vec![]), "idle is no throttling");
        assert_eq!((gpus[2].memory_total, gpus[2].memory_used, reasons(2)), (None, None, None));
    }

    #[test]
    fn other_texts_are_no_gpu() {
        for text in [
            "",
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "No devices were found",
            "a,b,c,d,e,f,g,h,i",
            "0,1,2",
        ] {
            assert!(read(text).is_empty(), "{text}");
        }
        let huge = "0, x, n, 99999999999999999999, 18446744073709551615, -1, 1, nan, 0xzz";
        let gpu = &read(huge)[0];
        assert_eq!((gpu.memory_total, gpu.memory_used, gpu.busy_percent), (None, None, None));
        assert_eq!((gpu.power_w, gpu.throttled, gpu.id.as_str()), (None, None, "gpu0"));
    }
}

//! The machine that a model shall run on: named on the command line, or this one, asked with the tools it
//! has. What is not there is no error: a machine without a GPU is a machine, too.

use std::fs;

use cutover_console::exit::{Exit, Failed};
use cutover_console::term::Term;
use cutover_hardware::{Reader, Vendor, said};
use cutover_sizing::detect;
use cutover_sizing::hardware::{Gpu, Host, Machine, from_gib};

/// The machine to size for.
#[derive(Debug, clap::Args)]
pub(crate) struct Hardware {
    /// GPUs: rtx4090, 2xrtx4090, rtx3090+rtx4090, m3-max:64 (GB), none, or by hand
    /// 'vram=24,bandwidth=1008,tflops=165'; auto asks this machine
    #[arg(long, value_name = "GPUS", default_value = "auto")]
    pub(crate) gpu: String,
    /// Memory beside the GPUs, in GiB. Default: this machine's with --gpu auto, else not limited
    #[arg(long, value_name = "GIB")]
    ram: Option<f64>,
    /// What that memory delivers, in GB/s
    #[arg(long, value_name = "GB/S", default_value_t = 85.0)]
    ram_bandwidth: f64,
}

impl Hardware {
    /// The machine, named or found.
    pub(crate) fn machine(&self, term: &mut Term) -> Result<Machine, Failed> {
        let mut machine = if self.gpu == "auto" {
            let (machine, words) = found();
            for word in words {
                term.warn(word);
            }
            if machine.gpus.is_empty() {
                term.talk(
                    "no GPU found: sized for the processor alone; --gpu names another machine",
                );
            }
            machine
        } else {
            Machine::parse(&self.gpu).map_err(Failed::wrong)?
        };
        let limits = 0.1..=100_000.0;
        if let Some(gib) = self.ram {
            if !limits.contains(&gib) {
                return Err(Failed::new(Exit::Usage, format!("--ram {gib} is no amount of GiB")));
            }
            machine.host.memory = Some(from_gib(gib));
        }
        if !limits.contains(&self.ram_bandwidth) {
            let problem = format!("--ram-bandwidth {} is no GB/s", self.ram_bandwidth);
            return Err(Failed::new(Exit::Usage, problem));
        }
        machine.host.bandwidth = self.ram_bandwidth * 1e9;
        Ok(machine)
    }
}

/// This machine, and what should be known about how it was found.
fn found() -> (Machine, Vec<String>) {
    let mut gpus = Vec::new();
    let mut words = Vec::new();
    for seen in Reader::new().look() {
        let (gpu, word) = known(&seen);
        gpus.extend(gpu);
        words.extend(word);
    }
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| detect::memory(&text));
    if memory.is_none() && gpus.is_empty() {
        // No Linux: perhaps a Mac.
        let brand = said("sysctl", &["-n", "machdep.cpu.brand_string"]);
        let bytes = said("sysctl", &["-n", "hw.memsize"]);
        if let (Some(brand), Some(bytes)) = (brand, bytes) {
            match detect::apple(&brand, &bytes) {
                Ok(gpu) => gpus.push(gpu),
                Err(wrong) => words.push(wrong.problem),
            }
        }
    }
    (Machine { gpus, host: Host { memory, ..Host::default() } }, words)
}

/// A GPU that was found, as the catalogue has it, and what should be said of it.
fn known(seen: &cutover_hardware::Gpu) -> (Option<Gpu>, Option<String>) {
    match seen.vendor {
        Vendor::Nvidia => detect::nvidia(&seen.name, seen.memory_total, seen.memory_used),
        Vendor::Amd => {
            let device = seen.device.as_deref().unwrap_or_default();
            match detect::amd(device, seen.memory_total.unwrap_or(0)) {
                Ok(gpu) => (Some(gpu), None),
                Err(wrong) => (None, Some(wrong.problem)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_looked_up_in_the_catalogue() {
        let seen = |vendor, name: &str, device: Option<&str>, gib: u64| cutover_hardware::Gpu {
            vendor,
            id: "0".to_owned(),
            name: name.to_owned(),
            device: device.map(str::to_owned),
            memory_total: Some(gib << 30),
            memory_used: None,
            busy_percent: None,
            temperature_c: None,
            power_w: None,
            throttled: None,
        };
        let name = |seen| known(&seen).0.map(|gpu| gpu.name);
        let nvidia = seen(Vendor::Nvidia, "NVIDIA GeForce RTX 4090", None, 24);
        assert_eq!(name(nvidia).as_deref(), Some("rtx-4090"));
        let amd = seen(Vendor::Amd, "AMD 0x744c", Some("0x744c"), 24);
        assert_eq!(name(amd).as_deref(), Some("rx-7900-xtx"));
        assert!(known(&seen(Vendor::Amd, "AMD GPU", None, 8)).1.is_some());
    }
}

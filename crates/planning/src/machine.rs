//! The machine that a model shall run on: named on the command line, or this one, asked with the tools it
//! has. What is not there is no error: a machine without a GPU is a machine, too.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cutover_console::exit::{Exit, Failed};
use cutover_console::term::Term;
use cutover_sizing::Wrong;
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
    if let Some(text) = said("nvidia-smi", detect::NVIDIA_QUERY) {
        (gpus, words) = detect::nvidia(&text);
    }
    for found in amd_cards(Path::new("/sys/class/drm")) {
        match found {
            Ok(gpu) => gpus.push(gpu),
            Err(wrong) => words.push(wrong.problem),
        }
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

/// AMD's cards, from the kernel's own files.
fn amd_cards(drm: &Path) -> Vec<Result<Gpu, Wrong>> {
    let Ok(entries) = fs::read_dir(drm) else { return Vec::new() };
    let mut cards: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        // card0, not card0-DP-1.
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix("card").is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .collect();
    cards.sort();
    cards
        .iter()
        .filter_map(|card| {
            let read = |name: &str| fs::read_to_string(card.join("device").join(name)).ok();
            let vram = read("mem_info_vram_total")?;
            Some(detect::amd(&read("device")?, &vram))
        })
        .collect()
}

/// A driver that hangs must not hang the command.
const TOOL_WAIT: Duration = Duration::from_secs(5);
const TOOL_BYTES: u64 = 1 << 20;

/// What a tool said, if it is there and ended well in time.
fn said(tool: &str, words: &[&str]) -> Option<String> {
    let mut child = Command::new(tool)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // Ends with the tool: its end closes the pipe.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(TOOL_BYTES).read_to_string(&mut text);
        let _ = sender.send(read.ok().map(|_| text));
    });
    let text = receiver.recv_timeout(TOOL_WAIT).ok().flatten();
    if text.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    text.filter(|_| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_read_from_the_kernels_files() {
        let drm = tempfile::tempdir().unwrap();
        let device = drm.path().join("card1").join("device");
        fs::create_dir_all(&device).unwrap();
        fs::create_dir_all(drm.path().join("card1-DP-1")).unwrap();
        fs::create_dir_all(drm.path().join("card0").join("device")).unwrap();
        fs::write(device.join("mem_info_vram_total"), "25753026560\n").unwrap();
        fs::write(device.join("device"), "0x744c\n").unwrap();
        let cards = amd_cards(drm.path());
        let names: Vec<_> = cards.iter().map(|card| card.as_ref().unwrap().name.as_str()).collect();
        assert_eq!(names, ["rx-7900-xtx"]);
        assert!(amd_cards(&drm.path().join("nothing")).is_empty());
    }

    #[test]
    fn a_tool_that_is_absent_or_fails_says_nothing() {
        assert_eq!(said("no-such-tool-anywhere", &[]), None);
        assert_eq!(said("false", &[]), None);
        assert_eq!(said("echo", &["yes"]).as_deref(), Some("yes\n"));
    }
}

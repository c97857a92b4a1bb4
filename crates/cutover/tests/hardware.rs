//! The machine's accelerators, as its tools and files tell of them: in `size --gpu auto` and in the metrics.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use cutover_testkit::arms::two_arms;
use cutover_testkit::program::Setup;
use cutover_testkit::wait;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

const CARD: &str = "GPU-5f6e2c1a-0000-1111-2222-333344445555, NVIDIA GeForce RTX 4090, 24564";

/// A `nvidia-smi` that answers with these lines. Replaced as a whole: it may be running.
fn tool(folder: &Path, lines: &[String]) {
    let path = folder.join("new");
    let text = lines.join("\n");
    std::fs::write(&path, format!("#!/bin/sh\ncat <<'END'\n{text}\nEND\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(path, folder.join("nvidia-smi")).unwrap();
}

fn path(folder: &Path) -> String {
    format!("{}:/usr/bin:/bin", folder.display())
}

#[test]
fn a_size_is_found_for_the_gpus_that_the_machine_has() {
    let folder = tempfile::tempdir().unwrap();
    let second = CARD.replace("5f6e", "aaaa");
    let card = |at: u32, card: &str| format!("{at}, {card}, 3, 0, 40, 20.1, 0x0000000000000001");
    tool(folder.path(), &[card(0, CARD), card(1, &second)]);
    let output = Command::new(BINARY)
        .args(["size", "llama3.3:70b", "--quant", "q8_0", "--json"])
        .env("PATH", path(folder.path()))
        .output()
        .unwrap();
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{talk}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["verdict"], "no");
    assert_eq!(found["machine"]["title"], "2 x RTX 4090", "{found:#}");
}

/// The watch is set up at the start, and a reload that changed it said nothing.
#[test]
fn a_watch_that_is_switched_off_by_a_reload_waits_for_the_next_start_and_is_told() {
    let ground = two_arms("http://127.0.0.1:1", "http://127.0.0.1:1");
    let mut program = Setup::new(BINARY, &ground).start();
    program.write_config(&format!("{ground}[hardware]\nwatch = false\n"));
    let told = "hardware.watch has changed: it takes effect at the next start";
    wait::until("the warning", || program.log().contains(told));
}

#[test]
fn gpus_are_metrics_that_follow_them_and_go_when_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let hot = format!("0, {CARD}, 20480, 97, 71, 449.31, 0x0000000000000004");
    tool(folder.path(), &[hot]);
    let program = Setup::new(BINARY, "[hardware]\ninterval = \"1 s\"\n")
        .env("PATH", &path(folder.path()))
        .start();
    let row = |name: &str, more: &str, value: &str| {
        let id = "gpu=\"GPU-5f6e2c1a-0000-1111-2222-333344445555\"";
        let line = format!("{name}{{{id},gpu_name=\"NVIDIA GeForce RTX 4090\"{more}}} {value}\n");
        let metrics = program.metrics();
        metrics.contains(&line)
    };
    wait::until("the first look", || row("cutover_gpu_temperature_celsius", "", "71"));
    assert!(row("cutover_gpu_memory_bytes", "", &(24_564_u64 << 20).to_string()));
    assert!(row("cutover_gpu_memory_used_bytes", "", &(20_480_u64 << 20).to_string()));
    assert!(row("cutover_gpu_busy_basis_points", "", "9700"));
    assert!(row("cutover_gpu_power_watts", "", "449"));
    assert!(row("cutover_gpu_throttled", ",reason=\"power_cap\"", "1"));
    assert!(row("cutover_gpu_throttled", ",reason=\"hardware_thermal\"", "0"));
    let cool = format!("0, {CARD}, 3, 0, 38, 9.8, 0x0000000000000001");
    tool(folder.path(), &[cool]);
    wait::until("another look", || row("cutover_gpu_temperature_celsius", "", "38"));
    assert!(row("cutover_gpu_throttled", ",reason=\"power_cap\"", "0"));
    tool(folder.path(), &["No devices were found".to_owned()]);
    wait::until("no row", || !program.metrics().contains("cutover_gpu_memory_bytes{"));
}

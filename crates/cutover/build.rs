//! Links the binary with packed relocations where that is understood.
//!
//! A position-independent program keeps a table of all the places that hold an address: 50,000 here,
//! read as a whole at each start, and 1.2 MB of memory ever after. Packed, it is 20 kB. The C library
//! must know the form (glibc 2.36, 2022); a binary that meets an older one says so and does not start.
//! So it is used where the machine that builds knows it, the best guess about the one that runs.

use std::env;
use std::process::Command;

/// The first glibc that reads packed relocations.
const SINCE: (u32, u32) = (2, 36);

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script by its environment")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let linux = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    let native = env::var("HOST").ok() == env::var("TARGET").ok();
    if linux && native && is("PROFILE", "release") && glibc().is_some_and(|has| has >= SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc: `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?.stdout;
    let (_, version) = std::str::from_utf8(&said).ok()?.trim().split_once(' ')?;
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

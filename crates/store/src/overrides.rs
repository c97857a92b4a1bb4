//! Rollbacks that hold without the database: one small file per use case.
//!
//! ```text
//!   <data>/overrides/statements.json      {"weight_bp":0,"actor":"...","reason":"...","at":...}
//! ```
//!
//! A file stands above the stored state: while it exists, its weight holds. A rollback writes the
//! file first, then the database; a later change of weight writes the database first, then removes
//! the file. A crash between the two leaves the candidate without traffic, never with it.
//!
//! Failing safe:
//! - A file is written beside its place and renamed, so that a kill at any moment leaves the old state or the new
//!   one. A rollback is in its place before it is synced: a kill finds it however slow the disk is, and what loss
//!   of power may leave of it, an empty or a torn file, holds at weight 0 as it does.
//! - An empty file holds its use case at weight 0: `touch overrides/statements.json` is an emergency
//!   brake that needs no program, and what a full disk still has room for.
//! - A file that cannot be read holds its use case at weight 0, and says so.
//! - A directory that exists but cannot be listed holds every use case at weight 0.
//!
//! One file per use case rather than one for all: two processes never overwrite each other's entry,
//! and a damaged file stops one use case, not all.
//!
//! Everything here blocks for as long as the disk takes to sync; async callers use a blocking task.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use cutover_units::{Millis, UseCaseName, WeightBp};
use serde::{Deserialize, Serialize};

use crate::state::clip;

/// The directory in the data directory.
pub const DIR: &str = "overrides";

/// The end of a file's name. A name may contain dots, so the end is cut off, not split off.
const SUFFIX: &str = ".json";

/// The beginning of a half-written file's name. A use case's name cannot begin with a dot.
const TEMP_PREFIX: &str = ".new-";

/// Largest file that is read: ours have a few hundred bytes, clipped texts included.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A weight that stands above the stored one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The weight that holds: 0 for a rollback.
    #[serde(rename = "weight_bp")]
    pub weight: WeightBp,
    /// Who set it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Millis,
}

/// Something in the overrides directory that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// All overrides, as they were read.
#[must_use = "overrides that are not applied are rollbacks undone"]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    held: BTreeMap<UseCaseName, Override>,
    unreadable: Vec<Unreadable>,
    all_held: bool,
}

impl Overrides {
    /// Reads the overrides of a data directory. Never fails: what cannot be read holds at 0.
    pub fn load(data: &Path) -> Self {
        let dir = data.join(DIR);
        let mut overrides = Self::default();
        let listed = fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        match listed {
            Ok(entries) => entries.iter().for_each(|entry| overrides.read(&entry.path())),
            // Never used: nothing was ever rolled back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                overrides.all_held = true;
                overrides.unreadable.push(Unreadable { path: dir, why: error.to_string() });
            }
        }
        overrides
    }

    fn read(&mut self, path: &Path) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_suffix(SUFFIX) else { return };
        if name.starts_with(TEMP_PREFIX) {
            return;
        }
        let Ok(use_case) = UseCaseName::new(name) else {
            let why = "the file's name is not a use case's name".to_owned();
            self.unreadable.push(Unreadable { path: path.to_owned(), why });
            return;
        };
        let held = read_file(path).unwrap_or_else(|why| {
            let reason = format!("held at 0%: {} cannot be read: {why}", path.display());
            self.unreadable.push(Unreadable { path: path.to_owned(), why });
            brake(path, reason)
        });
        self.held.insert(use_case, held);
    }

    /// The weight that holds for a use case, whatever the database says.
    pub fn weight(&self, use_case: &UseCaseName) -> Option<WeightBp> {
        if self.all_held {
            return Some(WeightBp::NONE);
        }
        self.held.get(use_case).map(|held| held.weight)
    }

    /// The override of a use case, unreadable ones included.
    pub fn get(&self, use_case: &UseCaseName) -> Option<&Override> {
        self.held.get(use_case)
    }

    /// All overrides by use case, unreadable ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&UseCaseName, &Override)> {
        self.held.iter()
    }

    /// Whether the directory could not be listed, so that every use case is held at 0.
    pub fn holds_all(&self) -> bool {
        self.all_held
    }

    /// What could not be read: each is an event that an operator must see.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }
}

fn read_file(path: &Path) -> Result<Override, String> {
    let metadata = fs::metadata(path).map_err(|e| e.to_string())?;
    if !metadata.is_file() {
        // A pipe holds its reader for ever.
        return Err("it is not a regular file".to_owned());
    }
    let size = metadata.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("it has {size} bytes, more than {FILE_BYTES_MAX}"));
    }
    let text = fs::read(path).map_err(|e| e.to_string())?;
    if text.is_empty() {
        return Ok(brake(path, format!("held at 0%: {} is empty", path.display())));
    }
    let held: Override = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    // Reading a number does not check it.
    WeightBp::new(held.weight.basis_points()).map_err(|e| e.to_string())?;
    // A hand may have written anything.
    Ok(in_line(&held))
}

fn in_line(held: &Override) -> Override {
    Override {
        actor: clip(&held.actor).into_owned(),
        reason: clip(&held.reason).into_owned(),
        ..held.clone()
    }
}

/// What a file says that says nothing: weight 0, since it was written.
fn brake(path: &Path, reason: String) -> Override {
    let written = fs::metadata(path).and_then(|file| file.modified()).ok();
    let since = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let at = Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Override { weight: WeightBp::NONE, actor: "a file".to_owned(), reason, at }
}

/// Writes a use case's override. When this returns, it survives kill and loss of power. Where a full
/// disk has no room for its words, an empty file holds a rollback: who and why are lost, not the hold.
pub fn put(data: &Path, use_case: &UseCaseName, held: &Override) -> io::Result<()> {
    put_syncing(data, use_case, held, fs::File::sync_all)
}

fn put_syncing(
    data: &Path,
    use_case: &UseCaseName,
    held: &Override,
    sync: impl Fn(&fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let dir = data.join(DIR);
    make_dir(&dir)?;
    let temp = temp(&dir, use_case);
    let is_rollback = held.weight == WeightBp::NONE;
    let place = || fs::rename(&temp, file(&dir, use_case));
    let mut placed = write(&temp, held).and_then(|written| {
        if is_rollback {
            place()?;
            return sync(&written);
        }
        sync(&written)?;
        place()
    });
    if is_rollback {
        placed = placed.or_else(|error| empty(&temp).and_then(|()| place()).map_err(|_| error));
    }
    if placed.is_err() {
        // What is not put in place is of no use to anybody.
        let _ = fs::remove_file(&temp);
    }
    placed?;
    sync_dir(&dir)?;
    // The directory itself may be new.
    sync_dir(data)
}

/// Removes a use case's override. When this returns, the removal survives kill and loss of power.
/// Whether there was one.
pub fn clear(data: &Path, use_case: &UseCaseName) -> io::Result<bool> {
    let dir = data.join(DIR);
    match fs::remove_file(file(&dir, use_case)) {
        Ok(()) => sync_dir(&dir).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn file(dir: &Path, use_case: &UseCaseName) -> PathBuf {
    dir.join(format!("{use_case}{SUFFIX}"))
}

/// Where the new file is written before it is put in place. Two processes that roll back the same use
/// case at once write files of their own.
fn temp(dir: &Path, use_case: &UseCaseName) -> PathBuf {
    dir.join(format!("{TEMP_PREFIX}{}-{use_case}{SUFFIX}", std::process::id()))
}

/// Writes the new file without putting it in place.
fn write(temp: &Path, held: &Override) -> io::Result<fs::File> {
    let held = in_line(held);
    let mut out = private().create(true).truncate(true).open(temp)?;
    out.write_all(&serde_json::to_vec(&held)?)?;
    Ok(out)
}

/// Makes an empty file of a half-written one, or of one that is in its place and could not be synced.
fn empty(temp: &Path) -> io::Result<()> {
    match fs::remove_file(temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    private().create_new(true).open(temp)?.sync_all()
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Elsewhere a directory cannot be opened to be synced; the rename is as durable as it gets.
#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Options to write a file that its owner alone may read. One that exists keeps its rights.
pub(crate) fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a directory, with its parents, for its owner alone. One that exists keeps its rights.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UseCaseName {
        UseCaseName::new(text).unwrap()
    }

    fn rollback(reason: &str) -> Override {
        Override {
            weight: WeightBp::NONE,
            actor: "someone".into(),
            reason: reason.into(),
            at: Millis(5),
        }
    }

    #[test]
    fn what_is_put_holds_until_it_is_cleared() {
        let data = tempfile::tempdir().unwrap();
        let statements = name("statements.v2");
        assert_eq!(Overrides::load(data.path()), Overrides::default());
        put(data.path(), &statements, &rollback("too slow")).unwrap();
        put(data.path(), &statements, &rollback("still too slow")).unwrap();
        let read = Overrides::load(data.path());
        assert_eq!(read.get(&statements), Some(&rollback("still too slow")));
        assert_eq!(read.weight(&statements), Some(WeightBp::NONE));
        assert_eq!(read.weight(&name("other")), None);
        assert!(read.unreadable().is_empty());
        assert!(clear(data.path(), &statements).unwrap());
        assert!(!clear(data.path(), &statements).unwrap());
        assert_eq!(Overrides::load(data.path()).weight(&statements), None);
    }

    #[test]
    fn a_crash_between_two_steps_leaves_the_old_state_or_the_new() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join(DIR);
        let (a, b) = (name("a"), name("b"));
        put(data.path(), &a, &rollback("old")).unwrap();
        // Killed after the write, before the rename.
        let temp = temp(&dir, &a);
        write(&temp, &rollback("new")).unwrap();
        write(&super::temp(&dir, &b), &rollback("new")).unwrap();
        let read = Overrides::load(data.path());
        assert_eq!(read.get(&a), Some(&rollback("old")));
        assert_eq!(read.get(&b), None);
        assert!(read.unreadable().is_empty());
        // Killed in the middle of the write.
        let whole = fs::read(&temp).unwrap();
        for end in 0..whole.len() {
            fs::write(&temp, &whole[..end]).unwrap();
            assert_eq!(Overrides::load(data.path()), read);
        }
        // Killed after the rename, before the directory was synced.
        fs::write(&temp, &whole).unwrap();
        fs::rename(&temp, file(&dir, &a)).unwrap();
        assert_eq!(Overrides::load(data.path()).get(&a), Some(&rollback("new")));
    }

    /// A disk that took eight seconds to sync lost the rollback to a kill in that time.
    #[test]
    fn a_rollback_is_in_its_place_while_the_disk_syncs_and_a_weight_is_not() {
        let data = tempfile::tempdir().unwrap();
        let (a, b) = (name("a"), name("b"));
        let weighty = Override { weight: WeightBp::ALL, ..rollback("new") };
        for (use_case, held, is_there) in [(&a, &rollback("new"), true), (&b, &weighty, false)] {
            let looks = std::cell::Cell::new(0);
            let look = |_: &fs::File| {
                looks.set(looks.get() + 1);
                let read = Overrides::load(data.path());
                assert_eq!(read.get(use_case), is_there.then_some(held));
                Ok(())
            };
            put_syncing(data.path(), use_case, held, look).unwrap();
            assert_eq!(looks.get(), 1);
            assert_eq!(Overrides::load(data.path()).get(use_case), Some(held));
        }
        // What cannot be synced is there as an empty file, which can; a weight is not there.
        let fails = |_: &fs::File| Err(io::ErrorKind::StorageFull.into());
        put_syncing(data.path(), &a, &rollback("newer"), fails).unwrap();
        put_syncing(data.path(), &name("c"), &weighty, fails).unwrap_err();
        let read = Overrides::load(data.path());
        assert_eq!(read.get(&a).map(|held| held.actor.as_str()), Some("a file"));
        assert_eq!((read.weight(&name("c")), read.unreadable().len()), (None, 0));
    }

    #[test]
    fn a_file_that_cannot_be_read_holds_its_use_case_at_zero_and_no_other() {
        let data = tempfile::tempdir().unwrap();
        put(data.path(), &name("good"), &rollback("x")).unwrap();
        let dir = data.path().join(DIR);
        for (file, text) in [
            ("touched", ""),
            ("garbage", "{\"weight_bp\":0"),
            ("heavy", r#"{"weight_bp":60000,"actor":"","reason":"","at":0}"#),
            ("newer", r#"{"weight_bp":9000,"actor":"","reason":"","at":0,"until":5}"#),
        ] {
            fs::write(dir.join(format!("{file}.json")), text).unwrap();
        }
        fs::write(dir.join("README"), "not one of ours").unwrap();
        let read = Overrides::load(data.path());
        for held in ["touched", "garbage", "heavy", "newer", "good"] {
            assert_eq!(read.weight(&name(held)), Some(WeightBp::NONE), "{held}");
        }
        // An empty file is a brake somebody pulled, not a fault.
        assert_eq!(read.unreadable().len(), 3, "{:?}", read.unreadable());
        assert!(read.get(&name("touched")).unwrap().at > Millis(0));
        assert_eq!(read.weight(&name("untouched")), None);
    }

    #[test]
    fn a_directory_that_cannot_be_listed_holds_everything_at_zero() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(DIR), "a file where the directory should be").unwrap();
        let read = Overrides::load(data.path());
        assert!(read.holds_all());
        assert_eq!(read.weight(&name("any")), Some(WeightBp::NONE));
        assert_eq!(read.unreadable().len(), 1);
    }

    /// `/dev/full` refuses every byte as a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn on_a_full_disk_an_empty_file_holds_the_rollback() {
        let data = tempfile::tempdir().unwrap();
        let (dir, a) = (data.path().join(DIR), name("a"));
        make_dir(&dir).unwrap();
        std::os::unix::fs::symlink("/dev/full", temp(&dir, &a)).unwrap();
        let weighty = Override { weight: WeightBp::new(500).unwrap(), ..rollback("x") };
        assert!(put(data.path(), &a, &weighty).is_err(), "an empty file would not say its weight");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing half-written is left");
        std::os::unix::fs::symlink("/dev/full", temp(&dir, &a)).unwrap();
        put(data.path(), &a, &rollback("x")).unwrap();
        let read = Overrides::load(data.path());
        assert_eq!(read.weight(&a), Some(WeightBp::NONE));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_files() {
        use std::os::unix::fs::PermissionsExt;
        let data = tempfile::tempdir().unwrap();
        put(data.path(), &name("a"), &rollback("x")).unwrap();
        let dir = data.path().join(DIR);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&file(&dir, &name("a"))), 0o600);
    }
}

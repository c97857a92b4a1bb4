//! The database's file: its rights, and which one it is.

use std::fs;
use std::io;
use std::path::Path;

/// Which file is open: device and inode.
pub(super) type Identity = (u64, u64);

/// Makes directory and file for their owner alone; what exists keeps the rights it has.
pub(super) fn make_private(dir: &Path, path: &Path) -> io::Result<()> {
    crate::overrides::make_dir(dir)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Elsewhere only a file that is gone is noticed.
#[cfg(not(unix))]
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|_| (0, 0))
}

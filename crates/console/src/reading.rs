//! Reads the files that a config names.
//!
//! Contract: nothing is waited for and nothing is read without end: what is no regular file is not opened, since a pipe
//! that nobody writes to holds its reader for ever, and of the rest at most [`BYTES_MAX`] are read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest file: a system prompt of a million characters is a mistake.
pub const BYTES_MAX: u64 = 4 << 20;

/// Why a file was not read, in words that follow its name.
#[derive(Debug)]
pub enum Unread {
    /// There is none.
    Missing,
    /// It is a directory.
    Directory,
    /// It is a pipe, a device or a socket.
    NotRegular,
    /// It has more than [`BYTES_MAX`].
    TooLarge,
    /// It is no text.
    NotText,
    /// It holds nothing but white space.
    Empty,
    /// The system does not let it be read.
    Failed(io::Error),
}

impl Unread {
    /// Whether there is nothing, which is fine where a thing is optional.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Missing | Self::Empty)
    }
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Directory => f.write_str("is a directory"),
            Self::NotRegular => f.write_str("is not a regular file"),
            Self::TooLarge => write!(f, "has more than {BYTES_MAX} bytes"),
            Self::NotText => f.write_str("is not UTF-8"),
            Self::Empty => f.write_str("is empty"),
            Self::Failed(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Failed(error),
        }
    }
}

/// All bytes of a file.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Unread> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(Unread::Directory);
    }
    if !metadata.is_file() {
        return Err(Unread::NotRegular);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Unread::TooLarge);
    }
    Ok(bytes)
}

/// The text that a file's bytes are.
pub fn text(bytes: Vec<u8>) -> Result<String, Unread> {
    String::from_utf8(bytes).map_err(|_| Unread::NotText)
}

/// The secret that a file's bytes are. None begins or ends with a space, and no header could carry it.
pub fn secret(bytes: Vec<u8>) -> Result<String, Unread> {
    let text = text(bytes)?;
    match text.trim() {
        "" => Err(Unread::Empty),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_no_file_is_not_waited_for_and_what_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let told = |name: &str| bytes(&at(name)).unwrap_err().to_string();
        fs::create_dir(at("folder")).unwrap();
        // Sparse: they take no room on the disk.
        File::create(at("large")).unwrap().set_len(BYTES_MAX + 1).unwrap();
        File::create(at("fits")).unwrap().set_len(BYTES_MAX).unwrap();
        assert_eq!(told("none"), "does not exist");
        assert_eq!(told("folder"), "is a directory");
        assert_eq!(told("large"), "has more than 4194304 bytes");
        assert_eq!(bytes(&at("fits")).unwrap().len() as u64, BYTES_MAX);
    }

    /// A mistaken mount, or a shell's `<(...)`: `check` waited for it without a word.
    #[cfg(unix)]
    #[test]
    fn a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(bytes(&pipe).unwrap_err().to_string(), "is not a regular file");
        assert_eq!(bytes(Path::new("/dev/zero")).unwrap_err().to_string(), "is not a regular file");
    }

    #[test]
    fn a_secret_is_a_text_without_the_space_around_it() {
        assert_eq!(secret(b" sk-secret \r\n".to_vec()).unwrap(), "sk-secret");
        assert!(secret(b" \n".to_vec()).unwrap_err().is_absence());
        assert!(!secret(vec![0xff, 0xfe]).unwrap_err().is_absence());
    }
}

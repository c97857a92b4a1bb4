//! Secrets of this installation in files of their own: made at the first start, readable by their
//! owner only. The admin token is one; the CLI on the same machine reads it, too.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cutover_units::hex;

/// The admin token's file in the state directory.
pub const TOKEN_FILE: &str = "admin-token";

/// Random bytes of a generated token: 256 bits, out of any guesser's reach.
const TOKEN_BYTES: usize = 32;

/// A token may be written by hand, but not one that can be guessed.
pub const TOKEN_CHARS_MIN: usize = 16;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file could not be read or written.
    #[error("secret file {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The file can be read by others on this machine.
    #[error("secret file {} can be read by others (mode {mode:o}): chmod 600 it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file's content is too short.
    #[error("the secret in {} is shorter than {TOKEN_CHARS_MIN} characters", .0.display())]
    Short(PathBuf),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] getrandom::Error),
}

/// Reads the secret in a file, or makes one (mode 0600) if there is none.
pub fn read_or_create(path: &Path) -> Result<String, TokenError> {
    match read(path) {
        Err(TokenError::File(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let token = generate()?;
    match write_new(path, &token) {
        Ok(()) => Ok(token),
        // Another process was faster: its secret counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(TokenError::File(path.to_owned(), error)),
    }
}

/// Puts the secret of one file into another, too, if there is none. False: there is another secret, which stays.
pub fn share(from: &Path, to: &Path) -> Result<bool, TokenError> {
    let token = read(from)?;
    match write_new(to, &token) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(read(to)? == token),
        Err(error) => Err(TokenError::File(to.to_owned(), error)),
    }
}

/// Reads the secret in a file.
pub fn read(path: &Path) -> Result<String, TokenError> {
    let text = fs::read_to_string(path).map_err(|e| TokenError::File(path.to_owned(), e))?;
    check_mode(path)?;
    let token = text.trim();
    if token.len() < TOKEN_CHARS_MIN {
        return Err(TokenError::Short(path.to_owned()));
    }
    Ok(token.to_owned())
}

fn generate() -> Result<String, TokenError> {
    let mut bytes = [0u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(TokenError::Random)?;
    Ok(hex(&bytes))
}

/// Written whole to a file of its own and then linked, so that no reader sees half a token.
fn write_new(path: &Path, token: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    let written = writeln!(file, "{token}").and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    linked
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), TokenError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).map_err(|e| TokenError::File(path.to_owned(), e))?;
    // Group and others hold the low six bits.
    let mode = metadata.permissions().mode() & 0o777;
    if mode.trailing_zeros() >= 6 {
        Ok(())
    } else {
        Err(TokenError::Exposed { path: path.to_owned(), mode })
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), TokenError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOKEN_FILE);
        let first = read_or_create(&path).unwrap();
        assert_eq!(first.len(), 2 * TOKEN_BYTES);
        assert_eq!(read_or_create(&path).unwrap(), first);
        assert_eq!(read(&path).unwrap(), first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_token_is_shared_with_a_file_that_has_none_and_replaces_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let token = read_or_create(&at("own")).unwrap();
        assert!(share(&at("own"), &at("other")).unwrap());
        assert!(share(&at("own"), &at("other")).unwrap(), "it has it already");
        assert_eq!(read(&at("other")).unwrap(), token);
        let third = read_or_create(&at("third")).unwrap();
        assert!(!share(&at("own"), &at("third")).unwrap());
        assert_eq!(read(&at("third")).unwrap(), third);
        assert!(share(&at("none"), &at("fourth")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOKEN_FILE);
        read_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(read(&path), Err(TokenError::Exposed { .. })));
    }

    #[test]
    fn a_short_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TOKEN_FILE);
        read_or_create(&path).unwrap();
        fs::write(&path, "abc\n").unwrap();
        assert!(matches!(read_or_create(&path), Err(TokenError::Short(_))));
    }
}

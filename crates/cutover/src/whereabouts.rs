//! Where commands find the running process: its address and its token, in the state directory that the config file names.

use std::path::{Path, PathBuf};

use cutover_control::token;

use crate::claim;
use crate::files;
use crate::operator::ADDRESS_FILE;

/// Leaves word of this process, which keeps its state in `own`, also where the file names the state from now on: that is
/// where commands look, and a rollback must find it. What is not done is told with what to do instead.
///
/// `token`: whether the admin token is the one in the state directory, which commands need, too.
pub(crate) fn leave_word(
    own: &Path,
    configured: Option<&Path>,
    base: &Path,
    token: bool,
) -> Option<String> {
    // Nameless: no command finds one either.
    let named = files::state_directory(None, configured, base).ok()?;
    if is_same(own, &named) {
        return None;
    }
    let shown = own.display();
    let until = format!(
        "state.directory has changed: it takes effect at the next start, and {shown} is used until then"
    );
    Some(match leave(own, &named, token) {
        Ok(()) => format!(
            "{until}. Commands find the running cutover by the new one; those that read the state themselves (report, \
             audit, backup) need --state-dir {shown}"
        ),
        Err(why) => format!(
            "{until}. All commands, rollback too, need --state-dir {shown} until then, since {why}"
        ),
    })
}

fn is_same(own: &Path, named: &Path) -> bool {
    let real = |path: &Path| -> Option<PathBuf> { path.canonicalize().ok() };
    own == named || real(own).is_some_and(|own| real(named) == Some(own))
}

fn leave(own: &Path, named: &Path, token: bool) -> Result<(), String> {
    let shown = named.display();
    files::make_private(named).map_err(|error| format!("{error:#}"))?;
    if claim::is_claimed(named) == Some(true) {
        return Err(format!("another cutover serves from {shown}"));
    }
    if token {
        let file = |directory: &Path| directory.join(token::TOKEN_FILE);
        let shared = token::share(&file(own), &file(named));
        if !shared.map_err(|error| format!("{:#}", anyhow::Error::from(error)))? {
            return Err(format!("{shown} has another admin token"));
        }
    }
    let copied = std::fs::copy(own.join(ADDRESS_FILE), named.join(ADDRESS_FILE));
    copied.map(drop).map_err(|error| format!("{shown} cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn word_is_left_where_the_file_names_the_state_and_nobody_else_serves() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let own = at("own");
        fs::create_dir(&own).unwrap();
        fs::write(own.join(ADDRESS_FILE), "127.0.0.1:9\n").unwrap();
        let secret = token::read_or_create(&own.join(token::TOKEN_FILE)).unwrap();
        let told =
            |name: &str, token| leave_word(&own, Some(Path::new(name)), folder.path(), token);
        assert_eq!(told("own", true), None);
        assert_eq!(told("./own", true), None);
        let said = told("new", true).unwrap();
        assert!(said.contains("find the running cutover by the new one"), "{said}");
        assert_eq!(fs::read_to_string(at("new").join(ADDRESS_FILE)).unwrap(), "127.0.0.1:9\n");
        assert_eq!(token::read(&at("new").join(token::TOKEN_FILE)).unwrap(), secret);
        // A token that the config names is found by it.
        assert!(told("plain", false).unwrap().contains("by the new one"));
        assert!(!at("plain").join(token::TOKEN_FILE).exists());
        fs::create_dir(at("taken")).unwrap();
        let others = token::read_or_create(&at("taken").join(token::TOKEN_FILE)).unwrap();
        let said = told("taken", true).unwrap();
        assert!(
            said.contains("rollback too, need --state-dir") && said.contains("another admin token"),
            "{said}"
        );
        assert_eq!(token::read(&at("taken").join(token::TOKEN_FILE)).unwrap(), others);
        assert!(!at("taken").join(ADDRESS_FILE).exists());
        fs::write(at("file"), "").unwrap();
        assert!(told("file", true).unwrap().contains("need --state-dir"));
    }
}

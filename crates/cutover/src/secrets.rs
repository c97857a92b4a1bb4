//! The secrets that a config names, and what is wrong with the files that hold them.

use std::path::Path;

use cutover_config::{Checked, SecretRef};
use cutover_gateway::build::BuildError;

use crate::env;
use crate::surroundings::{EngineChoice, Outside};

/// Whether a variable is not set here that a start would not do without.
pub(crate) fn unset(checked: &Checked) -> bool {
    checked.secrets().iter().any(|(_, secret)| match secret {
        SecretRef::Env { name, optional } => !optional && env::any(name).is_none(),
        SecretRef::File { .. } => false,
    })
}

/// What is wrong with the files of secrets here, and whether a start would fail for it. Nothing of what they hold is
/// told. `base`: where the config's relative paths start.
pub(crate) fn problems(checked: &Checked, base: &Path) -> Vec<(BuildError, bool)> {
    let outside = Outside::new(base, EngineChoice::Name);
    let mut found = Vec::new();
    for (key, secret) in checked.secrets() {
        let SecretRef::File { path, optional } = secret else { continue };
        if let Err((why, is_absent)) = outside.look_up(secret) {
            let fails = !(*optional && is_absent);
            let without = if fails { "" } else { "; it is optional, so it is done without" };
            found.push((BuildError { key, why: format!("the {why}{without}") }, fails));
        } else if let Some(who) = exposed(&base.join(path)) {
            let why = format!("the file {} {who}: chmod 600 it", path.display());
            found.push((BuildError { key, why }, false));
        }
    }
    found
}

/// Who else than its owner may do what with a file.
#[cfg(unix)]
fn exposed(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let may = match mode {
        _ if mode & 0o022 != 0 => "changed by others",
        _ if mode & 0o004 != 0 => "read by everybody",
        _ => return None,
    };
    Some(format!("can be {may} on this machine (mode {mode:o})"))
}

#[cfg(not(unix))]
fn exposed(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn config(names: &[&str]) -> Checked {
        let header =
            |name: &&str| format!("x-{} = {{ file = \"{name}\" }}\n", name.replace('.', "-"));
        let headers: String = names.iter().map(header).collect();
        let text = format!(
            "default_upstream = \"a\"\n[upstreams.a]\nprovider = \"openai-compatible\"\n\
             base_url = \"http://127.0.0.1:1\"\nkey = {{ file = \"perhaps\", optional = true }}\n\
             [upstreams.a.headers]\n{headers}"
        );
        cutover_config::check(&text, "test.toml", &|_| None).unwrap()
    }

    #[test]
    fn each_secret_that_the_start_would_not_find_is_told_with_its_key_and_without_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8], mode: u32| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("good", b"sk-secret\n", 0o600);
        write("group", b"sk-secret", 0o640);
        write("empty", b" \n", 0o600);
        write("binary", b"\xff\xfe", 0o600);
        write("open", b"sk-secret", 0o644);
        write("shared", b"sk-secret", 0o666);
        write("large", &vec![b'k'; (4 << 20) + 1], 0o600);
        fs::create_dir(folder.path().join("folder")).unwrap();
        // `check` waited for it without a word.
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
        assert!(made.unwrap().success());
        let names = [
            "good", "group", "none", "empty", "binary", "open", "shared", "folder", "large", "pipe",
        ];
        let told: Vec<String> = problems(&config(&names), folder.path())
            .into_iter()
            .map(|(problem, fails)| format!("{problem}{}", if fails { " !" } else { "" }))
            .collect();
        let expected = [
            "upstreams.a.key: the file perhaps does not exist; it is optional, so it is done without",
            "upstreams.a.headers.x-binary: the file binary is not UTF-8 !",
            "upstreams.a.headers.x-empty: the file empty is empty !",
            "upstreams.a.headers.x-folder: the file folder is a directory !",
            "upstreams.a.headers.x-large: the file large has more than 4194304 bytes !",
            "upstreams.a.headers.x-none: the file none does not exist !",
            "upstreams.a.headers.x-open: the file open can be read by everybody on this machine (mode 644): \
             chmod 600 it",
            "upstreams.a.headers.x-pipe: the file pipe is not a regular file !",
            "upstreams.a.headers.x-shared: the file shared can be changed by others on this machine (mode 666): \
             chmod 600 it",
        ];
        assert!(!told.concat().contains("sk-secret"));
        let mut sorted = told.clone();
        sorted[1..].sort_unstable();
        assert_eq!(sorted, expected);
    }
}

//! The secrets that a config names, and what is wrong with the files that hold them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use cutover_config::{Checked, HeaderValue, SecretRef, UpstreamKey};
use cutover_gateway::build::BuildError;

use crate::env;

/// The longest secret looked at.
const BYTES_MAX: u64 = 4 << 20;

/// All of them, each with the key that names it.
pub(crate) fn all(checked: &Checked) -> Vec<(String, &SecretRef)> {
    let mut all = Vec::new();
    for upstream in &checked.upstreams {
        if let UpstreamKey::Secret(secret) = &upstream.key {
            all.push((format!("upstreams.{}.key", upstream.name), secret));
        }
        for (header, value) in &upstream.headers {
            if let HeaderValue::Secret(secret) = value {
                all.push((format!("upstreams.{}.headers.{header}", upstream.name), secret));
            }
        }
    }
    for hook in &checked.webhooks {
        all.extend(
            hook.secret.as_ref().map(|secret| (format!("webhooks.{}.secret", hook.name), secret)),
        );
    }
    all.extend(checked.admin.token.as_ref().map(|token| ("admin.token".to_owned(), token)));
    for operator in &checked.admin.operators {
        all.push((format!("admin.operators.{}.token", operator.name), &operator.token));
    }
    all
}

/// Whether a variable is not set here that a start would not do without.
pub(crate) fn unset(checked: &Checked) -> bool {
    all(checked).iter().any(|(_, secret)| match secret {
        SecretRef::Env { name, optional } => !optional && env::any(name).is_none(),
        SecretRef::File { .. } => false,
    })
}

/// The paths of those that are in files, as they are written.
pub(crate) fn files(checked: &Checked) -> impl Iterator<Item = &Path> {
    all(checked).into_iter().filter_map(|(_, secret)| match secret {
        SecretRef::File { path, .. } => Some(path.as_path()),
        SecretRef::Env { .. } => None,
    })
}

/// What is wrong with the files of secrets here, and whether a start would fail for it. Nothing of what they hold is
/// told. `base`: where the config's relative paths start.
pub(crate) fn problems(checked: &Checked, base: &Path) -> Vec<(BuildError, bool)> {
    let mut found = Vec::new();
    for (key, secret) in all(checked) {
        let SecretRef::File { path, optional } = secret else { continue };
        let whole = base.join(path);
        if let Err((why, fails)) = read(&whole, *optional) {
            let without =
                if *optional && !fails { "; it is optional, so it is done without" } else { "" };
            let why = format!("the file {} {why}{without}", path.display());
            found.push((BuildError { key, why }, fails));
        } else if let Some(who) = exposed(&whole) {
            let why = format!("the file {} {who}: chmod 600 it", path.display());
            found.push((BuildError { key, why }, false));
        }
    }
    found
}

/// Reads a secret as the start does: why not, and whether the start would fail.
fn read(path: &Path, optional: bool) -> Result<(), (String, bool)> {
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ("does not exist".to_owned(), !optional),
        io::ErrorKind::IsADirectory => ("is a directory".to_owned(), true),
        _ => (format!("cannot be read: {error}"), true),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err((format!("has more than {BYTES_MAX} bytes"), true));
    }
    let text = String::from_utf8(bytes).map_err(|_| ("is not UTF-8".to_owned(), true))?;
    if text.trim().is_empty() { Err(("is empty".to_owned(), !optional)) } else { Ok(()) }
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
        fs::create_dir(folder.path().join("folder")).unwrap();
        let names = ["good", "group", "none", "empty", "binary", "open", "shared", "folder"];
        let told: Vec<String> = problems(&config(&names), folder.path())
            .into_iter()
            .map(|(problem, fails)| format!("{problem}{}", if fails { " !" } else { "" }))
            .collect();
        let expected = [
            "upstreams.a.key: the file perhaps does not exist; it is optional, so it is done without",
            "upstreams.a.headers.x-binary: the file binary is not UTF-8 !",
            "upstreams.a.headers.x-empty: the file empty is empty !",
            "upstreams.a.headers.x-folder: the file folder is a directory !",
            "upstreams.a.headers.x-none: the file none does not exist !",
            "upstreams.a.headers.x-open: the file open can be read by everybody on this machine (mode 644): \
             chmod 600 it",
            "upstreams.a.headers.x-shared: the file shared can be changed by others on this machine (mode 666): \
             chmod 600 it",
        ];
        assert!(!told.concat().contains("sk-secret"));
        let mut sorted = told.clone();
        sorted[1..].sort_unstable();
        assert_eq!(sorted, expected);
    }
}

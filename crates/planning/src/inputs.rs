//! Files that one verb writes and another reads.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use cutover_console::exit::{Exit, Failed};

/// Largest file of one answer or scenario that is read: a scenario has some hundred lines, an audit's answer some
/// thousand.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The text of a file of some thousand lines; - is stdin.
pub(crate) fn text_of(path: &Path) -> Result<String, Failed> {
    let name = path.display();
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("{name} has more than {FILE_BYTES_MAX} bytes");
        return Err(Failed::new(Exit::Failed, message));
    }
    String::from_utf8(bytes).map_err(|_| Failed::usage(format!("{name} is not UTF-8")))
}

//! What a program of the machine says.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A driver that hangs must not hang who asks.
const TOOL_WAIT: Duration = Duration::from_secs(5);
const TOOL_BYTES: u64 = 1 << 20;

/// What a tool said, if it is there and ended well in time.
pub fn said(tool: &str, words: &[&str]) -> Option<String> {
    let mut child = Command::new(tool)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // Ends with the tool: its end closes the pipe.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(TOOL_BYTES).read_to_string(&mut text);
        let _ = sender.send(read.ok().map(|_| text));
    });
    let text = receiver.recv_timeout(TOOL_WAIT).ok().flatten();
    if text.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    text.filter(|_| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_absent_or_fails_says_nothing() {
        assert_eq!(said("no-such-tool-anywhere", &[]), None);
        assert_eq!(said("false", &[]), None);
        assert_eq!(said("echo", &["yes"]).as_deref(), Some("yes\n"));
    }
}

//! The error stream, behind a bounded queue and a thread of its own: whoever reads it may stop to do so
//! and stops nobody else.
//!
//! # Contract
//! - A write takes memory that is there already, and never waits for the reader. What does not fit is left out, a
//!   whole line at a time, and counted; it is told in one line once the stream flows again.
//! - [`ErrorStream::flush`](std::io::Write::flush) waits for what is queued, and for [`FLUSH_MAX`] at most.
//! - Lines leave in the order in which they came, whoever wrote them.

use std::fmt;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// What waits for the reader at most: some thousand lines, and as much again is being written.
const QUEUE_BYTES: usize = 256 * 1024;

/// How long [`ErrorStream::flush`](std::io::Write::flush) waits for a reader.
pub const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Time between two tries at a stream that does not wait by itself.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// The process's own. Its thread ends with the process.
static OWN: OnceLock<ErrorStream> = OnceLock::new();

/// The error stream of this process. Its thread is started by the first call.
pub fn error_stream() -> io::Result<ErrorStream> {
    if let Some(stream) = OWN.get() {
        return Ok(stream.clone());
    }
    let started = ErrorStream::start(io::stderr(), |lines| {
        tracing::warn!(event = "error_stream", lines_left_out = lines, "log lines left out");
    })?;
    Ok(OWN.get_or_init(|| started).clone())
}

/// Waits for what this process's error stream has queued, a bounded time. Nothing was queued if nobody asked for it.
pub fn flush_error_stream() {
    if let Some(stream) = OWN.get() {
        // Who does not read now will not read it later either.
        let _ = stream.clone().flush();
    }
}

/// Lines that this process's error stream never took.
pub(crate) fn left_out() -> u64 {
    OWN.get().map_or(0, |stream| stream.0.left_out.load(Ordering::Relaxed))
}

/// Takes lines for a stream. A clone is the same queue.
#[derive(Clone)]
pub struct ErrorStream(Arc<Shared>);

impl fmt::Debug for ErrorStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorStream").finish_non_exhaustive()
    }
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do for the thread.
    more: Condvar,
    /// There is nothing left to do for it.
    done: Condvar,
    /// Lines that were never written.
    left_out: AtomicU64,
}

struct Queue {
    text: Vec<u8>,
    /// Lines left out that no line has told of.
    untold: u64,
    /// Whether the last that was written was taken.
    flows: bool,
    /// Whether the thread has something in hand.
    writing: bool,
    /// Whether the thread waits for more.
    resting: bool,
}

impl Queue {
    fn has_work(&self) -> bool {
        !self.text.is_empty() || (self.flows && self.untold > 0)
    }
}

impl Shared {
    /// Nothing that is done under the lock can panic.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave_out(&self, queue: &mut Queue, text: &[u8]) {
        let lines = text.split(|byte| *byte == b'\n').skip(1).count().max(1) as u64;
        queue.untold += lines;
        self.left_out.fetch_add(lines, Ordering::Relaxed);
    }

    fn offer(&self, text: &[u8]) {
        let mut queue = self.lock();
        if queue.text.len() + text.len() > QUEUE_BYTES {
            return self.leave_out(&mut queue, text);
        }
        queue.text.extend_from_slice(text);
        let resting = std::mem::take(&mut queue.resting);
        drop(queue);
        if resting {
            self.more.notify_one();
        }
    }

    /// Waits for work and takes it into `batch`. How many lines are to be told of as left out.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let mut queue = self.lock();
        queue.writing = false;
        while !queue.has_work() {
            self.done.notify_all();
            queue.resting = true;
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.resting = false;
        queue.writing = true;
        std::mem::swap(&mut queue.text, batch);
        if queue.flows { std::mem::take(&mut queue.untold) } else { 0 }
    }

    /// Writes `batch` for as long as that takes.
    fn write(&self, to: &mut dyn Write, batch: &[u8]) {
        if batch.is_empty() {
            return;
        }
        let unwritten = write_out(to, batch);
        let mut queue = self.lock();
        queue.flows = unwritten.is_empty();
        if !queue.flows {
            self.leave_out(&mut queue, unwritten);
        }
    }
}

/// What of it could not be written.
fn write_out<'b>(to: &mut dyn Write, mut text: &'b [u8]) -> &'b [u8] {
    while !text.is_empty() {
        match to.write(text) {
            Ok(0) => break,
            Ok(written) => text = text.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the stream has made it so.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::park_timeout(TRY_AGAIN);
            }
            Err(_) => break,
        }
    }
    text
}

impl ErrorStream {
    /// Starts the thread that writes to `to`, and gives `tell` the number of lines that were left out, where it may
    /// write a line of its own.
    fn start(
        mut to: impl Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Queue {
            text: Vec::with_capacity(QUEUE_BYTES),
            untold: 0,
            flows: true,
            writing: false,
            resting: false,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            more: Condvar::new(),
            done: Condvar::new(),
            left_out: AtomicU64::new(0),
        });
        let own = shared.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut batch = Vec::with_capacity(QUEUE_BYTES);
            loop {
                let untold = own.take(&mut batch);
                if untold > 0 {
                    // Into the queue that was just emptied: it follows what came before the gap.
                    tell(untold);
                }
                own.write(&mut to, &batch);
                batch.clear();
            }
        })?;
        Ok(Self(shared))
    }

    /// Panics are told here from now on, in the words that Rust has for them. The main thread's are the process's
    /// last words.
    pub fn take_panics(&self) {
        let stream = self.clone();
        std::panic::set_hook(Box::new(move |panic| stream.tell_panic(panic)));
    }

    fn tell_panic(&self, panic: &PanicHookInfo<'_>) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("<unnamed>");
        let backtrace = std::backtrace::Backtrace::capture();
        let mut stream = self.clone();
        let _ = writeln!(stream, "thread '{name}' {panic}");
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            let _ = writeln!(stream, "{backtrace}");
        }
        if name == "main" {
            let _ = stream.flush();
        }
    }
}

impl Write for ErrorStream {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.offer(text);
        Ok(text.len())
    }

    /// In one piece: a line is queued or left out as a whole.
    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.0.offer(text.to_string().as_bytes());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let waits = |queue: &mut Queue| !queue.text.is_empty() || queue.writing;
        let waited = self.0.done.wait_timeout_while(self.0.lock(), FLUSH_MAX, waits);
        let (_queue, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A stream whose every write waits for a word, and is told.
    struct Slow(Receiver<io::Result<usize>>, Sender<String>);

    impl Write for Slow {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let most = self.0.recv().unwrap_or(Err(io::ErrorKind::BrokenPipe.into()))?;
            let text = &text[..most.min(text.len())];
            self.1.send(String::from_utf8(text.to_vec()).unwrap()).unwrap();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Rig {
        stream: ErrorStream,
        go: Sender<io::Result<usize>>,
        written: Receiver<String>,
    }

    fn rig() -> Rig {
        let ((go, gone), (wrote, written)) = (channel(), channel());
        let own: Arc<OnceLock<ErrorStream>> = Arc::default();
        let teller = own.clone();
        let tell = move |lines| {
            let _ = writeln!(teller.wait().clone(), "left out: {lines}");
        };
        let stream = ErrorStream::start(Slow(gone, wrote), tell).unwrap();
        assert!(own.set(stream.clone()).is_ok());
        Rig { stream, go, written }
    }

    fn taken_in_hand(stream: &ErrorStream) -> bool {
        let queue = stream.0.lock();
        queue.writing && queue.text.is_empty()
    }

    #[test]
    fn a_reader_who_stops_stops_nobody_and_what_did_not_fit_is_told_once_it_flows() {
        let Rig { mut stream, go, written } = rig();
        writeln!(stream, "first").unwrap();
        while !taken_in_hand(&stream) {
            std::thread::yield_now();
        }
        let line = "x".repeat(1_023);
        for _ in 0..QUEUE_BYTES / 1_024 + 7 {
            writeln!(stream, "{line}").unwrap();
        }
        assert_eq!(stream.0.left_out.load(Ordering::Relaxed), 7);
        assert_eq!(stream.0.lock().text.capacity(), QUEUE_BYTES, "no memory was taken");
        go.send(Ok(usize::MAX)).unwrap();
        assert_eq!(written.recv().unwrap(), "first\n");
        // In two pieces, as pipes take them.
        go.send(Ok(5)).unwrap();
        go.send(Ok(usize::MAX)).unwrap();
        assert_eq!(written.recv().unwrap(), "xxxxx");
        assert_eq!(written.recv().unwrap().len(), QUEUE_BYTES - 5);
        go.send(Ok(usize::MAX)).unwrap();
        assert_eq!(written.recv().unwrap(), "left out: 7\n");
        writeln!(stream, "last").unwrap();
        go.send(Ok(usize::MAX)).unwrap();
        stream.flush().unwrap();
        assert_eq!(written.try_recv().unwrap(), "last\n", "told once");
    }

    /// A stream that takes nothing is not told that it took nothing, again and again.
    #[test]
    fn what_a_full_disk_did_not_take_is_counted_and_told_when_it_takes_lines_again() {
        let Rig { mut stream, go, written } = rig();
        for lost in 1..=3 {
            writeln!(stream, "lost").unwrap();
            go.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            stream.flush().unwrap();
            assert_eq!(stream.0.left_out.load(Ordering::Relaxed), lost);
        }
        writeln!(stream, "written").unwrap();
        go.send(Err(io::ErrorKind::Interrupted.into())).unwrap();
        go.send(Err(io::ErrorKind::WouldBlock.into())).unwrap();
        go.send(Ok(usize::MAX)).unwrap();
        assert_eq!(written.recv().unwrap(), "written\n");
        go.send(Ok(usize::MAX)).unwrap();
        assert_eq!(written.recv().unwrap(), "left out: 3\n");
    }

    #[test]
    fn a_flush_waits_for_what_is_written_and_gives_up_on_a_reader_who_does_not_read() {
        let Rig { mut stream, go, written } = rig();
        stream.flush().unwrap();
        writeln!(stream, "one").unwrap();
        assert_eq!(stream.flush().unwrap_err().kind(), io::ErrorKind::TimedOut);
        go.send(Ok(usize::MAX)).unwrap();
        stream.flush().unwrap();
        assert_eq!(written.try_recv().unwrap(), "one\n");
    }
}

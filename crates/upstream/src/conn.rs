//! One HTTP/1.1 connection, driven by the request that uses it.
//!
//! hyper gives a connection as two halves: a sender, and a driver that must be polled for anything to
//! happen. Usually the driver becomes a task; then each request costs two task switches, and
//! cancelling means telling that task. Here the request polls the driver itself, in the same place
//! where it waits for the response or the next piece of the body. Dropping the connection closes its
//! socket, always.
//!
//! ```text
//!   request's task --poll--> Conn::drive --poll--> step (response, body)    wants the outcome
//!                                        --poll--> driver                   moves the bytes
//!        ^                                             |
//!        +------------------ Signal <----- socket -----+
//! ```
//! The halves wake each other while they are being polled; [`Signal`] turns such a wake into one more
//! turn of the loop instead of another run of the whole task. An idle connection keeps no task's
//! waker, so it keeps no task's memory.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::live::Open;
use crate::pieces::Pieces;
use crate::socket::{Socket, Stream, Tally};

/// Turns of the loop before the task yields: a connection that always has more to read must not keep
/// others from running.
const TURNS_MAX: usize = 16;

/// Largest read buffer, and so the largest response head and the largest piece of a body: room for
/// any sane head, a bound on what a hostile upstream can make us hold per connection.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// Nobody polls: a wake goes to the task.
const RESTING: u8 = 0;
/// Being polled: a wake is noted.
const POLLING: u8 = 1;
/// Being polled, and a wake was noted.
const WOKEN: u8 = 2;

/// Who is woken, and whether a wake came while polling.
#[derive(Debug, Default)]
struct Signal {
    state: AtomicU8,
    // A std mutex: held for a few instructions, never across an await, never while waking.
    task: Mutex<Option<Waker>>,
}

impl Signal {
    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins polling on behalf of this task.
    fn enter(&self, task: &Waker) {
        let mut registered = self.task();
        if !registered.as_ref().is_some_and(|old| old.will_wake(task)) {
            *registered = Some(task.clone());
        }
        drop(registered);
        // A wake that came between the two steps has taken the waker and woken the task: it will
        // poll again and register again, so nothing is lost.
        self.state.store(POLLING, SeqCst);
    }

    /// Forgets wakes so far. Right only before the driver is polled: it sees what they were about.
    fn clear(&self) {
        self.state.store(POLLING, SeqCst);
    }

    /// Ends polling; false = a wake came meanwhile, so poll on.
    fn rest(&self) -> bool {
        self.state.compare_exchange(POLLING, RESTING, SeqCst, SeqCst).is_ok()
    }

    /// Ends polling, whatever came.
    fn stop(&self) {
        self.state.store(RESTING, SeqCst);
    }

    /// Forgets the task.
    fn forget(&self) {
        let task = self.task().take();
        drop(task);
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let noted = self.state.fetch_update(SeqCst, SeqCst, |state| match state {
            RESTING => None,
            _ => Some(WOKEN),
        });
        if noted.is_err() {
            let task = self.task().take();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}

/// A connection.
pub(crate) struct Conn {
    sender: http1::SendRequest<Pieces>,
    /// None once the connection is over.
    driver: Option<http1::Connection<TokioIo<Socket>, Pieces>>,
    signal: Arc<Signal>,
    waker: Waker,
    tally: Arc<Tally>,
    /// When it was given back last; for a new one, when it was opened.
    pub(crate) idle_since: Instant,
    /// How long it took to open: at least a round trip.
    pub(crate) opened_in: Duration,
    /// Whether a request went over it before.
    pub(crate) reused: bool,
    _open: Open,
}

impl Conn {
    pub(crate) async fn new(
        stream: Stream,
        open: Open,
        begun: Instant,
    ) -> hyper::Result<Box<Self>> {
        let tally = Arc::new(Tally::default());
        let io = TokioIo::new(Socket::new(stream, Arc::clone(&tally)));
        let (sender, driver) =
            http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(io).await?;
        let signal = Arc::new(Signal::default());
        let waker = Waker::from(Arc::clone(&signal));
        let driver = Some(driver);
        let idle_since = Instant::now();
        Ok(Box::new(Self {
            sender,
            driver,
            signal,
            waker,
            tally,
            idle_since,
            opened_in: idle_since.saturating_duration_since(begun),
            reused: false,
            _open: open,
        }))
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Hands the request to the connection; the future must be polled inside [`Conn::drive`].
    pub(crate) fn request(
        &mut self,
        request: http::Request<Pieces>,
    ) -> impl Future<Output = Result<http::Response<Incoming>, TrySendError<http::Request<Pieces>>>>
    + use<> {
        self.sender.try_send_request(request)
    }

    /// Polls `step` and the driver in turn until `step` is ready or both wait for the socket.
    pub(crate) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.signal.enter(cx.waker());
        for _ in 0..TURNS_MAX {
            if let Poll::Ready(done) = step(&mut Context::from_waker(&self.waker)) {
                self.signal.stop();
                return Poll::Ready(done);
            }
            self.turn();
            if self.signal.rest() {
                return Poll::Pending;
            }
        }
        self.signal.stop();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// [`Conn::settle`] after a look at the socket itself: what a server does to an idle connection reaches
    /// the runtime only when its thread has time to ask, and an engine with more clients than threads closes
    /// one right after its answer.
    pub(crate) fn settle_looking(&mut self) -> bool {
        self.tally.look();
        self.settle()
    }

    /// Whether the connection can take a request now. Polls the driver, which is how the end of an
    /// exchange, a close by the server, or bytes nobody asked for are noticed. Forgets the task that
    /// used the connection before.
    pub(crate) fn settle(&mut self) -> bool {
        self.signal.enter(Waker::noop());
        for _ in 0..TURNS_MAX {
            self.turn();
            if self.signal.rest() {
                break;
            }
        }
        self.signal.stop();
        self.signal.forget();
        self.driver.is_some() && self.sender.is_ready()
    }

    fn turn(&mut self) {
        self.signal.clear();
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(&mut Context::from_waker(&self.waker)).is_ready()
        {
            self.driver = None;
        }
    }
}

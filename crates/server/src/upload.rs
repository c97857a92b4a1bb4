//! A client's body on its way: counted, bounded, and watched by whoever waits for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

/// Why a body on its way ended before its end. [`Progress`] says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted;

/// What holds a body up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The client sends nothing.
    ByClient,
    /// The upstream takes nothing.
    ByUpstream,
    /// Nothing: all of it was taken.
    Nothing,
    /// It is too large.
    TooLarge,
    /// The client broke it off.
    Broken,
}

const ORDER: [Held; 5] =
    [Held::ByClient, Held::ByUpstream, Held::Nothing, Held::TooLarge, Held::Broken];

/// How far a body has come. Written by the body, read by those who wait for it.
#[derive(Debug)]
pub struct Progress {
    epoch: Instant,
    moved_ms: AtomicU64,
    bytes: AtomicU64,
    held: AtomicU8,
}

impl Progress {
    /// Of a body of which nothing was taken yet.
    #[expect(clippy::new_without_default, reason = "it begins now, which is no default")]
    pub fn new() -> Self {
        Self {
            epoch: Instant::now(),
            moved_ms: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            held: AtomicU8::new(Held::ByUpstream as u8),
        }
    }

    /// What holds it up now.
    pub fn held(&self) -> Held {
        ORDER.get(usize::from(self.held.load(Relaxed))).copied().unwrap_or(Held::Broken)
    }

    /// Bytes that were taken.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// There is no body, or all of it was taken.
    pub fn ended(&self) {
        self.moved(Held::Nothing);
    }

    /// All of it was taken at once: so many bytes.
    pub fn took(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.ended();
    }

    /// When the wait is over: an idle time after the last byte, and once all were taken, the time for an
    /// answer.
    pub fn due(&self, idle: Duration, answer: Duration) -> Instant {
        let moved = self.epoch + Duration::from_millis(self.moved_ms.load(Relaxed));
        moved + if self.held() == Held::Nothing { answer } else { idle }
    }

    fn moved(&self, held: Held) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(now, Relaxed);
        self.hold(held);
    }

    fn hold(&self, held: Held) {
        self.held.store(held as u8, Relaxed);
    }
}

/// The body itself. No `Debug`: it holds what a client sends.
pub struct Upload {
    incoming: Incoming,
    bytes_max: u64,
    progress: Arc<Progress>,
}

impl Upload {
    /// A body of so many bytes at most; how far it has come is told to `progress`.
    pub fn new(incoming: Incoming, bytes_max: u64, progress: Arc<Progress>) -> Self {
        if incoming.is_end_stream() {
            progress.ended();
        }
        Self { incoming, bytes_max, progress }
    }

    fn took(&self, data: &Bytes) -> Result<(), Aborted> {
        let bytes = self.progress.bytes.fetch_add(data.len() as u64, Relaxed) + data.len() as u64;
        if bytes > self.bytes_max {
            self.progress.hold(Held::TooLarge);
            return Err(Aborted);
        }
        let ended = self.incoming.is_end_stream();
        self.progress.moved(if ended { Held::Nothing } else { Held::ByUpstream });
        Ok(())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        loop {
            let polled = Pin::new(&mut self.incoming).poll_frame(context);
            if polled.is_pending() && self.progress.held() == Held::ByUpstream {
                self.progress.hold(Held::ByClient);
            }
            match ready!(polled) {
                Some(Ok(frame)) => {
                    // Trailers are about the client's connection.
                    let Ok(data) = frame.into_data() else { continue };
                    return Poll::Ready(Some(self.took(&data).map(|()| Frame::data(data))));
                }
                Some(Err(_)) => {
                    self.progress.hold(Held::Broken);
                    return Poll::Ready(Some(Err(Aborted)));
                }
                None => {
                    self.progress.ended();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

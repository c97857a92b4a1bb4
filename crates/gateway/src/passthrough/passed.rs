//! An upstream's answer on its way to the client, piece by piece.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cutover_upstream::Body;
use http_body::{Body as _, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::passage::Passage;
use crate::attempt::cut_off;
use crate::body::Aborted;
use crate::rescue::Failure;

/// The body. No `Debug`: it holds the answer. Dropping it before its end closes the upstream's connection.
pub(crate) struct Passed {
    body: Body,
    passage: Passage,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether the upstream is waited for: its silence counts, a client's does not.
    waiting: bool,
}

impl Passed {
    pub(super) fn new(body: Body, mut passage: Passage, idle: Duration) -> Self {
        if body.is_end_stream() {
            passage.ended();
        }
        let timer = Box::pin(sleep_until(Instant::now() + idle));
        Self { body, passage, idle, timer, waiting: false }
    }

    /// The next piece; None at the end.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Aborted>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => {
                    self.waiting = false;
                    match frame {
                        Some(Ok(frame)) => {
                            let Ok(data) = frame.into_data() else { continue };
                            self.passage.passed(data.len());
                            if self.body.is_end_stream() {
                                self.passage.ended();
                            }
                            return Poll::Ready(Some(Ok(data)));
                        }
                        Some(Err(_)) => return self.abort(&cut_off()),
                        None => {
                            self.passage.ended();
                            return Poll::Ready(None);
                        }
                    }
                }
                Poll::Pending if self.waiting => {}
                Poll::Pending => {
                    self.waiting = true;
                    self.timer.as_mut().reset(Instant::now() + self.idle);
                }
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let message = "the upstream's answer stalled";
            return self.abort(&Failure::late("idle_timeout", message));
        }
    }

    /// The head was sent: only a connection that breaks off says that the answer is not whole.
    fn abort(&mut self, failure: &Failure) -> Poll<Option<Result<Bytes, Aborted>>> {
        self.passage.broke_off(failure);
        Poll::Ready(Some(Err(Aborted)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

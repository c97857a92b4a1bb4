//! Waiting under a deadline, for what mostly is there already.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// Awaits `future`, at most until `until`. That is asked only if the future is not ready at once: what
/// is ready needs neither a clock nor a timer, and a request would pay for several of each.
///
/// # Errors
///
/// If the time came first.
pub async fn before<F: Future>(
    until: impl FnOnce() -> Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let at_once = poll_fn(|context| Poll::Ready(future.as_mut().poll(context)));
    if let Poll::Ready(output) = at_once.await {
        return Ok(output);
    }
    timeout_at(until(), future).await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_ready_asks_for_no_deadline() {
        let never = || unreachable!("the future was ready");
        assert_eq!(before(never, ready(1)).await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_ready_has_until_its_deadline() {
        let soon = || Instant::now() + Duration::from_secs(1);
        assert!(before(soon, pending::<()>()).await.is_err());
        let in_time = tokio::time::sleep(Duration::from_millis(999));
        assert!(before(soon, in_time).await.is_ok());
    }
}

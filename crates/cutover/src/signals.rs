//! Signals: TERM and INT end, HUP reads the config again.

use tokio_util::sync::CancellationToken;

/// Returns when the process is asked to end.
#[cfg(unix)]
pub(crate) async fn end_asked_for() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Returns when the process is asked to end.
#[cfg(not(unix))]
pub(crate) async fn end_asked_for() {
    let _ = tokio::signal::ctrl_c().await;
}

/// SIGHUPs from now on. Made before a start that may take its time, whom one would end: what comes meanwhile is heard
/// afterwards, once.
#[cfg(unix)]
pub(crate) struct Hangups(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Hangups {
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self(signal(SignalKind::hangup()).ok())
    }

    /// Calls `act`, off the workers, at each SIGHUP until `stop`.
    pub(crate) async fn each(
        self,
        stop: CancellationToken,
        act: impl Fn() + Clone + Send + 'static,
    ) {
        let Some(mut hangup) = self.0 else { return };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = hangup.recv() => {}
            }
            // A panic inside has been reported by the panic hook. It may read where no answer comes from: the end does
            // not wait for it.
            let acting = tokio::task::spawn_blocking(act.clone());
            let _ = stop.run_until_cancelled(acting).await;
        }
    }
}

/// There is no such signal.
#[cfg(not(unix))]
pub(crate) struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) async fn each(self, _: CancellationToken, _: impl Fn() + Clone + Send + 'static) {}
}

/// A file that may grow no more (`ulimit -f`, `LimitFSIZE=`) is told by the write that finds it, and ends nothing.
pub(crate) fn outlive_full_files() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // The same on all systems that it is built for. Who hears it does nothing.
        const SIGXFSZ: i32 = 25;
        let _ = signal(SignalKind::from_raw(SIGXFSZ));
    }
}

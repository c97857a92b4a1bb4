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

/// Calls `act`, off the workers, at each SIGHUP until `stop`.
#[cfg(unix)]
pub(crate) async fn on_hangup(stop: CancellationToken, act: impl Fn() + Clone + Send + 'static) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => {}
        }
        // A panic inside has been reported by the panic hook. It may read where no answer comes from: the end does not
        // wait for it.
        let acting = tokio::task::spawn_blocking(act.clone());
        let _ = stop.run_until_cancelled(acting).await;
    }
}

/// Calls nothing: there is no such signal.
#[cfg(not(unix))]
pub(crate) async fn on_hangup(_: CancellationToken, _: impl Fn() + Clone + Send + 'static) {}

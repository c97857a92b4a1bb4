//! Memory of an idle process: pages of the program that nobody needs at the moment are given back.
//!
//! Most of what an idle gateway held were pages of the program that only its start had touched, and those
//! that a request touches. They are the kernel's to keep; it hands them out again when they are needed,
//! which requests after a quiet time pay with about a hundred page faults (docs/benchmarks.md).

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use cutover_gateway::Gateway;
use cutover_pages::Program;
use tokio::time::sleep;

/// From when the start is over, with what it has begun in the background.
const SETTLED: Duration = Duration::from_millis(250);

/// So long without a request is a quiet time.
const QUIET: Duration = Duration::from_secs(30);

/// What the process was started with.
static PROGRAM: OnceLock<io::Result<Program>> = OnceLock::new();

/// Notes what the process was started with. Called before anything is opened at run time, such as a
/// driver's library: of that nothing may be given back.
pub(crate) fn note_program() {
    PROGRAM.get_or_init(Program::at_start);
}

/// Gives pages back once the start is over, and in quiet times, for ever.
pub(crate) async fn give_back(gateway: &Gateway) {
    when_quiet(|| gateway.requests(), give).await;
}

fn give() {
    let given = match PROGRAM.get() {
        Some(Ok(program)) => program.give_back(),
        Some(Err(error)) => Err(error.kind().into()),
        None => return,
    };
    match given {
        Ok(bytes) => tracing::debug!(bytes, "pages of the program given back"),
        Err(error) => tracing::debug!(%error, "pages of the program stay in memory"),
    }
}

async fn when_quiet(requests: impl Fn() -> u64, mut give: impl FnMut()) {
    sleep(SETTLED).await;
    give();
    let mut given = requests();
    let mut before = given;
    loop {
        sleep(QUIET).await;
        let now = requests();
        if now == before && now != given {
            give();
            given = now;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::timeout;

    use super::*;

    /// How often pages are given back within some seconds, if requests come until `busy` seconds.
    async fn given(busy: u64, seconds: u64) -> u32 {
        let (begun, count) = (tokio::time::Instant::now(), Cell::new(0));
        let requests = || begun.elapsed().as_secs().min(busy);
        let giving = when_quiet(requests, || count.set(count.get() + 1));
        let _ = timeout(Duration::from_secs(seconds), giving).await;
        count.get()
    }

    #[tokio::test(start_paused = true)]
    async fn pages_are_given_back_after_the_start_and_once_in_each_quiet_time() {
        assert_eq!(given(0, 3_600).await, 1, "nothing was touched since");
        assert_eq!(given(3_600, 3_600).await, 1, "a busy process keeps them");
        assert_eq!(given(100, 3_600).await, 2);
        assert_eq!(given(100, 110).await, 1, "not quiet long enough");
    }
}

//! Files from Hugging Face or a mirror, over a connection that the caller makes.

use std::ops::ControlFlow;

use super::acquire::{Arrival, Setback, Task};
use super::{AcquireError, Attempt, File, Hub, Stage};

/// Hugging Face itself.
pub const HUB_BASE: &str = "https://huggingface.co";

/// How long a [`Fetch`] may take to connect, in milliseconds: many machines have no route there, and
/// the next source should not wait long.
pub const CONNECT_TIMEOUT_MS: u64 = 3_000;

/// Receives a body piece by piece; `Break` means that no more is wanted.
pub type Sink<'s> = &'s mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// What makes HTTP requests for this crate, which has no client of its own.
pub trait Fetch: Sync {
    /// Gets an https address, follows redirects, and hands the body of a 200 to the sink. Anything
    /// else is an error with its reason. Connecting takes at most [`CONNECT_TIMEOUT_MS`].
    fn fetch(&self, url: &str, sink: Sink<'_>) -> Result<(), String>;
}

/// Progress is reported in steps of this many bytes.
const REPORT_STEP: u64 = 1 << 16;

pub(super) fn download(task: &Task<'_>, hub: &Hub<'_>) -> Result<(), Setback> {
    for file in task.missing() {
        fetch_one(task, hub, file)?;
    }
    Ok(())
}

fn fetch_one(task: &Task<'_>, hub: &Hub<'_>, file: &'static File) -> Result<(), Setback> {
    let source = &task.model.hub;
    let base = hub.base.trim_end_matches('/');
    let url = format!("{base}/{}/resolve/{}/{}", source.repository, source.revision, file.name);
    let mut arrival = Arrival::begin(task, file)?;
    let mut fatal: Option<AcquireError> = None;
    let mut reported = 0;
    let stage = |done| Stage::Downloading { file: file.name, done, total: file.bytes };
    task.report(stage(0));
    let outcome = hub.fetch.fetch(&url, &mut |bytes| {
        let flow = arrival.write(bytes).unwrap_or_else(|error| {
            fatal = Some(error);
            ControlFlow::Break(())
        });
        if arrival.done() >= reported + REPORT_STEP {
            reported = arrival.done();
            task.report(stage(reported));
        }
        flow
    });
    if let Some(error) = fatal {
        return Err(error.into());
    }
    task.check_cancelled()?;
    let arrived = match outcome {
        Ok(()) => arrival.finish()?,
        Err(why) => Err(why),
    };
    arrived.map_err(|why| Setback::Next(Attempt { source: url, why }))
}

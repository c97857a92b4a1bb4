//! What log lines look like: text for people or JSON for collectors. They go to the error stream, by its queue.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::stderr::error_stream;

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// One readable line, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not a level or a list of `target=level`.
    #[error(
        "log filter {filter:?} cannot be read: write a level (error, warn, info, debug, trace, off) \
         or a list such as info,cutover_gateway=debug"
    )]
    Filter {
        /// The filter as given.
        filter: String,
    },
    /// Another log was set up before in this process.
    #[error("a log is set up already")]
    AlreadySet,
    /// The thread that writes the lines.
    #[error("cannot start the log's thread")]
    Thread(#[from] std::io::Error),
}

/// Sends this process's log to stderr. `filter` is a level or a list of `target=level`.
pub fn init(format: Format, filter: &str) -> Result<(), LogError> {
    let ansi = std::io::stderr().is_terminal();
    let (targets, stream) = (targets(filter)?, error_stream()?);
    let writer = move || stream.clone();
    match format {
        Format::Text => text(targets, writer, ansi).try_init(),
        Format::Json => json(targets, writer).try_init(),
    }
    .map_err(|_| LogError::AlreadySet)
}

fn targets(filter: &str) -> Result<Targets, LogError> {
    let bad = || LogError::Filter { filter: filter.to_owned() };
    // A bare word that is no level would be read as a target whose every line is wanted: a
    // misspelt level must not turn the rest of the log off.
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    let known = |word: &str| levels.contains(&word.trim().to_ascii_lowercase().as_str());
    let parts = || filter.split(',').map(str::trim);
    let readable = parts().all(|part| match part.split_once('=') {
        Some((target, level)) => !target.trim().is_empty() && known(level),
        None => known(part),
    });
    if !readable {
        return Err(bad());
    }
    filter.replace(' ', "").parse().map_err(|_| bad())
}

pub(crate) fn text<W>(targets: Targets, writer: W, ansi: bool) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi);
    tracing_subscriber::registry().with(targets).with(layer)
}

pub(crate) fn json<W>(targets: Targets, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer);
    tracing_subscriber::registry().with(targets).with(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_or_lists_of_targets() {
        for good in ["info", "WARN", "off", "info,cutover_gateway=debug", "warn, hyper=off"] {
            assert!(targets(good).is_ok(), "{good}");
        }
        for bad in ["", "inof", "info,=debug", "info,hyper=loud", "info,,warn"] {
            assert!(targets(bad).is_err(), "{bad}");
        }
    }
}

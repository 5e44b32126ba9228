//! Diagnostics on standard error.

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::streams;

/// Writes log lines to standard error, as text or as JSON. `RUST_LOG` filters them.
pub(crate) fn log_to_stderr(json: bool) {
    #[expect(clippy::disallowed_methods, reason = "start-up is where the environment is read")]
    let filter = std::env::var("RUST_LOG").ok().and_then(|value| value.parse().ok());
    let filter: Targets = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        // The stream removes the colours unless a terminal wants them.
        .with_ansi(true)
        // By default an error of the stream is reported on standard error, and panics if that is
        // gone.
        .log_internal_errors(false)
        .with_writer(streams::stderr);
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    tracing_subscriber::registry().with(lines).with(filter).init();
}

//! Diagnostics on standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Writes log lines as text to standard error. `RUST_LOG` filters them.
pub(crate) fn log_to_stderr() {
    #[expect(clippy::disallowed_methods, reason = "start-up is where the environment is read")]
    let filter = std::env::var("RUST_LOG").ok().and_then(|value| value.parse().ok());
    let filter: Targets = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(filter).init();
}

//! The invocation that a task works on, for the log.

use std::sync::atomic::{AtomicBool, Ordering};

use countersign_verify::{Clock, Timestamp};
use serde::Serialize;
use tracing::Instrument;

tokio::task_local! {
    static CURRENT: Invocation;
}

struct Invocation {
    request_id: String,
    cold_start: bool,
    started: Timestamp,
}

/// The members that the current invocation adds to an audit line.
#[derive(Debug, Serialize)]
pub(crate) struct Members {
    request_id: String,
    pub(crate) cold_start: bool,
    pub(crate) duration_ms: u64,
}

impl Members {
    /// The members as of `now`; none outside an invocation.
    pub(crate) fn current(now: Timestamp) -> Option<Self> {
        let members = |invocation: &Invocation| Self {
            request_id: invocation.request_id.clone(),
            cold_start: invocation.cold_start,
            duration_ms: now.millis().saturating_sub(invocation.started.millis()),
        };
        CURRENT.try_with(members).ok()
    }
}

/// The invocations of a process, of which the first one is a cold start.
pub(crate) struct Invocations {
    clock: Clock,
    is_first: AtomicBool,
}

impl Invocations {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, is_first: AtomicBool::new(true) }
    }

    /// Runs `work` as the next invocation: audit lines and diagnostics that it writes have the
    /// request id.
    pub(crate) fn run<W: Future>(&self, request_id: String, work: W) -> impl Future<Output = W::Output> {
        // At the highest level, so that no setting of `RUST_LOG` but `off` drops the request id.
        let span = tracing::error_span!("invocation", request_id);
        let cold_start = self.is_first.swap(false, Ordering::Relaxed);
        let invocation = Invocation { request_id, cold_start, started: self.clock.now() };
        CURRENT.scope(invocation, work).instrument(span)
    }
}

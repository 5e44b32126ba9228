//! A circuit breaker per table: it bounds the wait of a caller that has a copy, and pauses reads
//! after a failure.
//!
//! While DynamoDB or KMS is unavailable, one request is slow and the next ones use their copies at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_verify::{Clock, Timestamp};

/// After a failed read a caller that has a copy does not read the table for this long.
const PAUSE: Duration = Duration::from_secs(5);
/// A caller that has a copy waits this long for a newer one: long enough for one attempt that times
/// out and a second one over a new connection.
const TIMEOUT: Duration = Duration::from_secs(2);
/// It waits only this long when a read of another table has just failed. It still reads, because
/// the fault may be limited to the other table, and a copy must not hide what was revoked in this
/// one.
const SHORT_TIMEOUT: Duration = Duration::from_millis(100);
/// The value of `failed_at` after a success.
const NEVER: u64 = 0;

/// An error of a call through a circuit breaker.
pub(crate) trait CallError {
    /// The error of a call without an answer within `timeout`.
    fn timed_out(timeout: Duration) -> Self;
    /// Returns true when the service was unreachable, slow or throttling.
    fn is_outage(&self) -> bool;
}

/// Remembers the last failure of one table's reads, and the last failure of any read in the
/// process.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    /// In milliseconds, or [`NEVER`].
    failed_at: AtomicU64,
    /// Shared with the breakers of the other tables.
    any_failed_at: Arc<AtomicU64>,
    clock: Clock,
}

impl CircuitBreaker {
    /// A closed breaker.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { failed_at: AtomicU64::new(NEVER), any_failed_at: Arc::default(), clock }
    }

    /// A closed breaker for another table of the same process.
    pub(crate) fn for_table(&self) -> Self {
        let any_failed_at = Arc::clone(&self.any_failed_at);
        Self { failed_at: AtomicU64::new(NEVER), any_failed_at, clock: self.clock.clone() }
    }

    /// Returns true while reads of this table are paused.
    pub(crate) fn is_open(&self) -> bool {
        self.is_paused_since(&self.failed_at)
    }

    fn is_paused_since(&self, failed_at: &AtomicU64) -> bool {
        Timestamp::from_millis(failed_at.load(Ordering::Relaxed)).is_within(PAUSE, self.clock.now())
    }

    /// Runs `read` and remembers whether it got an answer. The wait is bounded when the caller has
    /// a copy.
    pub(crate) async fn call<T, E: CallError>(
        &self,
        has_copy: bool,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut attempt = Attempt { breaker: self, was_answered: false };
        let timeout = match has_copy {
            false => Duration::MAX,
            true if self.is_paused_since(&self.any_failed_at) => SHORT_TIMEOUT,
            true => TIMEOUT,
        };
        let result = tokio::time::timeout(timeout, read).await;
        let result = result.unwrap_or_else(|_| Err(E::timed_out(timeout)));
        attempt.was_answered = !result.as_ref().is_err_and(E::is_outage);
        result
    }
}

/// Records the outcome of a call when it is dropped, so that a request which is cancelled at its
/// deadline counts as a failure.
struct Attempt<'a> {
    breaker: &'a CircuitBreaker,
    was_answered: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let failed_at = if self.was_answered { NEVER } else { self.breaker.clock.now().millis() };
        self.breaker.failed_at.store(failed_at, Ordering::Relaxed);
        self.breaker.any_failed_at.store(failed_at, Ordering::Relaxed);
    }
}

//! A circuit breaker per table: it bounds the wait of a caller that has a copy, and pauses reads
//! after a failure.
//!
//! While DynamoDB or KMS is unavailable, one request is slow and the next ones use their copies at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_verify::{Clock, Timestamp};
use tokio::time::Instant;

/// After a failed read a caller that has a copy does not read the table for this long.
const PAUSE: Duration = Duration::from_secs(5);
/// A caller that has a copy waits this long for a newer one: long enough for one attempt that times
/// out and a second one over a new connection.
const TIMEOUT: Duration = Duration::from_secs(2);
/// It waits only this long when another table has just been silent. It still reads, because
/// the fault may be limited to the other table, and a copy must not hide what was revoked in this
/// one. A read that is cut off so early says nothing about the store: it may just be slower than
/// this.
const SHORT_TIMEOUT: Duration = Duration::from_millis(100);
/// A failure that took at least this long was a silence. Other tables must not wait for long then.
const LONG_WAIT: Duration = Duration::from_secs(1);
/// The value of `failed_at` after a success.
const NEVER: u64 = 0;

/// An error of a call through a circuit breaker.
pub(crate) trait CallError {
    /// The error of a call without an answer within `timeout`.
    fn timed_out(timeout: Duration) -> Self;
    /// Returns true when the service was unreachable, slow or throttling.
    fn is_outage(&self) -> bool;
}

/// Remembers the last failure of one table's reads, and the last silence of any table in the
/// process.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    /// In milliseconds, or [`NEVER`].
    failed_at: AtomicU64,
    /// Shared with the breakers of the other tables.
    any_silent_at: Arc<AtomicU64>,
    clock: Clock,
}

impl CircuitBreaker {
    /// A closed breaker.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { failed_at: AtomicU64::new(NEVER), any_silent_at: Arc::default(), clock }
    }

    /// A closed breaker for another table of the same process.
    pub(crate) fn for_table(&self) -> Self {
        let any_silent_at = Arc::clone(&self.any_silent_at);
        Self { failed_at: AtomicU64::new(NEVER), any_silent_at, clock: self.clock.clone() }
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
        let (timeout, unfinished) = match has_copy {
            false => (Duration::MAX, Outcome::Silence),
            true if self.is_paused_since(&self.any_silent_at) => (SHORT_TIMEOUT, Outcome::CutOff),
            true => (TIMEOUT, Outcome::Silence),
        };
        let mut attempt = Attempt { breaker: self, outcome: unfinished };
        let begun = Instant::now();
        let Ok(result) = tokio::time::timeout(timeout, read).await else {
            return Err(E::timed_out(timeout));
        };
        attempt.outcome = match &result {
            Err(error) if error.is_outage() && begun.elapsed() < LONG_WAIT => Outcome::QuickFailure,
            Err(error) if error.is_outage() => Outcome::Silence,
            _ => Outcome::Answered,
        };
        result
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    Answered,
    /// A failure that says nothing about other tables: this one is throttled, or the connection was
    /// refused.
    QuickFailure,
    /// No answer for a long time, or the request was cancelled.
    Silence,
    /// There was no answer within [`SHORT_TIMEOUT`].
    CutOff,
}

/// Records the outcome of a call when it is dropped, so that a request which is cancelled at its
/// deadline counts as a failure.
struct Attempt<'a> {
    breaker: &'a CircuitBreaker,
    outcome: Outcome,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let CircuitBreaker { failed_at, any_silent_at, clock } = self.breaker;
        let set = |at: &AtomicU64, millis| at.store(millis, Ordering::Relaxed);
        match self.outcome {
            Outcome::Answered => {
                set(failed_at, NEVER);
                set(any_silent_at, NEVER);
            }
            Outcome::QuickFailure => set(failed_at, clock.now().millis()),
            Outcome::Silence => {
                let now = clock.now().millis();
                set(failed_at, now);
                set(any_silent_at, now);
            }
            // This table pauses with the silent one and no longer. A new silence in its place would
            // prolong the pause of both, and a store that recovers slowly would never be read
            // patiently again.
            Outcome::CutOff => set(failed_at, any_silent_at.load(Ordering::Relaxed)),
        }
    }
}

//! Whether DynamoDB, or KMS, answered when it was last asked. Whoever has a copy to go on with waits for a newer one no longer than a
//! moment, and after a failure leaves its table alone for a while: one request is slow then, and not each.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_verify::{Clock, Timestamp};

use crate::keys::{EnvelopeError, KeyError};
use crate::store::table::StoreError;

/// After a failed read a table is left alone this long by whoever has a copy.
const PAUSE: Duration = Duration::from_secs(5);
/// A caller whose answer is at hand waits this long for a newer one: for an attempt that times out, and for the one
/// after it on a new connection.
const TIMEOUT: Duration = Duration::from_secs(2);
/// And no longer than this where another table has just failed. It is asked nonetheless: the trouble may be that table's
/// alone, and what was revoked in this one must not stand for it.
const SHORT_TIMEOUT: Duration = Duration::from_millis(100);

/// An error that may be an outage.
pub(crate) trait Failure {
    /// Nobody answered for that long.
    fn no_answer_within(patience: Duration) -> Self;
    /// Whether whoever was asked was out of reach, slow, or throttled.
    fn is_outage(&self) -> bool;
}

impl Failure for StoreError {
    fn no_answer_within(patience: Duration) -> Self {
        Self::Unavailable { operation: "read", detail: format!("no answer within {patience:?}") }
    }

    fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl Failure for KeyError {
    fn no_answer_within(patience: Duration) -> Self {
        Self::NoAnswer { patience }
    }

    fn is_outage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_outage(),
            Self::KeyEnvelope { error, .. } => matches!(error, EnvelopeError::Unavailable(_)),
            Self::NoAnswer { .. } => true,
            Self::NoSigningKey | Self::Erased { .. } | Self::Unusable { .. } | Self::Signing => false,
        }
    }
}

/// What one table's reader knows of the last failure: of its own, and of all readers of the process.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    /// In milliseconds; 0 after a success.
    failed_at: AtomicU64,
    /// The same of whichever table was read last.
    any_failed_at: Arc<AtomicU64>,
    clock: Clock,
}

impl CircuitBreaker {
    /// None so far.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { failed_at: AtomicU64::default(), any_failed_at: Arc::default(), clock }
    }

    /// For another reader in the same process.
    pub(crate) fn for_table(&self) -> Self {
        let any_failed_at = Arc::clone(&self.any_failed_at);
        Self { failed_at: AtomicU64::default(), any_failed_at, clock: self.clock.clone() }
    }

    /// Whether reading failed a moment ago.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open_since(&self.failed_at)
    }

    /// A clock that was set back makes nothing recent.
    fn is_open_since(&self, failed_at: &AtomicU64) -> bool {
        let (failed_at, now) = (Timestamp::from_millis(failed_at.load(Ordering::Relaxed)), self.clock.now());
        now >= failed_at && now.since(failed_at) < PAUSE
    }

    /// What `read` says, and whether it says anything is kept in mind. Where there is a copy it must be quick.
    pub(crate) async fn watch<T, E: Failure>(
        &self,
        has_copy: bool,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let unanswered = Unanswered(self);
        let patience = match has_copy {
            false => Duration::MAX,
            true if self.is_open_since(&self.any_failed_at) => SHORT_TIMEOUT,
            true => TIMEOUT,
        };
        let result = tokio::time::timeout(patience, read).await;
        let result = result.unwrap_or_else(|_| Err(E::no_answer_within(patience)));
        if !result.as_ref().is_err_and(Failure::is_outage) {
            mem::forget(unanswered);
            self.failed_at.store(0, Ordering::Relaxed);
            self.any_failed_at.store(0, Ordering::Relaxed);
        }
        result
    }
}

/// Marks the failure when it is dropped: a request that is cut off at its deadline does not come back to say so.
struct Unanswered<'a>(&'a CircuitBreaker);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let now = self.0.clock.now().millis();
        self.0.failed_at.store(now, Ordering::Relaxed);
        self.0.any_failed_at.store(now, Ordering::Relaxed);
    }
}

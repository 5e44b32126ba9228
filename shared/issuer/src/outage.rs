//! Whether DynamoDB answered when it was last asked. What has a copy to go on with waits for it no longer than a
//! moment, and after a failure leaves it alone for a while: one request is slow then, and not each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_verify::{Clock, Timestamp};

use crate::store::StoreError;

/// After a failed read DynamoDB is left alone this long by whoever has a copy.
const PAUSE: Duration = Duration::from_secs(5);
/// A caller whose answer is at hand waits no longer for a newer one. An answer takes milliseconds, and the first
/// connection some hundred.
const PATIENCE: Duration = Duration::from_secs(1);

/// One for all that a process keeps copies of: where the client cannot be read, neither can the keys.
#[derive(Debug, Clone)]
pub(crate) struct Outage {
    /// In milliseconds; 0 after a success.
    failed_at: Arc<AtomicU64>,
    clock: Clock,
}

impl Outage {
    /// None so far.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { failed_at: Arc::default(), clock }
    }

    /// Whether a read failed a moment ago.
    pub(crate) fn is_recent(&self) -> bool {
        self.clock.now().since(Timestamp::from_millis(self.failed_at.load(Ordering::Relaxed))) < PAUSE
    }

    /// What `read` says, and whether it says anything is kept in mind. With a copy at hand it has a second.
    pub(crate) async fn watch<T>(
        &self,
        has_copy: bool,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut unanswered = Unanswered(Some(self));
        let patience = if has_copy { PATIENCE } else { Duration::MAX };
        let result = tokio::time::timeout(patience, read).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable { operation: "read", detail: "no answer within a second".into() })
        });
        if !matches!(result, Err(StoreError::Unavailable { .. })) {
            self.failed_at.store(0, Ordering::Relaxed);
            unanswered.0 = None;
        }
        result
    }
}

/// Marks the failure when it is dropped: a request that is cut off at its deadline does not come back to say so.
struct Unanswered<'a>(Option<&'a Outage>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(Outage { failed_at, clock }) = self.0 {
            failed_at.store(clock.now().millis(), Ordering::Relaxed);
        }
    }
}

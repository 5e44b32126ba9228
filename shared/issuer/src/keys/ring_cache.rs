//! A copy of the ring in memory.

use std::sync::Arc;

use countersign_verify::{Clock, Timestamp, TokenError};
use tokio::sync::Mutex;

use crate::audit::AuditLog;
use crate::keys::{KeyError, KeyTable, Ring, RotationSchedule};
use crate::store::cache::{FRESHNESS_BEFORE_REFUSING, served_stale};
use crate::store::circuit_breaker::CircuitBreaker;
use crate::store::table::{SIGNING_KEYS, StoreError};

/// A ring and when it was read.
#[derive(Debug, Clone)]
pub(crate) struct CachedRing {
    pub(crate) ring: Arc<Ring>,
    pub(crate) read_at: Timestamp,
}

impl CachedRing {
    /// Returns true while it need not be read again.
    pub(crate) fn is_fresh(&self, now: Timestamp, schedule: &RotationSchedule) -> bool {
        self.read_at.is_within(schedule.ring_freshness(), now)
    }

    /// Returns true while it may be used if the table cannot be read.
    pub(crate) fn is_usable(&self, now: Timestamp, schedule: &RotationSchedule) -> bool {
        self.read_at.is_within(schedule.ring_staleness(), now)
    }
}

/// Reads the ring when its copy is no longer fresh, and uses the copy during an outage.
#[derive(Debug)]
pub struct RingCache {
    table: KeyTable,
    schedule: RotationSchedule,
    clock: Clock,
    breaker: CircuitBreaker,
    audit: AuditLog,
    cached: Mutex<Option<CachedRing>>,
}

impl RingCache {
    /// A cache of the ring in `table`. Nothing is read yet.
    pub(crate) fn new(
        table: KeyTable,
        schedule: RotationSchedule,
        clock: Clock,
        breaker: CircuitBreaker,
        audit: AuditLog,
    ) -> Self {
        Self { table, schedule, clock, breaker, audit, cached: Mutex::default() }
    }

    /// Returns the ring. A copy that is no longer fresh is read again; while that fails, it is used
    /// until it is too old.
    ///
    /// The lock is held during the read, so that many waiting requests cause one. Without a usable
    /// copy every request reads, whatever failed before: an issuer that cannot sign has nothing
    /// else to do.
    pub async fn current(&self) -> Result<Arc<Ring>, KeyError> {
        let mut cached = self.cached.lock().await;
        let now = self.clock.now();
        let usable = cached.as_ref().filter(|cached| cached.is_usable(now, &self.schedule)).cloned();
        if let Some(usable) = &usable
            && usable.is_fresh(now, &self.schedule)
        {
            return Ok(Arc::clone(&usable.ring));
        }
        let serve = |stale: CachedRing, error: Option<&StoreError>| {
            let age = now.since(stale.read_at);
            self.audit.write(&served_stale(SIGNING_KEYS, "ring", age, error));
            Ok(stale.ring)
        };
        if self.breaker.is_open()
            && let Some(usable) = usable
        {
            return serve(usable, None);
        }
        match (self.read(&mut cached, usable.is_some(), now).await, usable) {
            (Ok(ring), _) => Ok(ring),
            (Err(error), Some(usable)) => serve(usable, Some(&error)),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Verifies a token against the ring, and reads the ring again before it refuses an unknown
    /// `kid`: another process may have signed with a key that was made since. Returns the ring that
    /// decided and the result.
    ///
    /// `verify` gets the ring and checks one token. If the ring cannot be read again, the outcome
    /// is an error and not a refusal.
    pub async fn verify_against_ring<T>(
        &self,
        verify: impl Fn(&Ring) -> Result<T, TokenError>,
    ) -> Result<(Arc<Ring>, Result<T, TokenError>), KeyError> {
        let mut ring = self.current().await?;
        let mut verified = verify(&ring);
        if matches!(verified, Err(TokenError::UnknownKey)) {
            ring = self.read_before_refusing().await?;
            verified = verify(&ring);
        }
        Ok((ring, verified))
    }

    /// Returns the ring as it was at most two seconds ago.
    async fn read_before_refusing(&self) -> Result<Arc<Ring>, KeyError> {
        let mut cached = self.cached.lock().await;
        let now = self.clock.now();
        if let Some(cached) = &*cached
            && cached.read_at.is_within(FRESHNESS_BEFORE_REFUSING, now)
        {
            return Ok(Arc::clone(&cached.ring));
        }
        let has_copy = cached.is_some();
        if self.breaker.is_open() && has_copy {
            let detail = "a read failed a moment ago".to_owned();
            return Err(StoreError::Unavailable { operation: "query", detail }.into());
        }
        Ok(self.read(&mut cached, has_copy, now).await?)
    }

    async fn read(
        &self,
        cached: &mut Option<CachedRing>,
        has_copy: bool,
        now: Timestamp,
    ) -> Result<Arc<Ring>, StoreError> {
        let contents = self.breaker.call(has_copy, Box::pin(self.table.read())).await?;
        let ring = Arc::new(Ring::new(contents.keys, &self.schedule));
        // A ring without an active key is not kept, so that its first key is noticed at once.
        *cached = ring.signing(now).map(|_| CachedRing { ring: Arc::clone(&ring), read_at: now });
        Ok(ring)
    }

    /// Drops the copy if it is still `outdated`, so that the next request reads the ring again.
    pub(crate) async fn forget(&self, outdated: &Arc<Ring>) {
        let mut cached = self.cached.lock().await;
        if cached.as_ref().is_some_and(|cached| Arc::ptr_eq(&cached.ring, outdated)) {
            *cached = None;
        }
    }

    pub(crate) fn schedule(&self) -> &RotationSchedule {
        &self.schedule
    }
}

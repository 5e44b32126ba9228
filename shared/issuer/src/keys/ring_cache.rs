//! A copy of the ring in memory, and how long it is good for.

use std::sync::Arc;
use std::time::Duration;

use countersign_verify::{Clock, Timestamp, TokenError};
use tokio::sync::Mutex;

use crate::audit::{AuditLog, Record};
use crate::keys::{KeyError, KeyTable, Ring, RotationSchedule};
use crate::store::cache::REFUSED_FRESH;
use crate::store::circuit_breaker::CircuitBreaker;
use crate::store::table::{SIGNING_KEYS, StoreError};

/// A ring and the moment at which it was read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) ring: Arc<Ring>,
    pub(crate) at: Timestamp,
}

impl Reading {
    /// Whether it need not be read again.
    pub(crate) fn is_fresh(&self, now: Timestamp, schedule: &RotationSchedule) -> bool {
        self.is_younger_than(schedule.ring_freshness(), now)
    }

    /// Whether it may be used while the ring cannot be read.
    pub(crate) fn is_usable(&self, now: Timestamp, schedule: &RotationSchedule) -> bool {
        self.is_younger_than(schedule.ring_staleness(), now)
    }

    /// Where the clock was set back its age is not known, and it is good for nothing.
    fn is_younger_than(&self, age: Duration, now: Timestamp) -> bool {
        now >= self.at && now.since(self.at) < age
    }
}

/// Reads the ring when it must and keeps it while it may.
#[derive(Debug)]
pub struct RingCache {
    table: KeyTable,
    schedule: RotationSchedule,
    clock: Clock,
    breaker: CircuitBreaker,
    audit: AuditLog,
    reading: Mutex<Option<Reading>>,
}

impl RingCache {
    /// The ring in `table`; nothing is read yet.
    pub(crate) fn new(
        table: KeyTable,
        schedule: RotationSchedule,
        clock: Clock,
        breaker: CircuitBreaker,
        audit: AuditLog,
    ) -> Self {
        Self { table, schedule, clock, breaker, audit, reading: Mutex::default() }
    }

    /// The ring. Read again once it is no longer fresh; while that fails, the last one stands until it is too old.
    /// The lock is held during the reading, so that many waiting requests cause one. Without a copy that may be used
    /// every request tries: an issuer that cannot sign has nothing else to do.
    pub async fn current(&self) -> Result<Arc<Ring>, KeyError> {
        let mut kept = self.reading.lock().await;
        let now = self.clock.now();
        let usable = kept.as_ref().filter(|reading| reading.is_usable(now, &self.schedule)).cloned();
        if let Some(reading) = &usable
            && reading.is_fresh(now, &self.schedule)
        {
            return Ok(Arc::clone(&reading.ring));
        }
        let serve = |reading: Reading, reason: Option<&dyn std::fmt::Display>| {
            self.audit.write(&Record::served_stale(SIGNING_KEYS, "ring", now.since(reading.at), reason));
            Ok(reading.ring)
        };
        if self.breaker.is_open()
            && let Some(reading) = usable
        {
            return serve(reading, None);
        }
        match (self.read(&mut kept, usable.is_some(), now).await, usable) {
            (Ok(ring), _) => Ok(ring),
            (Err(error), Some(reading)) => serve(reading, Some(&error)),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// The ring as it was at most two seconds ago, for whoever is about to be refused because of it: another process
    /// may have seen a key that was made since. Where it cannot be read nobody is refused by an older one.
    pub(crate) async fn before_refusing(&self) -> Result<Arc<Ring>, KeyError> {
        let mut kept = self.reading.lock().await;
        let now = self.clock.now();
        if let Some(reading) = kept.as_ref().filter(|reading| reading.is_younger_than(REFUSED_FRESH, now)) {
            return Ok(Arc::clone(&reading.ring));
        }
        if self.breaker.is_open() && kept.is_some() {
            let detail = "it did not answer a moment ago".to_owned();
            return Err(StoreError::Unavailable { operation: "query", detail }.into());
        }
        let has_copy = kept.is_some();
        Ok(self.read(&mut kept, has_copy, now).await?)
    }

    async fn read(
        &self,
        kept: &mut Option<Reading>,
        has_copy: bool,
        now: Timestamp,
    ) -> Result<Arc<Ring>, StoreError> {
        let contents = self.breaker.watch(has_copy, Box::pin(self.table.read())).await?;
        let ring = Arc::new(Ring::new(contents.keys, &self.schedule));
        // A ring without a key that signs is not kept, so that a first key is noticed at once.
        *kept = ring.signing(now).map(|_| Reading { ring: Arc::clone(&ring), at: now });
        Ok(ring)
    }

    /// Verifies a token against the ring, and once more against a newer ring where the cached one lacks the token's key.
    /// Returns the ring that decided.
    pub async fn verify_against_ring<T>(
        &self,
        verify: impl Fn(&Ring) -> Result<T, TokenError>,
    ) -> Result<(Arc<Ring>, Result<T, TokenError>), KeyError> {
        let mut ring = self.current().await?;
        let mut verified = verify(&ring);
        if matches!(verified, Err(TokenError::UnknownKey)) {
            ring = self.before_refusing().await?;
            verified = verify(&ring);
        }
        Ok((ring, verified))
    }

    /// Whoever finds that `outdated` is no longer how things stand has the ring read again, by everybody.
    pub(crate) async fn forget(&self, outdated: &Arc<Ring>) {
        let mut kept = self.reading.lock().await;
        if kept.as_ref().is_some_and(|reading| Arc::ptr_eq(&reading.ring, outdated)) {
            *kept = None;
        }
    }

    pub(crate) fn schedule(&self) -> &RotationSchedule {
        &self.schedule
    }
}

//! A copy of the ring in memory, and how long it is good for.

use std::sync::Arc;

use countersign_verify::{Clock, Timestamp};
use tokio::sync::Mutex;

use crate::audit;
use crate::keys::{KeyError, KeyTable, Ring, Timers};
use crate::outage::Outage;
use crate::store::{SIGNING_KEYS, StoreError};

/// A ring and the moment at which it was read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) ring: Arc<Ring>,
    pub(crate) at: Timestamp,
}

impl Reading {
    /// Whether it need not be read again. A clock that was set back makes it look older or newer than it is, never
    /// fresh for longer than a clock that runs on.
    pub(crate) fn is_fresh(&self, now: Timestamp, timers: &Timers) -> bool {
        now >= self.at && now.since(self.at) < timers.ring_freshness()
    }

    /// Whether it may be used while the ring cannot be read.
    pub(crate) fn is_usable(&self, now: Timestamp, timers: &Timers) -> bool {
        now.since(self.at) < timers.ring_staleness()
    }
}

/// Reads the ring when it must and keeps it while it may.
#[derive(Debug)]
pub struct KeyRing {
    table: KeyTable,
    timers: Timers,
    clock: Clock,
    outage: Outage,
    reading: Mutex<Option<Reading>>,
}

impl KeyRing {
    /// The ring in `table`; nothing is read yet.
    pub(crate) fn new(table: KeyTable, timers: Timers, clock: Clock, outage: Outage) -> Self {
        Self { table, timers, clock, outage, reading: Mutex::default() }
    }

    /// The ring. Read again once it is no longer fresh; while that fails, the last one stands until it is too old.
    /// The lock is held during the reading, so that many waiting requests cause one. Without a copy that may be used
    /// every request tries: an issuer that cannot sign has nothing else to do.
    pub async fn current(&self) -> Result<Arc<Ring>, KeyError> {
        let mut kept = self.reading.lock().await;
        let now = self.clock.now();
        let usable = kept.as_ref().filter(|reading| reading.is_usable(now, &self.timers)).cloned();
        if let Some(reading) = &usable
            && reading.is_fresh(now, &self.timers)
        {
            return Ok(Arc::clone(&reading.ring));
        }
        let serve = |reading: Reading, reason: Option<&StoreError>| {
            audit::served_stale(SIGNING_KEYS, "ring", now.since(reading.at), reason);
            Ok(reading.ring)
        };
        if self.outage.is_recent()
            && let Some(reading) = usable
        {
            return serve(reading, None);
        }
        match self.outage.watch(usable.is_some(), Box::pin(self.table.read())).await {
            Ok(contents) => {
                let ring = Arc::new(Ring::new(contents.keys, &self.timers));
                // A ring without a key that signs is not kept, so that a first key is noticed at once.
                *kept = ring.signing(now).map(|_| Reading { ring: Arc::clone(&ring), at: now });
                Ok(ring)
            }
            Err(error) => match usable {
                Some(reading) => serve(reading, Some(&error)),
                None => Err(error.into()),
            },
        }
    }

    /// Whoever finds that `outdated` is no longer how things stand has the ring read again, by everybody.
    pub(crate) async fn forget(&self, outdated: &Arc<Ring>) {
        let mut kept = self.reading.lock().await;
        if kept.as_ref().is_some_and(|reading| Arc::ptr_eq(&reading.ring, outdated)) {
            *kept = None;
        }
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }
}

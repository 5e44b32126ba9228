//! Records in memory: fresh for a minute, and good for longer while DynamoDB is away.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_verify::{Clock, Timestamp};
use lru::LruCache;
use tokio::sync::Mutex as AsyncMutex;

use crate::audit::{self, AuditLog};
use crate::store::circuit_breaker::CircuitBreaker;
use crate::store::table::{Record, StoreError, Table};

/// Within this time a change takes effect: a client that is disabled, a secret that is revoked.
const FRESH: Duration = Duration::from_secs(60);
/// Nobody is refused by an older reading: the client may have been made, or given its new secret, a moment ago, and so
/// may the key of a token. The same for known and unknown names, or the time of a refusal would tell them apart.
pub(crate) const REFUSED_FRESH: Duration = Duration::from_secs(2);

/// A record takes less than 1 KiB, and with every list at its limit 80 KiB.
const MAX_RECORDS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// Kept apart from the records, so that guessed names push no client out.
const MAX_UNKNOWN: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// One table's records, each read once a minute at most.
pub(crate) struct Cache<R> {
    table: Table<R>,
    max_stale: Duration,
    clock: Clock,
    slots: Mutex<Slots<R>>,
    breaker: CircuitBreaker,
    audit: AuditLog,
}

struct Slots<R> {
    known: LruCache<String, Arc<Slot<R>>>,
    unknown: LruCache<String, Arc<Slot<R>>>,
}

/// What is known under one key. Locked while it is read: of many who want one record, one reads it.
type Slot<R> = AsyncMutex<Option<Reading<R>>>;

struct Reading<R> {
    record: Option<Arc<R>>,
    /// Taken before the reading began.
    at: Timestamp,
}

impl<R> Reading<R> {
    /// Its age. None where the clock was set back: such a reading is neither fresh nor good for an outage.
    fn age(&self, now: Timestamp) -> Option<Duration> {
        (now >= self.at).then(|| now.since(self.at))
    }

    fn is_younger_than(&self, fresh: Duration, now: Timestamp) -> bool {
        let fresh = if self.record.is_some() { fresh } else { REFUSED_FRESH };
        self.age(now).is_some_and(|age| age < fresh)
    }
}

/// A record that is no longer fresh, to go on with where there is no newer one.
struct Stale<R> {
    record: Arc<R>,
    age: Duration,
}

impl<R: Record> Stale<R> {
    /// Serves it, which the log then says.
    fn serve(&self, key: &str, reason: Option<&dyn fmt::Display>, audit: &AuditLog) -> Arc<R> {
        audit.write(&audit::Record::served_stale(R::TABLE, key, self.age, reason));
        Arc::clone(&self.record)
    }
}

impl<R: Record> Cache<R> {
    /// A cache over `table`, good for `max_stale` past its freshness while DynamoDB is away.
    pub(crate) fn new(
        table: Table<R>,
        max_stale: Duration,
        clock: Clock,
        breaker: CircuitBreaker,
        audit: AuditLog,
    ) -> Self {
        let slots = Slots { known: LruCache::new(MAX_RECORDS), unknown: LruCache::new(MAX_UNKNOWN) };
        Self { table, max_stale, clock, slots: Mutex::new(slots), breaker, audit }
    }

    /// The record of that key, as it was at most a minute ago; while DynamoDB is away, at most `max_stale` longer.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Arc<R>>, StoreError> {
        self.get_younger_than(FRESH, key).await
    }

    /// The same for whoever is about to be refused, as it was at most two seconds ago.
    pub(crate) async fn get_before_refusing(&self, key: &str) -> Result<Option<Arc<R>>, StoreError> {
        self.get_younger_than(REFUSED_FRESH, key).await
    }

    async fn get_younger_than(&self, fresh: Duration, key: &str) -> Result<Option<Arc<R>>, StoreError> {
        let slot = self.slot(key);
        let mut reading = slot.lock().await;
        let now = self.clock.now();
        if let Some(reading) = &*reading
            && reading.is_younger_than(fresh, now)
        {
            return Ok(reading.record.clone());
        }
        let copy = reading.as_ref().and_then(|reading| self.stale(reading, now));
        if self.breaker.is_open()
            && let Some(copy) = &copy
        {
            return Ok(Some(copy.serve(key, None, &self.audit)));
        }
        match self.breaker.watch(copy.is_some(), Box::pin(self.table.get(key))).await {
            Ok(record) => {
                let record = record.map(Arc::new);
                *reading = Some(Reading { record: record.clone(), at: now });
                self.keep(key, &slot, record.is_some());
                Ok(record)
            }
            Err(error @ StoreError::Unavailable { .. }) => match copy {
                Some(copy) => Ok(Some(copy.serve(key, Some(&error), &self.audit))),
                None => Err(error),
            },
            // A record that cannot be read, a permission that is missing: no outage to bridge.
            Err(error) => Err(error),
        }
    }

    /// The record of an old reading, if it may still be served.
    fn stale(&self, reading: &Reading<R>, now: Timestamp) -> Option<Stale<R>> {
        let record = reading.record.clone()?;
        let age = reading.age(now).filter(|age| *age < FRESH + self.max_stale)?;
        Some(Stale { record, age })
    }

    fn slot(&self, key: &str) -> Arc<Slot<R>> {
        let mut slots = self.lock();
        if let Some(slot) = slots.known.get(key) {
            return Arc::clone(slot);
        }
        // Whether there is a record, the reading will tell.
        Arc::clone(slots.unknown.get_or_insert_ref(key, Arc::default))
    }

    fn keep(&self, key: &str, slot: &Arc<Slot<R>>, is_known: bool) {
        let mut slots = self.lock();
        let Slots { known, unknown } = &mut *slots;
        let (to, from) = if is_known { (known, unknown) } else { (unknown, known) };
        if from.pop(key).is_some() || !to.contains(key) {
            to.put(key.to_owned(), Arc::clone(slot));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots<R>> {
        // Nothing between two of its statements can panic; a poisoned map would be whole.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Record> fmt::Debug for Cache<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("table", &R::TABLE)
            .field("max_stale", &self.max_stale)
            .finish_non_exhaustive()
    }
}

//! Records in memory: fresh for a minute, and usable for longer while DynamoDB is unavailable.

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

/// A change takes effect within this time: a client that is disabled, a secret that is revoked.
pub const FRESHNESS: Duration = Duration::from_secs(60);
/// Before a credential is rejected, a record older than this is read again: the client may just
/// have been created or given a new secret, and the key of a token may just have been made. The
/// limit is the same for known and unknown names, because otherwise the time of a refusal would
/// tell them apart.
pub const FRESHNESS_BEFORE_REFUSING: Duration = Duration::from_secs(2);

/// A record takes less than 1 KiB, and 80 KiB with every list at its limit.
const MAX_RECORDS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
/// Unknown names have a cache of their own, so that guessed names evict no client.
const MAX_UNKNOWN: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// The records of one table, each read at most once a minute.
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

/// The copy under one key. It is locked during a read, so that many requests for one record cause
/// one read.
type Slot<R> = AsyncMutex<Option<CachedRecord<R>>>;

struct CachedRecord<R> {
    /// None if the table had no such record.
    record: Option<Arc<R>>,
    /// When the read began.
    read_at: Timestamp,
}

impl<R> CachedRecord<R> {
    fn is_fresh(&self, freshness: Duration, now: Timestamp) -> bool {
        let freshness = if self.record.is_some() { freshness } else { FRESHNESS_BEFORE_REFUSING };
        self.read_at.is_within(freshness, now)
    }
}

/// A record that is no longer fresh, for use when DynamoDB cannot be read.
struct StaleRecord<R> {
    record: Arc<R>,
    age: Duration,
}

impl<R: Record> Cache<R> {
    /// A cache over `table` whose copies are usable for `max_stale` past their freshness while
    /// DynamoDB is unavailable.
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

    /// Returns the record under `key`, at most a minute old; while DynamoDB is unavailable, at most
    /// `max_stale` older.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Arc<R>>, StoreError> {
        self.get_within(FRESHNESS, key).await
    }

    /// Returns the record under `key`, at most two seconds old, for a decision that would reject a
    /// credential.
    pub(crate) async fn get_before_refusing(&self, key: &str) -> Result<Option<Arc<R>>, StoreError> {
        self.get_within(FRESHNESS_BEFORE_REFUSING, key).await
    }

    async fn get_within(&self, freshness: Duration, key: &str) -> Result<Option<Arc<R>>, StoreError> {
        let slot = self.slot(key);
        let mut cached = slot.lock().await;
        let now = self.clock.now();
        if let Some(cached) = &*cached
            && cached.is_fresh(freshness, now)
        {
            return Ok(cached.record.clone());
        }
        let stale = cached.as_ref().and_then(|cached| self.stale(cached, now));
        if self.breaker.is_open()
            && let Some(stale) = &stale
        {
            return Ok(Some(self.serve(stale, key, None)));
        }
        match self.breaker.call(stale.is_some(), Box::pin(self.table.get(key))).await {
            Ok(record) => {
                let record = record.map(Arc::new);
                *cached = Some(CachedRecord { record: record.clone(), read_at: now });
                self.keep(key, &slot, record.is_some());
                Ok(record)
            }
            // A copy bridges an outage, but neither a record that cannot be read nor a missing
            // permission.
            Err(error) => match stale.filter(|_| error.is_outage()) {
                Some(stale) => Ok(Some(self.serve(&stale, key, Some(&error)))),
                None => Err(error),
            },
        }
    }

    /// Returns the cached record if it may still be used during an outage.
    fn stale(&self, cached: &CachedRecord<R>, now: Timestamp) -> Option<StaleRecord<R>> {
        let record = cached.record.clone()?;
        let is_usable = cached.read_at.is_within(FRESHNESS + self.max_stale, now);
        is_usable.then(|| StaleRecord { record, age: now.since(cached.read_at) })
    }

    /// Uses a stale record and says so in the audit log.
    fn serve(&self, stale: &StaleRecord<R>, key: &str, error: Option<&StoreError>) -> Arc<R> {
        self.audit.write(&served_stale(R::TABLE, key, stale.age, error));
        Arc::clone(&stale.record)
    }

    fn slot(&self, key: &str) -> Arc<Slot<R>> {
        let mut slots = self.lock();
        if let Some(slot) = slots.known.get(key) {
            return Arc::clone(slot);
        }
        // Unknown until a read finds the record.
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
        // No statement under the lock can panic between two changes, so a poisoned map is still
        // consistent.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The audit record of a stale copy. Without an error, the circuit breaker was open.
pub(crate) fn served_stale(
    table: &'static str,
    key: &str,
    age: Duration,
    error: Option<&StoreError>,
) -> audit::Record {
    let reason = error.map_or_else(|| "a read failed a moment ago".to_owned(), ToString::to_string);
    audit::Record {
        table: Some(table),
        key: Some(key.to_owned()),
        age_seconds: Some(age.as_secs()),
        reason: Some(reason),
        ..audit::Record::new(audit::Event::ServedStale)
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

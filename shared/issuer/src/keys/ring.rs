//! The ring of keys as it was last read, and what follows from it and the time.

use std::sync::Arc;
use std::time::Duration;

use countersign_verify::{Clock, Jwk, JwkSet, Timestamp};
use tokio::sync::Mutex;

use crate::keys::{KeyError, KeyTable};

/// How long a process goes by the ring as it read it: a new or withdrawn key is known this much later.
const FRESHNESS: Duration = Duration::from_mins(5);

/// The public half of a signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingKey {
    /// The order of creation, from 1.
    pub seq: u64,
    /// The public key; its `kid` is its thumbprint.
    pub jwk: Jwk,
    /// From when on it signs, until a later key does.
    pub activates_at: Timestamp,
}

/// All keys at one reading.
#[derive(Debug, Clone)]
pub struct Ring {
    keys: Vec<RingKey>,
    verification_keys: JwkSet,
}

impl Ring {
    /// A ring of these keys.
    pub fn new(keys: Vec<RingKey>) -> Self {
        let verification_keys = JwkSet::new(keys.iter().map(|key| key.jwk.clone()).collect());
        Self {
            keys,
            verification_keys,
        }
    }

    /// The key that signs at `now`: the last one to have become active. A key stops signing only because its
    /// successor starts.
    pub fn signing_key(&self, now: Timestamp) -> Option<&RingKey> {
        let active = self.keys.iter().filter(|key| key.activates_at <= now);
        active.max_by_key(|key| (key.activates_at, key.seq))
    }

    /// What is published, and what tokens are verified with.
    pub fn verification_keys(&self) -> &JwkSet {
        &self.verification_keys
    }
}

/// Keeps the ring as it was last read.
#[derive(Debug)]
pub struct KeyRing {
    table: KeyTable,
    clock: Clock,
    read: Mutex<Option<(Timestamp, Arc<Ring>)>>,
}

impl KeyRing {
    /// The ring in `table`; nothing is read yet.
    pub fn new(table: KeyTable, clock: Clock) -> Self {
        Self {
            table,
            clock,
            read: Mutex::new(None),
        }
    }

    /// The ring, read again when it is older than five minutes. While it cannot be read the last one stands. The
    /// lock is held during the reading: many waiting requests cause one.
    pub async fn current(&self) -> Result<Arc<Ring>, KeyError> {
        let mut read = self.read.lock().await;
        let now = self.clock.now();
        if let Some((at, ring)) = &*read
            && now.since(*at) < FRESHNESS
        {
            return Ok(Arc::clone(ring));
        }
        match (self.table.public_keys().await, &*read) {
            // An empty ring is not remembered, so that a first key is noticed at once.
            (Ok(keys), _) if keys.is_empty() => Ok(Arc::new(Ring::new(keys))),
            (Ok(keys), _) => {
                let ring = Arc::new(Ring::new(keys));
                *read = Some((now, Arc::clone(&ring)));
                Ok(ring)
            }
            (Err(error), Some((_, ring))) => {
                tracing::warn!(%error, "the ring of keys cannot be read; going on with the last one");
                Ok(Arc::clone(ring))
            }
            (Err(error), None) => Err(error.into()),
        }
    }
}

//! Signing with the key that is active now.

use std::sync::Arc;

use countersign_verify::{Clock, Timestamp};
use tokio::sync::Mutex;

use crate::audit::AuditLog;
use crate::keys::{KeyEnvelope, KeyError, KeyTable, Ring, RingCache, RingKey, RotationSchedule, SigningKey};
use crate::store::circuit_breaker::CircuitBreaker;

/// Knows the ring and decrypts the key that signs.
#[derive(Debug)]
pub struct Signer {
    ring: RingCache,
    table: KeyTable,
    envelope: KeyEnvelope,
    /// For reading and decrypting the private half.
    breaker: CircuitBreaker,
    decrypted: Mutex<Decrypted>,
}

#[derive(Debug, Default)]
struct Decrypted {
    key: Option<Arc<SigningKey>>,
    /// When the next key could not be decrypted. The next attempt waits a little.
    failed_at: Option<Timestamp>,
}

impl Signer {
    /// A signer over `table`. Nothing is read yet.
    pub fn new(
        table: KeyTable,
        envelope: KeyEnvelope,
        schedule: RotationSchedule,
        clock: Clock,
        audit: AuditLog,
    ) -> Self {
        Self::with_breaker(CircuitBreaker::new(clock.clone()), table, envelope, schedule, clock, audit)
    }

    /// A signer whose circuit breaker belongs with those of other tables.
    pub(crate) fn with_breaker(
        breaker: CircuitBreaker,
        table: KeyTable,
        envelope: KeyEnvelope,
        schedule: RotationSchedule,
        clock: Clock,
        audit: AuditLog,
    ) -> Self {
        let decryption = breaker.for_table();
        let ring = RingCache::new(table.clone(), schedule, clock, breaker, audit);
        Self { ring, table, envelope, breaker: decryption, decrypted: Mutex::default() }
    }

    /// The ring that it signs by.
    pub fn ring(&self) -> &RingCache {
        &self.ring
    }

    /// Returns the key that signs at `now`. It is decrypted when it is first needed and kept until
    /// another key takes over. If the successor cannot be decrypted, the key in memory keeps
    /// signing while it is sure to be published.
    pub async fn signing_key(&self, now: Timestamp) -> Result<Arc<SigningKey>, KeyError> {
        match self.signing_key_in(self.ring.current().await?, now).await {
            // It was withdrawn after the ring had been read. The ring is read again and names the
            // successor.
            Err(KeyError::Erased { .. }) => self.signing_key_in(self.ring.current().await?, now).await,
            result => result,
        }
    }

    async fn signing_key_in(&self, ring: Arc<Ring>, now: Timestamp) -> Result<Arc<SigningKey>, KeyError> {
        let active = ring.signing(now).ok_or(KeyError::NoSigningKey)?;
        let mut decrypted = self.decrypted.lock().await;
        if let Some(key) = &decrypted.key
            && *key.jwk() == active.key.jwk
        {
            return Ok(Arc::clone(key));
        }
        let schedule = self.ring.schedule();
        let previous = decrypted.key.clone().filter(|key| ring.may_keep_signing(key.jwk(), now, schedule));
        if let Some(key) = &previous
            && (schedule.is_too_soon(decrypted.failed_at, now) || self.breaker.is_open())
        {
            return Ok(Arc::clone(key));
        }
        let result = self.breaker.call(previous.is_some(), Box::pin(self.decrypt(&active.key))).await;
        if matches!(result, Err(KeyError::Erased { .. })) {
            self.ring.forget(&ring).await;
        }
        match (result, previous) {
            (Ok(key), _) => {
                let key = Arc::new(key);
                *decrypted = Decrypted { key: Some(Arc::clone(&key)), failed_at: None };
                Ok(key)
            }
            (Err(error), Some(key)) => {
                tracing::error!(
                    %error,
                    kid = key.kid(),
                    "the next signing key cannot be decrypted; the previous one keeps signing"
                );
                decrypted.failed_at = Some(now);
                Ok(key)
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn decrypt(&self, key: &RingKey) -> Result<SigningKey, KeyError> {
        let seq = key.seq;
        let encrypted = self.table.encrypted_private_key(seq).await?.ok_or(KeyError::Erased { seq })?;
        let context = self.table.encryption_context(seq);
        let pkcs8 = self.envelope.decrypt(&encrypted, &context).await;
        SigningKey::from_pkcs8(key, &pkcs8.map_err(|error| KeyError::Envelope { seq, error })?)
    }
}

//! Signing with the key that is active now.

use std::fmt;
use std::sync::Arc;

use countersign_verify::{Clock, Jwk, Timestamp, jws};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::DecodePrivateKey;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::Serialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::audit::AuditLog;
use crate::keys::{KeyEnvelope, KeyError, KeyTable, Lifetimes, Ring, RingCache, RingKey, RotationSchedule};
use crate::store::circuit_breaker::CircuitBreaker;

/// A private key, ready to sign. It was unwrapped and checked once; signing touches nothing but memory.
pub struct SigningKey {
    seq: u64,
    jwk: Jwk,
    max_lifetimes: Lifetimes,
    pair: EcdsaKeyPair,
    /// ECDSA's per-signature nonce: ring takes its own generator for it and no other.
    nonces: SystemRandom,
}

/// Room for the claims of most tokens; for more it grows.
const PAYLOAD_BYTES: usize = 1024;

impl SigningKey {
    /// Reads a PKCS#8 private key, with or without the public key in it, and checks that it is the other half of
    /// the published one.
    fn from_pkcs8(key: &RingKey, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let unusable = |reason| KeyError::Unusable { seq: key.seq, reason };
        // p256 derives the public key where the encoding leaves it out; ring would refuse that.
        let secret =
            SecretKey::from_pkcs8_der(pkcs8).map_err(|_| unusable("not a PKCS#8 P-256 private key"))?;
        let point = uncompressed_point(&secret);
        if point != key.jwk.uncompressed_point() {
            return Err(unusable("the private key is not the one of the published public key"));
        }
        #[expect(clippy::disallowed_methods, reason = "ring signs with its own generator only")]
        let nonces = SystemRandom::new();
        let scalar = Zeroizing::new(<[u8; 32]>::from(secret.to_bytes()));
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &*scalar, &point, &nonces)
            .map_err(|_| unusable("the key pair was refused"))?;
        Ok(Self { seq: key.seq, jwk: key.jwk.clone(), max_lifetimes: key.max_lifetimes, pair, nonces })
    }

    /// Its number in the ring.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// The longest lifetimes of what it may sign.
    pub(crate) fn max_lifetimes(&self) -> Lifetimes {
        self.max_lifetimes
    }

    /// The key's name.
    pub fn kid(&self) -> &str {
        self.jwk.kid()
    }

    /// Signs a JWT of type `typ`.
    pub fn sign(&self, typ: &'static str, claims: &impl Serialize) -> Result<String, KeyError> {
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
        serde_json::to_writer(&mut payload, claims).map_err(|_| KeyError::Signing)?;
        let header = jws::encode_header(typ, self.kid());
        jws::assemble(&header, &payload, |input| self.pair.sign(&self.nonces, input))
            .map_err(|_| KeyError::Signing)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid()).finish_non_exhaustive()
    }
}

pub(super) fn uncompressed_point(secret: &SecretKey) -> Vec<u8> {
    secret.public_key().to_sec1_point(false).as_bytes().to_vec()
}

/// Knows the ring and can open the key that signs.
#[derive(Debug)]
pub struct Signer {
    ring: RingCache,
    table: KeyTable,
    envelope: KeyEnvelope,
    /// Of the private half and of what opens it.
    breaker: CircuitBreaker,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    key: Option<Arc<SigningKey>>,
    /// When opening the next key last failed: the next try waits a little.
    failed_at: Option<Timestamp>,
}

impl Signer {
    /// A signer over `table`; nothing is read yet.
    pub fn new(
        table: KeyTable,
        envelope: KeyEnvelope,
        schedule: RotationSchedule,
        clock: Clock,
        audit: AuditLog,
    ) -> Self {
        let breaker = CircuitBreaker::new(clock.clone());
        Self::with_breaker(breaker, table, envelope, schedule, clock, audit)
    }

    /// The same beside readers of other tables.
    pub(crate) fn with_breaker(
        breaker: CircuitBreaker,
        table: KeyTable,
        envelope: KeyEnvelope,
        schedule: RotationSchedule,
        clock: Clock,
        audit: AuditLog,
    ) -> Self {
        let opening = breaker.for_table();
        let ring = RingCache::new(table.clone(), schedule, clock, breaker, audit);
        Self { ring, table, envelope, breaker: opening, opened: Mutex::default() }
    }

    /// The cached ring.
    pub(crate) fn ring(&self) -> &RingCache {
        &self.ring
    }

    /// The key that signs now: opened when it is first needed and kept until another one takes over. Where the
    /// successor does not open, the key in memory signs on for as long as it is sure to be published.
    pub async fn signing_key(&self, now: Timestamp) -> Result<Arc<SigningKey>, KeyError> {
        match self.signing_key_of(self.ring.current().await?, now).await {
            // It was withdrawn after the ring had been read: by now the ring names its heir.
            Err(KeyError::Erased { .. }) => self.signing_key_of(self.ring.current().await?, now).await,
            result => result,
        }
    }

    async fn signing_key_of(&self, ring: Arc<Ring>, now: Timestamp) -> Result<Arc<SigningKey>, KeyError> {
        let active = ring.signing(now).ok_or(KeyError::NoSigningKey)?;
        let mut opened = self.opened.lock().await;
        if let Some(key) = &opened.key
            && key.jwk == active.key.jwk
        {
            return Ok(Arc::clone(key));
        }
        let schedule = self.ring.schedule();
        let overtime = opened.key.clone().filter(|key| ring.may_keep_signing(&key.jwk, now, schedule));
        if let Some(key) = &overtime
            && (schedule.is_too_soon(opened.failed_at, now) || self.breaker.is_open())
        {
            return Ok(Arc::clone(key));
        }
        let result = self.breaker.watch(overtime.is_some(), Box::pin(self.open(&active.key))).await;
        if matches!(result, Err(KeyError::Erased { .. })) {
            self.ring.forget(&ring).await;
        }
        match (result, overtime) {
            (Ok(key), _) => {
                let key = Arc::new(key);
                *opened = Opened { key: Some(Arc::clone(&key)), failed_at: None };
                Ok(key)
            }
            (Err(error), Some(key)) => {
                tracing::error!(%error, kid = key.kid(), "the next signing key does not open; the one before signs on");
                opened.failed_at = Some(now);
                Ok(key)
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn open(&self, key: &RingKey) -> Result<SigningKey, KeyError> {
        let seq = key.seq;
        let wrapped = self.table.wrapped(seq).await?;
        let wrapped = wrapped.ok_or(KeyError::Erased { seq })?;
        let context = self.table.encryption_context(seq);
        let pkcs8 = self.envelope.unwrap(&wrapped, &context).await;
        let pkcs8 = pkcs8.map_err(|error| KeyError::KeyEnvelope { seq, error })?;
        SigningKey::from_pkcs8(key, &pkcs8)
    }
}

#[cfg(test)]
mod tests {
    use p256::pkcs8::EncodePrivateKey;

    use super::*;

    fn key_of(secret: &SecretKey) -> RingKey {
        RingKey {
            seq: 1,
            jwk: Jwk::from_uncompressed_point(&uncompressed_point(secret)).unwrap(),
            announced_at: Timestamp::from_seconds(0),
            known_at: Timestamp::from_seconds(0),
            activates_at: Timestamp::from_seconds(0),
            max_lifetimes: Lifetimes::default(),
            withdrawn_at: None,
            erased_at: None,
        }
    }

    fn secret(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).unwrap()
    }

    /// PKCS#8 without the optional public key, built around the SEC 1 structure of RFC 5915 by hand: KMS's exact
    /// encoding is not known here.
    fn pkcs8_without_public_key(scalar: [u8; 32]) -> Vec<u8> {
        let sec1 = [&[0x30, 0x25, 0x02, 0x01, 0x01, 0x04, 0x20], &scalar[..]].concat();
        let algorithm = [
            0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07,
        ];
        [&[0x30, 0x41, 0x02, 0x01, 0x00][..], &algorithm, &[0x04, 0x27], &sec1].concat()
    }

    #[test]
    fn a_private_key_is_read_with_and_without_its_public_key_and_only_as_the_published_one() {
        let own = secret(7);
        let with = own.to_pkcs8_der().unwrap();
        let without = pkcs8_without_public_key([7; 32]);
        for pkcs8 in [with.as_bytes(), &without] {
            let key = SigningKey::from_pkcs8(&key_of(&own), pkcs8).unwrap();
            assert_eq!(key.sign("rt+jwt", &()).unwrap().split('.').count(), 3);
            assert!(SigningKey::from_pkcs8(&key_of(&secret(8)), pkcs8).is_err(), "another public key");
            for cut in 0..pkcs8.len() {
                assert!(SigningKey::from_pkcs8(&key_of(&own), &pkcs8[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn coordinates_with_leading_zeros_keep_their_32_bytes() {
        let found = (1_u16..).map(|n| {
            let mut scalar = [1; 32];
            scalar[..2].copy_from_slice(&n.to_be_bytes());
            key_of(&SecretKey::from_slice(&scalar).unwrap())
        });
        let mut found = found.filter(|key| key.jwk.uncompressed_point()[1] == 0);
        let json = serde_json::to_value(found.next().unwrap().jwk).unwrap();
        let x = json["x"].as_str().unwrap();
        assert!(x.len() == 43 && x.starts_with('A'), "{x}");
    }
}

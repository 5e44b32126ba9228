//! Signing with the key that is active now.

use std::fmt;
use std::sync::Arc;

use countersign_verify::{Clock, Jwk, jws};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::DecodePrivateKey;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::keys::{KeyError, KeyRing, KeyTable, LocalWrapper, Ring};
use crate::mint::TokenType;

/// A private key, ready to sign. It was unwrapped and checked once; signing touches nothing but memory.
pub struct SigningKey {
    seq: u64,
    jwk: Jwk,
    pair: EcdsaKeyPair,
    /// ECDSA's per-signature nonce: ring takes its own generator for it and no other.
    nonces: SystemRandom,
    /// The encoded headers, one for each [`TokenType`].
    headers: [String; TokenType::ALL.len()],
}

impl SigningKey {
    /// Reads a PKCS#8 private key, with or without the public key in it, and checks that it is the other half of
    /// `jwk`.
    fn from_pkcs8(seq: u64, jwk: Jwk, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let unusable = |reason| KeyError::Unusable { seq, reason };
        // p256 derives the public key where the encoding leaves it out; ring would refuse that.
        let secret =
            SecretKey::from_pkcs8_der(pkcs8).map_err(|_| unusable("not a PKCS#8 P-256 private key"))?;
        let point = uncompressed_point(&secret);
        if point != jwk.uncompressed_point() {
            return Err(unusable(
                "the private key is not the one of the published public key",
            ));
        }
        #[expect(clippy::disallowed_methods, reason = "ring signs with its own generator only")]
        let nonces = SystemRandom::new();
        let scalar = Zeroizing::new(<[u8; 32]>::from(secret.to_bytes()));
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &*scalar,
            &point,
            &nonces,
        )
        .map_err(|_| unusable("the key pair was refused"))?;
        let headers = TokenType::ALL.map(|typ| jws::encode_header(typ.as_str(), jwk.kid()));
        Ok(Self {
            seq,
            jwk,
            pair,
            nonces,
            headers,
        })
    }

    /// The key's name.
    pub fn kid(&self) -> &str {
        self.jwk.kid()
    }

    /// A token of type `typ` with this payload.
    pub(crate) fn sign(&self, typ: TokenType, payload: &[u8]) -> Result<String, KeyError> {
        jws::assemble(&self.headers[typ.index()], payload, |input| {
            self.pair.sign(&self.nonces, input)
        })
        .map_err(|_| KeyError::Signing)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("seq", &self.seq)
            .field("kid", &self.kid())
            .finish_non_exhaustive()
    }
}

pub(super) fn uncompressed_point(secret: &SecretKey) -> Vec<u8> {
    secret.public_key().to_sec1_point(false).as_bytes().to_vec()
}

/// Knows the ring and can unwrap the key that signs.
#[derive(Debug)]
pub struct Signer {
    ring: KeyRing,
    table: KeyTable,
    wrapper: LocalWrapper,
    clock: Clock,
    unwrapped: Mutex<Option<Arc<SigningKey>>>,
}

impl Signer {
    /// A signer over `table`; nothing is read yet.
    pub fn new(table: KeyTable, wrapper: LocalWrapper, clock: Clock) -> Self {
        let ring = KeyRing::new(table.clone(), clock.clone());
        Self {
            ring,
            table,
            wrapper,
            clock,
            unwrapped: Mutex::new(None),
        }
    }

    /// The ring, for verifying.
    pub async fn ring(&self) -> Result<Arc<Ring>, KeyError> {
        self.ring.current().await
    }

    /// The key that signs now. Unwrapped when it is first needed and kept until another one takes over.
    pub async fn signing_key(&self) -> Result<Arc<SigningKey>, KeyError> {
        let ring = self.ring.current().await?;
        let active = ring.signing_key(self.clock.now()).ok_or(KeyError::NoSigningKey)?;
        let mut unwrapped = self.unwrapped.lock().await;
        if let Some(key) = &*unwrapped
            && key.jwk == active.jwk
        {
            return Ok(Arc::clone(key));
        }
        let seq = active.seq;
        let unusable = |reason| KeyError::Unusable { seq, reason };
        let wrapped = self
            .table
            .wrapped(seq)
            .await?
            .ok_or(unusable("its private half has been erased"))?;
        let pkcs8 = self
            .wrapper
            .unwrap(&wrapped, &self.table.encryption_context(seq))
            .ok_or(unusable(
                "it does not unwrap: another COUNTERSIGN_LOCAL_KEY, or a changed item",
            ))?;
        let key = Arc::new(SigningKey::from_pkcs8(seq, active.jwk.clone(), &pkcs8)?);
        *unwrapped = Some(Arc::clone(&key));
        Ok(key)
    }
}

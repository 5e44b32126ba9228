//! Key pairs wrapped with AES-256-GCM, away from AWS.

use std::fmt;
use std::sync::Arc;

use countersign_verify::Jwk;
use p256::SecretKey;
use p256::pkcs8::EncodePrivateKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{EncryptedKeyPair, EncryptionContext, EnvelopeError};
use crate::keys::signer::uncompressed_point;
use crate::random::{Random, RandomError};

/// Wraps with a key of its own. For `countersign dev`, `cargo lambda` and `sam local`.
#[derive(Clone)]
pub struct LocalEnvelope(Arc<LessSafeKey>);

impl LocalEnvelope {
    /// Wraps with a 256-bit key.
    #[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "AES-256 takes any 32 bytes")]
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes");
        Self(Arc::new(LessSafeKey::new(key)))
    }

    pub(super) fn generate(
        &self,
        context: &EncryptionContext,
        random: &Random,
    ) -> Result<EncryptedKeyPair, EnvelopeError> {
        let secret = random_secret(random)?;
        let jwk = Jwk::from_uncompressed_point(&uncompressed_point(&secret))
            .map_err(|_| EnvelopeError::NotAKey("the public half is no point"))?;
        let pkcs8 =
            secret.to_pkcs8_der().map_err(|_| EnvelopeError::NotAKey("the private half does not encode"))?;
        Ok(EncryptedKeyPair { jwk, wrapped: self.wrap(pkcs8.as_bytes(), context, random)? })
    }

    /// nonce ‖ ciphertext ‖ tag.
    fn wrap(
        &self,
        pkcs8: &[u8],
        context: &EncryptionContext,
        random: &Random,
    ) -> Result<Vec<u8>, EnvelopeError> {
        let nonce = random.bytes::<NONCE_LEN>()?;
        let mut wrapped = nonce.to_vec();
        wrapped.extend_from_slice(pkcs8);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                associated_data(context),
                &mut wrapped[NONCE_LEN..],
            )
            .map_err(|_| EnvelopeError::NotAKey("too long to be one"))?;
        wrapped.extend_from_slice(tag.as_ref());
        Ok(wrapped)
    }

    /// None where the bytes or the context are not those that were wrapped.
    pub(super) fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, associated_data(context), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

/// One spelling for one context: the values hold neither `=` nor `,`.
fn associated_data(context: &EncryptionContext) -> Aad<Vec<u8>> {
    let pairs = context.pairs().map(|(name, value)| format!("{name}={value}"));
    Aad::from(pairs.join(",").into_bytes())
}

fn random_secret(random: &Random) -> Result<SecretKey, RandomError> {
    loop {
        let scalar = Zeroizing::new(random.bytes::<32>()?);
        // All but one in 2^32 numbers of 256 bits are private keys of P-256; the others are drawn again.
        if let Ok(secret) = SecretKey::from_slice(&*scalar) {
            return Ok(secret);
        }
    }
}

impl fmt::Debug for LocalEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalWrapping")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_only_as_it_was_and_where_it_was_made() {
        let local = LocalEnvelope::new(&[7; 32]);
        let context = |table: &str, seq| EncryptionContext { table: table.into(), seq };
        let wrapped = local.wrap(b"private", &context("keys", 1), &Random::system()).unwrap();
        assert_eq!(local.unwrap(&wrapped, &context("keys", 1)).unwrap().as_slice(), b"private");
        assert!(local.unwrap(&wrapped, &context("keys", 2)).is_none());
        assert!(local.unwrap(&wrapped, &context("other", 1)).is_none());
        assert!(LocalEnvelope::new(&[8; 32]).unwrap(&wrapped, &context("keys", 1)).is_none());
        for at in 0..wrapped.len() {
            let mut tampered = wrapped.clone();
            tampered[at] ^= 1;
            assert!(local.unwrap(&tampered, &context("keys", 1)).is_none(), "byte {at}");
            assert!(local.unwrap(&wrapped[..at], &context("keys", 1)).is_none(), "cut at {at}");
        }
    }
}

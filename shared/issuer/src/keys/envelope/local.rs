//! Key pairs encrypted with AES-256-GCM, for use without AWS.

use std::fmt;
use std::sync::Arc;

use countersign_verify::Jwk;
use p256::SecretKey;
use p256::pkcs8::EncodePrivateKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{EncryptedKeyPair, EncryptionContext, EnvelopeError};
use crate::keys::signing_key::uncompressed_point;
use crate::random::{Random, RandomError};

/// A local key that encrypts signing keys, for `countersign dev`, `cargo lambda` and `sam local`.
#[derive(Clone)]
pub struct LocalEnvelope(Arc<LessSafeKey>);

impl LocalEnvelope {
    /// Encrypts with a 256-bit key.
    #[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "any 32 bytes are an AES-256 key")]
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
            .map_err(|_| EnvelopeError::NotAKey("the public half is not a point of the curve"))?;
        let pkcs8 =
            secret.to_pkcs8_der().map_err(|_| EnvelopeError::NotAKey("the private half does not encode"))?;
        let encrypted_private_key = self.encrypt(pkcs8.as_bytes(), context, random)?;
        Ok(EncryptedKeyPair { jwk, encrypted_private_key, kms_key: None })
    }

    /// Returns nonce ‖ ciphertext ‖ tag.
    fn encrypt(
        &self,
        pkcs8: &[u8],
        context: &EncryptionContext,
        random: &Random,
    ) -> Result<Vec<u8>, EnvelopeError> {
        let nonce = random.bytes::<NONCE_LEN>()?;
        let mut encrypted = nonce.to_vec();
        encrypted.extend_from_slice(pkcs8);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                associated_data(context),
                &mut encrypted[NONCE_LEN..],
            )
            .map_err(|_| EnvelopeError::NotAKey("too long to be one"))?;
        encrypted.extend_from_slice(tag.as_ref());
        Ok(encrypted)
    }

    /// Returns none if the bytes were modified or the key or the context is another one.
    pub(super) fn decrypt(
        &self,
        encrypted: &[u8],
        context: &EncryptionContext,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = encrypted.split_first_chunk::<NONCE_LEN>()?;
        let mut plaintext = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, associated_data(context), &mut plaintext).ok()?.len();
        plaintext.truncate(length);
        Some(plaintext)
    }
}

/// Encodes a context unambiguously: its values contain neither `=` nor `,`.
fn associated_data(context: &EncryptionContext) -> Aad<Vec<u8>> {
    let pairs = context.pairs().map(|(name, value)| format!("{name}={value}"));
    Aad::from(pairs.join(",").into_bytes())
}

fn random_secret(random: &Random) -> Result<SecretKey, RandomError> {
    loop {
        let scalar = Zeroizing::new(random.bytes::<32>()?);
        // All but one in 2^32 numbers of 256 bits are private keys of P-256. The others are drawn
        // again.
        if let Ok(secret) = SecretKey::from_slice(&*scalar) {
            return Ok(secret);
        }
    }
}

impl fmt::Debug for LocalEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalEnvelope")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_decrypted_only_unmodified_and_only_in_its_place() {
        let local = LocalEnvelope::new(&[7; 32]);
        let context = |table: &str, seq| EncryptionContext { table: table.into(), seq };
        let encrypted = local.encrypt(b"private", &context("keys", 1), &Random::system()).unwrap();
        assert_eq!(local.decrypt(&encrypted, &context("keys", 1)).unwrap().as_slice(), b"private");
        assert!(local.decrypt(&encrypted, &context("keys", 2)).is_none());
        assert!(local.decrypt(&encrypted, &context("other", 1)).is_none());
        assert!(LocalEnvelope::new(&[8; 32]).decrypt(&encrypted, &context("keys", 1)).is_none());
        for at in 0..encrypted.len() {
            let mut tampered = encrypted.clone();
            tampered[at] ^= 1;
            assert!(local.decrypt(&tampered, &context("keys", 1)).is_none(), "byte {at}");
            assert!(local.decrypt(&encrypted[..at], &context("keys", 1)).is_none(), "cut at {at}");
        }
    }
}

//! Private keys at rest, away from AWS: AES-256-GCM under a key from the environment.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};

/// What a wrapped key is bound to: the same three facts that a KMS encryption context holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncryptionContext {
    pub(crate) table: String,
    pub(crate) seq: u64,
}

impl EncryptionContext {
    /// The associated data: a fixed order and no ambiguity, since a table's name has no quotation marks.
    fn to_associated_data(&self) -> Vec<u8> {
        format!(
            r#"{{"product":"countersign","table":"{}","seq":"{}"}}"#,
            self.table, self.seq
        )
        .into_bytes()
    }
}

/// Wraps and unwraps private keys with a key of its own. For `countersign dev`, `cargo lambda` and `sam local`.
pub struct LocalWrapper(LessSafeKey);

impl LocalWrapper {
    /// A wrapper around a 256-bit key.
    #[expect(
        clippy::missing_panics_doc,
        clippy::expect_used,
        reason = "AES-256 takes any 32 bytes"
    )]
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// nonce ‖ ciphertext ‖ tag.
    pub(crate) fn wrap(
        &self,
        pkcs8: &[u8],
        context: &EncryptionContext,
        entropy: &Entropy,
    ) -> Result<Vec<u8>, EntropyError> {
        let nonce = entropy.bytes::<NONCE_LEN>()?;
        let mut wrapped = nonce.to_vec();
        wrapped.extend_from_slice(pkcs8);
        let aad = Aad::from(context.to_associated_data());
        #[expect(clippy::expect_used, reason = "AES-GCM seals anything below 64 GiB")]
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                aad,
                &mut wrapped[NONCE_LEN..],
            )
            .expect("a private key is short");
        wrapped.extend_from_slice(tag.as_ref());
        Ok(wrapped)
    }

    /// The PKCS#8 private key; none where the bytes or the context are not those that were wrapped.
    pub(crate) fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let aad = Aad::from(context.to_associated_data());
        let length = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut sealed)
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl fmt::Debug for LocalWrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalWrapper")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_only_as_it_was_and_where_it_was_made() {
        let wrapper = LocalWrapper::new(&[7; 32]);
        let context = |table: &str, seq| EncryptionContext {
            table: table.into(),
            seq,
        };
        let wrapped = wrapper
            .wrap(b"private", &context("keys", 1), &Entropy::system())
            .unwrap();
        assert_eq!(
            wrapper.unwrap(&wrapped, &context("keys", 1)).unwrap().as_slice(),
            b"private"
        );
        assert!(wrapper.unwrap(&wrapped, &context("keys", 2)).is_none());
        assert!(wrapper.unwrap(&wrapped, &context("other", 1)).is_none());
        assert!(
            LocalWrapper::new(&[8; 32])
                .unwrap(&wrapped, &context("keys", 1))
                .is_none()
        );
        for at in 0..wrapped.len() {
            let mut tampered = wrapped.clone();
            tampered[at] ^= 1;
            assert!(
                wrapper.unwrap(&tampered, &context("keys", 1)).is_none(),
                "byte {at}"
            );
            assert!(
                wrapper.unwrap(&wrapped[..at], &context("keys", 1)).is_none(),
                "cut at {at}"
            );
        }
    }
}

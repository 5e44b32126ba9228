//! Signing keys: how they are kept, which one signs, and which ones are published.

mod ring;
mod signer;
mod table;
mod wrapper;

pub use ring::{KeyRing, Ring, RingKey};
pub use signer::{Signer, SigningKey};
pub use table::KeyTable;
pub use wrapper::LocalWrapper;

use countersign_verify::{Jwk, Timestamp};
use p256::SecretKey;
use p256::pkcs8::EncodePrivateKey;
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};
use crate::store::StoreError;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The signing-keys table cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key of the ring is active.
    #[error("no signing key is active: create one (`countersign dev` does so for its own store)")]
    NoSigningKey,
    /// An item does not hold the key that it says it holds, or cannot be unwrapped here.
    #[error("signing key {seq} cannot be used: {reason}")]
    Unusable {
        /// The item's sort key.
        seq: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The backend did not sign.
    #[error("signing failed")]
    Signing,
    /// No randomness for a new key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Gives an empty ring its first key, active at once; leaves any other ring alone. Safe to run twice at once: the
/// second put fails on the first one's `seq`.
pub async fn ensure_first_key(
    table: &KeyTable,
    wrapper: &LocalWrapper,
    now: Timestamp,
    entropy: &Entropy,
) -> Result<(), KeyError> {
    if !table.public_keys().await?.is_empty() {
        return Ok(());
    }
    let seq = 1;
    let secret = generate(entropy)?;
    let unusable = KeyError::Unusable {
        seq,
        reason: "a new key could not be encoded",
    };
    let Ok(jwk) = Jwk::from_uncompressed_point(&signer::uncompressed_point(&secret)) else {
        return Err(unusable);
    };
    let Ok(pkcs8) = secret.to_pkcs8_der() else {
        return Err(unusable);
    };
    let sealed = wrapper.wrap(pkcs8.as_bytes(), &table.encryption_context(seq), entropy)?;
    let key = RingKey {
        seq,
        jwk,
        activates_at: now,
    };
    Ok(table.put(&key, sealed).await?)
}

fn generate(entropy: &Entropy) -> Result<SecretKey, EntropyError> {
    loop {
        let scalar = Zeroizing::new(entropy.bytes::<32>()?);
        // All but one in 2^32 numbers of 256 bits are private keys of P-256; the others are drawn again.
        if let Ok(secret) = SecretKey::from_slice(&*scalar) {
            return Ok(secret);
        }
    }
}

//! Signing keys: how they are made and stored, which one signs, and which ones are published.

mod crypto_provider;
mod envelope;
mod ring;
mod ring_cache;
mod rotation;
mod schedule;
mod signer;
mod signing_key;
#[cfg(test)]
mod simulation;
mod table;

pub use crypto_provider::{CryptoProviderConflict, install_crypto_provider};
pub use envelope::{EnvelopeError, KeyEnvelope, KmsEnvelope, LocalEnvelope};
pub use ring::{KeyLifecycle, KeyState, Ring, RingKey};
pub use ring_cache::RingCache;
pub use rotation::{ChangeRefused, RingChange, Rotation, Rotator};
pub use schedule::{InvalidSchedule, RotationSchedule, ScheduleSettings, format_duration};
pub use signer::Signer;
pub use signing_key::SigningKey;
pub(crate) use signing_key::token_len;
pub use table::KeyTable;

use std::time::Duration;

use crate::request::error::OAuthError;
use crate::store::StoreError;
use crate::store::circuit_breaker::CallError;

/// An error of making, reading or using a signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The signing-keys table cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key of the ring is active.
    #[error("no signing key is active: run the rotate function, or `countersign key rotate`")]
    NoSigningKey,
    /// A key could not be made or decrypted.
    #[error("signing key {seq}: {error}")]
    Envelope {
        /// Its number in the ring.
        seq: u64,
        /// The cause.
        error: EnvelopeError,
    },
    /// Reading and decrypting a key took too long.
    #[error("the signing key could not be decrypted within {timeout:?}: DynamoDB or KMS is out of reach")]
    TimedOut {
        /// The time that both together may take.
        timeout: Duration,
    },
    /// The private half of a key that should sign was erased.
    #[error("signing key {seq} cannot be used: its private half is not there")]
    Erased {
        /// Its number in the ring.
        seq: u64,
    },
    /// An item of the table does not contain the key that it should contain.
    #[error("signing key {seq} cannot be used: {reason}")]
    Unusable {
        /// Its number in the ring.
        seq: u64,
        /// The fault.
        reason: &'static str,
    },
    /// A token could not be signed.
    #[error("signing failed: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

impl KeyError {
    /// Returns true when DynamoDB or KMS was unreachable, slow or throttling.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_outage(),
            Self::Envelope { error, .. } => matches!(error, EnvelopeError::Unavailable(_)),
            Self::TimedOut { .. } => true,
            Self::NoSigningKey | Self::Erased { .. } | Self::Unusable { .. } | Self::Signing(_) => false,
        }
    }
}

impl CallError for KeyError {
    fn timed_out(timeout: Duration) -> Self {
        Self::TimedOut { timeout }
    }

    fn is_outage(&self) -> bool {
        self.is_outage()
    }
}

impl From<KeyError> for OAuthError {
    fn from(error: KeyError) -> Self {
        // A ring without an active key gets one from the next rotation.
        if error.is_outage() || matches!(error, KeyError::NoSigningKey) {
            Self::Unavailable(error.to_string())
        } else {
            Self::Defect(error.to_string())
        }
    }
}

//! Signing keys: how they are made and kept, which one signs, and which ones are published.

mod envelope;
mod ring;
mod ring_cache;
mod rotation;
mod schedule;
mod signer;
#[cfg(test)]
mod simulation;
mod table;

pub use envelope::{EnvelopeError, KeyEnvelope, KmsEnvelope, LocalEnvelope};
pub use ring::{KeyLifecycle, KeyState, Ring, RingKey};
pub use ring_cache::RingCache;
pub use rotation::{ChangeRefused, Rotation, Rotator};
pub use schedule::{InvalidSchedule, RotationSchedule, ScheduleSettings, format_duration};
pub use signer::{Signer, SigningKey};
pub use table::KeyTable;

use crate::records::Lifetimes;
use crate::request::error::OAuthError;
use crate::store::StoreError;

/// Why there is no key to sign with, or none could be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The signing-keys table cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key of the ring is active.
    #[error("no signing key is active: run the rotate function, or `countersign key rotate`")]
    NoSigningKey,
    /// A key could not be made or opened.
    #[error("signing key {seq}: {error}")]
    KeyEnvelope {
        /// Its number in the ring.
        seq: u64,
        /// What went wrong.
        error: EnvelopeError,
    },
    /// Opening a key takes two answers, and there was no time for both.
    #[error("the signing key did not open within {patience:?}: DynamoDB or KMS is out of reach")]
    NoAnswer {
        /// How long they were waited for.
        patience: std::time::Duration,
    },
    /// A key that ought to sign has no private half any more.
    #[error("signing key {seq} cannot be used: its private half is not there")]
    Erased {
        /// Its number in the ring.
        seq: u64,
    },
    /// An item does not hold the key that it says it holds.
    #[error("signing key {seq} cannot be used: {reason}")]
    Unusable {
        /// Its number in the ring.
        seq: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The backend did not sign.
    #[error("signing failed")]
    Signing,
}

impl From<KeyError> for OAuthError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::NoSigningKey
            | KeyError::NoAnswer { .. }
            | KeyError::KeyEnvelope { error: EnvelopeError::Unavailable(_), .. } => {
                Self::Unavailable(error.to_string())
            }
            KeyError::KeyEnvelope { .. }
            | KeyError::Erased { .. }
            | KeyError::Unusable { .. }
            | KeyError::Signing => Self::Defect(error.to_string()),
        }
    }
}

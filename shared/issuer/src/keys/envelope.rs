//! Private keys at rest: made and opened by KMS, or by a key from the environment on a developer's machine.

mod kms;
mod local;

pub use kms::KmsEnvelope;
pub use local::LocalEnvelope;

use countersign_verify::Jwk;
use zeroize::Zeroizing;

use crate::random::{Random, RandomError};

/// What a wrapped key is bound to: it opens for this product, this table and this place in the ring alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncryptionContext {
    pub(crate) table: String,
    pub(crate) seq: u64,
}

impl EncryptionContext {
    /// The pairs of a KMS encryption context.
    pub(crate) fn pairs(&self) -> [(&'static str, String); 3] {
        [("product", "countersign".into()), ("table", self.table.clone()), ("seq", self.seq.to_string())]
    }
}

/// A key pair whose private half nobody has seen in the clear, or (locally) nobody keeps.
#[derive(Debug)]
pub(crate) struct EncryptedKeyPair {
    pub(crate) jwk: Jwk,
    pub(crate) wrapped: Vec<u8>,
}

/// Why a key could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// KMS is out of reach, slow or throttles.
    #[error("KMS is out of reach: {0}")]
    Unavailable(String),
    /// KMS refuses: a missing permission, a disabled key, or bytes that were wrapped elsewhere or changed since.
    #[error("KMS refuses: {0}")]
    Refused(String),
    /// The bytes do not open under this key and context.
    #[error(
        "it does not open: wrapped under another COUNTERSIGN_LOCAL_KEY, for another place, or changed since"
    )]
    DoesNotOpen,
    /// What came back is not a P-256 key.
    #[error("not a P-256 key: {0}")]
    NotAKey(&'static str),
    /// No randomness for a new key.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Makes key pairs and opens their private halves.
#[derive(Debug, Clone)]
pub enum KeyEnvelope {
    /// AWS KMS.
    Kms(KmsEnvelope),
    /// AES-256-GCM under `COUNTERSIGN_LOCAL_KEY`.
    Local(LocalEnvelope),
}

impl KeyEnvelope {
    /// Whether what wraps can be reached and used. Opens nothing.
    pub async fn check(&self) -> Result<(), EnvelopeError> {
        match self {
            Self::Kms(kms) => kms.check().await,
            Self::Local(_) => Ok(()),
        }
    }

    pub(crate) async fn generate(
        &self,
        context: &EncryptionContext,
        random: &Random,
    ) -> Result<EncryptedKeyPair, EnvelopeError> {
        match self {
            Self::Kms(kms) => kms.generate(context).await,
            Self::Local(local) => local.generate(context, random),
        }
    }

    /// The PKCS#8 private key.
    pub(crate) async fn unwrap(
        &self,
        wrapped: &[u8],
        context: &EncryptionContext,
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        match self {
            Self::Kms(kms) => kms.unwrap(wrapped, context).await,
            Self::Local(local) => local.unwrap(wrapped, context).ok_or(EnvelopeError::DoesNotOpen),
        }
    }
}

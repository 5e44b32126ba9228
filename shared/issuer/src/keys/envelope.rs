//! Envelope encryption of private keys: by KMS, or by a key from the environment on a developer's
//! machine.

mod kms;
mod local;

pub use kms::KmsEnvelope;
pub use local::LocalEnvelope;

use countersign_verify::Jwk;
use zeroize::Zeroizing;

use crate::random::{Random, RandomError};

/// Binds an encrypted key to this product, its table and its number in the ring: it cannot be
/// decrypted anywhere else.
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

/// A key pair whose private half exists only encrypted.
#[derive(Debug)]
pub(crate) struct EncryptedKeyPair {
    pub(crate) jwk: Jwk,
    pub(crate) encrypted_private_key: Vec<u8>,
    /// The ARN of the KMS key that encrypted it, if one did.
    pub(crate) kms_key: Option<String>,
}

/// An error of making or decrypting a key.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// KMS is unreachable, slow or throttling.
    #[error("KMS is out of reach: {0}")]
    Unavailable(String),
    /// KMS refuses: a missing permission, a disabled key, or bytes that were encrypted elsewhere or
    /// modified since.
    #[error("KMS refuses: {0}")]
    Refused(String),
    /// The bytes cannot be decrypted with this key and context.
    #[error(
        "it cannot be decrypted: it was encrypted with another COUNTERSIGN_LOCAL_KEY or for another place, or modified since"
    )]
    NotDecryptable,
    /// The result is not a P-256 key.
    #[error("not a P-256 key: {0}")]
    NotAKey(&'static str),
    /// There is no randomness for a new key.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Makes key pairs and decrypts their private halves.
#[derive(Debug, Clone)]
pub enum KeyEnvelope {
    /// AWS KMS.
    Kms(KmsEnvelope),
    /// AES-256-GCM with `COUNTERSIGN_LOCAL_KEY`.
    Local(LocalEnvelope),
}

impl KeyEnvelope {
    /// Checks that the encrypting key can be reached and used. Decrypts nothing.
    pub async fn check(&self) -> Result<(), EnvelopeError> {
        self.enabled_kms_key().await.map(|_| ())
    }

    /// Returns the ARN of the KMS key, if one encrypts. It is an error if that key cannot be reached
    /// or used.
    pub async fn enabled_kms_key(&self) -> Result<Option<String>, EnvelopeError> {
        match self {
            Self::Kms(kms) => kms.enabled_key().await.map(Some),
            Self::Local(_) => Ok(None),
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

    /// Decrypts a private key. The result is PKCS#8.
    pub(crate) async fn decrypt(
        &self,
        encrypted: &[u8],
        context: &EncryptionContext,
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        match self {
            Self::Kms(kms) => kms.decrypt(encrypted, context).await,
            Self::Local(local) => local.decrypt(encrypted, context).ok_or(EnvelopeError::NotDecryptable),
        }
    }
}

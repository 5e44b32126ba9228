//! Key pairs from KMS. The private half leaves KMS encrypted and is decrypted only in the functions
//! that sign.

use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeyPairSpec, KeyState};
use countersign_verify::Jwk;
use p256::PublicKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::DecodePublicKey;
use zeroize::Zeroizing;

use super::{EncryptedKeyPair, EncryptionContext, EnvelopeError};
use crate::store::aws;

/// A symmetric KMS key that encrypts signing keys.
#[derive(Debug, Clone)]
pub struct KmsEnvelope {
    client: Client,
    key_id: String,
}

impl KmsEnvelope {
    /// Encrypts with the KMS key `key_id`: an id, an alias or an ARN.
    pub fn new(client: Client, key_id: String) -> Self {
        Self { client, key_id }
    }

    /// Returns the ARN of the key, or an error if it is not enabled.
    pub(super) async fn enabled_key(&self) -> Result<String, EnvelopeError> {
        let described = self.client.describe_key().key_id(&self.key_id).send().await.map_err(from_sdk)?;
        let key = described.key_metadata();
        match (key.and_then(|key| key.key_state()), key.and_then(|key| key.arn())) {
            (Some(KeyState::Enabled), Some(arn)) => Ok(arn.to_owned()),
            (state, _) => {
                let state = state.map_or("in no known state", KeyState::as_str);
                Err(EnvelopeError::Refused(format!("the key {} is {state}", self.key_id)))
            }
        }
    }

    pub(super) async fn generate(
        &self,
        context: &EncryptionContext,
    ) -> Result<EncryptedKeyPair, EnvelopeError> {
        let mut request = self
            .client
            .generate_data_key_pair_without_plaintext()
            .key_id(&self.key_id)
            .key_pair_spec(DataKeyPairSpec::EccNistP256);
        for (name, value) in context.pairs() {
            request = request.encryption_context(name, value);
        }
        let pair = request.send().await.map_err(from_sdk)?;
        let (Some(public), Some(encrypted)) = (pair.public_key, pair.private_key_ciphertext_blob) else {
            return Err(EnvelopeError::NotAKey("KMS left out a half of the pair"));
        };
        // KMS returns the public half as a DER SubjectPublicKeyInfo.
        let public = PublicKey::from_public_key_der(public.as_ref())
            .map_err(|_| EnvelopeError::NotAKey("the public half does not parse"))?;
        let jwk = Jwk::from_uncompressed_point(public.to_sec1_point(false).as_bytes())
            .map_err(|_| EnvelopeError::NotAKey("the public half is not a point of the curve"))?;
        Ok(EncryptedKeyPair { jwk, encrypted_private_key: encrypted.into_inner(), kms_key: pair.key_id })
    }

    pub(super) async fn decrypt(
        &self,
        encrypted: &[u8],
        context: &EncryptionContext,
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let mut request = self.client.decrypt().key_id(&self.key_id).ciphertext_blob(Blob::new(encrypted));
        for (name, value) in context.pairs() {
            request = request.encryption_context(name, value);
        }
        let decrypted = request.send().await.map_err(from_sdk)?;
        let plaintext = decrypted.plaintext.ok_or(EnvelopeError::NotAKey("KMS left out the private half"))?;
        Ok(Zeroizing::new(plaintext.into_inner()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err needs")]
fn from_sdk<E>(error: SdkError<E>) -> EnvelopeError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let is_transient = error.as_service_error().is_none_or(|service| {
        matches!(
            service.code(),
            Some(
                "ThrottlingException"
                    | "DependencyTimeoutException"
                    | "KMSInternalException"
                    | "KeyUnavailableException"
            )
        )
    });
    let is_outage = is_transient || error.raw_response().is_some_and(|raw| raw.status().is_server_error());
    let detail = aws::describe(&error);
    if is_outage { EnvelopeError::Unavailable(detail) } else { EnvelopeError::Refused(detail) }
}

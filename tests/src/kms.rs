//! The operations of KMS that the issuer calls. Ciphertexts are not secret here, but decrypt in
//! their encryption context only.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey};
use serde_json::{Value, json};

/// Returns the response of KMS, or its error code. Every key pair is different: `made` counts them.
pub(crate) fn answer(operation: &str, request: &Value, made: &AtomicU64) -> Result<String, &'static str> {
    let context = &request["EncryptionContext"];
    match operation {
        "GenerateDataKeyPairWithoutPlaintext" => {
            let mut scalar = [1; 32];
            scalar[24..].copy_from_slice(&made.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            let secret = SecretKey::from_slice(&scalar).unwrap();
            let public = secret.public_key().to_public_key_der().unwrap();
            let pkcs8 = BASE64.encode(secret.to_pkcs8_der().unwrap().as_bytes());
            let wrapped = json!({ "context": context, "pkcs8": pkcs8 });
            let wrapped = BASE64.encode(wrapped.to_string());
            Ok(json!({
                "KeyId": request["KeyId"],
                "KeyPairSpec": request["KeyPairSpec"],
                "PublicKey": BASE64.encode(public.as_bytes()),
                "PrivateKeyCiphertextBlob": wrapped,
            })
            .to_string())
        }
        "Decrypt" => {
            let wrapped = BASE64.decode(request["CiphertextBlob"].as_str().unwrap()).unwrap();
            let wrapped: Value =
                serde_json::from_slice(&wrapped).map_err(|_| "InvalidCiphertextException")?;
            if wrapped["context"] != *context {
                return Err("InvalidCiphertextException");
            }
            Ok(json!({ "KeyId": request["KeyId"], "Plaintext": wrapped["pkcs8"] }).to_string())
        }
        _ => Err("UnsupportedOperationException"),
    }
}

//! The cryptography of `jsonwebtoken`: ES256 by ring, with every private key parsed once.
//!
//! A provider of jsonwebtoken gets the bytes of the key for each signature, and its own providers
//! parse them each time, which takes longer than half a signature. This one remembers parsed keys
//! by their bytes.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result, new_error};
use jsonwebtoken::signature::{self, Signer};
use jsonwebtoken::{Algorithm, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use zeroize::Zeroizing;

/// A process signs with one key at a time and changes it every few weeks. A key that is dropped too
/// early is only parsed again.
const MAX_KEYS: usize = 8;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| new_signer(*algorithm, key),
    // Tokens are verified by `countersign-verify`, which is stricter.
    verifier_factory: |_, _| Err(unsupported()),
    // For jsonwebtoken's JWKs. We use those of `countersign-verify`.
    key_utils: KeyUtils::new_unimplemented(),
};

static PARSED_KEYS: ParsedKeys = ParsedKeys(Mutex::new(Vec::new()));

/// Another `CryptoProvider` of jsonwebtoken was installed before ours.
#[derive(Debug, thiserror::Error)]
#[error(
    "jsonwebtoken already has a CryptoProvider: install Countersign's first, and enable no backend of jsonwebtoken"
)]
pub struct CryptoProviderConflict;

/// The result of the installation.
static IS_OURS: OnceLock<bool> = OnceLock::new();

/// Makes jsonwebtoken sign with ring. Every program that signs tokens calls it once in `main`;
/// without it no signing key can be used. A second call does nothing.
///
/// A library must not call it: there is one provider per process.
pub fn install_crypto_provider() -> std::result::Result<(), CryptoProviderConflict> {
    if *IS_OURS.get_or_init(|| PROVIDER.install_default().is_ok()) {
        Ok(())
    } else {
        Err(CryptoProviderConflict)
    }
}

/// Reports whether jsonwebtoken signs with ring.
pub(super) fn is_installed() -> bool {
    IS_OURS.get() == Some(&true)
}

/// Parses a P-256 private key in PKCS#8 and remembers it. ring needs the public key inside.
pub(super) fn key_pair(pkcs8: &[u8]) -> Result<Arc<EcdsaKeyPair>> {
    PARSED_KEYS.get_or_parse(pkcs8)
}

/// Signs bytes with a P-256 private key in PKCS#8: ES256 without a JWS around it.
pub(super) fn sign(pkcs8: &[u8], message: &[u8]) -> Result<Vec<u8>> {
    let signature = Es256Signer(key_pair(pkcs8)?).try_sign(message);
    signature.map_err(|error| new_error(ErrorKind::Signing(error.to_string())))
}

/// Drops the parsed form of a key that is no longer used, so that its private half leaves the
/// memory. Another signature with the key would parse it again.
pub(super) fn forget(pkcs8: &[u8]) {
    PARSED_KEYS.forget(pkcs8);
}

/// The latest keys that were parsed, by their PKCS#8 bytes, oldest first.
struct ParsedKeys(Mutex<Vec<ParsedKey>>);

struct ParsedKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: Arc<EcdsaKeyPair>,
}

impl ParsedKeys {
    fn get_or_parse(&self, pkcs8: &[u8]) -> Result<Arc<EcdsaKeyPair>> {
        let mut keys = self.lock();
        if let Some(known) = keys.iter().find(|known| *known.pkcs8 == pkcs8) {
            return Ok(Arc::clone(&known.pair));
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &nonces());
        let pair = Arc::new(pair.map_err(|_| new_error(ErrorKind::InvalidEcdsaKey))?);
        if keys.len() == MAX_KEYS {
            keys.remove(0);
        }
        keys.push(ParsedKey { pkcs8: Zeroizing::new(pkcs8.to_vec()), pair: Arc::clone(&pair) });
        Ok(pair)
    }

    fn forget(&self, pkcs8: &[u8]) {
        self.lock().retain(|known| *known.pkcs8 != pkcs8);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ParsedKey>> {
        // No statement under the lock can leave the list inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The generator of ECDSA's nonces. ring accepts no other than its own.
fn nonces() -> SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "ring signs with its own generator only")]
    SystemRandom::new()
}

struct Es256Signer(Arc<EcdsaKeyPair>);

impl Signer<Vec<u8>> for Es256Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        let signature = self.0.sign(&nonces(), message).map_err(|_| signature::Error::new())?;
        Ok(signature.as_ref().to_vec())
    }
}

impl JwtSigner for Es256Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

fn new_signer(algorithm: Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    if algorithm != Algorithm::ES256 {
        return Err(unsupported());
    }
    Ok(Box::new(Es256Signer(key_pair(key.as_bytes())?)))
}

fn unsupported() -> Error {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::DecodingKey;
    use p256::SecretKey;
    use p256::pkcs8::EncodePrivateKey;

    use super::*;

    fn pkcs8(byte: u8) -> Vec<u8> {
        SecretKey::from_slice(&[byte; 32]).unwrap().to_pkcs8_der().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn a_key_is_parsed_once_until_it_is_forgotten_and_the_cache_is_bounded() {
        let keys = ParsedKeys(Mutex::default());
        let first = keys.get_or_parse(&pkcs8(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &keys.get_or_parse(&pkcs8(1)).unwrap()), "the same pair");
        assert!(!Arc::ptr_eq(&first, &keys.get_or_parse(&pkcs8(2)).unwrap()), "another key");
        for byte in 3..20 {
            keys.get_or_parse(&pkcs8(byte)).unwrap();
        }
        assert_eq!(keys.lock().len(), MAX_KEYS);
        assert!(!Arc::ptr_eq(&first, &keys.get_or_parse(&pkcs8(1)).unwrap()), "parsed again");
        keys.forget(&pkcs8(1));
        keys.forget(&pkcs8(100));
        assert_eq!(keys.lock().len(), MAX_KEYS - 1);
    }

    #[test]
    fn bytes_that_are_no_private_key_are_refused_and_not_remembered() {
        let keys = ParsedKeys(Mutex::default());
        let good = pkcs8(1);
        for cut in 0..good.len() {
            let refused = keys.get_or_parse(&good[..cut]).unwrap_err();
            assert_eq!(refused.into_kind(), ErrorKind::InvalidEcdsaKey, "cut at {cut}");
        }
        assert!(keys.lock().is_empty());
    }

    #[test]
    fn a_second_installation_does_nothing() {
        install_crypto_provider().unwrap();
        install_crypto_provider().unwrap();
    }

    #[test]
    fn another_provider_is_a_conflict() {
        let program = std::env::current_exe().unwrap();
        let test = "keys::crypto_provider::tests::another_provider_is_installed_first";
        let run = std::process::Command::new(program).args(["--exact", test, "--ignored"]).output().unwrap();
        let output = String::from_utf8(run.stdout).unwrap();
        assert!(run.status.success() && output.contains("1 passed"), "{output}");
    }

    #[test]
    #[ignore = "needs a process without our provider, and gets one from the test above"]
    fn another_provider_is_installed_first() {
        static OTHER: CryptoProvider = CryptoProvider {
            signer_factory: |_, _| Err(unsupported()),
            verifier_factory: |_, _| Err(unsupported()),
            key_utils: KeyUtils::new_unimplemented(),
        };
        OTHER.install_default().unwrap();
        for _ in 0..2 {
            assert!(install_crypto_provider().is_err());
        }
    }

    #[test]
    fn only_es256_is_offered_and_nothing_is_verified() {
        let key = EncodingKey::from_ec_der(&pkcs8(1));
        assert_eq!(new_signer(Algorithm::ES256, &key).unwrap().algorithm(), Algorithm::ES256);
        for algorithm in [Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::HS256] {
            let refused = new_signer(algorithm, &key).err().unwrap();
            assert_eq!(refused.into_kind(), ErrorKind::UnsupportedAlgorithm, "{algorithm:?}");
        }
        let public = DecodingKey::from_ec_der(b"any");
        assert!((PROVIDER.verifier_factory)(&Algorithm::ES256, &public).is_err());
    }
}

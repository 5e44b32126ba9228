//! A decrypted private key, ready to sign.

use std::fmt;

use countersign_verify::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use serde::Serialize;

use crate::keys::{KeyError, RingKey, crypto_provider};
use crate::records::Lifetimes;

/// A private key that was decrypted and checked once. Signing with it touches nothing but memory.
pub struct SigningKey {
    seq: u64,
    jwk: Jwk,
    max_lifetimes: Lifetimes,
    /// PKCS#8 with the public key inside.
    key: EncodingKey,
}

impl SigningKey {
    /// Reads a PKCS#8 private key, with or without the public key inside, and checks that it
    /// belongs to the published public key.
    pub(super) fn from_pkcs8(key: &RingKey, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let unusable = |reason| KeyError::Unusable { seq: key.seq, reason };
        if !crypto_provider::is_installed() {
            // Without it the first signature would panic.
            return Err(unusable("main did not install the crypto provider"));
        }
        let secret =
            SecretKey::from_pkcs8_der(pkcs8).map_err(|_| unusable("not a PKCS#8 P-256 private key"))?;
        if uncompressed_point(&secret) != key.jwk.uncompressed_point() {
            return Err(unusable("the private key is not the one of the published public key"));
        }
        // ring needs the public key inside, which KMS may leave out; p256 derives it and writes it.
        let pkcs8 = secret.to_pkcs8_der().map_err(|_| unusable("the private key cannot be encoded"))?;
        // Parses the key now, so that one which ring refuses is found before the first signature.
        crypto_provider::key_pair(pkcs8.as_bytes()).map_err(|_| unusable("the key pair was refused"))?;
        Ok(Self {
            seq: key.seq,
            jwk: key.jwk.clone(),
            max_lifetimes: key.max_lifetimes,
            key: EncodingKey::from_ec_der(pkcs8.as_bytes()),
        })
    }

    /// Its number in the ring.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Its id, as in the `kid` header.
    pub fn kid(&self) -> &str {
        self.jwk.kid()
    }

    /// The longest lifetimes of the tokens that it may sign.
    pub fn max_lifetimes(&self) -> Lifetimes {
        self.max_lifetimes
    }

    pub(super) fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Signs a token with the header `typ` and these claims.
    pub fn sign(&self, typ: &'static str, claims: &impl Serialize) -> Result<String, KeyError> {
        Ok(jsonwebtoken::encode(&header(typ, self.kid()), claims, &self.key)?)
    }

    /// Signs bytes that cannot be the signing input of a JWS; the caller sees to that.
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(crypto_provider::sign(self.key.as_bytes(), message)?)
    }
}

fn header(typ: &'static str, kid: &str) -> Header {
    Header { typ: Some(typ.to_owned()), kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) }
}

/// The length of a token with the header `typ` and these claims. It is the same under every key: a
/// `kid` has 43 characters, and a signature 64 bytes.
pub(crate) fn token_len(typ: &'static str, claims: &impl Serialize) -> Result<usize, serde_json::Error> {
    const SIGNATURE: usize = 86;
    let in_base64url = |bytes: Vec<u8>| (bytes.len() * 4).div_ceil(3);
    let header = in_base64url(serde_json::to_vec(&header(typ, &"k".repeat(43)))?);
    Ok(header + 1 + in_base64url(serde_json::to_vec(claims)?) + 1 + SIGNATURE)
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        crypto_provider::forget(self.key.as_bytes());
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid()).finish_non_exhaustive()
    }
}

pub(super) fn uncompressed_point(secret: &SecretKey) -> Vec<u8> {
    secret.public_key().to_sec1_point(false).as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
    use countersign_verify::Timestamp;
    use p256::ecdsa::signature::Verifier;
    use p256::ecdsa::{Signature, VerifyingKey};
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::install_crypto_provider;

    fn ring_key(secret: &SecretKey) -> RingKey {
        RingKey {
            seq: 1,
            jwk: Jwk::from_uncompressed_point(&uncompressed_point(secret)).unwrap(),
            announced_at: Timestamp::from_seconds(0),
            known_at: Timestamp::from_seconds(0),
            activates_at: Timestamp::from_seconds(0),
            max_lifetimes: Lifetimes::default(),
            withdrawn_at: None,
            erased_at: None,
        }
    }

    fn secret(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).unwrap()
    }

    /// PKCS#8 without the optional public key, written by hand around the SEC 1 structure of RFC
    /// 5915: KMS's exact encoding is not known here.
    fn pkcs8_without_public_key(scalar: [u8; 32]) -> Vec<u8> {
        let sec1 = [&[0x30, 0x25, 0x02, 0x01, 0x01, 0x04, 0x20], &scalar[..]].concat();
        let algorithm = [
            0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07,
        ];
        [&[0x30, 0x41, 0x02, 0x01, 0x00][..], &algorithm, &[0x04, 0x27], &sec1].concat()
    }

    fn decoded(segment: &str) -> Value {
        serde_json::from_slice(&BASE64URL.decode(segment).unwrap()).unwrap()
    }

    #[test]
    fn a_private_key_is_read_with_and_without_its_public_key_and_only_if_it_is_the_published_one() {
        install_crypto_provider().unwrap();
        let secret_7 = secret(7);
        let with = secret_7.to_pkcs8_der().unwrap();
        let without = pkcs8_without_public_key([7; 32]);
        for pkcs8 in [with.as_bytes(), &without] {
            let key = SigningKey::from_pkcs8(&ring_key(&secret_7), pkcs8).unwrap();
            assert_eq!(key.sign("at+jwt", &()).unwrap().split('.').count(), 3);
            let refused = SigningKey::from_pkcs8(&ring_key(&secret(8)), pkcs8).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "signing key 1 cannot be used: the private key is not the one of the published public key"
            );
            for cut in 0..pkcs8.len() {
                let cut_off = &pkcs8[..cut];
                assert!(SigningKey::from_pkcs8(&ring_key(&secret_7), cut_off).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_token_has_exactly_three_headers_and_verifies_with_ring_and_with_p256() {
        install_crypto_provider().unwrap();
        let secret = secret(7);
        let claims = json!({ "sub": "service", "exp": 2 });
        for pkcs8 in [secret.to_pkcs8_der().unwrap().as_bytes(), &pkcs8_without_public_key([7; 32])] {
            let key = SigningKey::from_pkcs8(&ring_key(&secret), pkcs8).unwrap();
            let token = key.sign("at+jwt", &claims).unwrap();
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let (header, payload) = signed.split_once('.').unwrap();
            assert_eq!(decoded(header), json!({ "typ": "at+jwt", "alg": "ES256", "kid": key.kid() }));
            assert_eq!(decoded(payload), claims);
            assert_eq!(token_len("at+jwt", &claims).unwrap(), token.len());
            let signature = BASE64URL.decode(signature).unwrap();
            let by_ring = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, uncompressed_point(&secret));
            by_ring.verify(signed.as_bytes(), &signature).unwrap();
            assert!(by_ring.verify(b"another message", &signature).is_err());
            let by_p256 = VerifyingKey::from(secret.public_key());
            by_p256.verify(signed.as_bytes(), &Signature::from_slice(&signature).unwrap()).unwrap();
        }
    }

    #[test]
    fn coordinates_with_leading_zeros_keep_their_32_bytes() {
        let found = (1_u16..).map(|n| {
            let mut scalar = [1; 32];
            scalar[..2].copy_from_slice(&n.to_be_bytes());
            ring_key(&SecretKey::from_slice(&scalar).unwrap())
        });
        let mut found = found.filter(|key| key.jwk.uncompressed_point()[1] == 0);
        let json = serde_json::to_value(found.next().unwrap().jwk).unwrap();
        let x = json["x"].as_str().unwrap();
        assert!(x.len() == 43 && x.starts_with('A'), "{x}");
    }
}

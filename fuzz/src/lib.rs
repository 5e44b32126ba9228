//! An issuer with a fixed key, so that findings are reproducible, and a verifier that trusts it.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_verify::{Clock, Jwk, JwkSet, Timestamp, Verifier};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

/// The `iss` that the verifier requires.
pub const ISSUER: &str = "https://issuer.example.com";
/// The `aud` that the verifier requires.
pub const AUDIENCE: &str = "https://api.example.com";
/// The time of the verifier's clock, in seconds.
pub const NOW: u64 = 1_800_000_000;

/// RFC 6979 appendix A.2.5's key pair: private, and the uncompressed point.
const PRIVATE: [u8; 32] = *b"\xc9\xaf\xa9\xd8\x45\xba\x75\x16\x6b\x5c\x21\x57\x67\xb1\xd6\x93\x4e\x50\xc3\xdb\x36\xe8\x9b\x12\x7b\x8a\x62\x2b\x12\x0f\x67\x21";
const PUBLIC: [u8; 65] = *b"\x04\x60\xfe\xd4\xba\x25\x5a\x9d\x31\xc9\x61\xeb\x74\xc6\x35\x6d\x68\xc0\x49\xb8\x92\x3b\x61\xfa\x6c\xe6\x69\x62\x2e\x60\xf2\x9f\xb6\x79\x03\xfe\x10\x08\xb8\xbc\x99\xa4\x1a\xe9\xe9\x56\x28\xbc\x64\xf2\xf1\xb2\x0c\x2d\x7e\x9f\x51\x77\xa3\xc2\x94\xd4\x46\x22\x99";

/// The issuer with its keys.
pub struct Issuer {
    pair: EcdsaKeyPair,
    /// The public key.
    pub key: Jwk,
    /// The published key set.
    pub keys: JwkSet,
    /// A verifier that trusts the issuer.
    pub verifier: Verifier,
}

/// The issuer of the run.
pub static ISSUED: LazyLock<Issuer> = LazyLock::new(|| {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, &PRIVATE, &PUBLIC, &SystemRandom::new());
    let pair = pair.expect("a published key pair");
    let key = Jwk::from_uncompressed_point(pair.public_key().as_ref()).expect("a published key");
    let keys = JwkSet::new(vec![key.clone()]);
    let verifier = Verifier::builder(ISSUER)
        .audience(AUDIENCE)
        .keys(keys.clone())
        .clock(Clock::new(|| Timestamp::from_seconds(NOW)))
        .build()
        .expect("a verifier with an audience and keys");
    Issuer { pair, key, keys, verifier }
});

impl Issuer {
    /// Signs a token with this header, given as JSON, and this payload.
    pub fn sign(&self, header: &[u8], payload: &[u8]) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).expect("a signature");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Signs a refresh token with this payload.
    pub fn sign_refresh_token(&self, payload: &[u8]) -> String {
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let input = format!("countersign refresh token {payload}");
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).expect("a signature");
        format!("csgr_{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Returns the header that the issuer writes.
    pub fn header(&self) -> String {
        format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{}"}}"#, self.key.kid())
    }

    /// Returns a payload that the verifier accepts.
    pub fn payload(&self) -> String {
        let (issued, expires) = (NOW, NOW + 60);
        format!(
            r#"{{"iss":"{ISSUER}","sub":"svc","aud":"{AUDIENCE}","exp":{expires},"iat":{issued},"jti":"j","client_id":"svc","scope":"a b","roles":["r"],"brandKey":"acme"}}"#
        )
    }
}

//! An issuer of whatever it is told.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]
#![allow(dead_code, unreachable_pub, reason = "each test uses what it needs")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::{Clock, Jwk, JwkSet, Timestamp, TokenError, Verified, Verifier, VerifierBuilder};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.example.com";
pub const AUDIENCE: &str = "https://api.example.com";
pub const NOW: u64 = 1_800_000_000;

/// A signing key, and tokens under it.
pub struct Forge {
    pair: EcdsaKeyPair,
    pub jwk: Jwk,
}

fn random() -> SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "ring takes its own generator and no other")]
    SystemRandom::new()
}

impl Forge {
    pub fn new() -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random()).unwrap();
        let jwk = Jwk::from_uncompressed_point(pair.public_key().as_ref()).unwrap();
        Self { pair, jwk }
    }

    pub fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.jwk.kid() })
    }

    pub fn sign(&self, header: &str, payload: &str) -> String {
        self.sign_segments(&BASE64URL.encode(header), &BASE64URL.encode(payload))
    }

    pub fn sign_segments(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = self.pair.sign(&random(), input.as_bytes()).unwrap();
        format!("{input}.{}", BASE64URL.encode(signature))
    }

    pub fn verifier(&self) -> VerifierBuilder {
        Verifier::builder(ISSUER)
            .audience(AUDIENCE)
            .keys(JwkSet::new(vec![self.jwk.clone()]))
            .clock(Clock::new(|| Timestamp::from_seconds(NOW)))
    }

    pub fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        self.verify_by(self.verifier(), token)
    }

    pub fn verify_by(&self, verifier: VerifierBuilder, token: &str) -> Result<Verified, TokenError> {
        verifier.build().unwrap().verify_with(token, &JwkSet::new(vec![self.jwk.clone()]))
    }
}

pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "svc", "aud": AUDIENCE, "exp": NOW + 60, "iat": NOW, "jti": "j", "client_id": "svc",
        "scope": "a b", "roles": ["r"], "brandKey": "acme",
    })
}

pub fn with(mut object: Value, name: &str, value: Value) -> String {
    object[name] = value;
    object.to_string()
}

pub fn without(mut object: Value, name: &str) -> String {
    object.as_object_mut().unwrap().remove(name);
    object.to_string()
}

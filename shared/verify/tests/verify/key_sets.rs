//! Unusable keys in a key set: none is used, and the other keys stay usable.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD as BASE64URL};
use countersign_verify::{Jwk, JwkSet, TokenError};
use serde_json::{Value, json};

use crate::forge::{Forge, claims, nested, set};

/// The prime of P-256 (FIPS 186-4 section D.1.2.3). Coordinates are less than it.
const P: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //
    0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];

fn to_json(forge: &Forge) -> Value {
    serde_json::to_value(&forge.jwk).unwrap()
}

fn without_member(mut key: Value, member: &str) -> Value {
    key.as_object_mut().unwrap().remove(member);
    key
}

fn coordinates(forge: &Forge) -> ([u8; 32], [u8; 32]) {
    let point = forge.jwk.uncompressed_point();
    (point[1..33].try_into().unwrap(), point[33..].try_into().unwrap())
}

fn key_set(keys: &[Value]) -> JwkSet {
    JwkSet::from_json(&json!({ "keys": keys }).to_string()).unwrap()
}

/// Verifies a good token of the forge with these keys.
fn verify_with(forge: &Forge, keys: &JwkSet) -> Result<(), TokenError> {
    let token = forge.sign(&forge.header().to_string(), &claims().to_string());
    forge.verifier().build().unwrap().verify_with(&token, keys).map(drop)
}

/// Puts each entry into a set with another key, once before it and once after it. Asserts two
/// things. A token with the entry's `kid`, signed with the key that the entry was made from, gives
/// `expected`. The other key still verifies its tokens.
fn assert_each(made_from: &Forge, entries: Vec<(&str, Value)>, expected: Result<(), TokenError>) {
    let other = Forge::new();
    for (name, entry) in entries {
        for keys in [[entry.clone(), to_json(&other)], [to_json(&other), entry.clone()]] {
            let keys = key_set(&keys);
            assert_eq!(verify_with(made_from, &keys), expected, "{name}");
            assert_eq!(verify_with(&other, &keys), Ok(()), "{name} makes the other key unusable");
        }
    }
}

#[test]
fn keys_of_another_type_or_use_are_skipped() {
    let forge = Forge::new();
    let key = || to_json(&forge);
    let kid = forge.jwk.kid();
    let (x, y) = coordinates(&forge);
    let base64 = |bytes: &[u8]| json!(BASE64URL.encode(bytes));
    let entries = vec![
        ("a secret", json!({ "kty": "oct", "kid": kid, "k": BASE64URL.encode(x), "alg": "HS256" })),
        ("a secret with a point", set(set(key(), "kty", json!("oct")), "k", base64(&x))),
        ("RSA", json!({ "kty": "RSA", "kid": kid, "n": BASE64URL.encode([0xc5; 256]), "e": "AQAB" })),
        ("RSA with a point", set(set(key(), "kty", json!("RSA")), "n", base64(&[0xc5; 256]))),
        ("Ed25519", json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": BASE64URL.encode(x) })),
        ("X25519 with a point", set(set(key(), "kty", json!("OKP")), "crv", json!("X25519"))),
        ("kty ec", set(key(), "kty", json!("ec"))),
        ("no kty", without_member(key(), "kty")),
        ("P-384 by name", set(key(), "crv", json!("P-384"))),
        (
            "P-384",
            json!({ "kty": "EC", "crv": "P-384", "kid": kid, "x": base64(&[1; 48]), "y": base64(&[2; 48]) }),
        ),
        ("48 bytes as P-256", set(set(key(), "x", base64(&[1; 48])), "y", base64(&[2; 48]))),
        ("secp256k1", set(key(), "crv", json!("secp256k1"))),
        ("crv p-256", set(key(), "crv", json!("p-256"))),
        ("no crv", without_member(key(), "crv")),
        ("use enc", set(key(), "use", json!("enc"))),
        ("use Sig", set(key(), "use", json!("Sig"))),
        ("use a number", set(key(), "use", json!(1))),
        ("alg ES384", set(key(), "alg", json!("ES384"))),
        ("alg none", set(key(), "alg", json!("none"))),
        ("alg HS256", set(key(), "alg", json!("HS256"))),
        ("alg ECDH-ES", set(key(), "alg", json!("ECDH-ES"))),
        ("no operation", set(key(), "key_ops", json!([]))),
        ("another operation", set(key(), "key_ops", json!(["sign", "encrypt"]))),
        ("operations that are not an array", set(key(), "key_ops", json!("verify"))),
        ("operations that are not strings", set(key(), "key_ops", json!(["verify", 1]))),
        ("a private key", set(key(), "d", base64(&[7; 32]))),
        ("an empty private key", set(key(), "d", json!(""))),
        ("a private key that is null", set(key(), "d", json!(null))),
        ("no kid", without_member(key(), "kid")),
        ("an empty kid", set(key(), "kid", json!(""))),
        ("a kid that is a number", set(key(), "kid", json!(1))),
        ("a kid that is an array", set(key(), "kid", json!([kid]))),
        ("a kid that is null", set(key(), "kid", json!(null))),
        ("no x", without_member(key(), "x")),
        ("no y", without_member(key(), "y")),
        ("a number for x", set(key(), "x", json!(17))),
        ("an empty x", set(key(), "x", json!(""))),
        ("31 bytes of x", set(key(), "x", base64(&x[1..]))),
        ("33 bytes of y", set(key(), "y", base64(&[&[0], &y[..]].concat()))),
        ("x and y in x", set(key(), "x", base64(&[x, y].concat()))),
        ("x padded", set(key(), "x", json!(URL_SAFE.encode(x)))),
        ("x in the other alphabet", set(key(), "x", json!(format!("+/{}", &STANDARD_NO_PAD.encode(x)[2..])))),
        ("the members' values in order", json!(["EC", "P-256", key()["x"], key()["y"], kid])),
        ("an array of a key", json!([key()])),
        ("a key in a string", json!(key().to_string())),
        ("an object without a member", json!({})),
        ("a number", json!(17)),
        ("null", json!(null)),
        ("arrays 100 deep", serde_json::from_str(&nested(100)).unwrap()),
    ];
    assert_each(&forge, entries, Err(TokenError::UnknownKey));
}

/// Recognising such a point takes the curve's arithmetic, which ring does during verification. So
/// the set keeps the key, and no signature verifies with it.
#[test]
fn points_off_the_curve_verify_nothing() {
    let forge = Forge::new();
    let (x, y) = coordinates(&forge);
    let changed = |mut coordinate: [u8; 32]| {
        coordinate[31] ^= 1;
        coordinate
    };
    let at = |x: [u8; 32], y: [u8; 32]| {
        let key = set(to_json(&forge), "x", json!(BASE64URL.encode(x)));
        set(key, "y", json!(BASE64URL.encode(y)))
    };
    let entries = vec![
        ("x changed", at(changed(x), y)),
        ("y changed", at(x, changed(y))),
        ("x and y swapped", at(y, x)),
        ("zeros, for the point at infinity", at([0; 32], [0; 32])),
        ("x = 0", at([0; 32], y)),
        ("y = 0", at(x, [0; 32])),
        ("x = p", at(P, y)),
        ("y = p", at(x, P)),
        ("beyond p", at([0xff; 32], [0xff; 32])),
    ];
    assert_each(&forge, entries, Err(TokenError::BadSignature));
}

#[test]
fn good_keys_with_extra_or_missing_members_are_used() {
    let forge = Forge::new();
    let key = || to_json(&forge);
    let entries = vec![
        ("as published", key()),
        ("without use", without_member(key(), "use")),
        ("without alg", without_member(key(), "alg")),
        ("to verify", set(without_member(key(), "use"), "key_ops", json!(["verify"]))),
        ("with a certificate's thumbprint", set(key(), "x5t#S256", json!("AAAA"))),
        ("with members of another type", set(set(key(), "n", json!("AQAB")), "k", json!("AAAA"))),
        ("with nested junk", set(key(), "junk", serde_json::from_str(&nested(100)).unwrap())),
    ];
    assert_each(&forge, entries, Ok(()));
}

#[test]
fn different_keys_with_the_same_kid_are_both_skipped() {
    let (forge, attacker, other) = (Forge::new(), Forge::new(), Forge::new());
    let kid = json!(forge.jwk.kid());
    let (good, third) = (to_json(&forge), to_json(&other));
    let namesake = set(to_json(&attacker), "kid", kid.clone());
    let off_the_curve = set(good.clone(), "y", good["x"].clone());
    for doubtful in [namesake, off_the_curve] {
        for keys in [[&good, &doubtful, &third], [&doubtful, &third, &good]] {
            let keys = key_set(&keys.map(Clone::clone));
            assert_eq!(verify_with(&forge, &keys), Err(TokenError::UnknownKey));
            assert_eq!(verify_with(&other, &keys), Ok(()));
        }
    }
    let secret = json!({ "kty": "oct", "kid": kid, "k": "AAAA" });
    let for_encryption = set(good.clone(), "use", json!("enc"));
    for harmless in [good.clone(), secret, for_encryption] {
        for keys in [[&good, &harmless], [&harmless, &good]] {
            assert_eq!(verify_with(&forge, &key_set(&keys.map(Clone::clone))), Ok(()), "{harmless}");
        }
    }
}

/// Larger than the 256 KiB limit of a fetch: such a set comes from a file.
#[test]
fn a_huge_set_is_parsed() {
    let (forge, other) = (Forge::new(), Forge::new());
    let mut keys: Vec<Value> =
        (0..10_000).map(|number| set(to_json(&other), "kid", json!(number.to_string()))).collect();
    keys.push(to_json(&forge));
    assert_eq!(verify_with(&forge, &key_set(&keys)), Ok(()));
}

#[test]
fn a_document_that_is_not_a_key_set_is_an_error() {
    let key = to_json(&Forge::new()).to_string();
    for (name, document) in [
        ("nothing", String::new()),
        ("null", "null".into()),
        ("an array", "[]".into()),
        ("an array of the keys", format!("[[{key}]]")),
        ("no keys", "{}".into()),
        ("one key", key.clone()),
        ("keys that are null", r#"{"keys":null}"#.into()),
        ("keys that are an object", format!(r#"{{"keys":{{"0":{key}}}}}"#)),
        ("keys in a string", json!({ "keys": format!("[{key}]") }).to_string()),
        ("keys twice", format!(r#"{{"keys":[],"keys":[{key}]}}"#)),
        ("text after the set", format!(r#"{{"keys":[{key}]}}x"#)),
        ("cut off", format!(r#"{{"keys":[{key}"#)),
        ("arrays 100,000 deep", nested(100_000)),
        ("keys 100,000 deep", format!(r#"{{"keys":{}}}"#, nested(100_000))),
        ("a page", "<html></html>".into()),
    ] {
        assert!(JwkSet::from_json(&document).is_err(), "{name}");
    }
    assert_eq!(JwkSet::from_json(r#" {"keys":[],"more":1} "#), Ok(JwkSet::default()));
}

#[test]
fn a_point_has_65_bytes_and_the_first_is_4() {
    let forge = Forge::new();
    let point = forge.jwk.uncompressed_point();
    assert_eq!(Jwk::from_uncompressed_point(point), Ok(forge.jwk.clone()));
    let first = |byte: u8| [&[byte], &point[1..]].concat();
    for bad in
        [&[][..], &[0], &point[1..], &point[..64], &first(0), &first(2), &first(3), &first(6), &first(7)]
    {
        assert!(Jwk::from_uncompressed_point(bad).is_err(), "{bad:?}");
    }
}

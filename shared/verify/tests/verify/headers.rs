//! Headers that no issuer writes, keys that a token contains or refers to, and the public key used
//! as an HMAC secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::TokenError::{self, Malformed, UnknownKey, WrongType};
use serde_json::json;

use crate::forge::{
    Forge, HEADER, ISSUER, Row, assert_all_rejected, claims, nested, set, signing_input, with, without,
};

const ALG: TokenError = Malformed("alg is not ES256");
const SIGNATURE_LENGTH: TokenError = Malformed("the signature is not 64 bytes");

#[test]
fn algorithms_other_than_es256_are_rejected() {
    let forge = Forge::new();
    let rows = [
        "none", "None", "NONE", "nOnE", " none", "none ", "", "HS256", "HS384", "HS512", "RS256", "PS256",
        "ES384", "ES512", "ES256K", "EdDSA", "es256", "ES256 ", "ECDH-ES", "dir",
    ]
    .map(|alg| (format!("alg {alg:?}"), json!(alg), ALG));
    let odd = [json!(null), json!(256), json!(["ES256"]), json!({ "alg": "ES256" }), json!(true)]
        .map(|alg| (format!("alg {alg}"), alg, HEADER));
    let payload = claims().to_string();
    let mut table: Vec<Row> = Vec::new();
    for (name, alg, expected) in rows.into_iter().chain(odd) {
        let header = with(forge.header(), "alg", alg);
        let signed = forge.sign(&header, &payload);
        let (input, _) = signed.rsplit_once('.').unwrap();
        table.push((format!("{name}, without a signature"), format!("{input}."), expected));
        table.push((name, signed, expected));
    }
    let missing = without(forge.header(), "alg");
    table.push(("no alg".into(), forge.sign(&missing, &payload), HEADER));
    assert_all_rejected(&forge, table);
}

/// The classic algorithm confusion: an HMAC whose secret is the public key.
#[test]
fn an_hmac_keyed_with_the_public_key_is_rejected() {
    let forge = Forge::new();
    let mut table: Vec<Row> = Vec::new();
    for (encoding, key) in forge.encodings() {
        for (name, algorithm, es256_error) in [
            ("HS256", ring::hmac::HMAC_SHA256, SIGNATURE_LENGTH),
            ("HS384", ring::hmac::HMAC_SHA384, SIGNATURE_LENGTH),
            ("HS512", ring::hmac::HMAC_SHA512, TokenError::BadSignature),
        ] {
            for (alg, expected) in [(name, ALG), ("ES256", es256_error)] {
                let input = signing_input(&with(forge.header(), "alg", json!(alg)), &claims().to_string());
                let tag = ring::hmac::sign(&ring::hmac::Key::new(algorithm, &key), input.as_bytes());
                let token = format!("{input}.{}", BASE64URL.encode(tag));
                table.push((format!("{name} keyed with {encoding} as {alg}"), token, expected));
            }
        }
    }
    assert_all_rejected(&forge, table);
}

#[test]
fn keys_in_a_token_or_referred_to_by_it_are_rejected() {
    let (forge, attacker) = (Forge::new(), Forge::new());
    let payload = claims().to_string();
    let key = serde_json::to_value(&attacker.jwk).unwrap();
    let mut table: Vec<Row> = Vec::new();
    for (name, value) in [
        ("jwk", key.clone()),
        ("jku", json!("https://evil.example.com/jwks.json")),
        ("x5u", json!("https://evil.example.com/x5u")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
    ] {
        for kid in [forge.jwk.kid(), attacker.jwk.kid()] {
            let header = with(set(attacker.header(), "kid", json!(kid)), name, value.clone());
            table.push((format!("{name}, kid {kid}"), attacker.sign(&header, &payload), HEADER));
        }
    }
    let stolen_kid = forge.header().to_string();
    table.push(("an attacker's key".into(), attacker.sign(&stolen_kid, &payload), TokenError::BadSignature));
    let own_kid = attacker.header().to_string();
    table.push(("an attacker's key and kid".into(), attacker.sign(&own_kid, &payload), UnknownKey));
    assert_all_rejected(&forge, table);
}

#[test]
fn headers_that_the_issuer_does_not_write_are_rejected() {
    let forge = Forge::new();
    let kid = forge.jwk.kid();
    let rows = [
        ("kid", json!("../../etc/passwd"), UnknownKey),
        ("kid", json!("/dev/null"), UnknownKey),
        ("kid", json!("file:///etc/passwd"), UnknownKey),
        ("kid", json!("' OR 1=1 --"), UnknownKey),
        ("kid", json!("x' UNION SELECT 'key"), UnknownKey),
        ("kid", json!("$(id)"), UnknownKey),
        ("kid", json!(""), UnknownKey),
        ("kid", json!("*"), UnknownKey),
        ("kid", json!(format!("{kid}\0")), HEADER),
        ("kid", json!(format!(" {kid}")), UnknownKey),
        ("kid", json!(kid[..42]), UnknownKey),
        ("kid", json!(kid.to_lowercase()), UnknownKey),
        ("kid", json!("k".repeat(8000)), UnknownKey),
        ("kid", json!(1), HEADER),
        ("kid", json!([kid]), HEADER),
        ("kid", json!({ "kid": kid }), HEADER),
        ("kid", json!(null), HEADER),
        ("kid", json!(true), HEADER),
        ("typ", json!("JWT"), WrongType),
        ("typ", json!("rt+jwt"), WrongType),
        ("typ", json!("AT+JWT"), WrongType),
        ("typ", json!("application/at+jwt"), WrongType),
        ("typ", json!("at+jwt "), WrongType),
        ("typ", json!("dpop+jwt"), WrongType),
        ("typ", json!(""), WrongType),
        ("typ", json!(null), HEADER),
        ("typ", json!(["at+jwt"]), HEADER),
        ("crit", json!(["exp"]), HEADER),
        ("crit", json!([]), HEADER),
        ("crit", json!(["b64"]), HEADER),
        ("b64", json!(false), HEADER),
        ("b64", json!(true), HEADER),
        ("cty", json!("JWT"), HEADER),
        ("zip", json!("DEF"), HEADER),
        ("enc", json!("A256GCM"), HEADER),
        ("iss", json!(ISSUER), HEADER),
    ];
    let payload = claims().to_string();
    let sign = |header: &str| forge.sign(header, &payload);
    let mut table: Vec<Row> = rows
        .into_iter()
        .map(|(name, value, expected)| {
            (format!("{name} {value:.60}"), sign(&with(forge.header(), name, value)), expected)
        })
        .collect();
    for name in ["typ", "kid"] {
        table.push((format!("no {name}"), sign(&without(forge.header(), name)), HEADER));
    }
    let header = forge.header().to_string();
    for duplicate in [
        r#""alg":"none","#,
        r#""alg":"ES256","#,
        r#""typ":"JWT","#,
        r#""kid":"x","#,
        r#""\u0061lg":"ES256","#,
    ] {
        table.push((
            format!("{duplicate} twice"),
            sign(&header.replacen('{', &format!("{{{duplicate}"), 1)),
            HEADER,
        ));
    }
    let in_order = json!(["ES256", "at+jwt", kid]);
    for odd in [
        in_order.to_string(),
        "[]".into(),
        String::new(),
        "null".into(),
        "{}".into(),
        header.replace('"', "'"),
        format!("\u{feff}{header}"),
        format!("{header}{header}"),
        format!("{header}\0"),
        header.replace("at+jwt", "at\\u002bjwt"),
        nested(4000),
        format!(r#"{{"kid":{}}}"#, nested(4000)),
    ] {
        table.push((format!("header {odd:.60}"), sign(&odd), HEADER));
    }
    assert_all_rejected(&forge, table);

    let plain = sign(&with(forge.header(), "typ", json!("JWT")));
    assert!(forge.verify_by(forge.verifier().accept_typ_jwt(), &plain).is_ok());
    let refresh = sign(&with(forge.header(), "typ", json!("rt+jwt")));
    assert_eq!(forge.verify_by(forge.verifier().accept_typ_jwt(), &refresh).err(), Some(WrongType));
}

/// RFC 7797: the payload is not in base64url.
#[test]
fn an_unencoded_payload_is_rejected() {
    let forge = Forge::new();
    let header = with(set(forge.header(), "b64", json!(false)), "crit", json!(["b64"]));
    let plain = forge.sign_segments(&BASE64URL.encode(header), &claims().to_string().replace('.', "%2E"));
    let plain_payload = Malformed("the payload is not unpadded base64url");
    let unmarked = forge.sign_segments(&BASE64URL.encode(forge.header().to_string()), "{}");
    assert_all_rejected(
        &forge,
        [("b64 false".into(), plain, HEADER), ("unmarked".into(), unmarked, plain_payload)],
    );
}

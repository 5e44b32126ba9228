//! Tokens that are accepted, and forged, odd and foreign ones that are not.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod forge;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD as BASE64URL};
use countersign_verify::{BuildError, JwkSet, TokenError, Verifier};
use forge::{AUDIENCE, Forge, ISSUER, NOW, claims, with, without};
use serde_json::json;

#[test]
fn a_token_as_the_issuer_mints_it_is_accepted() {
    let forge = Forge::new();
    let token = forge.sign(&forge.header().to_string(), &claims().to_string());
    let verified = forge.verify(&token).unwrap();
    assert_eq!((verified.sub.as_str(), verified.kid()), ("svc", forge.jwk.kid()));
    assert!(verified.has_scope("b") && !verified.has_scope("a b") && verified.has_role("r"));
    assert_eq!((verified.brand_key.as_deref(), verified.operator.as_deref()), (Some("acme"), None));
}

#[test]
fn headers_other_than_the_issuers_are_refused() {
    let forge = Forge::new();
    let payload = claims().to_string();
    let header = forge.header();
    let mut headers: Vec<String> = ["none", "None", "HS256", "RS256", "ES384", "es256", ""]
        .map(|alg| with(header.clone(), "alg", json!(alg)))
        .into();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("jwk", serde_json::to_value(&forge.jwk).unwrap()),
        ("jku", json!("https://evil.example.com/jwks.json")),
        ("x5u", json!("https://evil.example.com/x5u")),
        ("x5c", json!([])),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!(1)),
        ("kid", json!([])),
        ("typ", json!("JWT")),
        ("typ", json!("rt+jwt")),
        ("typ", json!("AT+JWT")),
    ] {
        headers.push(with(header.clone(), name, value));
    }
    headers.extend(["alg", "typ", "kid"].map(|name| without(header.clone(), name)));
    headers.push(header.to_string().replacen('{', r#"{"alg":"none","#, 1));
    headers.push("[]".into());
    headers.push(String::new());
    for header in headers {
        assert!(forge.verify(&forge.sign(&header, &payload)).is_err(), "{header}");
    }
    let plain = forge.sign(&with(header, "typ", json!("JWT")), &payload);
    assert!(forge.verify_by(forge.verifier().accept_typ_jwt(), &plain).is_ok());
}

#[test]
fn claims_that_are_missing_repeated_or_of_another_type_are_refused() {
    let forge = Forge::new();
    let header = forge.header().to_string();
    let mut payloads: Vec<String> = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "roles"]
        .map(|name| without(claims(), name))
        .into();
    for (name, value) in [
        ("exp", json!("1900000000")),
        ("exp", json!(1.9e9)),
        ("exp", json!(-1)),
        ("exp", json!(NOW)),
        ("exp", json!(null)),
        ("iat", json!(NOW + 121)),
        ("iat", json!(1.5)),
        ("iss", json!("https://issuer.example.com/")),
        ("iss", json!("https://evil.example.com")),
        ("aud", json!("https://api.example.com.evil.com")),
        ("aud", json!("https://api.example")),
        ("aud", json!([AUDIENCE])),
        ("aud", json!("")),
        ("sub", json!(7)),
        ("scope", json!(["a"])),
        ("scope", json!(null)),
        ("roles", json!("r")),
        ("operator", json!({})),
    ] {
        payloads.push(with(claims(), name, value));
    }
    payloads.push(claims().to_string().replacen('{', r#"{"sub":"admin","#, 1));
    payloads.push(claims().to_string().replacen('{', r#"{"x":1,"x":2,"#, 1));
    payloads.push(claims().to_string().replacen('{', r#"{"exp":99999999999999999999999,"#, 1));
    payloads.push(format!("{}{}", "[".repeat(5000), "]".repeat(5000)));
    payloads.push("null".into());
    for payload in payloads {
        assert!(forge.verify(&forge.sign(&header, &payload)).is_err(), "{payload}");
    }
    let later = with(claims(), "iat", json!(NOW + 120));
    assert!(forge.verify(&forge.sign(&header, &later)).is_ok(), "clocks differ");
    assert!(forge.verify(&forge.sign(&header, &with(claims(), "unknown", json!(1)))).is_ok());
}

#[test]
fn one_token_has_one_spelling() {
    let forge = Forge::new();
    let (header, payload) = (forge.header().to_string(), claims().to_string());
    let token = forge.sign(&header, &payload);
    let (input, signature) = token.rsplit_once('.').unwrap();
    let padded = URL_SAFE.encode(BASE64URL.decode(signature).unwrap());
    assert!(padded.ends_with('='));
    // The last of 86 characters carries two bits; these two differ in the four that carry none.
    let last = signature.chars().last().unwrap();
    let twin = char::from(u8::try_from(last).unwrap() + 1);
    for respelled in [
        format!("{input}.{padded}"),
        format!("{input}.{}{twin}", &signature[..signature.len() - 1]),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!(" {token}"),
        format!("{token}\n"),
        input.to_owned(),
        format!("{input}."),
        json!({ "protected": "", "payload": "", "signature": "" }).to_string(),
        String::new(),
    ] {
        assert!(forge.verify(&respelled).is_err(), "{respelled}");
    }
    let long = forge.sign(&header, &with(claims(), "x", json!("a".repeat(1 << 20))));
    assert_eq!(forge.verify(&long).err(), Some(TokenError::Malformed("the token is too long")));
}

#[test]
fn signatures_of_other_keys_and_none_are_refused() {
    let (forge, stranger) = (Forge::new(), Forge::new());
    let (header, payload) = (forge.header().to_string(), claims().to_string());
    let token = forge.sign(&header, &payload);
    let input = token.rsplit_once('.').unwrap().0;
    assert_eq!(forge.verify(&stranger.sign(&header, &payload)).err(), Some(TokenError::BadSignature));
    assert_eq!(stranger.verify(&token).err(), Some(TokenError::UnknownKey));
    for bytes in [[0; 64], [0xff; 64]] {
        let forged = format!("{input}.{}", BASE64URL.encode(bytes));
        assert_eq!(forge.verify(&forged).err(), Some(TokenError::BadSignature), "r and s out of range");
    }
    let der = format!("{input}.{}", BASE64URL.encode([0x30; 70]));
    assert!(forge.verify(&der).is_err());
    let tampered = forge.sign_segments(&BASE64URL.encode(&header), &BASE64URL.encode(&payload));
    let other = BASE64URL.encode(with(claims(), "sub", json!("admin")));
    let parts: Vec<&str> = tampered.split('.').collect();
    assert_eq!(
        forge.verify(&format!("{}.{other}.{}", parts[0], parts[2])).err(),
        Some(TokenError::BadSignature)
    );
}

#[test]
fn a_verifier_is_told_its_audience_and_its_keys() {
    let forge = Forge::new();
    let keys = || JwkSet::new(vec![forge.jwk.clone()]);
    let no_audience = Verifier::builder(ISSUER).keys(keys()).build();
    assert_eq!(no_audience.err(), Some(BuildError::NoAudience));
    let empty_audience = Verifier::builder(ISSUER).keys(keys()).audience("").build();
    assert_eq!(empty_audience.err(), Some(BuildError::NoAudience));
    let token = forge.sign(&forge.header().to_string(), &claims().to_string());
    let keyless = Verifier::builder(ISSUER).audience(AUDIENCE).keys(JwkSet::default()).build().unwrap();
    assert_eq!(keyless.verify_with(&token, &JwkSet::default()), Err(TokenError::UnknownKey));
}

//! Tokens that are accepted, and odd ones that are rejected although the issuer's own key signed
//! them. Each has a name and the expected reason.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD as BASE64URL};
use countersign_verify::TokenError::{self, Malformed, UnknownKey, WrongAudience, WrongIssuer};
use countersign_verify::{BuildError, JwkSet, Verifier, jws};
use serde_json::{Value, json};

use crate::forge::{
    AUDIENCE, Forge, HEADER, ISSUER, NOW, Row, assert_all_rejected, claims, nested, with, without,
};

const SEGMENTS: TokenError = Malformed("not three segments");
const PAYLOAD: TokenError = Malformed("the payload is not a JSON object with unique member names");
const CLAIM: TokenError = Malformed("a claim is missing or of the wrong type");
const BASE64_HEADER: TokenError = Malformed("the header is not unpadded base64url");
const BASE64_PAYLOAD: TokenError = Malformed("the payload is not unpadded base64url");
const BASE64_SIGNATURE: TokenError = Malformed("the signature is not unpadded base64url");
const TOO_LONG: TokenError = Malformed("the token is too long");

#[test]
fn a_token_that_the_issuer_mints_is_accepted() {
    let forge = Forge::new();
    let token = forge.sign(&forge.header().to_string(), &claims().to_string());
    let verified = forge.verify(&token).unwrap();
    assert_eq!((verified.sub.as_str(), verified.kid()), ("svc", forge.jwk.kid()));
    assert!(verified.has_scope("b") && !verified.has_scope("a b") && verified.has_role("r"));
    assert_eq!((verified.brand_key.as_deref(), verified.operator.as_deref()), (Some("acme"), None));
}

#[test]
fn a_claim_without_a_field_is_found_by_its_name() {
    let forge = Forge::new();
    let payload = with(claims(), "user_name", json!("jane"));
    let verified = forge.verify(&forge.sign(&forge.header().to_string(), &payload)).unwrap();
    assert_eq!(verified.claim("user_name"), Some(&json!("jane")));
    assert_eq!((verified.claim("User_Name"), verified.claim("sub")), (None, None));
    // Minting and verifying agree about it too.
    let minted: Value = serde_json::from_str(&serde_json::to_string(&*verified).unwrap()).unwrap();
    assert_eq!(minted, serde_json::from_str::<Value>(&payload).unwrap());
}

#[test]
fn claims_that_the_issuer_may_add_later_are_accepted() {
    let forge = Forge::new();
    for (claim, value) in [
        ("unknown", json!({ "nested": [1, 2.5, true, null, "é\u{1F600}"] })),
        ("deep", serde_json::from_str(&nested(100)).unwrap()),
        ("iat", json!(NOW + 120)),
        ("exp", json!(253_402_300_799_u64)),
    ] {
        let token = forge.sign(&forge.header().to_string(), &with(claims(), claim, value));
        assert!(forge.verify(&token).is_ok(), "{claim}: {:?}", forge.verify(&token));
    }
}

#[test]
fn times_that_are_not_whole_seconds_up_to_the_year_9999_are_rejected() {
    let forge = Forge::new();
    let spelled = [
        r#""1800000060""#,
        "1800000060.0",
        "1800000060.5",
        "1.8e9",
        "18E8",
        "-1",
        "-0",
        "-1800000060",
        "null",
        "true",
        "[1800000060]",
        "{}",
        "18446744073709551616",
        "99999999999999999999999",
        "1e400",
        "-1e400",
        "18446744073709551615",
        "9007199254740993",
        "253402300800",
        "01800000060",
        "0x6b49d23c",
        "NaN",
        "Infinity",
        "",
    ];
    let mut table: Vec<Row> = Vec::new();
    for claim in ["exp", "iat"] {
        let number = claims()[claim].to_string();
        for spelled in spelled {
            let payload = claims()
                .to_string()
                .replace(&format!(r#""{claim}":{number}"#), &format!(r#""{claim}":{spelled}"#));
            assert_ne!(payload, claims().to_string());
            let is_json = serde_json::from_str::<Value>(&payload).is_ok();
            let expected = if is_json { CLAIM } else { PAYLOAD };
            table.push((
                format!("{claim} {spelled}"),
                forge.sign(&forge.header().to_string(), &payload),
                expected,
            ));
        }
        let missing = without(claims(), claim);
        table.push((format!("no {claim}"), forge.sign(&forge.header().to_string(), &missing), CLAIM));
    }
    for (claim, value, expected) in [
        ("exp", NOW, TokenError::Expired),
        ("exp", NOW - 1, TokenError::Expired),
        ("exp", 0, TokenError::Expired),
        ("iat", NOW + 121, TokenError::IssuedInFuture),
        ("iat", 253_402_300_799, TokenError::IssuedInFuture),
    ] {
        let payload = with(claims(), claim, json!(value));
        table.push((format!("{claim} {value}"), forge.sign(&forge.header().to_string(), &payload), expected));
    }
    assert_all_rejected(&forge, table);
}

#[test]
fn claims_that_are_missing_or_have_the_wrong_value_or_type_are_rejected() {
    let forge = Forge::new();
    let rows = [
        ("iss", json!("https://issuer.example.com/"), WrongIssuer),
        ("iss", json!("https://issuer.example.com.evil.com"), WrongIssuer),
        ("iss", json!("https://issuer.example"), WrongIssuer),
        ("iss", json!("HTTPS://issuer.example.com"), WrongIssuer),
        ("iss", json!("http://issuer.example.com"), WrongIssuer),
        ("iss", json!(""), WrongIssuer),
        ("iss", json!([ISSUER]), CLAIM),
        ("iss", json!(null), CLAIM),
        ("aud", json!("https://api.example.com.evil.com"), WrongAudience),
        ("aud", json!("https://api.example.com/"), WrongAudience),
        ("aud", json!("https://api.example.com/admin"), WrongAudience),
        ("aud", json!("https://api.example"), WrongAudience),
        ("aud", json!("HTTPS://API.EXAMPLE.COM"), WrongAudience),
        ("aud", json!(" https://api.example.com"), WrongAudience),
        ("aud", json!(""), WrongAudience),
        ("aud", json!(ISSUER), WrongAudience),
        ("aud", json!([AUDIENCE]), CLAIM),
        ("aud", json!([AUDIENCE, "https://other.example.com"]), CLAIM),
        ("aud", json!([]), CLAIM),
        ("aud", json!({ "0": AUDIENCE }), CLAIM),
        ("aud", json!(null), CLAIM),
        ("aud", json!(0), CLAIM),
        ("sub", json!(7), CLAIM),
        ("sub", json!(null), CLAIM),
        ("jti", json!(1), CLAIM),
        ("client_id", json!(["svc"]), CLAIM),
        ("scope", json!(["a"]), CLAIM),
        ("scope", json!(null), CLAIM),
        ("roles", json!("r"), CLAIM),
        ("roles", json!(["r", 1]), CLAIM),
        ("roles", json!({ "0": "r" }), CLAIM),
        ("roles", json!(null), CLAIM),
        ("operator", json!({}), CLAIM),
        ("brandKey", json!(null), CLAIM),
        ("brandKey", json!(["acme"]), CLAIM),
    ];
    let header = forge.header().to_string();
    let mut table: Vec<Row> = rows
        .into_iter()
        .map(|(name, value, expected)| {
            (format!("{name} {value}"), forge.sign(&header, &with(claims(), name, value)), expected)
        })
        .collect();
    for name in ["iss", "sub", "aud", "jti", "client_id", "roles"] {
        table.push((format!("no {name}"), forge.sign(&header, &without(claims(), name)), CLAIM));
    }
    assert_all_rejected(&forge, table);
}

#[test]
fn payloads_that_parsers_read_differently_are_rejected() {
    let forge = Forge::new();
    let (header, payload) = (forge.header().to_string(), claims().to_string());
    let before = |members: &str| payload.replacen('{', &format!("{{{members},"), 1).into_bytes();
    let in_order = json!([ISSUER, "svc", AUDIENCE, NOW + 60, NOW, "j", "svc", "a b", ["r"], null, "acme"]);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("sub twice", before(r#""sub":"admin""#)),
        ("exp twice, the same", before(&format!(r#""exp":{}"#, NOW + 60))),
        ("roles twice, once escaped", before(r#""rol\u0065s":["admin"]"#)),
        ("an unknown claim twice", before(r#""x":1,"x":2"#)),
        ("a nested member twice", before(r#""x":[{"y":1,"y":2}]"#)),
        ("the claims in order", in_order.to_string().into()),
        ("an array of the claims", format!("[{payload}]").into()),
        ("null", "null".into()),
        ("a string", json!(payload).to_string().into()),
        ("nothing", Vec::new()),
        ("an empty object", "{}".into()),
        ("two objects", format!("{payload}{payload}").into()),
        ("a byte order mark", format!("\u{feff}{payload}").into()),
        ("a trailing NUL", format!("{payload}\0").into()),
        ("a trailing comma", payload.replace('}', ",}").into()),
        ("a comment", format!("{payload}/**/").into()),
        ("UTF-16", payload.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (
            "bytes that are not UTF-8 in a claim",
            [&before(r#""x":""#)[..7], b"\xff\xfe", &before(r#"""#)[1..]].concat(),
        ),
        ("half a surrogate pair in a claim", before(r#""x":"\ud800""#)),
        ("a control character in a claim", before("\"x\":\"\n\"")),
        ("a number beyond every range", before(r#""x":1e999"#)),
        ("arrays 4500 deep", nested(4500).into()),
        ("arrays 4000 deep in a claim", before(&format!(r#""x":{}"#, nested(4000)))),
        (
            "objects 1000 deep in a claim",
            before(&format!(r#""x":{}1{}"#, r#"{"x":"#.repeat(1000), "}".repeat(1000))),
        ),
    ];
    let table = rows.into_iter().map(|(name, payload)| {
        let expected = if name == "an empty object" { CLAIM } else { PAYLOAD };
        (name.to_owned(), forge.sign_bytes(&header, &payload), expected)
    });
    assert_all_rejected(&forge, table);
}

#[test]
fn a_token_has_only_one_encoding() {
    let forge = Forge::new();
    // `~` and `?` produce the - and _ of base64url, and the lengths leave unused bits in each
    // segment.
    let header = format!(" {}", forge.header());
    let (header, payload) = (pad_to(&header, 1), pad_to(&with(claims(), "x", json!("~~~???>>>")), 1));
    let token = forge.sign(&header, &payload);
    assert!(forge.verify(&token).is_ok());
    let parts: Vec<&str> = token.split('.').collect();
    let errors = [BASE64_HEADER, BASE64_PAYLOAD, BASE64_SIGNATURE];
    let mut table: Vec<Row> = Vec::new();
    for (place, (part, expected)) in parts.iter().zip(errors).enumerate() {
        let bytes = BASE64URL.decode(part).unwrap();
        let last = part.chars().last().unwrap();
        // The two last characters differ only in their unused bits.
        let twin = char::from(u8::try_from(last).unwrap() + 1);
        for (name, spelled) in [
            ("padded", URL_SAFE.encode(&bytes)),
            ("half padded", format!("{part}=")),
            ("with unused bits set", format!("{}{twin}", &part[..part.len() - 1])),
            ("with a space", format!("{part} ")),
            ("with a newline", format!("{}\n{}", &part[..4], &part[4..])),
            ("percent-encoded", format!("%{:02X}{}", part.as_bytes()[0], &part[1..])),
            ("with a NUL", format!("{part}\0")),
            ("with a letter beyond ASCII", format!("{part}é")),
        ] {
            let mut respelled = parts.clone();
            respelled[place] = &spelled;
            table.push((format!("segment {place} {name}"), respelled.join("."), expected));
            // Even the issuer's signature over this encoding does not make it valid.
            if place < 2 {
                let signed = forge.sign_segments(respelled[0], respelled[1]);
                table.push((format!("segment {place} {name}, signed"), signed, expected));
            }
        }
    }
    let standard = STANDARD_NO_PAD.encode(&payload);
    assert!(standard.contains(['+', '/']));
    table.push(("the other alphabet".into(), forge.sign_segments(parts[0], &standard), BASE64_PAYLOAD));
    assert_all_rejected(&forge, table);
}

#[test]
fn only_the_compact_serialisation_is_accepted() {
    let forge = Forge::new();
    let token = forge.sign(&forge.header().to_string(), &claims().to_string());
    let parts: Vec<&str> = token.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let one = json!({ "protected": header, "signature": signature });
    let flattened = json!({ "payload": payload, "protected": header, "signature": signature });
    let general = json!({ "payload": payload, "signatures": [one] });
    let table: [(&str, String, TokenError); 21] = [
        ("nothing", String::new(), SEGMENTS),
        ("one segment", header.into(), SEGMENTS),
        ("two segments", format!("{header}.{payload}"), SEGMENTS),
        ("an empty signature", format!("{header}.{payload}."), Malformed("the signature is not 64 bytes")),
        ("an empty payload", format!("{header}..{signature}"), TokenError::BadSignature),
        ("an empty header", format!(".{payload}.{signature}"), HEADER),
        ("only dots", "..".into(), HEADER),
        ("an extra segment", format!("{token}.{signature}"), BASE64_PAYLOAD),
        ("an extra empty segment", format!("{token}."), BASE64_PAYLOAD),
        ("an empty segment before", format!(".{token}"), HEADER),
        (
            "five segments, as a JWE has",
            format!("{header}.{payload}.{signature}.{payload}.{signature}"),
            BASE64_PAYLOAD,
        ),
        ("a space before", format!(" {token}"), BASE64_HEADER),
        ("a newline after", format!("{token}\n"), BASE64_SIGNATURE),
        ("the scheme before", format!("Bearer {token}"), BASE64_HEADER),
        ("two tokens", format!("{token},{token}"), BASE64_PAYLOAD),
        ("in quotes", format!("\"{token}\""), BASE64_HEADER),
        ("the flattened JSON serialisation", flattened.to_string(), SEGMENTS),
        ("the general JSON serialisation", general.to_string(), SEGMENTS),
        ("an SD-JWT", format!("{token}~"), BASE64_SIGNATURE),
        (
            "1 MB in a claim",
            forge.sign(&forge.header().to_string(), &with(claims(), "x", json!("a".repeat(1 << 20)))),
            TOO_LONG,
        ),
        ("1 MB of dots", ".".repeat(1 << 20), TOO_LONG),
    ];
    assert_all_rejected(&forge, table.map(|(name, token, expected)| (name.to_owned(), token, expected)));
}

#[test]
fn a_token_of_the_maximum_size_is_accepted_and_a_longer_one_is_rejected() {
    let forge = Forge::new();
    let token_with_filling = |filling: usize| {
        let claims = with(claims(), "x", json!("a".repeat(filling)));
        forge.sign(&forge.header().to_string(), &claims)
    };
    // Three bytes of a claim are four characters of the token.
    let filling = (jws::MAX_TOKEN_BYTES - token_with_filling(0).len()) / 4 * 3;
    let longest = token_with_filling(filling);
    assert!((jws::MAX_TOKEN_BYTES - 3..=jws::MAX_TOKEN_BYTES).contains(&longest.len()), "{}", longest.len());
    assert!(forge.verify(&longest).is_ok());
    let too_long = format!("{longest:A<width$}", width = jws::MAX_TOKEN_BYTES + 1);
    assert_eq!(forge.verify(&too_long).err(), Some(TOO_LONG));
}

#[test]
fn a_verifier_needs_an_audience_and_keys() {
    let forge = Forge::new();
    let keys = || JwkSet::new(vec![forge.jwk.clone()]);
    let no_audience = Verifier::builder(ISSUER).keys(keys()).build();
    assert_eq!(no_audience.err(), Some(BuildError::NoAudience));
    let empty_audience = Verifier::builder(ISSUER).keys(keys()).audience("").build();
    assert_eq!(empty_audience.err(), Some(BuildError::NoAudience));
    let token = forge.sign(&forge.header().to_string(), &claims().to_string());
    let keyless = Verifier::builder(ISSUER).audience(AUDIENCE).keys(JwkSet::default()).build().unwrap();
    assert_eq!(keyless.verify_with(&token, &JwkSet::default()), Err(UnknownKey));
}

/// Appends spaces to the JSON text until its length modulo three is `rest`.
fn pad_to(json: &str, rest: usize) -> String {
    let mut padded = json.to_owned();
    while padded.len() % 3 != rest {
        padded.push(' ');
    }
    padded
}

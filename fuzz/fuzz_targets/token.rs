//! Three kinds of tokens for the verifier: any bytes; any header and payload, signed by the issuer;
//! and a valid token with changed bytes. The first byte of the input selects the kind.

#![no_main]

use std::sync::LazyLock;

use countersign_fuzz::{AUDIENCE, ISSUED, ISSUER, NOW};
use countersign_verify::{Verified, jws};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static GOOD: LazyLock<String> =
    LazyLock::new(|| ISSUED.sign(ISSUED.header().as_bytes(), ISSUED.payload().as_bytes()));

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind % 3 {
        0 => any_bytes(rest),
        1 => signed(rest),
        _ => changed(rest),
    }
});

/// Any bytes: without a signature nothing is accepted, and nothing panics.
fn any_bytes(bytes: &[u8]) {
    let token = String::from_utf8_lossy(bytes);
    assert!(verify(&token).is_none(), "accepted: {token}");
    let _ = jws::decode_unverified(&token);
}

/// Signed by the issuer: the claims of an accepted token are exactly those that were signed, with
/// all that a token needs. A line break separates header and payload; without one the header is the
/// issuer's own.
fn signed(bytes: &[u8]) {
    let own = ISSUED.header();
    let mut halves = bytes.splitn(2, |byte| *byte == b'\n');
    let (first, second) = (halves.next().unwrap_or_default(), halves.next());
    let (header, payload) = second.map_or((own.as_bytes(), first), |payload| (first, payload));
    let token = ISSUED.sign(header, payload);
    let Some(verified) = verify(&token) else { return };

    assert!(token.len() <= jws::MAX_TOKEN_BYTES);
    let header: Value = serde_json::from_slice(header).expect("an accepted header is JSON");
    let expected = serde_json::json!({ "alg": "ES256", "typ": "at+jwt", "kid": ISSUED.key.kid() });
    assert_eq!(header, expected);
    let payload: Value = serde_json::from_slice(payload).expect("an accepted payload is JSON");
    let claims = serde_json::to_value(&*verified).expect("claims are JSON");
    for (name, value) in claims.as_object().expect("claims are an object") {
        assert_eq!(payload.get(name), Some(value), "{name} differs from what was signed");
    }
    for name in ["scope", "operator", "brandKey"] {
        assert_eq!(payload.get(name).is_some(), claims.get(name).is_some(), "{name} was lost");
    }
    assert_eq!((verified.iss.as_str(), verified.aud.as_str()), (ISSUER, AUDIENCE));
    assert!(verified.exp > NOW && verified.iat <= NOW + 120);
}

/// Changes of a valid token, four bytes for each (position, kind, byte): only the token itself is
/// accepted.
fn changed(bytes: &[u8]) {
    let mut token = GOOD.as_bytes().to_vec();
    for change in bytes.chunks_exact(4) {
        let position = usize::from(u16::from_be_bytes([change[0], change[1]])) % token.len().max(1);
        match change[2] % 3 {
            0 if !token.is_empty() => token[position] = change[3],
            1 if !token.is_empty() => drop(token.remove(position)),
            _ => token.insert(position, change[3]),
        }
    }
    let Ok(token) = String::from_utf8(token) else { return };
    assert_eq!(verify(&token).is_some(), token == *GOOD, "{token}");
}

fn verify(token: &str) -> Option<Verified> {
    ISSUED.verifier.verify_with(token, &ISSUED.keys).ok()
}

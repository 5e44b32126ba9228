//! Two kinds of refresh tokens: any bytes, which are never accepted; and any payload that the
//! issuer signed, whose claims must be those that were signed. An access token is never accepted.
//! The first byte of the input selects the kind.

#![no_main]

use countersign_fuzz::ISSUED;
use countersign_issuer::fuzzing;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    if kind % 2 == 0 {
        assert!(fuzzing::refresh_token(&String::from_utf8_lossy(rest), &ISSUED.key).is_err());
        return;
    }
    let access_token = ISSUED.sign(ISSUED.header().as_bytes(), rest);
    assert!(fuzzing::refresh_token(&access_token, &ISSUED.key).is_err());
    // The signature of an access token under the form of a refresh token.
    let (_, signature) = access_token.rsplit_once('.').expect("three segments");
    let token = ISSUED.sign_refresh_token(rest);
    let (claims, _) = token.rsplit_once('.').expect("two segments");
    assert!(fuzzing::refresh_token(&format!("{claims}.{signature}"), &ISSUED.key).is_err());
    assert!(ISSUED.verifier.verify_with(&token, &ISSUED.keys).is_err());

    let Ok(claims) = fuzzing::refresh_token(&token, &ISSUED.key) else { return };
    // A member that is not ours may be a number or a text that no value can hold.
    let Ok(signed) = serde_json::from_slice::<Value>(rest) else { return };
    for (name, value) in claims.as_object().expect("claims are an object") {
        // The key that signed is among them whatever the payload says.
        if name == "keys" {
            continue;
        }
        assert_eq!(signed.get(name), Some(value), "{name} differs from what was signed");
    }
});

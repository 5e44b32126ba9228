//! Any text for a key set: parsing never panics, a parsed set survives a round trip, and it
//! verifies a token of the issuer only if it has the issuer's key.

#![no_main]

use std::sync::LazyLock;

use countersign_fuzz::ISSUED;
use countersign_verify::JwkSet;
use libfuzzer_sys::fuzz_target;

static GOOD: LazyLock<String> =
    LazyLock::new(|| ISSUED.sign(ISSUED.header().as_bytes(), ISSUED.payload().as_bytes()));

fuzz_target!(|text: &str| {
    let Ok(keys) = JwkSet::from_json(text) else { return };
    let written = serde_json::to_string(&keys).expect("a key set is JSON");
    assert_eq!(JwkSet::from_json(&written).as_ref(), Ok(&keys), "the round trip changed the set: {written}");

    let kid = ISSUED.key.kid();
    let accepted = ISSUED.verifier.verify_with(&GOOD, &keys).is_ok();
    let published =
        keys.find(kid).is_some_and(|key| key.uncompressed_point() == ISSUED.key.uncompressed_point());
    assert_eq!(accepted, published, "{written}");
});

//! Any bytes for HTTP Basic and for the credentials in it: the raw credentials are always among the
//! interpretations, and no interpretation is empty or too long.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_issuer::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(header) = std::str::from_utf8(input) {
        let _ = fuzzing::basic(header);
    }
    let Ok(read) = fuzzing::basic(&format!("Basic {}", STANDARD.encode(input))) else { return };
    let credentials = std::str::from_utf8(input).expect("credentials are UTF-8");
    let (id, secret) = credentials.split_once(':').expect("credentials have a colon");
    let raw = (id.to_owned(), secret.to_owned());
    assert!(read.contains(&raw) || id.len().max(secret.len()) > 1024, "{read:?}");
    assert!(read.len() <= 2);
    for (id, secret) in &read {
        assert!((1..=1024).contains(&id.len()) && (1..=1024).contains(&secret.len()));
        assert!(!id.chars().chain(secret.chars()).any(char::is_control));
    }
});

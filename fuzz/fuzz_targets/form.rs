//! Any bytes for a body: the parameters equal those of a second decoder, and none is repeated.

#![no_main]

use std::collections::HashMap;

use countersign_issuer::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(read) = fuzzing::form(body) else { return };
    assert!(read.len() <= 64);
    let plain: HashMap<String, String> =
        form_urlencoded::parse(body).into_owned().filter(|(_, value)| !value.is_empty()).collect();
    assert_eq!(read.len(), plain.len(), "a parameter is repeated or lost");
    for (name, value) in &read {
        assert_eq!(plain.get(name), Some(value), "{name}");
        // Client authentication refuses those of a credential.
        let is_credential = matches!(name.as_str(), "client_id" | "client_secret");
        assert!(!name.contains(char::is_control) && (is_credential || !value.contains(char::is_control)));
    }
});

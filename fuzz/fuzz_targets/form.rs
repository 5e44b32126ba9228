//! Any bytes for a body: what is read of it is what a second decoder reads, and no parameter is there twice.

#![no_main]

use std::collections::HashMap;

use countersign_issuer::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(read) = fuzzing::form(body) else { return };
    assert!(read.len() <= 64);
    let plain: HashMap<String, String> =
        form_urlencoded::parse(body).into_owned().filter(|(_, value)| !value.is_empty()).collect();
    assert_eq!(read.len(), plain.len(), "a parameter is there twice, or lost");
    for (name, value) in &read {
        assert_eq!(plain.get(name), Some(value), "{name}");
        assert!(!name.chars().chain(value.chars()).any(char::is_control));
    }
});

//! Any JSON as an event of the authorizer: it never panics.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(event) = serde_json::from_slice(data) {
        let _ = countersign_issuer::fuzzing::authorizer_event(event);
    }
});

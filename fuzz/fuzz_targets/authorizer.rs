//! Any JSON as an event for the authorizer: parsing it never panics.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(event) = serde_json::from_slice(data) {
        let _ = authorizer::parse_event(event);
    }
});

//! Any event from API Gateway or another caller of the function: reading credentials and parameters
//! never panics, and the address is the one that API Gateway saw.

#![no_main]

use countersign_issuer::fuzzing;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|event: &[u8]| {
    let Some(Ok((address, credentials, parameters))) = fuzzing::event(event) else { return };
    assert!((1..=2).contains(&credentials.len()) && parameters.len() <= 64);
    for (name, value) in credentials.iter().chain(&parameters) {
        assert!(!name.is_empty() || !value.is_empty());
        assert!(!name.chars().chain(value.chars()).any(char::is_control));
    }
    if let Some(address) = address {
        // Skipped parts of an event may hold what `Value` rejects: a number out of range, half a
        // surrogate pair.
        let Ok(event) = serde_json::from_slice::<Value>(event) else { return };
        let context = &event["requestContext"];
        let seen = [&context["http"]["sourceIp"], &context["identity"]["sourceIp"]];
        let is_seen = |seen: &&Value| seen.as_str().is_some_and(|seen| seen.parse() == Ok(address.0));
        assert!(seen.iter().any(is_seen), "{}", address.0);
    }
});

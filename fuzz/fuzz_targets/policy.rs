//! Any path and any policy (the first line is the path, the rest the policy): no panic, no caller
//! passes without the rights that the rule requires, and no other spelling of a strict rule's path
//! matches a looser rule.

#![no_main]

use std::sync::LazyLock;

use countersign_verify::Claims;
use countersign_verify::policy::Policy;
use libfuzzer_sys::fuzz_target;

static STRICT: LazyLock<Policy> = LazyLock::new(|| {
    let rules = "[[rule]]\nmethods = ['GET']\npath = '/files/{name}'\n\
                 [[rule]]\nmethods = ['GET']\npath = '/files/secret'\nroles = ['admin']\n";
    Policy::from_toml(rules).expect("this is a policy")
});

static CALLER_WITHOUT_RIGHTS: LazyLock<Claims> = LazyLock::new(|| {
    let claims = r#"{"iss":"i","sub":"s","aud":"a","exp":1,"iat":1,"jti":"j","client_id":"s","roles":[]}"#;
    serde_json::from_str(claims).expect("these are claims")
});

/// Normalizes a path as a careless server does: decoded, in lower case, without slashes at the end.
fn normalize(path: &str) -> Vec<u8> {
    let (mut read, mut bytes) = (Vec::new(), path.bytes());
    while let Some(byte) = bytes.next() {
        let mut hex = || char::from(bytes.next()?).to_digit(16);
        let byte = if byte == b'%' { hex().zip(hex()).map_or(0, |(a, b)| (a * 16 + b) as u8) } else { byte };
        read.push(byte.to_ascii_lowercase());
    }
    while read.ends_with(b"/") {
        read.pop();
    }
    read
}

fuzz_target!(|input: &str| {
    let (path, text) = input.split_once('\n').unwrap_or((input, ""));
    if let Ok(policy) = Policy::from_toml(text)
        && let Ok(rule) = policy.decide("GET", path, &CALLER_WITHOUT_RIGHTS)
    {
        assert!(rule.permits(&CALLER_WITHOUT_RIGHTS) && rule.methods().iter().any(|method| method == "GET"));
    }
    if STRICT.decide("GET", path, &CALLER_WITHOUT_RIGHTS).is_ok() {
        assert_ne!(normalize(path), b"/files/secret", "{path}");
    }
});

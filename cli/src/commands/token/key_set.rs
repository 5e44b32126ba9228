//! The file with a JWKS. Anything else is refused by the name of what it is.

use std::path::Path;

use countersign_verify::JwkSet;
use serde_json::Value;

use crate::outcome::{AnyError, Invalid, Outcome, with_remedy};
use crate::text_input::read_file;

const FETCH: &str = "Save the JWKS: curl https://ISSUER/.well-known/jwks.json > jwks.json";

/// Reads the key set of a verifier.
pub(super) fn read(path: &Path) -> Outcome<JwkSet> {
    let name = path.display().to_string();
    if name.starts_with("https://") || name.starts_with("http://") {
        let error = Invalid(format!("--jwks takes a file and not a URL: {name}"));
        return Err(with_remedy(error, Some(format!("Save the JWKS: curl {name} > jwks.json"))));
    }
    let text = read_file(path).map_err(|error| with_remedy(error, Some(FETCH.into())))?;
    let refused = |problem: &str| -> AnyError {
        with_remedy(Invalid(format!("{name}: {problem}")), Some(FETCH.into()))
    };
    let Ok(json) = serde_json::from_str::<Value>(&text) else {
        return Err(refused(not_json(text.trim())));
    };
    if let Some(problem) = not_a_key_set(&json) {
        return Err(refused(&problem));
    }
    let keys = JwkSet::from_json(&text).map_err(|error| refused(&error.to_string()))?;
    if keys.is_empty() {
        return Err(refused(&unusable(&json)));
    }
    Ok(keys)
}

/// Names a file that is not JSON.
fn not_json(text: &str) -> &'static str {
    if text.is_empty() {
        "the file is empty"
    } else if text.starts_with('<') {
        "this is an HTML or XML page, not a JWKS: another server answered, or a wrong path"
    } else if text.contains("PRIVATE KEY-----") {
        "this is a private key. Verifying needs the public keys alone; keep the private one to yourself"
    } else if text.contains("-----BEGIN ") {
        "this is a key or a certificate in PEM, not a JWKS"
    } else if text.starts_with("HTTP/") {
        "the file begins with the headers of the response: save the body alone, without curl's -i"
    } else if text.split('.').count() == 3 && !text.contains(char::is_whitespace) {
        "this is a token, not a JWKS: the token belongs on standard input"
    } else {
        "this is not JSON, and so no JWKS"
    }
}

/// Names JSON that is no key set, or one with a private key.
fn not_a_key_set(json: &Value) -> Option<String> {
    let has = |name: &str| json.get(name).is_some();
    let keys = json["keys"].as_array().map_or(&[][..], Vec::as_slice);
    if keys.iter().chain([json]).any(|key| key.get("d").is_some() || key.get("k").is_some()) {
        return Some(
            "it has a private or symmetric key (member d or k). Verifying needs public keys alone; a private key that \
             was passed on is compromised"
                .into(),
        );
    }
    if json["keys"].is_array() {
        return None;
    }
    Some(if let Some(url) = json["jwks_uri"].as_str() {
        format!("this is the issuer's metadata, not a JWKS; its JWKS is at {url}")
    } else if has("kty") {
        "this is one JWK, not a JWKS, which is {\"keys\": [JWK, …]}".into()
    } else if has("access_token") {
        "this is a token response, not a JWKS: the token belongs on standard input".into()
    } else {
        "this is JSON, but no JWKS, which is an object with the array `keys`".into()
    })
}

/// Says why no key of a set is usable.
fn unusable(json: &Value) -> String {
    let keys = json["keys"].as_array().map_or(&[][..], Vec::as_slice);
    if keys.is_empty() {
        return "the JWKS has no keys".into();
    }
    let kind = |key: &Value| {
        let words = ["kty", "crv", "alg", "use"].map(|name| key[name].as_str());
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let kinds: Vec<String> = keys.iter().map(kind).collect();
    format!("no key verifies ES256, which is EC P-256 with a kid: it has {}", kinds.join(", "))
}

//! The difference between a rejected token and what was expected, from claims that are not
//! verified.

use std::time::Duration;

use countersign_verify::{JwkSet, Timestamp, TokenError, jws};
use serde_json::{Value, json};

use crate::output::{Output, text};

/// The expectations of a token.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: Option<&'a str>,
    pub(super) keys: &'a JwkSet,
    pub(super) now: Timestamp,
}

/// One member of a token that differs.
struct Difference {
    name: &'static str,
    token: String,
    expected: String,
    remark: Option<&'static str>,
}

/// The reason why a token is rejected, with everything that differs.
pub(super) struct Diagnosis {
    problem: String,
    remedy: Option<&'static str>,
    differences: Vec<Difference>,
}

impl Diagnosis {
    /// A token that cannot even be read.
    pub(super) fn unreadable(problem: String) -> Self {
        Self { problem, remedy: None, differences: Vec::new() }
    }

    /// Compares a rejected token with what was expected. The verifier names the first fault alone,
    /// and a person needs all of them: another issuer explains an unknown key.
    pub(super) fn new(token: &str, error: TokenError, expected: &Expected<'_>, output: &Output) -> Self {
        let (header, claims) = jws::decode_unverified(token).unwrap_or_default();
        let mut differences = Vec::new();
        let mut differ = |name, token: &Value, wanted: String, remark| {
            differences.push(Difference { name, token: text(token), expected: wanted, remark });
        };
        if !claims.is_object() {
            return Self::unreadable(error.to_string());
        }
        if header["alg"] != "ES256" {
            differ("alg", &header["alg"], "ES256".into(), None);
        }
        if header["typ"] != "at+jwt" && header["typ"] != "JWT" {
            differ("typ", &header["typ"], "at+jwt or JWT".into(), None);
        }
        if error == TokenError::UnknownKey {
            differ("kid", &header["kid"], kids(expected.keys).join(" "), None);
        }
        if claims["iss"] != expected.issuer {
            differ("iss", &claims["iss"], expected.issuer.into(), near(&claims["iss"], expected.issuer));
        }
        if let Some(audience) = expected.audience
            && claims["aud"] != audience
        {
            differ("aud", &claims["aud"], audience.into(), near(&claims["aud"], audience));
        }
        let time = |name: &str| claims[name].as_u64().map(Timestamp::from_seconds);
        if let Some(exp) = time("exp").filter(|exp| *exp <= expected.now) {
            differ("exp", &output.time(exp).into(), format!("after {}", output.time(expected.now)), None);
        }
        let skew = Duration::from_secs(120);
        if let Some(iat) = time("iat").filter(|iat| *iat > expected.now.plus(skew)) {
            let remark = Some("this machine's clock is behind, or the issuer's is ahead");
            differ("iat", &output.time(iat).into(), format!("before {}", output.time(expected.now)), remark);
        }
        let problem = match kind(&header, &claims) {
            Some(kind) => format!("{error}; {kind}"),
            None => error.to_string(),
        };
        Self { problem, remedy: remedy(error), differences }
    }

    /// For a program.
    pub(super) fn as_json(&self) -> Value {
        let differences = self.differences.iter().map(|one| {
            json!({ "name": one.name, "token": one.token, "expected": one.expected, "remark": one.remark })
        });
        let differences: Vec<Value> = differences.collect();
        json!({ "valid": false, "problem": self.problem, "differences": differences })
    }

    /// For a person: the problem, and each difference over two lines or three.
    pub(super) fn message(&self) -> String {
        let mut lines = vec![format!("the token is not valid: {}", self.problem)];
        for Difference { name, token, expected, remark } in &self.differences {
            lines.push(format!("  {name:<4}  token     {token}"));
            lines.push(format!("        expected  {expected}"));
            lines.extend(remark.map(|remark| format!("        {remark}")));
        }
        lines.join("\n")
    }

    pub(super) fn remedy(&self) -> Option<String> {
        self.remedy.map(str::to_owned)
    }
}

fn kids(keys: &JwkSet) -> Vec<String> {
    let json = serde_json::to_value(keys).unwrap_or_default();
    let keys = json["keys"].as_array().into_iter().flatten();
    keys.filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()
}

/// Says in what two values differ that look the same.
fn near(token: &Value, expected: &str) -> Option<&'static str> {
    if let Some(items) = token.as_array() {
        let contains = items.iter().any(|item| item == expected);
        return contains.then_some("the token has several; an access token of Countersign has one");
    }
    let token = token.as_str()?;
    let without_slash = |text: &str| text.trim_end_matches('/').to_owned();
    let without_scheme = |text: &str| text.split_once("://").map_or("", |(_, rest)| rest).to_owned();
    if without_slash(token) == without_slash(expected) {
        Some("they differ in the slash at the end alone")
    } else if token.trim() == expected.trim() {
        Some("they differ in spaces alone")
    } else if token.eq_ignore_ascii_case(expected) {
        Some("they differ in upper and lower case alone")
    } else if !without_scheme(token).is_empty() && without_scheme(token) == without_scheme(expected) {
        Some("they differ in http and https alone")
    } else {
        None
    }
}

/// Names a JWT that is no access token.
fn kind(header: &Value, claims: &Value) -> Option<&'static str> {
    let is =
        |value: &Value, wanted: &str| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(wanted));
    let has = |name: &str| claims.get(name).is_some();
    let typ = header["typ"].as_str().unwrap_or_default().to_lowercase();
    if typ.contains("refresh") || is(&claims["typ"], "Refresh") || is(&claims["token_use"], "refresh") {
        return Some("this is a refresh token, and an API takes access tokens");
    }
    if typ.starts_with("dpop") {
        return Some("this is a DPoP proof, and an API takes access tokens");
    }
    if typ.contains("client-authentication") || (claims["iss"].is_string() && claims["iss"] == claims["sub"])
    {
        return Some("this is a client assertion, which a client sends to get a token");
    }
    let is_id_token = ["nonce", "at_hash", "c_hash"].iter().any(|name| has(name))
        || is(&claims["typ"], "ID")
        || is(&claims["token_use"], "id");
    is_id_token
        .then_some("this is an ID token, and an API takes access tokens; Countersign issues no ID tokens")
}

fn remedy(error: TokenError) -> Option<&'static str> {
    match error {
        TokenError::UnknownKey => Some(
            "Save the JWKS again: keys rotate. If it still lacks the kid, the token is another issuer's, or its key was \
             withdrawn.",
        ),
        TokenError::BadSignature => Some(
            "The token was changed or cut after it was signed, or the JWKS is that of another deployment with the same \
             kid.",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_look_the_same_are_told_apart() {
        let issuer = "https://issuer.example.com";
        for (token, remark) in [
            (json!("https://issuer.example.com/"), Some("slash")),
            (json!("https://issuer.example.com "), Some("spaces")),
            (json!("https://Issuer.example.com"), Some("case")),
            (json!("http://issuer.example.com"), Some("https")),
            (json!(["https://other.example.com", "https://issuer.example.com"]), Some("several")),
            (json!("https://other.example.com"), None),
            (json!(5), None),
        ] {
            let found = near(&token, issuer);
            assert_eq!(found.is_some(), remark.is_some(), "{token}");
            assert!(remark.is_none_or(|remark| found.unwrap().contains(remark)), "{token}");
        }
    }

    #[test]
    fn a_jwt_that_is_no_access_token_is_named() {
        for (header, claims, named) in [
            (json!({ "typ": "refresh+jwt" }), json!({}), "refresh token"),
            (json!({ "typ": "JWT" }), json!({ "typ": "Refresh" }), "refresh token"),
            (json!({ "typ": "JWT" }), json!({ "nonce": "n", "sub": "x" }), "ID token"),
            (json!({}), json!({ "token_use": "id" }), "ID token"),
            (json!({ "typ": "client-authentication+jwt" }), json!({}), "client assertion"),
            (json!({}), json!({ "iss": "billing", "sub": "billing" }), "client assertion"),
            (json!({ "typ": "dpop+jwt" }), json!({}), "DPoP"),
        ] {
            assert!(kind(&header, &claims).unwrap().contains(named), "{header} {claims}");
        }
        assert_eq!(kind(&json!({ "typ": "at+jwt" }), &json!({ "iss": "https://i", "sub": "x" })), None);
    }
}

//! Names of claims that a client's record adds to its tokens.

use http::Uri;
use serde::{Deserialize, Serialize};

/// The longest name that is a URL.
const MAX_URL_BYTES: usize = 255;

/// Names that a specification or this issuer gives a meaning, in lower case: a claim that a record adds must not pass
/// for one of them, in whatever letter case a verifier compares.
const RESERVED: [&str; 8] = [
    // RFC 7519
    "iss sub aud exp nbf iat jti",
    // RFC 8693
    "act scope client_id may_act",
    // RFC 7800
    "cnf",
    // RFC 9068
    "auth_time acr amr roles groups entitlements",
    // RFC 9396, RFC 9449
    "authorization_details htm htu ath nonce",
    // OpenID Connect
    "azp email",
    // RFC 7662: introspection puts the claims beside these.
    "active username token_type",
    // This issuer's, and those by which verifiers tell tokens apart.
    "operator brandkey typ token_use family generation status",
];

fn is_reserved(name: &str) -> bool {
    RESERVED.iter().flat_map(|names| names.split(' ')).any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// The name of a claim: a letter and up to 63 of `A-Z a-z 0-9 _ . : / -`, or an https URL, and not reserved. A record
/// with another name is broken, so that no claim of a token can be overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimName(String);

/// The reason why a text is no name for a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaimName {
    /// It breaks the rule for names.
    #[error("not a claim's name: a letter and up to 63 of A-Z a-z 0-9 _ . : / -, or an https URL")]
    Malformed,
    /// It has a meaning already.
    #[error("the claim {0:?} is reserved, in any letter case: choose another name, such as user_name")]
    Reserved(String),
}

impl ClaimName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, InvalidClaimName> {
        if !is_plain(text) && !is_https_url(text) {
            return Err(InvalidClaimName::Malformed);
        }
        if is_reserved(text) {
            return Err(InvalidClaimName::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClaimName {
    type Error = InvalidClaimName;

    fn try_from(text: String) -> Result<Self, InvalidClaimName> {
        Self::parse(&text)
    }
}

impl From<ClaimName> for String {
    fn from(name: ClaimName) -> Self {
        name.0
    }
}

fn is_plain(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(is_allowed)
}

fn is_https_url(text: &str) -> bool {
    let is_url =
        |url: &Uri| url.scheme_str() == Some("https") && url.host().is_some_and(|host| !host.is_empty());
    text.len() <= MAX_URL_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
        && text.parse::<Uri>().is_ok_and(|url| is_url(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_form_of_claims_and_is_not_reserved_in_any_letter_case() {
        let long = format!("u{}", "n".repeat(63));
        for name in [
            "user_name",
            "preferred_username",
            "upn",
            "a",
            "x:y/z-1.2",
            &long,
            "https://acme.example/~user?n=1",
        ] {
            assert_eq!(ClaimName::parse(name).map(String::from).as_deref(), Ok(name));
        }
        let too_long = format!("{long}n");
        let long_url = format!("https://acme.example/{}", "n".repeat(MAX_URL_BYTES));
        for malformed in [
            "",
            "1st",
            "_user",
            "user name",
            "user\"",
            "näme",
            &too_long,
            "http://a.example/~n",
            "https:///~n",
            &long_url,
        ] {
            assert_eq!(ClaimName::parse(malformed), Err(InvalidClaimName::Malformed), "{malformed:?}");
        }
        for reserved in RESERVED.join(" ").split(' ') {
            let upper = reserved.to_uppercase();
            for name in [reserved, &upper, "brandKey"] {
                let refused = ClaimName::parse(name);
                assert_eq!(refused, Err(InvalidClaimName::Reserved(name.to_owned())), "{name}");
                assert!(serde_json::from_value::<ClaimName>(name.into()).is_err(), "{name}");
            }
        }
    }
}

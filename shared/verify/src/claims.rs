//! The claims of an access token (RFC 9068 section 2.2).

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// 9999-12-31T23:59:59Z, the last second that a date can express (RFC 3339 section 1). Arithmetic
/// with a larger claim may overflow, and a parser that reads every number as a float reads a
/// different value (RFC 8259 section 6).
const LAST_SECOND: u64 = 253_402_300_799;

/// The rule of [`is_scope_token`] in words, for error messages.
pub const SCOPE_RULE: &str = "printable ASCII characters without space, '\"' and '\\'";
/// The rule of [`is_role`] in words, for error messages.
pub const ROLE_RULE: &str = "1 to 64 printable ASCII characters without space, '\"', '\\', '*' and '?'";

/// The claims of an access token. The issuer serialises this type, and a verifier deserialises it.
///
/// A value of this type alone proves nothing: only [`Verified`](crate::Verified) claims come from a
/// checked token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer's URL.
    pub iss: String,
    /// The stable id of the user or operator (`usr_…`, `opr_…`), or the client's id for
    /// `client_credentials`.
    pub sub: String,
    /// The one API that the token is meant for.
    pub aud: String,
    /// The expiry in seconds since the epoch. From this second on, the token is rejected.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: u64,
    /// The issue time in seconds since the epoch, rounded down.
    #[serde(deserialize_with = "numeric_date")]
    pub iat: u64,
    /// The token's id: 128 random bits in base64url.
    pub jti: String,
    /// The client that requested the token.
    pub client_id: String,
    /// Space-separated scopes (RFC 6749 section 3.3); absent if the client has none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub scope: Option<String>,
    /// The subject's roles; empty if it has none.
    pub roles: Vec<String>,
    /// The username of the operator who acts, or on whose behalf the client acts.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub operator: Option<String>,
    /// The brand that the token is restricted to.
    #[serde(
        rename = "brandKey",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "not_null"
    )]
    pub brand_key: Option<String>,
    /// The claims without a field above, such as the one in which the issuer puts the username for a
    /// client that is set so.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Claims {
    /// Returns true if `scope` is one of the token's scopes.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.as_deref().is_some_and(|granted| granted.split(' ').any(|one| one == scope))
    }

    /// Returns a claim that has no field in this type, by its name: `caller.claim("user_name")`.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.other.get(name)
    }

    /// Returns true if `role` is one of the subject's roles.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|one| one == role)
    }
}

/// Returns true if the text can be one scope:
/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 section 3.3).
pub fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// Returns true if the text can be one role: [`ROLE_RULE`].
pub fn is_role(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"\\*?".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Accepts a string; an absent claim is `None` by serde's default, and `null` is rejected.
fn not_null<'de, S: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<S>, D::Error> {
    S::deserialize(deserializer).map(Some)
}

/// Reads a whole number of seconds (RFC 7519 section 2, without the fractions that the issuer never
/// writes).
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    if seconds > LAST_SECOND {
        return Err(D::Error::custom("the time is after the last second that a date can express"));
    }
    Ok(seconds)
}

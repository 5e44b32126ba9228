//! The claims of an access token (RFC 9068 section 2.2).

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// 9999-12-31T23:59:59Z, the last second that dates can say (RFC 3339 section 1). Beyond it, whoever counts with a
/// claim overflows, and parsers for which every number is a float read another one (RFC 8259 section 6).
const LAST_SECOND: u64 = 253_402_300_799;

/// What an access token says. The issuer serialises this very type, over texts that it borrows; a verifier reads it
/// back, over texts of its own.
///
/// A value of this type alone proves nothing: only [`Verified`](crate::Verified) claims come from a checked token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims<S = String> {
    /// The issuer's URL.
    pub iss: S,
    /// The user's or operator's stable id (`usr_…`, `opr_…`), or the client's id for `client_credentials`.
    pub sub: S,
    /// The one API that the token is meant for.
    pub aud: S,
    /// Seconds since the epoch from which on the token is refused.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: u64,
    /// Seconds since the epoch at which it was minted, rounded down.
    #[serde(deserialize_with = "numeric_date")]
    pub iat: u64,
    /// 128 random bits in base64url.
    pub jti: S,
    /// The client that asked for the token.
    pub client_id: S,
    /// Space-separated scope (RFC 6749 section 3.3); absent where the client has none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub scope: Option<S>,
    /// What the subject may act as; empty where it has no roles.
    pub roles: Vec<S>,
    /// The username of the operator who acts, or is acted for.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    pub operator: Option<S>,
    /// The brand that the token is confined to.
    #[serde(
        rename = "brandKey",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "not_null"
    )]
    pub brand_key: Option<S>,
}

impl Claims {
    /// Whether `scope` is one of the token's scopes.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.as_deref().is_some_and(|granted| granted.split(' ').any(|one| one == scope))
    }

    /// Whether `role` is one of the subject's roles.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|one| one == role)
    }
}

/// An absent claim is `None`; `null` is no string and is refused.
fn not_null<'de, S: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<S>, D::Error> {
    S::deserialize(deserializer).map(Some)
}

/// A whole number of seconds (RFC 7519 section 2, without the fractions that the issuer never writes).
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    if seconds > LAST_SECOND {
        return Err(D::Error::custom("not a time that a date can say"));
    }
    Ok(seconds)
}

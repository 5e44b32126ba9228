//! What can go wrong with a request, in two types: [`OAuthError`] says it to the log, [`WireError`] to the caller.

use std::time::Duration;

use http::{Method, StatusCode};
use serde::Serialize;

use crate::random::RandomError;
use crate::store::table::StoreError;

/// Why a request got no token. `Display` is for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OAuthError {
    #[error("invalid request: {0}")]
    InvalidRequest(&'static str),
    #[error("client not authenticated: {0}")]
    InvalidClient(ClientRefusal),
    #[error("grant refused: {0}")]
    InvalidGrant(GrantRefusal),
    #[error("the grant is not in the client's list")]
    UnauthorizedClient,
    #[error("no such grant")]
    UnsupportedGrantType,
    #[error("scope refused: {0}")]
    InvalidScope(&'static str),
    #[error("the resource is not one of the client's audiences")]
    InvalidTarget,
    /// RFC 7009 section 2.2.1.
    #[error("access tokens cannot be revoked")]
    UnsupportedTokenType,
    #[error("method not allowed")]
    MethodNotAllowed { allowed: &'static [Method] },
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("nothing is served at this path")]
    NotFound,
    #[error("too many failures")]
    TooManyFailures { wait: Duration },
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
    #[error("defect: {0}")]
    Defect(String),
}

/// Why a client was not let in. The caller is told the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum ClientRefusal {
    #[error("no credentials")]
    NoCredentials,
    #[error("the Authorization header is not usable Basic credentials")]
    MalformedHeader,
    #[error("unknown client")]
    Unknown,
    #[error("wrong secret")]
    WrongSecret,
    #[error("the client is disabled")]
    Disabled,
}

/// Why a grant was refused. The caller is told the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantRefusal {
    #[error("unknown user or operator")]
    UnknownPrincipal,
    #[error("wrong password")]
    WrongPassword,
    #[error("the user or operator is disabled")]
    Disabled,
    #[error("the operator does not serve the brand")]
    OperatorOutsideBrand,
    #[error("the client may not act for the operator")]
    OperatorOutsideClient,
    #[error("the refresh token does not verify: {0}")]
    BadToken(countersign_verify::TokenError),
    #[error("the refresh token has expired")]
    Expired,
    #[error("the refresh token belongs to another client")]
    ForeignClient,
    #[error("the refresh token belongs to another brand")]
    ForeignBrand,
    #[error("the client may no longer have the original grant, brand or audience")]
    NoLongerAllowed,
    #[error("the session has been under a key that was withdrawn")]
    KeyWithdrawn,
    #[error("the session was ended")]
    SessionEnded,
    #[error("the refresh token was revoked")]
    Revoked,
    #[error("the refresh token was used before: its family is revoked")]
    Reused,
    #[error("a parallel retry of an older refresh token")]
    LateRetry,
    #[error("the refresh token's family is not on record")]
    UnknownFamily,
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            StoreError::Refused { .. } | StoreError::Corrupt { .. } => Self::Defect(error.to_string()),
        }
    }
}

impl From<RandomError> for OAuthError {
    fn from(error: RandomError) -> Self {
        Self::Defect(error.to_string())
    }
}

impl From<serde_json::Error> for OAuthError {
    fn from(error: serde_json::Error) -> Self {
        Self::Defect(format!("serialising: {error}"))
    }
}

/// What the caller is told (RFC 6749 section 5.2): fixed words only, nothing of the request and nothing of a fault.
#[derive(Debug, Serialize)]
pub(crate) struct WireError {
    #[serde(skip)]
    pub(crate) status: StatusCode,
    #[serde(skip)]
    pub(crate) allow: &'static [Method],
    /// Seconds.
    #[serde(skip)]
    pub(crate) retry_after: Option<u64>,
    pub(crate) error: &'static str,
    error_description: &'static str,
}

impl From<&OAuthError> for WireError {
    fn from(error: &OAuthError) -> Self {
        let (status, code, description) = match error {
            OAuthError::InvalidRequest(problem) => (400, "invalid_request", *problem),
            OAuthError::InvalidClient(_) => (401, "invalid_client", "client authentication failed"),
            OAuthError::InvalidGrant(_) => {
                (400, "invalid_grant", "the credentials or the refresh token are not valid")
            }
            OAuthError::UnauthorizedClient => {
                (400, "unauthorized_client", "the client may not use this grant type")
            }
            OAuthError::UnsupportedGrantType => {
                (400, "unsupported_grant_type", "the grant type is not one of those that this server knows")
            }
            OAuthError::InvalidScope(problem) => (400, "invalid_scope", *problem),
            OAuthError::InvalidTarget => {
                (400, "invalid_target", "the resource is not one that the client may name")
            }
            OAuthError::UnsupportedTokenType => {
                (400, "unsupported_token_type", "access tokens cannot be revoked; they expire")
            }
            OAuthError::MethodNotAllowed { .. } => (405, "invalid_request", "the method is not allowed here"),
            OAuthError::BodyTooLarge => (413, "invalid_request", "the body is larger than 16 KiB"),
            OAuthError::NotFound => (404, "invalid_request", "nothing is served at this path"),
            OAuthError::TooManyFailures { .. } => {
                (429, "temporarily_unavailable", "there were too many failures; wait before the next attempt")
            }
            OAuthError::Unavailable(_) => (503, "temporarily_unavailable", "try again in a moment"),
            OAuthError::Defect(_) => {
                (500, "server_error", "the server failed; the operator of this server can see why")
            }
        };
        let allow = if let OAuthError::MethodNotAllowed { allowed } = error { *allowed } else { &[] };
        let retry_after = match error {
            OAuthError::TooManyFailures { wait } => {
                Some(wait.as_millis().div_ceil(1000).try_into().unwrap_or(1))
            }
            OAuthError::Unavailable(_) => Some(1),
            _ => None,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, allow, retry_after, error: code, error_description: description }
    }
}

//! The errors of a request. `Display` is for the log; `http/error.rs` maps an error to what the caller reads.

use std::time::Duration;

use http::Method;

use crate::random::RandomError;
use crate::store::StoreError;

/// The reason why a request was refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OAuthError {
    #[error("invalid request: {0}")]
    InvalidRequest(&'static str),
    /// A parameter of the form. The name is a constant, never what the caller sent.
    #[error("invalid request: {name} {problem}")]
    InvalidParameter { name: &'static str, problem: &'static str },
    #[error("client not authenticated: {0}")]
    InvalidClient(ClientRefusal),
    #[error("grant refused: {0}")]
    InvalidGrant(GrantRefusal),
    /// The operator on whose behalf an authenticated client wants to act. No password is involved.
    #[error("operator refused: {0}")]
    OperatorRefused(GrantRefusal),
    #[error("the grant is not in the client's list")]
    UnauthorizedClient,
    #[error("no such grant")]
    UnsupportedGrantType,
    #[error("scope refused: {0}")]
    InvalidScope(&'static str),
    #[error("target refused: {0}")]
    InvalidTarget(&'static str),
    /// RFC 7009 section 2.2.1.
    #[error("access tokens cannot be revoked")]
    UnsupportedTokenType,
    #[error("method not allowed")]
    MethodNotAllowed { allowed: &'static [Method] },
    #[error("the body is too large")]
    BodyTooLarge,
    #[error("the body has a content coding")]
    EncodedBody,
    #[error("nothing is served at this path")]
    NotFound,
    #[error("the event cannot be read")]
    UnreadableEvent,
    #[error("too many failures")]
    TooManyFailures { wait: Duration },
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
    #[error("defect: {0}")]
    Defect(String),
}

/// The reason why a client was not authenticated. The caller reads one text for all of them but the first, which is
/// the same for every client. Ordered: a later reason knows more about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum ClientRefusal {
    /// There was nothing to compare with a secret. The problem is a text for the caller.
    #[error("{problem}{client}")]
    Unusable { problem: &'static str, client: NamedClient },
    #[error("unknown client")]
    Unknown,
    #[error("the client's record cannot be read")]
    BrokenRecord,
    #[error("wrong secret")]
    WrongSecret,
    #[error("the client is disabled")]
    Disabled,
}

/// The client that unusable credentials name. `Display` ends a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum NamedClient {
    #[error("")]
    NotNamed,
    #[error("; the client id was not looked up")]
    NotLookedUp,
    #[error("; the client id is unknown")]
    Unknown,
    /// The audit record names it.
    #[error("")]
    OnRecord,
}

/// The reason why a grant was refused. The caller reads one text for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantRefusal {
    #[error("unknown user or operator")]
    UnknownPrincipal,
    #[error("the record of the user or operator cannot be read")]
    BrokenRecord,
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
    #[error("the refresh token has expired by the client's refresh-ttl or refresh-idle")]
    ExpiredForClient,
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
            StoreError::MissingTable { .. } | StoreError::Refused { .. } | StoreError::Corrupt { .. } => {
                Self::Defect(error.to_string())
            }
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

//! The reasons for rejecting a token, and errors as text.

use std::error::Error;

/// The reason why a token is rejected. It is for the log: the caller gets `invalid_token` and
/// nothing more (RFC 6750 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is not a compact ES256 JWS with exactly the headers and claims that the issuer
    /// writes.
    #[error("{0}")]
    Malformed(&'static str),
    /// The `typ` header is not an accepted type. Example: a refresh token sent as an access token.
    #[error("typ is not an accepted token type")]
    WrongType,
    /// The key set has no usable key with the header's `kid`.
    #[error("no key in the set has this kid")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
    /// `iss` is another issuer.
    #[error("iss is another issuer")]
    WrongIssuer,
    /// `aud` is another audience.
    #[error("aud is another audience")]
    WrongAudience,
    /// `exp` is now or earlier.
    #[error("the token has expired")]
    Expired,
    /// `iat` is further in the future than two clocks may differ.
    #[error("iat is in the future")]
    IssuedInFuture,
    /// The issuer's key set cannot be fetched and none is cached. The token may be valid.
    #[error("the issuer's key set cannot be fetched")]
    KeysUnavailable,
}

/// Renders an error followed by its causes, separated by colons.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner(#[source] std::fmt::Error);

    #[test]
    fn an_error_is_rendered_with_all_of_its_causes() {
        assert_eq!(with_causes(&std::fmt::Error), std::fmt::Error.to_string());
        assert_eq!(with_causes(&Outer(Inner(std::fmt::Error))), format!("outer: inner: {}", std::fmt::Error));
    }
}

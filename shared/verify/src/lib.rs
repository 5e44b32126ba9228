//! Verifies Countersign access tokens ([RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)) offline, with nothing but the
//! issuer's published key set.
//!
//! With the feature `fetch` the key set comes from the issuer, and is kept as long as it says:
//!
//! ```
//! # #[cfg(feature = "fetch")] {
//! use countersign_verify::Verifier;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let verifier =
//!     Verifier::builder("https://issuer.example.com").audience("https://api.example.com").build()?;
//! // in a handler: let token = verifier.verify(token).await?;
//! # Ok(())
//! # }
//! # main().unwrap();
//! # }
//! ```
//!
//! A key set from a file or a string needs no network at all:
//!
//! ```
//! use countersign_verify::{JwkSet, Verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let published = r#"{"keys":[]}"#; // the body of GET {issuer}/.well-known/jwks.json
//! let keys = JwkSet::from_json(published)?;
//! let verifier = Verifier::builder("https://issuer.example.com")
//!     .audience("https://api.example.com")
//!     .keys(keys.clone())
//!     .build()?;
//!
//! let refused = verifier.verify_with("not.a.token", &keys).unwrap_err();
//! assert_eq!(refused.to_string(), "the header is not unpadded base64url");
//! # Ok(())
//! # }
//! ```
//!
//! What is accepted is what the issuer mints and nothing else: ES256, exactly the headers `alg`, `typ` and `kid`,
//! every required claim present once and of the right JSON type. The issuer builds its tokens from the [`Claims`]
//! of this crate, so the two cannot drift apart.
//!
//! Features, none of them on by default: `fetch` (the key set over HTTPS), `policy` (who may call what, from a TOML
//! file), `tower` (a layer that protects an axum router, or any tower service, by a policy).

#[cfg(all(feature = "fetch", feature = "tower"))]
mod basic_exchange;
mod claims;
#[cfg(feature = "fetch")]
mod http_client;
mod json;
mod jwk;
#[cfg(feature = "fetch")]
mod jwks_cache;
pub mod jws;
#[cfg(feature = "policy")]
pub mod policy;
mod time;
#[cfg(feature = "tower")]
pub mod tower;
mod verifier;

pub use claims::Claims;
pub use jwk::{InvalidJwk, Jwk, JwkSet};
pub use time::{Clock, Timestamp};
pub use verifier::{BuildError, Verified, Verifier, VerifierBuilder};

/// Why a token was refused. For the log: a caller is told `invalid_token` and nothing more (RFC 6750 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a compact ES256 JWS with exactly the headers and claims that the issuer writes.
    #[error("{0}")]
    Malformed(&'static str),
    /// The header's `typ` is not one of those expected, e.g. a refresh token shown as an access token.
    #[error("the typ header is not the one expected")]
    WrongType,
    /// No usable key with the header's `kid` in the key set.
    #[error("no key of the set has this kid")]
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
    /// `iat` lies further in the future than clocks may differ.
    #[error("iat is in the future")]
    IssuedInFuture,
    /// The issuer's key set could not be fetched, and none is held: nothing is known about the token.
    #[error("the issuer's key set could not be fetched")]
    KeysUnavailable,
}

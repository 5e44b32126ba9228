//! Verifies Countersign access tokens offline: JWTs in the profile of
//! [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068), signed with ES256.
//! The issuer's published key set is all that it needs.
//!
//! With the feature `fetch`, the verifier downloads the key set from the issuer and caches it for
//! as long as the response allows:
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
//! With a key set from a file or a string, it needs no network:
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
//! The verifier accepts exactly what the issuer mints: ES256, exactly the headers `alg`, `typ` and
//! `kid`, and every required claim present once and of the right JSON type. The issuer builds its
//! tokens from the [`Claims`] of this crate, so the two cannot drift apart.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `fetch`: downloads and caches the key set over HTTPS.
//! - `policy`: decides which routes a caller may use, from a TOML file.
//! - `tower`: a layer that protects an axum router, or any tower service, with a policy.

#[cfg(all(feature = "fetch", feature = "tower"))]
mod basic_exchange;
pub mod claims;
mod error;
mod generated_secret;
#[cfg(all(feature = "fetch", feature = "tower"))]
mod guess_limit;
#[cfg(feature = "fetch")]
mod http_client;
mod json;
mod jwk;
#[cfg(feature = "fetch")]
mod jwks_cache;
pub mod jws;
mod log_text;
mod network;
pub mod percent;
#[cfg(feature = "policy")]
pub mod policy;
mod time;
#[cfg(feature = "tower")]
pub mod tower;
mod verifier;

pub use claims::Claims;
pub use error::{TokenError, with_causes};
pub use generated_secret::{generated_secret, is_generated_secret};
#[cfg(feature = "fetch")]
pub use http_client::{HttpClient, HttpError, HttpLimits};
pub use jwk::{InvalidJwk, Jwk, JwkSet};
pub use log_text::{escape_for_log, log_text};
pub use network::network_of;
pub use time::{Clock, Timestamp};
pub use verifier::{BuildError, Verified, Verifier, VerifierBuilder};

/// The program of the README, compiled as a documentation test.
#[cfg(all(doctest, feature = "fetch", feature = "tower"))]
#[doc = include_str!("../README.md")]
struct Readme;

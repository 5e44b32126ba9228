//! Tokens: access tokens, refresh tokens and their families.

pub(crate) mod access;
pub(crate) mod families;
mod issuer_url;
pub(crate) mod refresh;

pub use issuer_url::IssuerUrl;

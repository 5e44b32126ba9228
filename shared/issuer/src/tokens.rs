//! Tokens: access tokens, refresh tokens and their families, and the rules for clients that follow
//! from them.

pub(crate) mod access;
mod client_rules;
pub(crate) mod families;
mod issuer_url;
pub(crate) mod refresh;

pub use client_rules::ClientRules;
pub use issuer_url::IssuerUrl;

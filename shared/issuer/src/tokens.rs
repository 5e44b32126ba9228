//! Tokens: access tokens, refresh tokens and their families.

pub(crate) mod access;
pub(crate) mod families;
pub(crate) mod refresh;

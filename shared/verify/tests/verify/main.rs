//! The crate's integration tests, in one binary, so that only one is linked.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

#[cfg(feature = "fetch")]
mod closed_port;
mod forge;

mod headers;
#[cfg(feature = "fetch")]
mod http_client;
#[cfg(feature = "fetch")]
mod jwks_cache;
mod key_sets;
#[cfg(all(feature = "fetch", feature = "tower"))]
mod layer;
#[cfg(feature = "policy")]
mod policy;
mod readme;
mod signatures;
mod tokens;
mod vectors;

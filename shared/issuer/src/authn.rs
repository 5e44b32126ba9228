//! Client authentication (RFC 6749 section 2.3), and the throttle on guesses at secrets and passwords.

pub(crate) mod client;
pub(crate) mod hashing_pool;
pub(crate) mod throttle;
mod verified_secrets;

pub use throttle::ThrottleLimits;

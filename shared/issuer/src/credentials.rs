//! Secrets and passwords: generated, hashed, verified and imported.

pub(crate) mod client_secret;
mod legacy;
pub(crate) mod password;
mod secret;
pub(crate) mod spring;

pub use client_secret::{ClientSecret, SECRET_NOTICE};
pub use legacy::LegacyHash;
pub(crate) use password::MAX_PASSWORD_BYTES;
pub use password::PasswordError;
pub use secret::Secret;
pub use spring::{SpringHash, SpringValue, SpringValueRefused};

//! Secrets and passwords: how they are generated, hashed and verified.

pub(crate) mod client_secret;
mod legacy;
pub(crate) mod password;
pub(crate) mod spring;

pub use client_secret::{ClientSecret, SECRET_NOTICE, Secret};
pub use legacy::LegacyHash;
pub use password::PasswordError;
pub use spring::{SpringHash, SpringValue, SpringValueRefused};

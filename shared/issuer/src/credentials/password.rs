//! Passwords: prepared as RFC 8265 says, kept as argon2id; imported hashes as they came.

use std::borrow::Cow;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;

use crate::credentials::spring;
use crate::random::{Random, RandomError};
use crate::request::form::MAX_VALUE_BYTES;

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane; about 15 ms.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A hash of nothing that anybody can type: verifying against it costs what verifying against a real one does, so
/// that an unknown name takes as long as a wrong password.
const STAND_IN: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y291bnRlcnNpZ24tbm9uZQ$6k7n5KQ0h3G5v1mS0pQe3m1m1cO0tX0m3oE8Xw2yq1A";

/// Why a password cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Empty, or with characters that RFC 8265 section 4.2 does not allow (control characters, for one).
    #[error(
        "a password, or a chosen secret, is not empty and has no control characters (RFC 8265 section 4.2)"
    )]
    NotAllowed,
    /// Longer than any that a request may carry.
    #[error("a password, or a chosen secret, has at most {MAX_VALUE_BYTES} bytes")]
    TooLong,
    /// No salt could be had.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// argon2 failed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
}

/// A password as it is hashed, if it may be one.
pub(crate) fn prepare(password: &str) -> Result<Cow<'_, str>, PasswordError> {
    if password.len() > MAX_VALUE_BYTES {
        return Err(PasswordError::TooLong);
    }
    OpaqueString::enforce(password).map_err(|_| PasswordError::NotAllowed)
}

/// The argon2id hash of a password, as a PHC string.
pub(crate) fn hash(password: &str, random: &Random) -> Result<String, PasswordError> {
    let prepared = prepare(password)?;
    let salt = random.bytes::<16>()?;
    let failed = |error: argon2::password_hash::Error| PasswordError::Hash(error.to_string());
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| PasswordError::Hash(error.to_string()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let phc: Phc = argon2.hash_password_with_salt(prepared.as_bytes(), &salt).map_err(failed)?;
    Ok(phc.to_string())
}

/// Whether `password` is the one that `hash` was made of.
pub(crate) fn verify(password: &str, hash: &str) -> bool {
    // What cannot be a password is still hashed, for the time it takes.
    let prepared = OpaqueString::enforce(password).unwrap_or_else(|_| password.into());
    if hash.starts_with('{') {
        return spring::verify(password, &prepared, hash);
    }
    Phc::new(hash).is_ok_and(|phc| Argon2::default().verify_password(prepared.as_bytes(), &phc).is_ok())
}

/// Takes the time that [`verify`] takes, for a name that does not exist.
pub(crate) fn verify_stand_in(password: &str) {
    let _ = verify(password, STAND_IN);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_has_the_parameters_of_a_real_hash() {
        let parameters = |phc: &str| phc.rsplitn(3, '$').nth(2).map(str::to_owned);
        let real = hash("any", &Random::system()).unwrap();
        assert_eq!(parameters(STAND_IN), parameters(&real));
        assert_eq!(STAND_IN.len(), real.len());
        assert!(Phc::new(STAND_IN).is_ok_and(|phc| phc.hash.is_some()));
    }
}

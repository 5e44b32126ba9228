//! Passwords: prepared by RFC 8265, stored as argon2id; imported hashes are stored unchanged.

use std::borrow::Cow;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use zeroize::Zeroizing;

use crate::credentials::spring;
use crate::random::{Random, RandomError};

/// The longest password, or chosen secret, in bytes.
pub(crate) const MAX_PASSWORD_BYTES: usize = 1024;
/// The shortest password, or chosen secret, that can be set, in characters (OWASP ASVS 5.0, 6.2.1).
const MIN_PASSWORD_CHARACTERS: usize = 8;
/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane; about 15 ms.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A hash that no password matches. Verifying against it costs the same as against a real one, so that an unknown
/// username takes as long as a wrong password.
pub(crate) const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y291bnRlcnNpZ24tbm9uZQ$6k7n5KQ0h3G5v1mS0pQe3m1m1cO0tX0m3oE8Xw2yq1A";

/// The reason why a password cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Empty, or with characters that RFC 8265 section 4.2 does not allow, such as control characters.
    #[error(
        "a password, or a chosen secret, is not empty and has no control characters (RFC 8265 section 4.2)"
    )]
    NotAllowed,
    /// Too easy to guess.
    #[error("a password, or a chosen secret, has at least {MIN_PASSWORD_CHARACTERS} characters")]
    TooShort,
    /// Longer than a request may carry.
    #[error("a password, or a chosen secret, has at most {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// There was no randomness for a salt.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// argon2 failed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
}

/// Prepares a password for hashing, if it is allowed (RFC 8265 section 4.2).
pub(crate) fn prepare(password: &str) -> Result<Cow<'_, str>, PasswordError> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::TooLong);
    }
    OpaqueString::enforce(password).map_err(|_| PasswordError::NotAllowed)
}

/// Reports whether a prepared password is too short to be set.
pub(crate) fn is_short(prepared: &str) -> bool {
    prepared.chars().count() < MIN_PASSWORD_CHARACTERS
}

/// Hashes a password that somebody sets.
pub(crate) fn hash_new(password: &str, random: &Random) -> Result<String, PasswordError> {
    if is_short(&prepare(password)?) {
        return Err(PasswordError::TooShort);
    }
    hash(password, random)
}

/// Hashes a password with argon2id, whatever its length. Returns a PHC string.
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

/// Reports whether `hash` was made from `password`.
pub(crate) fn verify(password: &str, hash: &str) -> bool {
    forms(password, hash).iter().any(|form| matches(form, hash))
}

/// The forms of a password that `hash` may have been made from; each costs one slow hash. Ours are made from the
/// prepared form alone. Spring hashed the password as it was typed. Another device may type it in another Unicode form
/// today, so the prepared one is tried too where it differs.
pub(crate) fn forms(password: &str, hash: &str) -> Vec<Zeroizing<String>> {
    // A text that cannot be a password is hashed too, so that it takes the same time.
    let prepared = OpaqueString::enforce(password).unwrap_or_else(|_| password.into());
    let mut forms = Vec::with_capacity(2);
    if hash.starts_with('{') && prepared != password {
        forms.push(Zeroizing::new(password.to_owned()));
    }
    forms.push(Zeroizing::new(prepared.into_owned()));
    forms
}

/// Reports whether `hash` was made from exactly this form.
pub(crate) fn matches(form: &str, hash: &str) -> bool {
    if hash.starts_with('{') {
        return spring::matches(form, hash);
    }
    Phc::new(hash).is_ok_and(|phc| Argon2::default().verify_password(form.as_bytes(), &phc).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dummy_hash_has_the_parameters_of_a_real_one() {
        let parameters = |phc: &str| phc.rsplitn(3, '$').nth(2).map(str::to_owned);
        let real = hash("any", &Random::system()).unwrap();
        assert_eq!(parameters(DUMMY_HASH), parameters(&real));
        assert_eq!(DUMMY_HASH.len(), real.len());
        assert!(Phc::new(DUMMY_HASH).is_ok_and(|phc| phc.hash.is_some()));
    }
}

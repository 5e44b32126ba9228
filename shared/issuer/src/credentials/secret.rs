//! Secrets in the clear: generated ones, and those that a person or a request presents.

use std::fmt;

use countersign_verify::{generated_secret, is_generated_secret};
use zeroize::Zeroizing;

use crate::random::{Random, RandomError};

/// A secret in the clear: on its way to the person who is shown it once, or from the one who presents it. Erased from
/// memory when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Generates a secret of 256 random bits. Its characters are the same form-encoded and unencoded, so that both
    /// interpretations of HTTP Basic agree (RFC 6749 section 2.3.1).
    pub fn generate(random: &Random) -> Result<Self, RandomError> {
        Ok(Self(Zeroizing::new(generated_secret(&random.bytes()?))))
    }

    /// Wraps a secret that was chosen by a person, generated elsewhere, or presented.
    pub fn from_string(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the secret itself, to show it once or to compare it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reports whether it has the form and the checksum of a generated secret, and therefore 256 random bits.
    pub(crate) fn is_generated(&self) -> bool {
        is_generated_secret(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_is_recognised_and_a_mistyped_one_is_not() {
        let secret = Secret::generate(&Random::system()).unwrap();
        assert!(secret.is_generated());
        assert!(secret.expose().chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
        let mut mistyped = secret.expose().to_owned();
        let last = if mistyped.pop() == Some('A') { 'B' } else { 'A' };
        mistyped.push(last);
        assert!(!Secret::from_string(mistyped).is_generated());
        assert!(!Secret::from_string("ü".repeat(27)).is_generated());
    }
}

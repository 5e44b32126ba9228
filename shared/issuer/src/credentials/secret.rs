//! Secrets in the clear: generated ones, and those that a person or a request presents.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::random::{Random, RandomError};

/// The prefix of every generated secret, by which secret scanners find it:
/// `csgn_[A-Za-z0-9_-]{49}`, the last six characters being a checksum of the rest.
const PREFIX: &str = "csgn_";
const RANDOM_BYTES: usize = 32;
const CHECKSUM_CHARS: usize = 6;

/// A secret in the clear: on its way to the person who is shown it once, or from the one who presents it. Erased from
/// memory when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Generates a secret of 256 random bits. Its characters are the same form-encoded and unencoded, so that both
    /// interpretations of HTTP Basic agree (RFC 6749 section 2.3.1).
    pub fn generate(random: &Random) -> Result<Self, RandomError> {
        let mut text = format!("{PREFIX}{}", BASE64URL.encode(random.bytes::<RANDOM_BYTES>()?));
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Ok(Self(Zeroizing::new(text)))
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
    pub(super) fn is_generated(&self) -> bool {
        let expected = PREFIX.len() + (RANDOM_BYTES * 8).div_ceil(6) + CHECKSUM_CHARS;
        self.0.len() == expected
            && self.0.starts_with(PREFIX)
            && self
                .0
                .split_at_checked(expected - CHECKSUM_CHARS)
                .is_some_and(|(body, sum)| checksum(body) == sum)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

fn checksum(body: &str) -> String {
    let mut sum = BASE64URL.encode(digest(&SHA256, body.as_bytes()));
    sum.truncate(CHECKSUM_CHARS);
    sum
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

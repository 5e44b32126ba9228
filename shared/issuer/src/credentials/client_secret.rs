//! Client secrets: the hash that is stored, and its verification.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::credentials::password::{self, PasswordError};
use crate::credentials::secret::Secret;
use crate::credentials::spring::{self, SpringValue};
use crate::random::Random;

/// The notice period: a secret that expires within it needs a successor, and `doctor` and the log say so.
pub const SECRET_NOTICE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A client's secret, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecret {
    /// Identifies the secret in lists and logs; derived from nothing.
    pub id: String,
    hash: SecretHash,
    /// The time at which it was added.
    pub created: Timestamp,
    /// The time from which it is refused; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl ClientSecret {
    /// Hashes `secret` for storage.
    pub fn new(
        secret: &Secret,
        created: Timestamp,
        expires: Option<Timestamp>,
        random: &Random,
    ) -> Result<Self, PasswordError> {
        let id = random.id()?[..8].to_owned();
        Ok(Self { id, hash: SecretHash::from_secret(secret, random)?, created, expires })
    }

    /// Prepares for storage a secret that Spring stored as `value`.
    pub fn imported(
        value: &SpringValue,
        created: Timestamp,
        expires: Option<Timestamp>,
        random: &Random,
    ) -> Result<Self, PasswordError> {
        let id = random.id()?[..8].to_owned();
        let hash = match value {
            SpringValue::Plain(secret) if secret.is_generated() => SecretHash(stored_digest(secret)),
            _ => SecretHash(value.to_stored(random)?),
        };
        Ok(Self { id, hash, created, expires })
    }

    /// Reports whether this was made from `value`.
    pub fn holds(&self, value: &SpringValue) -> bool {
        match value {
            SpringValue::Plain(secret) => {
                self.matches_digest(&stored_digest(secret))
                    || self.is_slow() && password::verify(secret.expose(), &self.hash.0)
            }
            _ => value.matches_stored(&self.hash.0),
        }
    }

    /// Reports whether the stored hash can be verified, and within the cost limits of a function.
    pub fn is_verifiable(&self) -> bool {
        let digest = self.hash.0.strip_prefix(SHA256_PREFIX);
        digest.map_or_else(|| spring::is_verifiable(&self.hash.0), |digest| digest.len() == 43)
    }

    /// Reports whether verifying it takes so long that a request is noticeably slow.
    pub fn is_costly(&self) -> bool {
        spring::is_costly(&self.hash.0)
    }

    /// Names the hash: `sha-256` (a generated secret), `argon2id` (a chosen one), or the id of Spring's encoder.
    pub fn scheme(&self) -> &str {
        let hash = &self.hash.0;
        match hash.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((id, _)) => id,
            None if hash.starts_with(SHA256_PREFIX) => "sha-256",
            None => "argon2id",
        }
    }

    /// Reports whether it is valid at `now` but expires within [`SECRET_NOTICE`].
    pub fn ends_soon(&self, now: Timestamp) -> bool {
        self.is_live(now) && self.expires.is_some_and(|expires| expires <= now.plus(SECRET_NOTICE))
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash.0
    }

    /// Reports whether verifying it takes a slow hash.
    pub(crate) fn is_slow(&self) -> bool {
        !self.hash.0.starts_with(SHA256_PREFIX)
    }

    /// Reports whether it is valid at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Compares the stored hash with the digest of a generated secret, in constant time.
    fn matches_digest(&self, digest: &str) -> bool {
        digest.as_bytes().ct_eq(self.hash.0.as_bytes()).into()
    }
}

/// SHA-256 of a generated secret, for which a slow hash would add nothing; argon2id of a chosen one; for an imported one
/// the hash that Spring stored, with its `{id}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct SecretHash(String);

const SHA256_PREFIX: &str = "sha256:";

impl SecretHash {
    fn from_secret(secret: &Secret, random: &Random) -> Result<Self, PasswordError> {
        if secret.is_generated() {
            Ok(Self(stored_digest(secret)))
        } else {
            Ok(Self(password::hash_new(secret.expose(), random)?))
        }
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

/// Finds the valid generated secret that equals `presented`. Constant-time comparison; always hashes, so that an unknown
/// client without secrets costs what a wrong secret does.
pub(crate) fn find_generated(presented: &Secret, secrets: &[ClientSecret], now: Timestamp) -> Option<usize> {
    let digest = stored_digest(presented);
    let mut found = None;
    for (at, secret) in secrets.iter().enumerate().filter(|(_, secret)| secret.is_live(now)) {
        if secret.matches_digest(&digest) {
            found = Some(at);
        }
    }
    found
}

fn stored_digest(presented: &Secret) -> String {
    let mut text = String::with_capacity(SHA256_PREFIX.len() + 43);
    text.push_str(SHA256_PREFIX);
    BASE64URL.encode_string(digest(&SHA256, presented.expose().as_bytes()), &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_neither_secret_nor_hash() {
        let random = Random::system();
        let secret = Secret::generate(&random).unwrap();
        let stored = ClientSecret::new(&secret, Timestamp::from_seconds(1), None, &random).unwrap();
        let shown = format!("{secret:?} {stored:?}");
        assert!(!shown.contains(secret.expose()) && !shown.contains(&stored_digest(&secret)[7..]), "{shown}");
    }
}

//! Client secrets: what is generated, and what is kept of it.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::credentials::password::{self, PasswordError};
use crate::credentials::spring::{self, SpringValue};
use crate::random::{Random, RandomError};

/// What every generated secret starts with, so that secret scanners find it:
/// `csgn_[A-Za-z0-9_-]{49}`, the last six characters being a checksum of the rest.
const PREFIX: &str = "csgn_";
const RANDOM_BYTES: usize = 32;
const CHECKSUM_CHARS: usize = 6;

/// A secret that ends within this time needs a successor: `doctor` and the log tell of it so long beforehand.
pub const SECRET_NOTICE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A secret in the clear, on its way to the one person who is shown it, or from the one who types it.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// 256 random bits. Only characters on which form decoding and plain reading agree (RFC 6749 section 2.3.1).
    pub fn generate(random: &Random) -> Result<Self, RandomError> {
        let mut text = format!("{PREFIX}{}", BASE64URL.encode(random.bytes::<RANDOM_BYTES>()?));
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Ok(Self(Zeroizing::new(text)))
    }

    /// A secret that somebody chose or generated elsewhere.
    pub fn given(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself: to be shown once, or compared.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this has the form and the checksum of a generated secret, and so its 256 bits.
    fn is_generated(&self) -> bool {
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

/// A client's secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecret {
    /// Names the secret in lists and logs; says nothing about it.
    pub id: String,
    hash: SecretHash,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is refused; never, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl ClientSecret {
    /// What to store of `secret`.
    pub fn of(
        secret: &Secret,
        created: Timestamp,
        expires: Option<Timestamp>,
        random: &Random,
    ) -> Result<Self, PasswordError> {
        let id = random.id()?[..8].to_owned();
        Ok(Self { id, hash: SecretHash::of(secret, random)?, created, expires })
    }

    /// What to store of a secret that Spring kept as `value`.
    pub fn imported(
        value: &SpringValue,
        created: Timestamp,
        expires: Option<Timestamp>,
        random: &Random,
    ) -> Result<Self, PasswordError> {
        if let SpringValue::Plain(secret) = value {
            return Self::of(secret, created, expires, random);
        }
        let id = random.id()?[..8].to_owned();
        Ok(Self { id, hash: SecretHash(value.seal(random)?), created, expires })
    }

    /// Whether this is what was stored of `value`.
    pub fn holds(&self, value: &SpringValue) -> bool {
        match value {
            SpringValue::Plain(secret) => {
                self.is_kept_as(&stored_digest(secret))
                    || self.is_slow() && password::verify(secret.expose(), &self.hash.0)
            }
            _ => value.is_sealed_as(&self.hash.0),
        }
    }

    /// Whether it is kept in a way that can be verified, at a cost that a function can bear.
    pub fn is_verifiable(&self) -> bool {
        let digest = self.hash.0.strip_prefix(SHA256_PREFIX);
        digest.map_or_else(|| spring::is_verifiable(&self.hash.0), |digest| digest.len() == 43)
    }

    /// How it is kept: `sha-256` (a generated one), `argon2id` (a chosen one), or the id of Spring's encoder.
    pub fn scheme(&self) -> &str {
        let hash = &self.hash.0;
        match hash.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((id, _)) => id,
            None if hash.starts_with(SHA256_PREFIX) => "sha-256",
            None => "argon2id",
        }
    }

    /// Whether it can be used at `now`, and no more after [`SECRET_NOTICE`].
    pub fn ends_soon(&self, now: Timestamp) -> bool {
        self.is_live(now) && self.expires.is_some_and(|expires| expires <= now.plus(SECRET_NOTICE))
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash.0
    }

    /// Whether verifying it takes a slow hash.
    pub(crate) fn is_slow(&self) -> bool {
        !self.hash.0.starts_with(SHA256_PREFIX)
    }

    /// Whether it may be used at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether it is the generated one with this digest.
    fn is_kept_as(&self, digest: &str) -> bool {
        digest.as_bytes().ct_eq(self.hash.0.as_bytes()).into()
    }
}

/// SHA-256 of a generated secret, where a slow hash would buy nothing; argon2id of a chosen one; of an imported one what
/// Spring kept, with its `{id}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct SecretHash(String);

const SHA256_PREFIX: &str = "sha256:";

impl SecretHash {
    fn of(secret: &Secret, random: &Random) -> Result<Self, PasswordError> {
        if secret.is_generated() {
            Ok(Self(stored_digest(secret)))
        } else {
            Ok(Self(password::hash(secret.expose(), random)?))
        }
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

/// Where among `secrets` the live generated one is that `presented` is, if it is one. Compared in constant time; an
/// unknown client, with none to compare, costs what a wrong one does.
pub(crate) fn position_of_generated(
    presented: &Secret,
    secrets: &[ClientSecret],
    now: Timestamp,
) -> Option<usize> {
    let digest = stored_digest(presented);
    let mut found = None;
    for (at, secret) in secrets.iter().enumerate().filter(|(_, secret)| secret.is_live(now)) {
        if secret.is_kept_as(&digest) {
            found = Some(at);
        }
    }
    found
}

/// Where among `secrets` the live chosen or imported one is that `presented` is, if it is one: a slow hash for each
/// that there is.
pub(crate) fn position_of_slow(
    presented: &Secret,
    secrets: &[ClientSecret],
    now: Timestamp,
) -> Option<usize> {
    secrets.iter().position(|secret| {
        secret.is_slow() && secret.is_live(now) && password::verify(presented.expose(), &secret.hash.0)
    })
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
    fn a_generated_secret_is_recognised_and_a_mistyped_one_is_not() {
        let secret = Secret::generate(&Random::system()).unwrap();
        assert!(secret.is_generated());
        assert!(secret.expose().chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
        let mut mistyped = secret.expose().to_owned();
        let last = if mistyped.pop() == Some('A') { 'B' } else { 'A' };
        mistyped.push(last);
        assert!(!Secret::given(mistyped).is_generated());
        assert!(!Secret::given("ü".repeat(27)).is_generated());
    }

    #[test]
    fn debug_output_holds_neither_secret_nor_hash() {
        let random = Random::system();
        let secret = Secret::generate(&random).unwrap();
        let stored = ClientSecret::of(&secret, Timestamp::from_seconds(1), None, &random).unwrap();
        let shown = format!("{secret:?} {stored:?}");
        assert!(!shown.contains(secret.expose()) && !shown.contains(&stored_digest(&secret)[7..]), "{shown}");
    }
}

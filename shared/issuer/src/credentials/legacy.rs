//! Spring's fast digests, which are stored as argon2id of themselves.

use md5::{Digest as _, Md5};
use ring::digest;

use super::spring::from_hex;

/// A fast digest of one round, or of 1024.
pub struct LegacyHash {
    kind: LegacyKind,
    /// In the form of Spring's text: `{…}` with its braces, hexadecimal for `sha256`, or empty.
    salt: String,
    /// In lower-case hexadecimal, as Spring compares it.
    pub(super) digest: String,
}

#[derive(Clone, Copy)]
pub(super) enum LegacyKind {
    Md5,
    Sha1,
    Sha256,
    /// `StandardPasswordEncoder`: 1024 rounds.
    Standard,
}

impl LegacyKind {
    pub(super) fn from_id(id: &str) -> Option<Self> {
        Some(match id {
            "MD5" => Self::Md5,
            "SHA-1" => Self::Sha1,
            "SHA-256" => Self::Sha256,
            "sha256" => Self::Standard,
            _ => return None,
        })
    }

    fn id(self) -> &'static str {
        self.label().trim_matches(['{', '}'])
    }

    /// The encoder's id in braces.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Md5 => "{MD5}",
            Self::Sha1 => "{SHA-1}",
            Self::Sha256 => "{SHA-256}",
            Self::Standard => "{sha256}",
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(data).to_vec(),
            Self::Sha1 => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().to_vec(),
            Self::Sha256 | Self::Standard => digest::digest(&digest::SHA256, data).as_ref().to_vec(),
        }
    }
}

impl LegacyHash {
    pub(super) fn parse(kind: LegacyKind, rest: &str) -> Option<Self> {
        let salt = match kind {
            LegacyKind::Standard => rest.get(..16)?,
            _ if rest.starts_with('{') => &rest[..=rest.find('}')?],
            _ => "",
        };
        let digest = &rest[salt.len()..];
        let is_lower_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let salt_is_fit = !matches!(kind, LegacyKind::Standard) || is_lower_hex(salt);
        // A `$` would end the salt early in the stored form.
        (digest.len() == 2 * kind.digest(b"").len()
            && is_lower_hex(digest)
            && salt_is_fit
            && !salt.contains('$'))
        .then(|| Self { kind, salt: salt.to_owned(), digest: digest.to_owned() })
    }

    /// The kind and salt of a stored hash, whose digest only survives as argon2id.
    pub(super) fn salted(kind: LegacyKind, salt: &str) -> Self {
        Self { kind, salt: salt.to_owned(), digest: String::new() }
    }

    /// The id of the encoder that made it.
    pub fn id(&self) -> &'static str {
        self.kind.id()
    }

    /// The stored text in front of the argon2id hash.
    pub(super) fn prefix(&self) -> String {
        format!("{{{}}}{}", self.id(), self.salt)
    }

    /// Computes the digest as Spring's encoder does, under this salt.
    pub(super) fn digest_of(&self, password: &[u8]) -> String {
        let mut digest = match self.kind {
            LegacyKind::Standard => [&from_hex(&self.salt).unwrap_or_default(), password].concat(),
            _ => [password, self.salt.as_bytes()].concat(),
        };
        let rounds = if matches!(self.kind, LegacyKind::Standard) { 1024 } else { 1 };
        for _ in 0..rounds {
            digest = self.kind.digest(&digest);
        }
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

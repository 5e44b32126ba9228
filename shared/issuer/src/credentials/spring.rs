//! Hashes by Spring Security's `DelegatingPasswordEncoder`: stored with their `{id}` and verified as its encoders do.
//! No such hash is created here.

use std::fmt;
use std::num::NonZeroU32;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Argon2, Params as Argon2Params, PasswordVerifier};
use base64::Engine;
use base64::alphabet::{Alphabet, BCRYPT};
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::pbkdf2;
use scrypt::Params as ScryptParams;
use subtle::ConstantTimeEq;

use crate::credentials::Secret;
use crate::credentials::legacy::{LegacyHash, LegacyKind};
use crate::credentials::password::{self, PasswordError};
use crate::random::Random;

/// The highest bcrypt cost: about a second of a whole vCPU.
const MAX_BCRYPT_COST: u32 = 14;
/// The highest bcrypt cost that fits into a login: about a quarter of a second of a whole vCPU.
const FITTING_BCRYPT_COST: u32 = 12;
/// The highest cost of argon2 (memory in KiB times passes) and scrypt (N times r times p) that fits. Spring's defaults
/// do.
const FITTING_MEMORY_COST: u64 = 1 << 19;
/// The most memory for scrypt and argon2: that of Spring's largest default (scrypt, 5.8).
const MAX_MEMORY_BYTES: usize = 64 << 20;
/// The most passes of argon2, and the most lanes of argon2 and scrypt: each costs as much as the first.
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 4;

/// The encoders of Spring Security's `PasswordEncoderFactories.createDelegatingPasswordEncoder`.
const ENCODERS: [&str; 14] = [
    "bcrypt",
    "ldap",
    "MD4",
    "MD5",
    "noop",
    "pbkdf2",
    "pbkdf2@SpringSecurity_v5_8",
    "scrypt",
    "scrypt@SpringSecurity_v5_8",
    "SHA-1",
    "SHA-256",
    "sha256",
    "argon2",
    "argon2@SpringSecurity_v5_8",
];

/// A value from a column in which Spring stores client secrets or passwords.
pub enum SpringValue {
    /// A hash that is stored unchanged.
    Hash(SpringHash),
    /// A hash that is too fast to store unchanged: it is stored as argon2id of itself.
    Legacy(LegacyHash),
    /// `{noop}`, or plain text: stored as a chosen secret is.
    Plain(Secret),
}

/// The reason why a value is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpringValueRefused {
    /// An unsupported encoder.
    #[error("{0}: hashes of this kind are not verified here")]
    UnknownId(&'static str),
    /// It starts like a hash but is malformed.
    #[error("{0}: not a hash as Spring writes it")]
    Malformed(&'static str),
    /// Verifying it would take a Lambda function too long, or too much memory.
    #[error("{0}: too costly to verify in a Lambda function ({1})")]
    TooCostly(&'static str, String),
}

impl SpringValue {
    /// Parses a column's value: `{id}…`, a bare bcrypt or argon2 hash, or plain text.
    pub fn parse(value: &str) -> Result<Self, SpringValueRefused> {
        if let Some((id, rest)) = split_id(value) {
            return match LegacyKind::from_id(id) {
                Some(kind) => {
                    let hash = LegacyHash::parse(kind, rest).map(Self::Legacy);
                    hash.ok_or(SpringValueRefused::Malformed(kind.label()))
                }
                None if id == "noop" => Ok(Self::Plain(Secret::from_string(rest.to_owned()))),
                None => SpringHash::parse(value).map(Self::Hash),
            };
        }
        if value.starts_with("$argon2") {
            return SpringHash::parse(&format!("{{argon2}}{value}")).map(Self::Hash);
        }
        if value.starts_with('$') {
            return SpringHash::parse(&format!("{{bcrypt}}{value}")).map(Self::Hash);
        }
        Ok(Self::Plain(Secret::from_string(value.to_owned())))
    }

    /// Reports whether a text starts like a hash, or with the `{id}` of an encoder; no name does.
    pub fn is_marked(text: &str) -> bool {
        let has_id = split_id(text).is_some_and(|(id, _)| ENCODERS.contains(&id));
        has_id || text.starts_with("$2") || text.starts_with("$argon2")
    }

    /// Rejects plain text that is not an allowed password. Of a hash the original is unknown, so it passes.
    pub fn check(&self) -> Result<(), PasswordError> {
        match self {
            Self::Plain(secret) => password::prepare(secret.expose()).map(|_| ()),
            Self::Hash(_) | Self::Legacy(_) => Ok(()),
        }
    }

    /// Reports whether it is plain text that is too short to be set as a password.
    pub fn is_short(&self) -> bool {
        match self {
            Self::Plain(secret) => {
                password::prepare(secret.expose()).is_ok_and(|text| password::is_short(&text))
            }
            Self::Hash(_) | Self::Legacy(_) => false,
        }
    }

    /// Reports whether verifying it takes so long that a login is noticeably slow.
    pub fn is_costly(&self) -> bool {
        matches!(self, Self::Hash(hash) if hash.scheme.is_costly())
    }

    /// Returns the form in which it is stored.
    pub(crate) fn to_stored(&self, random: &Random) -> Result<String, PasswordError> {
        match self {
            Self::Hash(hash) => Ok(hash.text.clone()),
            Self::Legacy(hash) => Ok(format!("{}{}", hash.prefix(), password::hash(&hash.digest, random)?)),
            Self::Plain(secret) => password::hash(secret.expose(), random),
        }
    }

    /// Reports whether `stored` was made from this value. Salted forms differ every time, so they are verified.
    pub(crate) fn matches_stored(&self, stored: &str) -> bool {
        match self {
            Self::Hash(hash) => hash.text == stored,
            Self::Legacy(hash) => {
                stored.strip_prefix(&hash.prefix()).is_some_and(|phc| password::verify(&hash.digest, phc))
            }
            Self::Plain(secret) => password::verify(secret.expose(), stored),
        }
    }
}

impl fmt::Debug for SpringValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpringValue")
    }
}

fn split_id(value: &str) -> Option<(&str, &str)> {
    value.strip_prefix('{')?.split_once('}')
}

/// A hash that is strong enough to be stored unchanged.
pub struct SpringHash {
    text: String,
    scheme: Scheme,
}

enum Scheme {
    Bcrypt { cost: u32, salt: [u8; 16], digest: Vec<u8> },
    Argon2(Box<Phc>),
    Scrypt { params: ScryptParams, cost: u64, salt: Vec<u8>, derived: Vec<u8> },
    Pbkdf2 { algorithm: pbkdf2::Algorithm, iterations: NonZeroU32, salt: Vec<u8>, derived: Vec<u8> },
    Legacy { hash: LegacyHash, phc: String },
}

impl Scheme {
    fn is_costly(&self) -> bool {
        match self {
            Self::Bcrypt { cost, .. } => *cost > FITTING_BCRYPT_COST,
            Self::Argon2(phc) => Argon2Params::try_from(phc.as_ref()).is_ok_and(|params| {
                u64::from(params.m_cost()) * u64::from(params.t_cost()) > FITTING_MEMORY_COST
            }),
            Self::Scrypt { cost, .. } => *cost > FITTING_MEMORY_COST,
            Self::Pbkdf2 { .. } | Self::Legacy { .. } => false,
        }
    }
}

impl SpringHash {
    /// Parses `{id}…` within the cost limits of a function.
    fn parse(text: &str) -> Result<Self, SpringValueRefused> {
        let (id, rest) = split_id(text).ok_or(SpringValueRefused::Malformed("no {id}"))?;
        let scheme = match id {
            "bcrypt" => parse_bcrypt(rest)?,
            "argon2" | "argon2@SpringSecurity_v5_8" => parse_argon2(rest)?,
            "scrypt" | "scrypt@SpringSecurity_v5_8" => parse_scrypt(rest)?,
            // The text names neither iterations nor algorithm: they are the encoder's defaults of that version.
            "pbkdf2" => parse_pbkdf2(rest, pbkdf2::PBKDF2_HMAC_SHA1, 8, 185_000)?,
            "pbkdf2@SpringSecurity_v5_8" => parse_pbkdf2(rest, pbkdf2::PBKDF2_HMAC_SHA256, 16, 310_000)?,
            "ldap" => return Err(SpringValueRefused::UnknownId("{ldap}")),
            "MD4" => return Err(SpringValueRefused::UnknownId("{MD4}")),
            _ => match LegacyKind::from_id(id) {
                Some(kind) => parse_wrapped(kind, rest).ok_or(SpringValueRefused::Malformed(kind.label()))?,
                // The error does not repeat it: it may be the start of a secret in plain text.
                None => return Err(SpringValueRefused::UnknownId("an unknown {id}")),
            },
        };
        Ok(Self { text: text.to_owned(), scheme })
    }

    fn matches(&self, password: &[u8]) -> bool {
        match &self.scheme {
            Scheme::Bcrypt { cost, salt, digest } => {
                bcrypt_digest(*cost, *salt, password).ct_eq(digest.as_slice()).into()
            }
            Scheme::Argon2(phc) => Argon2::default().verify_password(password, phc.as_ref()).is_ok(),
            Scheme::Scrypt { params, salt, derived, .. } => {
                let mut computed = vec![0; derived.len()];
                scrypt::scrypt(password, salt, params, &mut computed).is_ok()
                    && computed.ct_eq(derived).into()
            }
            Scheme::Pbkdf2 { algorithm, iterations, salt, derived } => {
                pbkdf2::verify(*algorithm, *iterations, salt, password, derived).is_ok()
            }
            Scheme::Legacy { hash, phc } => password::verify(&hash.digest_of(password), phc),
        }
    }
}

/// Reports whether `stored`, which starts with `{id}`, was made from this form of the password.
pub(crate) fn matches(form: &str, stored: &str) -> bool {
    SpringHash::parse(stored).is_ok_and(|hash| hash.matches(form.as_bytes()))
}

/// Reports whether `stored`, an argon2id hash of ours or one of Spring's, is within the cost limits of a function.
pub(crate) fn is_verifiable(stored: &str) -> bool {
    if stored.starts_with('{') { SpringHash::parse(stored).is_ok() } else { parse_argon2(stored).is_ok() }
}

/// Reports whether verifying `stored` takes so long that a login is noticeably slow.
pub(crate) fn is_costly(stored: &str) -> bool {
    if stored.starts_with('{') {
        return SpringHash::parse(stored).is_ok_and(|hash| hash.scheme.is_costly());
    }
    parse_argon2(stored).is_ok_and(|scheme| scheme.is_costly())
}

const fn unpadded(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config)
}

/// `$2a$10$` and 22 characters of salt, 31 of digest. `$2$` and `$2x$` are the results of two old bugs.
fn parse_bcrypt(text: &str) -> Result<Scheme, SpringValueRefused> {
    const BASE64: GeneralPurpose = unpadded(&BCRYPT);
    let parsed = || {
        let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|version| text.strip_prefix(version))?;
        let (cost, rest) = rest.split_once('$')?;
        let (salt, digest) = rest.split_at_checked(22)?;
        let salt: [u8; 16] = BASE64.decode(salt).ok()?.try_into().ok()?;
        let digest = BASE64.decode(digest).ok().filter(|digest| digest.len() == 23)?;
        let cost: u32 = cost.parse().ok().filter(|cost| (4..=31).contains(cost))?;
        Some((cost, salt, digest))
    };
    let (cost, salt, digest) = parsed().ok_or(SpringValueRefused::Malformed("bcrypt"))?;
    if cost > MAX_BCRYPT_COST {
        let bound = format!("cost {cost}; at most {MAX_BCRYPT_COST}");
        return Err(SpringValueRefused::TooCostly("bcrypt", bound));
    }
    Ok(Scheme::Bcrypt { cost, salt, digest })
}

/// bcrypt uses 72 bytes, including the final NUL. Spring refuses to hash longer passwords today, but still compares them
/// by their first 72 bytes, so that hashes from before that rule keep working.
fn bcrypt_digest(cost: u32, salt: [u8; 16], password: &[u8]) -> [u8; 23] {
    let mut key = password.to_vec();
    key.push(0);
    key.truncate(72);
    let mut digest = [0; 23];
    digest.copy_from_slice(&bcrypt::bcrypt(cost, salt, &key)[..23]);
    digest
}

fn parse_argon2(text: &str) -> Result<Scheme, SpringValueRefused> {
    let parsed = || {
        let phc = Phc::new(text).ok().filter(|phc| phc.version.is_some() && phc.hash.is_some())?;
        let params = Argon2Params::try_from(&phc).ok()?;
        Some((phc, params))
    };
    let (phc, params) = parsed().ok_or(SpringValueRefused::Malformed("argon2"))?;
    let memory = usize::try_from(params.m_cost()).unwrap_or(usize::MAX).saturating_mul(1024);
    if memory > MAX_MEMORY_BYTES || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
        let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
        let bound =
            format!("m={m},t={t},p={p}; at most m={},t={MAX_PASSES},p={MAX_LANES}", MAX_MEMORY_BYTES / 1024);
        return Err(SpringValueRefused::TooCostly("argon2", bound));
    }
    Ok(Scheme::Argon2(Box::new(phc)))
}

/// `$` and, in hexadecimal, log2 N, r and p in 16, 8 and 8 bits; then salt and derived key.
fn parse_scrypt(text: &str) -> Result<Scheme, SpringValueRefused> {
    let parsed = || {
        let mut parts = text.strip_prefix('$')?.split('$');
        let (Some(params), Some(salt), Some(derived), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let [_, log_n, r, p] = u32::from_str_radix(params, 16).ok()?.to_be_bytes();
        let derived = BASE64.decode(derived).ok().filter(|derived| (16..=128).contains(&derived.len()))?;
        Some((log_n, u32::from(r), u32::from(p), BASE64.decode(salt).ok()?, derived))
    };
    let malformed = SpringValueRefused::Malformed("scrypt");
    let (log_n, r, p, salt, derived) = parsed().ok_or_else(|| malformed.clone())?;
    let memory = 1_usize.checked_shl(log_n.into()).and_then(|n| n.checked_mul(128 * r as usize));
    if memory.is_none_or(|memory| memory > MAX_MEMORY_BYTES) || p > MAX_LANES {
        let bound = format!("N=2^{log_n},r={r},p={p}; at most {} MiB", MAX_MEMORY_BYTES >> 20);
        return Err(SpringValueRefused::TooCostly("scrypt", bound));
    }
    let cost = (u64::from(r) * u64::from(p)) << log_n;
    let params = ScryptParams::new(log_n, r, p).map_err(|_| malformed)?;
    Ok(Scheme::Scrypt { params, cost, salt, derived })
}

/// A salt and 256 derived bits in hexadecimal, as the encoders of both versions write them.
fn parse_pbkdf2(
    text: &str,
    algorithm: pbkdf2::Algorithm,
    salt_bytes: usize,
    iterations: u32,
) -> Result<Scheme, SpringValueRefused> {
    let parsed = || {
        let mut salt = from_hex(text).filter(|bytes| bytes.len() == salt_bytes + 32)?;
        let derived = salt.split_off(salt_bytes);
        Some(Scheme::Pbkdf2 { algorithm, iterations: NonZeroU32::new(iterations)?, salt, derived })
    };
    parsed().ok_or(SpringValueRefused::Malformed("pbkdf2"))
}

/// The stored form of a legacy hash: `{id}`, its salt, and argon2id of its digest.
fn parse_wrapped(kind: LegacyKind, rest: &str) -> Option<Scheme> {
    let (salt, _) = rest.split_at_checked(rest.find("$argon2id$")?)?;
    let phc = rest[salt.len()..].to_owned();
    parse_argon2(&phc).ok()?;
    Some(Scheme::Legacy { hash: LegacyHash::salted(kind, salt), phc })
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that Spring's own encoders made.
    fn vectors() -> impl Iterator<Item = (&'static str, &'static str)> {
        let lines = include_str!("../../../../tests/data/spring-hashes.tsv").lines();
        lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t'))
    }

    fn stored(value: &str) -> String {
        SpringValue::parse(value).unwrap().to_stored(&Random::system()).unwrap()
    }

    #[test]
    fn hashes_by_spring_are_verified_and_wrong_passwords_refused() {
        assert_eq!(vectors().count(), 41);
        for (typed, value) in vectors() {
            let hash = stored(value);
            assert!(password::verify(typed, &hash), "{typed} {value}");
            // bcrypt ignores what follows 72 bytes, so the wrong character stands in front.
            if typed != "s p a c e" && typed != "pä55wörd €" {
                assert!(!password::verify(&format!("!{typed}"), &hash), "{value}");
            }
            let read = SpringValue::parse(value).unwrap();
            assert!(read.matches_stored(&hash), "{value}");
            assert_eq!(matches!(read, SpringValue::Legacy(_)), hash != value, "{value}");
        }
    }

    #[test]
    fn bcrypt_compares_72_bytes_as_spring_does() {
        for (typed, value) in vectors().filter(|(typed, _)| typed.len() == 72) {
            let hash = stored(value);
            assert!(
                password::verify(&format!("{typed} and more"), &hash),
                "a hash from before the rule opens"
            );
            assert!(!password::verify(&typed[..70], &hash));
        }
        assert!(!password::verify(
            "",
            &stored("$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu")
        ));
    }

    #[test]
    fn a_legacy_digest_is_stored_as_argon2id_only() {
        for (_, value) in vectors().filter(|(_, value)| value.starts_with("{MD5}")) {
            let digest = value.rsplit('}').next().unwrap();
            let hash = stored(value);
            assert!(
                hash.starts_with("{MD5}{") && hash.contains("}$argon2id$") && !hash.contains(digest),
                "{hash}"
            );
            assert!(!password::verify(digest, &hash), "the digest is no password");
        }
        let plain = stored("{noop}a chosen one");
        assert!(plain.starts_with("$argon2id$") && password::verify("a chosen one", &plain));
    }

    #[test]
    fn costly_and_malformed_hashes_are_refused() {
        let digest = "kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu";
        for (value, said) in [
            (format!("{{bcrypt}}$2a$15${digest}"), "bcrypt: too costly to verify in a Lambda function (cost 15; at most 14)"),
            ("{scrypt}$140801$c2FsdHNhbHQ=$MhOTem5TYzq4nyU+8yrORb56TZ+JDk4djWIO+97UF6s=".into(), "N=2^20,r=8,p=1"),
            ("{scrypt}$ffffffff$c2FsdHNhbHQ=$MhOTem5TYzq4nyU+8yrORb56TZ+JDk4djWIO+97UF6s=".into(), "too costly"),
            ("{argon2}$argon2id$v=19$m=4194304,t=3,p=1$ckRK2l4CKTjtUlNukJt7ww$xv8rYamjr+ymz1kMpktvnLucMg7qGsJ9/+UHI50/6eI".into(), "m=4194304"),
            ("$argon2id$v=19$m=4096,t=999,p=1$ckRK2l4CKTjtUlNukJt7ww$xv8rYamjr+ymz1kMpktvnLucMg7qGsJ9/+UHI50/6eI".into(), "t=999"),
            (format!("$2x$04${digest}"), "bcrypt: not a hash"),
            (format!("$2a$04${}", &digest[1..]), "bcrypt: not a hash"),
            ("$1$salt$md5crypt".into(), "bcrypt: not a hash"),
            ("{pbkdf2}beef".into(), "pbkdf2: not a hash"),
            ("{MD5}zz".into(), "{MD5}: not a hash"),
            ("{sha256}é".into(), "{sha256}: not a hash"),
            ("{ldap}{SSHA}x".into(), "{ldap}: hashes of this kind"),
            ("{MD4}x".into(), "{MD4}: hashes of this kind"),
        ] {
            let refused = SpringValue::parse(&value).err().unwrap_or_else(|| unreachable!("{value}")).to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}

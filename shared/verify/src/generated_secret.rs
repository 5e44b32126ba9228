//! The form of the client secrets that the issuer generates.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::digest::{SHA256, digest};

/// The prefix of every generated secret, by which secret scanners find it:
/// `csgn_[A-Za-z0-9_-]{49}`, the last six characters being a checksum of the rest.
const PREFIX: &str = "csgn_";
const RANDOM_BYTES: usize = 32;
const CHECKSUM_CHARS: usize = 6;

/// Returns the secret that is made of 256 random bits.
pub fn generated_secret(random: &[u8; RANDOM_BYTES]) -> String {
    let mut text = format!("{PREFIX}{}", BASE64URL.encode(random));
    let checksum = checksum(&text);
    text.push_str(&checksum);
    text
}

/// Returns true if the secret has the form and the checksum of a generated one, and therefore 256
/// random bits: guesses at it need no limit.
pub fn is_generated_secret(secret: &str) -> bool {
    let expected = PREFIX.len() + (RANDOM_BYTES * 8).div_ceil(6) + CHECKSUM_CHARS;
    secret.len() == expected
        && secret.starts_with(PREFIX)
        && secret.split_at_checked(expected - CHECKSUM_CHARS).is_some_and(|(body, sum)| checksum(body) == sum)
}

fn checksum(body: &str) -> String {
    let mut sum = BASE64URL.encode(digest(&SHA256, body.as_bytes()));
    sum.truncate(CHECKSUM_CHARS);
    sum
}

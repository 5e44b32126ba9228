//! Brands: the part of a platform that a token is confined to.

use std::fmt;

/// In a record's list of brands: every brand.
pub const ANY_BRAND: &str = "*";

/// A brand's key: 1 to 64 of `A-Z a-z 0-9 . _ -`. Safe in a path, in a policy, and between the `#` of a principal's
/// key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrandKey(String);

/// The text is not a brand's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a brand's key: 1 to 64 of A-Z a-z 0-9 . _ -")]
pub struct InvalidBrandKey;

impl BrandKey {
    /// Parses a brand's key.
    pub fn parse(text: &str) -> Result<Self, InvalidBrandKey> {
        if is_brand_key(text) { Ok(Self(text.to_owned())) } else { Err(InvalidBrandKey) }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BrandKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn is_brand_key(value: &str) -> bool {
    (1..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Reports whether a record with these `brands` may use `brand`.
pub(crate) fn allows(brands: &[String], brand: &str) -> bool {
    is_brand_key(brand) && brands.iter().any(|allowed| allowed == brand || allowed == ANY_BRAND)
}

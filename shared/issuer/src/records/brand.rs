//! Brands: which one a token is confined to.

use std::borrow::Cow;

use crate::request::error::OAuthError;

/// In a client's list of brands: any brand.
pub const ANY_BRAND: &str = "*";

/// 1 to 64 of `A-Z a-z 0-9 . _ -`: safe in a path, in a policy and between the `#` of a principal's key.
pub(crate) fn is_brand_key(value: &str) -> bool {
    (1..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The brand of a token for a client with these `brands`, where `requested` is the request's `brandKey`.
pub(crate) fn choose<'a>(
    brands: &'a [String],
    requested: Option<Cow<'_, str>>,
) -> Result<Option<Cow<'a, str>>, OAuthError> {
    match (requested, brands) {
        (Some(brand), _) if allows(brands, &brand) => {
            let known = brands.iter().find(|known| **known == brand);
            Ok(Some(known.map_or_else(|| brand.into_owned().into(), Cow::from)))
        }
        (Some(_), _) => Err(OAuthError::InvalidRequest("brandKey is not one of the client's brands")),
        (None, []) => Ok(None),
        (None, [only]) if only != ANY_BRAND => Ok(Some(only.into())),
        (None, _) => {
            Err(OAuthError::InvalidRequest("brandKey is missing, and the client has several brands"))
        }
    }
}

/// Whether a client with these `brands` may use `brand`.
pub(crate) fn allows(brands: &[String], brand: &str) -> bool {
    is_brand_key(brand) && brands.iter().any(|allowed| allowed == brand || allowed == ANY_BRAND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brand_is_used_when_named_and_allowed_or_the_only_one() {
        let chosen = |brands: &[&str], requested: Option<&str>| {
            let brands: Vec<String> = brands.iter().map(|&brand| brand.into()).collect();
            choose(&brands, requested.map(Into::into)).ok().map(|chosen| chosen.map(Cow::into_owned))
        };
        assert_eq!(chosen(&["acme"], None), Some(Some("acme".into())));
        assert_eq!(chosen(&["acme", "globex"], Some("globex")), Some(Some("globex".into())));
        assert_eq!(chosen(&["*"], Some("any")), Some(Some("any".into())));
        assert_eq!(chosen(&[], None), Some(None));
        for (brands, requested) in [
            (&["acme", "globex"][..], None),
            (&["*"], None),
            (&["*"], Some("*")),
            (&["*"], Some("a#b")),
            (&["acme"], Some("globex")),
            (&[], Some("acme")),
        ] {
            assert_eq!(chosen(brands, requested), None, "{brands:?} {requested:?}");
        }
    }
}

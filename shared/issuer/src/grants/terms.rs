//! The terms of a grant beside its subject: brand, scope and audience, checked against the client.

use std::borrow::Cow;

use crate::context::RequestContext;
use crate::records::brand::{self, ANY_BRAND, BrandKey};
use crate::records::scope::Scope;
use crate::records::{Client, PrincipalKey};
use crate::request::error::OAuthError;
use crate::request::token_request::{BRAND_NOT_ALLOWED, RESOURCE_NOT_ALLOWED, TokenRequest};

/// The brand, scope and audience that a request is granted.
#[derive(Debug)]
pub(super) struct Terms<'client> {
    pub(super) brand_key: Option<Cow<'client, str>>,
    pub(super) scope: Scope,
    pub(super) audience: &'client str,
}

impl<'client> Terms<'client> {
    /// Checks what the request asks for against the client's record.
    pub(super) fn new(
        client: &'client Client,
        request: &TokenRequest,
        cx: &mut RequestContext,
    ) -> Result<Self, OAuthError> {
        let brand_key = choose_brand(&client.brands, request.brand.as_ref())?;
        cx.audit.brand_key = brand_key.as_deref().map(Into::into);
        let scope = match &request.scope {
            None => Scope::from_record(client.default_scopes()),
            Some(scope) if scope.is_within(&client.scopes) => scope.clone(),
            Some(_) => {
                return Err(OAuthError::InvalidScope("a scope is not one that the client may ask for"));
            }
        };
        let audience = match &request.resource {
            Some(resource) => {
                let known = client.audiences.iter().find(|audience| *audience == resource);
                known.ok_or(RESOURCE_NOT_ALLOWED)?
            }
            None => client
                .audiences
                .first()
                .ok_or_else(|| OAuthError::Defect(format!("client {} has no audience", client.client_id)))?,
        };
        Ok(Self { brand_key, scope, audience })
    }
}

/// Chooses the brand of a token: the requested one if the client has it, or the client's only one.
fn choose_brand<'client>(
    brands: &'client [String],
    requested: Option<&BrandKey>,
) -> Result<Option<Cow<'client, str>>, OAuthError> {
    match (requested.map(BrandKey::as_str), brands) {
        (Some(brand), _) if brand::allows(brands, brand) => {
            let known = brands.iter().find(|known| *known == brand);
            Ok(Some(known.map_or_else(|| brand.to_owned().into(), Cow::from)))
        }
        (Some(_), _) => Err(BRAND_NOT_ALLOWED),
        (None, []) => Ok(None),
        (None, [only]) if only != ANY_BRAND => Ok(Some(only.into())),
        (None, _) => {
            Err(OAuthError::InvalidRequest("brandKey is missing, and the client has several brands"))
        }
    }
}

/// The `operator` claim: an operator's username. A user has none.
pub(super) fn operator_claim<'any>(key: PrincipalKey) -> Option<Cow<'any, str>> {
    match key {
        PrincipalKey::User { .. } => None,
        PrincipalKey::Operator { username } => Some(username.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brand_is_used_when_requested_and_allowed_or_the_only_one() {
        let chosen = |brands: &[&str], requested: Option<&str>| {
            let brands: Vec<String> = brands.iter().map(|&brand| brand.into()).collect();
            let requested = requested.map(BrandKey::parse).transpose().map_err(|_| BRAND_NOT_ALLOWED);
            let chosen = requested
                .and_then(|requested| Ok(choose_brand(&brands, requested.as_ref())?.map(Cow::into_owned)));
            chosen.ok()
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

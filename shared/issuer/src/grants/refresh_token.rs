//! `refresh_token` (RFC 6749 section 6).

use countersign_verify::Timestamp;

use crate::grants::terms::operator_claim;
use crate::records::scope::Scope;
use crate::records::{Client, GrantType, Principal, PrincipalKey, brand};
use crate::request::error::{GrantRefusal, OAuthError};
use crate::request::token_request::{RESOURCE_NOT_ALLOWED, TokenRequest};
use crate::store::Table;
use crate::tokens::access::Authorization;
use crate::tokens::refresh::RefreshClaims;

/// Authorizes a verified refresh token. `successor` are the claims of the token that follows it.
pub(super) async fn authorize(
    principals: &Table<Principal>,
    client: &Client,
    used: &RefreshClaims,
    successor: RefreshClaims,
    request: &TokenRequest,
    now: Timestamp,
) -> Result<Authorization<'static>, OAuthError> {
    let (key, principal) = check_session(principals, client, used, now).await?;
    if request.brand.as_ref().is_some_and(|brand| Some(brand.as_str()) != used.brand_key.as_deref()) {
        return Err(OAuthError::InvalidGrant(GrantRefusal::ForeignBrand));
    }
    let scope = narrow_scope(client, used, request.scope.as_ref())?;
    if request.resource.as_ref().is_some_and(|resource| *resource != used.resource) {
        return Err(RESOURCE_NOT_ALLOWED);
    }
    Ok(Authorization {
        sub: principal.id.into(),
        roles: principal.roles.into(),
        username: Some(key.username().to_owned().into()),
        operator: operator_claim(key),
        brand_key: used.brand_key.clone().map(Into::into),
        scope,
        audience: used.resource.clone().into(),
        refresh: Some(successor),
    })
}

/// Checks a verified refresh token against the current records of its client and principal.
pub(super) async fn check_session(
    principals: &Table<Principal>,
    client: &Client,
    claims: &RefreshClaims,
    now: Timestamp,
) -> Result<(PrincipalKey, Principal), OAuthError> {
    let refused = |reason| Err(OAuthError::InvalidGrant(reason));
    if claims.client_id != client.client_id {
        return refused(GrantRefusal::ForeignClient);
    }
    if claims.expires(client) <= now.seconds() {
        return refused(GrantRefusal::ExpiredForClient);
    }
    let Some(key) = PrincipalKey::parse(&claims.principal) else {
        return refused(GrantRefusal::UnknownPrincipal);
    };
    let original_grant = match key {
        PrincipalKey::User { .. } => GrantType::Password,
        PrincipalKey::Operator { .. } => GrantType::OperatorPassword,
    };
    let brand_key = claims.brand_key.as_deref();
    if claims.client_created != client.created
        || !client.grant_types.contains(&GrantType::RefreshToken)
        || !client.grant_types.contains(&original_grant)
        || !brand_key.map_or(client.brands.is_empty(), |brand| brand::allows(&client.brands, brand))
        || !client.audiences.contains(&claims.resource)
    {
        return refused(GrantRefusal::NoLongerAllowed);
    }
    let Some(principal) = principals.get(&claims.principal).await? else {
        return refused(GrantRefusal::UnknownPrincipal);
    };
    if principal.id != claims.sub {
        return refused(GrantRefusal::UnknownPrincipal);
    }
    if !principal.enabled {
        return refused(GrantRefusal::Disabled);
    }
    if claims.sessions_valid_from != principal.sessions_valid_from {
        return refused(GrantRefusal::SessionEnded);
    }
    if !principal.serves(brand_key) {
        return refused(GrantRefusal::OperatorOutsideBrand);
    }
    Ok((key, principal))
}

/// Returns the access token's scope: the requested one, if it was granted at first and the client
/// still has it; otherwise the rest of the first grant.
///
/// Where nothing is left of what was granted, the request is refused: a token without any scope is
/// not what the user agreed to, and `scope` cannot state an empty scope (RFC 6749 section 3.3).
fn narrow_scope(
    client: &Client,
    claims: &RefreshClaims,
    requested: Option<&Scope>,
) -> Result<Scope, OAuthError> {
    let granted = match &claims.scope {
        Some(scope) => {
            Scope::parse(scope).map_err(|_| OAuthError::Defect("a granted scope is malformed".into()))?
        }
        None => Scope::default(),
    };
    match requested {
        None => {
            let left = granted.intersection(&client.scopes);
            if left.is_empty() && !granted.is_empty() {
                return Err(OAuthError::InvalidScope("no scope is left of those that were granted at first"));
            }
            Ok(left)
        }
        Some(scope) if scope.is_subset_of(&granted) && scope.is_within(&client.scopes) => Ok(scope.clone()),
        Some(_) => Err(OAuthError::InvalidScope("a scope is not one that was granted at first and still is")),
    }
}

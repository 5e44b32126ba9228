//! `refresh_token` (RFC 6749 section 6).

use super::{operator_claim, requested_scope};
use crate::Issuer;
use crate::audit_events as audit;
use crate::authn::client::AuthenticatedClient;
use crate::records::brand;
use crate::records::client::GrantType;
use crate::records::principal::{Principal, PrincipalKey};
use crate::records::scope::Scope;
use crate::request::error::{GrantRefusal, OAuthError};
use crate::request::form::Form;
use crate::tokens::access::Authorization;
use crate::tokens::families::Advance;
use crate::tokens::refresh::RefreshClaims;

pub(super) async fn authorize<'client>(
    issuer: &Issuer,
    client: &'client AuthenticatedClient,
    form: &mut Form<'_>,
) -> Result<Authorization<'client>, OAuthError> {
    let token = form.require("refresh_token", "refresh_token is missing")?;
    let claims = issuer.verify_refresh_token(&token).await?;
    let (key, principal) = check_session(issuer, client, &claims).await?;
    if form.take("brandKey").is_some_and(|brand| Some(&*brand) != claims.brand_key.as_deref()) {
        return Err(OAuthError::InvalidGrant(GrantRefusal::ForeignBrand));
    }
    let scope = narrowed_scope(client, &claims, form)?;
    if form.take("resource").is_some_and(|resource| resource != claims.resource) {
        return Err(OAuthError::InvalidTarget);
    }

    // Everything that can fail comes before the write, which is what uses the token up.
    let successor = issuer.successor(&claims)?;
    let signing_key = issuer.signer.signing_key(issuer.clock.now()).await?;
    let refusal = match issuer.families.advance(&claims, issuer.clock.now()).await? {
        Advance::Advanced | Advance::Repeated => None,
        Advance::LateRetry => Some(GrantRefusal::LateRetry),
        Advance::Revoked => Some(GrantRefusal::Revoked),
        Advance::Reused => Some(GrantRefusal::Reused),
        Advance::Unknown => Some(GrantRefusal::UnknownFamily),
    };
    if let Some(refusal) = refusal {
        audit::refresh_refused(&claims);
        return Err(OAuthError::InvalidGrant(refusal));
    }
    Ok(Authorization {
        sub: principal.id.into(),
        roles: principal.roles.into(),
        operator: operator_claim(key),
        brand_key: claims.brand_key.map(Into::into),
        scope,
        audience: claims.resource.into(),
        refresh: Some(successor),
        key: Some(signing_key),
    })
}

/// Judges a verified refresh token by the client and the principal as they stand now.
pub(crate) async fn check_session(
    issuer: &Issuer,
    client: &AuthenticatedClient,
    claims: &RefreshClaims,
) -> Result<(PrincipalKey, Principal), OAuthError> {
    let refused = |reason| Err(OAuthError::InvalidGrant(reason));
    if claims.client_id != client.client_id {
        return refused(GrantRefusal::ForeignClient);
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
        || !brand_key.is_none_or(|brand| brand::allows(&client.brands, brand))
        || !client.audiences.contains(&claims.resource)
    {
        return refused(GrantRefusal::NoLongerAllowed);
    }
    let Some(principal) = issuer.principals.get(&claims.principal).await? else {
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

/// What the access token gets: what is asked for, if it was granted at first and the client may still have it; else
/// what is left of the first grant.
fn narrowed_scope(
    client: &AuthenticatedClient,
    claims: &RefreshClaims,
    form: &mut Form<'_>,
) -> Result<Scope, OAuthError> {
    let granted = match &claims.scope {
        Some(scope) => {
            Scope::parse(scope).map_err(|_| OAuthError::Defect("a granted scope is malformed".into()))?
        }
        None => Scope::default(),
    };
    match requested_scope(form)? {
        None => Ok(granted.shrink_to(&client.scopes)),
        Some(scope) if scope.is_subset_of(&granted) && scope.is_within(&client.scopes) => Ok(scope),
        Some(_) => Err(OAuthError::InvalidScope("a scope is not one that was granted at first and still is")),
    }
}

//! `client_credentials` (RFC 6749 section 4.4), on behalf of an operator where one is named.

use std::borrow::Cow;

use crate::context::RequestContext;
use crate::grants::terms::Terms;
use crate::records::{Client, GrantType, Principal, PrincipalKey, Username};
use crate::request::error::{GrantRefusal, OAuthError};
use crate::request::token_request::{PresentedUsername, TokenRequest};
use crate::store::cache::Cache;
use crate::tokens::access::Authorization;

const OPERATOR_MISSING: OAuthError =
    OAuthError::InvalidRequest("operator is missing, and the client must name one");

/// Authorizes a client, for the operator that it names.
pub(super) async fn authorize<'client>(
    operators: &Cache<Principal>,
    client: &'client Client,
    operator: Option<&PresentedUsername>,
    request: &TokenRequest,
    cx: &mut RequestContext,
) -> Result<Authorization<'client>, OAuthError> {
    let terms = Terms::new(client, request, cx)?;
    let operator = match operator {
        Some(operator) => {
            Some(find_operator(operators, client, operator, terms.brand_key.as_deref(), cx).await?)
        }
        None if client.require_operator => return Err(OPERATOR_MISSING),
        None => None,
    };
    Ok(authorization(client, terms, operator))
}

/// Authorizes a client that can name no operator: HTTP Basic at the authorizer.
pub(crate) fn without_operator<'client>(
    client: &'client Client,
    request: &TokenRequest,
    cx: &mut RequestContext,
) -> Result<Authorization<'client>, OAuthError> {
    if !client.grant_types.contains(&GrantType::ClientCredentials) {
        return Err(OAuthError::UnauthorizedClient);
    }
    let terms = Terms::new(client, request, cx)?;
    if client.require_operator {
        return Err(OPERATOR_MISSING);
    }
    Ok(authorization(client, terms, None))
}

fn authorization<'client>(
    client: &'client Client,
    terms: Terms<'client>,
    operator: Option<&'client str>,
) -> Authorization<'client> {
    Authorization {
        sub: Cow::Borrowed(&client.client_id),
        roles: Cow::Borrowed(&client.roles),
        username: None,
        operator: operator.map(Cow::Borrowed),
        brand_key: terms.brand_key,
        scope: terms.scope,
        audience: Cow::Borrowed(terms.audience),
        // RFC 6749 section 4.4.3: the client can always ask again.
        refresh: None,
    }
}

/// Finds the operator: one that the client may act for, that exists, is enabled and serves the brand. The audit record
/// of a refusal names an operator that is on record; any other text may be a secret.
async fn find_operator<'client>(
    operators: &Cache<Principal>,
    client: &'client Client,
    presented: &PresentedUsername,
    brand_key: Option<&str>,
    cx: &mut RequestContext,
) -> Result<&'client str, OAuthError> {
    let refused = |reason| Err(OAuthError::OperatorRefused(reason));
    let Some(username) = &presented.username else {
        return refused(GrantRefusal::UnknownPrincipal);
    };
    let Some(known) = client.operators.iter().find(|known| *known == username.as_str()) else {
        return refused(Box::pin(name_foreign_operator(operators, username, cx)).await);
    };
    let key = PrincipalKey::Operator { username: known.clone() };
    let reason = match operators.get(&key.to_string()).await? {
        None => GrantRefusal::UnknownPrincipal,
        Some(operator) if !operator.enabled => GrantRefusal::Disabled,
        Some(operator) if !operator.serves(brand_key) => GrantRefusal::OperatorOutsideBrand,
        Some(_) => return Ok(known),
    };
    cx.audit.requested_operator = Some(known.clone());
    refused(reason)
}

/// Looks up an operator that is not in the client's list, to name it in the audit record. It reads as often for a name
/// that exists as for one that does not, and an outage changes nothing about the refusal.
async fn name_foreign_operator(
    operators: &Cache<Principal>,
    username: &Username,
    cx: &mut RequestContext,
) -> GrantRefusal {
    let key = PrincipalKey::Operator { username: username.as_str().to_owned() };
    match operators.get_before_refusing(&key.to_string()).await {
        Ok(None) => GrantRefusal::UnknownPrincipal,
        Ok(Some(_)) => {
            cx.audit.requested_operator = Some(username.as_str().to_owned());
            GrantRefusal::OperatorOutsideClient
        }
        Err(_) => GrantRefusal::OperatorOutsideClient,
    }
}

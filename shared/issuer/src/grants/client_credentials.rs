//! `client_credentials` (RFC 6749 section 4.4), on behalf of an operator where one is named.

use std::borrow::Cow;

use super::Terms;
use crate::Issuer;
use crate::authn::client::AuthenticatedClient;
use crate::records::client::{Client, GrantType};
use crate::records::principal::{self, PrincipalKey};
use crate::request::error::{GrantRefusal, OAuthError};
use crate::request::form::Form;
use crate::tokens::access::Authorization;

pub(super) async fn authorize<'client>(
    issuer: &Issuer,
    client: &'client AuthenticatedClient,
    form: &mut Form<'_>,
) -> Result<Authorization<'client>, OAuthError> {
    let terms = Terms::of(client, form)?;
    let operator = match form.take("operator") {
        Some(typed) => Some(find_operator(issuer, client, &typed, terms.brand_key.as_deref()).await?),
        None if client.require_operator => return Err(OPERATOR_MISSING),
        None => None,
    };
    Ok(authorization(client, terms, operator))
}

/// What a client gets that can say no more than its credentials and the API that it calls: its one brand or none, and
/// no operator.
pub(crate) fn authorize_for<'client>(
    client: &'client AuthenticatedClient,
    audience: &str,
) -> Result<Authorization<'client>, OAuthError> {
    if !client.grant_types.contains(&GrantType::ClientCredentials) {
        return Err(OAuthError::UnauthorizedClient);
    }
    let terms = Terms::of(client, &mut Form::of("resource", audience))?;
    if client.require_operator {
        return Err(OPERATOR_MISSING);
    }
    Ok(authorization(client, terms, None))
}

const OPERATOR_MISSING: OAuthError =
    OAuthError::InvalidRequest("operator is missing, and the client must name one");

fn authorization<'client>(
    client: &'client Client,
    terms: Terms<'client>,
    operator: Option<&'client str>,
) -> Authorization<'client> {
    Authorization {
        sub: Cow::Borrowed(&client.client_id),
        roles: Cow::Borrowed(&client.roles),
        operator: operator.map(Cow::Borrowed),
        brand_key: terms.brand_key,
        scope: terms.scope,
        audience: Cow::Borrowed(terms.audience),
        // RFC 6749 section 4.4.3: the client can always ask again.
        refresh: None,
        key: None,
    }
}

/// The username of an operator whom the client may act for, who exists, is enabled and serves the brand.
async fn find_operator<'client>(
    issuer: &Issuer,
    client: &'client AuthenticatedClient,
    typed: &str,
    brand_key: Option<&str>,
) -> Result<&'client str, OAuthError> {
    let refused = |reason| Err(OAuthError::InvalidGrant(reason));
    let Ok(username) = principal::username(typed) else {
        return refused(GrantRefusal::UnknownPrincipal);
    };
    let Some(known) = client.operators.iter().find(|known| **known == username) else {
        return refused(GrantRefusal::OperatorOutsideClient);
    };
    let key = PrincipalKey::Operator { username };
    match issuer.operators.get(&key.to_string()).await? {
        None => refused(GrantRefusal::UnknownPrincipal),
        Some(operator) if !operator.enabled => refused(GrantRefusal::Disabled),
        Some(operator) if !operator.serves(brand_key) => refused(GrantRefusal::OperatorOutsideBrand),
        Some(_) => Ok(known),
    }
}

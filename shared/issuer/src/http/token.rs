//! `POST /oauth/token` and `POST /oauth/refresh` (RFC 6749 section 3.2).

use super::{Granted, Request, Response, serve};
use crate::audit::Event;
use crate::authn::client::AuthenticatedClient;
use crate::context::RequestContext;
use crate::issuer::Issuer;
use crate::records::GrantType;
use crate::request::credentials::PresentedCredentials;
use crate::request::error::OAuthError;
use crate::request::form::Form;
use crate::request::token_request::TokenRequest;

/// Serves all four grants.
pub async fn token(issuer: &Issuer, request: Request) -> Response {
    serve("token", issuer, request, async |client, presented, mut form, cx| {
        let grant_type = form.require("grant_type", "grant_type is missing")?;
        let grant_type = grant_type.parse().map_err(|_| OAuthError::UnsupportedGrantType)?;
        issue(issuer, client, presented, grant_type, form, cx).await
    })
    .await
}

/// Serves the refresh grant alone, so that a stampede of refreshes has a separate function; `grant_type` may be
/// omitted.
pub(super) async fn refresh(issuer: &Issuer, request: Request) -> Response {
    serve("refresh", issuer, request, async |client, presented, mut form, cx| {
        if form.take("grant_type").is_some_and(|named| named != GrantType::RefreshToken.as_str()) {
            return Err(OAuthError::UnsupportedGrantType);
        }
        issue(issuer, client, presented, GrantType::RefreshToken, form, cx).await
    })
    .await
}

async fn issue(
    issuer: &Issuer,
    client: &AuthenticatedClient,
    presented: &PresentedCredentials,
    grant_type: GrantType,
    mut form: Form<'_>,
    cx: &mut RequestContext,
) -> Result<Granted, OAuthError> {
    cx.audit.grant = Some(grant_type.as_str());
    if !client.grant_types.contains(&grant_type) {
        return Err(OAuthError::UnauthorizedClient);
    }
    let request = TokenRequest::parse(grant_type, &mut form, presented, &mut cx.audit)?;
    let issued = issuer.grants().issue(client, &request, cx).await;
    let json = issued.inspect_err(|_| request.record_requested(presented, &mut cx.audit))?;
    Ok(Granted { event: Some(Event::Issued), json })
}

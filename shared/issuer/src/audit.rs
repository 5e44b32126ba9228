//! One line for every decision. Never a secret, a password or a token; what callers sent is escaped by the
//! formatter, and of that only the names that they go by.

use countersign_verify::Claims;

use crate::authenticate::AuthenticatedClient;
use crate::client::{Client, GrantType};
use crate::error::{GrantRefusal, OAuthError};
use crate::refresh::RefreshClaims;

pub(crate) fn issued(
    grant: GrantType,
    client: &AuthenticatedClient,
    claims: &Claims,
    kid: &str,
    refresh: Option<&RefreshClaims>,
) {
    tracing::info!(
        target: "audit",
        event = "issued",
        grant = grant.as_str(),
        client_id = claims.client_id,
        secret_id = client.secret_id(),
        sub = claims.sub,
        operator = claims.operator,
        brand_key = claims.brand_key,
        scope = claims.scope,
        jti = claims.jti,
        kid,
        family = refresh.map(|refresh| refresh.family.as_str()),
        generation = refresh.map(|refresh| refresh.generation),
    );
}

pub(crate) fn refused(
    endpoint: &'static str,
    client: Option<&Client>,
    code: &'static str,
    error: &OAuthError,
) {
    let client_id = client.map(|client| client.client_id.as_str());
    let event = match error {
        OAuthError::InvalidGrant(GrantRefusal::Reused) => "reuse detected",
        _ => "refused",
    };
    match error {
        OAuthError::Unavailable(_) | OAuthError::Defect(_) => {
            tracing::error!(target: "audit", event = "failed", endpoint, client_id, error = code, reason = %error);
        }
        _ => tracing::info!(target: "audit", event, endpoint, client_id, error = code, reason = %error),
    }
}

pub(crate) fn revoked(token: &RefreshClaims) {
    tracing::info!(
        target: "audit",
        event = "revoked",
        client_id = token.client_id,
        sub = token.sub,
        family = token.family,
        generation = token.generation,
    );
}

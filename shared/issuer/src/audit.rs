//! One line for every decision. Never a secret, a password or a token; what callers sent is escaped by the
//! formatter, and of that only the names that they go by.

use countersign_verify::{Claims, Timestamp};

use crate::authenticate::AuthenticatedClient;
use crate::client::{Client, GrantType};
use crate::error::{ClientRefusal, GrantRefusal, OAuthError};
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
        secret_expires = client.secret_expires().map(Timestamp::seconds),
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
    match error {
        OAuthError::Unavailable(_) | OAuthError::Defect(_) => {
            tracing::error!(target: "audit", event = "failed", endpoint, client_id, error = code, reason = %error);
        }
        _ => {
            tracing::info!(target: "audit", event = "refused", endpoint, client_id, error = code, reason = %error);
        }
    }
}

/// Whom a caller said to be.
pub(crate) fn client_refused(presented: &str, reason: ClientRefusal) {
    tracing::info!(target: "audit", event = "client refused", presented = bounded(presented), %reason);
}

/// Whom a caller tried to log in as.
pub(crate) fn login_refused(presented: &str, brand_key: Option<&str>, reason: GrantRefusal) {
    tracing::info!(target: "audit", event = "login refused", presented = bounded(presented), brand_key, %reason);
}

/// A refresh token that its family's standing refuses; a theft is a warning.
pub(crate) fn refresh_refused(token: &RefreshClaims, reason: GrantRefusal) {
    let RefreshClaims { client_id, sub, family, generation, .. } = token;
    if reason == GrantRefusal::Reused {
        tracing::warn!(target: "audit", event = "reuse detected", client_id, sub, family, generation, %reason);
    } else {
        tracing::info!(target: "audit", event = "refresh refused", client_id, sub, family, generation, %reason);
    }
}

pub(crate) fn revoked(token: &RefreshClaims) {
    let RefreshClaims { client_id, sub, family, generation, .. } = token;
    tracing::info!(target: "audit", event = "revoked", client_id, sub, family, generation);
}

/// As much of a name as any record has.
fn bounded(presented: &str) -> &str {
    let end = presented.char_indices().nth(128).map_or(presented.len(), |(at, _)| at);
    &presented[..end]
}

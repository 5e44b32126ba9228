//! One line for every decision. Never a secret, a password or a token; what callers sent is escaped by the
//! formatter, and of that only the names that they go by.

use std::time::Duration;

use countersign_verify::Claims;

use crate::authenticate::AuthenticatedClient;
use crate::client::{Client, GrantType};
use crate::error::{ClientRefusal, GrantRefusal, OAuthError};
use crate::refresh::RefreshClaims;
use crate::store::StoreError;

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
    match error {
        OAuthError::Unavailable(_) | OAuthError::Defect(_) => {
            tracing::error!(target: "audit", event = "failed", endpoint, client_id, error = code, reason = %error);
        }
        _ => {
            tracing::info!(target: "audit", event = "refused", endpoint, client_id, error = code, reason = %error);
        }
    }
}

/// A cached record that DynamoDB could not be asked about.
pub(crate) fn served_stale(table: &'static str, key: &str, age: Duration, reason: Option<&StoreError>) {
    let reason = reason.map_or_else(|| "a read failed a moment ago".to_owned(), ToString::to_string);
    tracing::warn!(target: "audit", event = "served stale", table, key, age_seconds = age.as_secs(), reason);
}

/// Whom a caller said to be.
pub(crate) fn client_refused(presented: &str, reason: ClientRefusal) {
    tracing::info!(target: "audit", event = "client refused", presented = bounded(presented), %reason);
}

/// Whom a caller tried to log in as.
pub(crate) fn login_refused(presented: &str, brand_key: Option<&str>, reason: GrantRefusal) {
    tracing::info!(target: "audit", event = "login refused", presented = bounded(presented), brand_key, %reason);
}

/// A guess that came too soon after too many failures, and was not judged; `counter` says what they were counted for.
pub(crate) fn guess_refused(presented: &str, counter: &str, wait: Duration) {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    tracing::warn!(target: "audit", event = "guess refused", presented = bounded(presented), counter, wait_ms);
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

/// A caller whom the authorizer does not let through, who is known or is not.
pub(crate) fn caller_refused(
    caller: Option<&Claims>,
    method: &str,
    path: &str,
    reason: &dyn std::error::Error,
) {
    let sub = caller.map(|caller| caller.sub.as_str());
    let client_id = caller.map(|caller| caller.client_id.as_str());
    let jti = caller.map(|caller| caller.jti.as_str());
    let (method, path) = (bounded(method), bounded(path));
    tracing::info!(target: "audit", event = "caller refused", sub, client_id, jti, method, path, %reason);
}

/// The authorizer has no answer.
pub(crate) fn authorizer_failed(reason: &str) {
    tracing::error!(target: "audit", event = "failed", endpoint = "authorizer", reason);
}

/// As much of a name as any record has.
fn bounded(presented: &str) -> &str {
    let end = presented.char_indices().nth(128).map_or(presented.len(), |(at, _)| at);
    &presented[..end]
}

//! One line for every decision. Never a secret, a password or a token; what callers sent is escaped by the formatter, and
//! of that only names that are on record: one that is not may be a secret in the wrong place. What is learnt on the
//! way to a decision is kept in the request's span, whose fields are part of the line.

use std::time::Duration;

use countersign_verify::{Claims, Timestamp};
use tracing::{Span, field};

use crate::authn::client::AuthenticatedClient;
use crate::records::client::{Client, GrantType};
use crate::request::error::{ClientRefusal, GrantRefusal, OAuthError};
use crate::tokens::refresh::RefreshClaims;

/// The span that a request is judged in, with room for what is learnt of it.
pub(crate) fn request() -> Span {
    tracing::error_span!(
        target: "audit",
        "request",
        secret_id = field::Empty,
        grant = field::Empty,
        presented = field::Empty,
        username = field::Empty,
        brandKey = field::Empty,
        sub = field::Empty,
        family = field::Empty,
        generation = field::Empty,
        counter = field::Empty,
        wait_ms = field::Empty,
    )
}

pub(crate) fn issued(
    client: &AuthenticatedClient,
    claims: &Claims<&str>,
    kid: &str,
    refresh: Option<&RefreshClaims>,
) {
    let secret = client.secret();
    tracing::info!(
        target: "audit",
        event = "issued",
        client_id = claims.client_id,
        secret_expires = secret.and_then(|secret| secret.expires).map(Timestamp::seconds),
        secret_ends_soon = secret.filter(|secret| secret.ends_soon(Timestamp::from_seconds(claims.iat))).map(|_| true),
        sub = claims.sub,
        operator = claims.operator,
        brandKey = claims.brand_key,
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
        OAuthError::InvalidGrant(GrantRefusal::Reused) => {
            tracing::warn!(target: "audit", event = "reuse detected", endpoint, client_id, error = code, reason = %error);
        }
        OAuthError::TooManyFailures { .. } => {
            tracing::warn!(target: "audit", event = "slowed down", endpoint, client_id, error = code, reason = %error);
        }
        _ => {
            tracing::info!(target: "audit", event = "refused", endpoint, client_id, error = code, reason = %error);
        }
    }
}

/// Whatever becomes of the request, this secret is in use.
pub(crate) fn authenticated(client: &AuthenticatedClient) {
    Span::current().record("secret_id", client.secret().map(|secret| secret.id.as_str()));
}

/// Which client a caller said to be.
pub(crate) fn client_refused(presented: &str, reason: ClientRefusal) {
    if reason != ClientRefusal::Unknown {
        Span::current().record("presented", bounded(presented));
    }
}

/// What is asked for.
pub(crate) fn asked_for(grant: GrantType) {
    Span::current().record("grant", grant.as_str());
}

/// At which brand: one of the client's.
pub(crate) fn at_brand(brand_key: Option<&str>) {
    Span::current().record("brandKey", brand_key);
}

/// Whom a caller tried to log in as.
pub(crate) fn login_refused(username: &str, reason: GrantRefusal) {
    if reason != GrantRefusal::UnknownPrincipal {
        Span::current().record("username", bounded(username));
    }
}

/// A guess that came too soon after too many failures, and is not judged; `counter` says by what they were counted.
pub(crate) fn guess_refused(counter: &'static str, wait: Duration) {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Span::current().record("counter", counter).record("wait_ms", wait_ms);
}

/// A refresh token that its family's standing refuses.
pub(crate) fn refresh_refused(token: &RefreshClaims) {
    Span::current()
        .record("sub", token.sub.as_str())
        .record("family", token.family.as_str())
        .record("generation", token.generation);
}

pub(crate) fn revoked(token: &RefreshClaims) {
    let RefreshClaims { client_id, sub, family, generation, .. } = token;
    tracing::info!(target: "audit", event = "revoked", client_id, sub, family, generation);
}

pub(crate) fn introspected(client: &Client, active: bool) {
    tracing::info!(target: "audit", event = "introspected", client_id = client.client_id, active);
}

/// A client that calls an API with its own secret, which the API's policy has yet to let it do.
pub(crate) fn caller_authenticated(client: &Client) {
    tracing::info!(target: "audit", event = "caller authenticated", client_id = client.client_id);
}

/// What becomes of a caller whom the authorizer does not let through.
pub(crate) const CALLER_REFUSED: &str = "caller refused";
/// And of one who guesses too much.
pub(crate) const CALLER_SLOWED_DOWN: &str = "caller slowed down";

/// A caller whom the authorizer does not let through, who is known or is not.
pub(crate) fn caller_refused(
    event: &'static str,
    caller: Option<&Claims>,
    method: &str,
    path: &str,
    reason: &dyn std::error::Error,
) {
    let sub = caller.map(|caller| caller.sub.as_str());
    let client_id = caller.map(|caller| caller.client_id.as_str());
    let jti = caller.map(|caller| caller.jti.as_str());
    let (method, path) = (bounded(method), bounded(path));
    tracing::info!(target: "audit", event, sub, client_id, jti, method, path, %reason);
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

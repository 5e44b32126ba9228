//! A small API protected with tokens, checked through `countersign-verify` as anybody's would be.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use countersign_issuer::{Publisher, endpoints};
use countersign_verify::{Claims, Clock, JwkSet, Verified, Verifier};
use serde_json::json;

use super::demo::AUDIENCE;

/// What the API knows of the issuer: its name, and the key set that it publishes.
pub(super) struct DemoApi {
    pub(super) issuer: String,
    pub(super) publisher: Arc<Publisher>,
    pub(super) clock: Clock,
}

impl DemoApi {
    /// The published key set, asked for as it stands: a demonstration need not cache what is in the same process.
    async fn verifier(&self) -> Verifier {
        let published = endpoints::jwks(&self.publisher, endpoints::Request::default()).await.into_body();
        Verifier::builder(&self.issuer)
            .audience(AUDIENCE)
            // Without a readable key set nothing verifies.
            .keys(JwkSet::from_json(&published).unwrap_or_default())
            .clock(self.clock.clone())
            .build()
    }
}

/// The API, with every route behind [`protect`].
pub(super) fn router(api: DemoApi) -> Router {
    Router::new()
        .route("/api/whoami", get(whoami))
        .route("/api/reports", get(reports).post(created))
        .route("/api/calls", get(calls).post(created))
        .route("/api/subscribers/{id}", delete(deleted))
        .route_layer(middleware::from_fn_with_state(Arc::new(api), protect))
}

async fn whoami(Extension(token): Extension<Verified>) -> Json<Claims> {
    Json(Claims::clone(&token))
}

async fn reports(Extension(token): Extension<Verified>) -> Json<serde_json::Value> {
    Json(json!({ "brandKey": token.brand_key, "reports": ["daily usage", "unbilled calls"] }))
}

async fn calls() -> Json<serde_json::Value> {
    Json(json!({ "calls": [{ "from": "+4930000001", "to": "+4930000002", "seconds": 61 }] }))
}

async fn created() -> (StatusCode, Json<serde_json::Value>) {
    (StatusCode::CREATED, Json(json!({ "created": true })))
}

async fn deleted(Path(id): Path<String>) -> Json<serde_json::Value> {
    Json(json!({ "deleted": id }))
}

/// What a route asks of a caller.
enum Requirement {
    AnyCaller,
    Scope(&'static str),
    Role(&'static str),
}

/// Whatever is not listed is refused.
fn requirement(method: &Method, path: &str) -> Option<Requirement> {
    Some(match (method.as_str(), path) {
        ("GET", "/api/whoami") => Requirement::AnyCaller,
        ("GET", "/api/reports") => Requirement::Scope("reports:read"),
        ("POST", "/api/reports") => Requirement::Scope("reports:write"),
        ("GET", "/api/calls") => Requirement::Scope("calls:read"),
        ("POST", "/api/calls") => Requirement::Role("voice-admin"),
        ("DELETE", path) if path.starts_with("/api/subscribers/") => Requirement::Role("billing"),
        _ => return None,
    })
}

/// Lets a request through with its verified claims, or answers as RFC 6750 section 3.1 says.
async fn protect(State(api): State<Arc<DemoApi>>, mut request: Request, next: Next) -> Response {
    let Some(token) = bearer_token(request.headers()) else {
        return challenge(StatusCode::UNAUTHORIZED, "Bearer");
    };
    let Ok(token) = api.verifier().await.verify(token) else {
        return challenge(StatusCode::UNAUTHORIZED, r#"Bearer error="invalid_token""#);
    };
    let refusal = match requirement(request.method(), request.uri().path()) {
        Some(Requirement::AnyCaller) => None,
        Some(Requirement::Scope(scope)) if token.has_scope(scope) => None,
        Some(Requirement::Role(role)) if token.has_role(role) => None,
        Some(Requirement::Scope(scope)) => {
            Some(format!(r#"Bearer error="insufficient_scope", scope="{scope}""#))
        }
        Some(Requirement::Role(_)) | None => Some(r#"Bearer error="insufficient_scope""#.to_owned()),
    };
    if let Some(refusal) = refusal {
        return challenge(StatusCode::FORBIDDEN, &refusal);
    }
    request.extensions_mut().insert(token);
    next.run(request).await
}

/// The token of the one `Authorization: Bearer` header (RFC 6750 section 2.1).
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

fn challenge(status: StatusCode, challenge: &str) -> Response {
    let mut response = status.into_response();
    if let Ok(challenge) = HeaderValue::from_str(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

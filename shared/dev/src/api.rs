//! The demo API. The tower layer of `countersign-verify` protects it with a policy, as it would any
//! API.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Path};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use countersign_verify::policy::Policy;
use countersign_verify::tower::ProtectLayer;
use countersign_verify::{Claims, Clock, Verified, Verifier};
use serde_json::json;

use super::DevError;
use super::demo::AUDIENCE;

/// The policy file of the authorizer function.
const POLICY: &str = include_str!("../../../functions/authorizer/policy.toml");

/// Builds the API for tokens of `issuer`. It fetches the key set over HTTP from `url`, like any
/// API: the issuer's own URL may exist for other programs alone.
pub(super) fn router(issuer: &str, url: &str, clock: Clock) -> Result<Router, DevError> {
    let verifier = Verifier::builder(issuer)
        .jwks_url(format!("{url}/.well-known/jwks.json"))
        .audience(AUDIENCE)
        .accept_typ_jwt()
        .clock(clock)
        .build();
    let policy = Policy::from_toml(POLICY).map_err(DevError::setup)?;
    let layer =
        ProtectLayer::with_basic(verifier.map_err(DevError::setup)?, policy, &format!("{url}/oauth/token"))
            .map_err(DevError::setup)?
            .peer_address(|request| Some(request.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    Ok(Router::new()
        .route("/api/whoami", get(whoami))
        .route("/api/reports", get(reports).post(created))
        .route("/api/brands/{brandKey}/reports", get(reports))
        .route("/api/calls", get(calls).post(created))
        .route("/api/subscribers/{id}", delete(deleted))
        .route_layer(layer))
}

async fn whoami(Extension(caller): Extension<Verified>) -> Json<Claims> {
    Json(Claims::clone(&caller))
}

async fn reports(Extension(caller): Extension<Verified>) -> Json<serde_json::Value> {
    Json(json!({ "brandKey": caller.brand_key, "reports": ["daily usage", "unbilled calls"] }))
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

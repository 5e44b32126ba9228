//! An API on 127.0.0.1:8080 that admits callers with tokens of `countersign dev`:
//! `cargo run -p countersign-verify --example protected_api --features fetch,tower`

use std::net::SocketAddr;

use axum::{Extension, Router, extract::ConnectInfo, routing::get};
use countersign_verify::{Verified, Verifier, policy::Policy, tower::ProtectLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init(); // logs why a caller is refused
    let issuer = "http://127.0.0.1:3000";
    let verifier = Verifier::builder(issuer).audience("https://api.example.com").build()?;
    let policy = Policy::from_toml("[[rule]]\nmethods = ['GET']\npath = '/calls'\nscopes = ['calls:read']")?;
    let protected = ProtectLayer::with_basic(verifier, policy, &format!("{issuer}/oauth/token"))?
        .peer_address(|request| Some(request.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()));
    let calls = async |Extension(caller): Extension<Verified>| format!("calls for {}\n", caller.sub);
    // The layer protects the routes before it, and every path without a route.
    let api = Router::new().route("/calls", get(calls)).layer(protected);
    let api = api.route("/health", get(async || "ok\n"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, api.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

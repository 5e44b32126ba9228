//! The one route table.

use super::introspect::introspect;
use super::metadata::{authorization_server_metadata, jwks};
use super::revoke::revoke;
use super::token::refresh;
use super::{Request, Response, not_found};
use crate::issuer::{Issuer, Publisher};

pub(super) const TOKEN: &str = "/oauth/token";
pub(super) const REFRESH: &str = "/oauth/refresh";
pub(super) const REVOKE: &str = "/oauth/revoke";
pub(super) const INTROSPECT: &str = "/oauth/introspect";
pub(super) const JWKS: &str = "/.well-known/jwks.json";
pub(super) const SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";
pub(super) const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// A Lambda function that serves HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `functions/token`.
    Token,
    /// `functions/refresh`.
    Refresh,
    /// `functions/jwks`.
    Jwks,
}

/// Every path below the issuer's URL, with the function that serves it.
pub const ROUTES: [(&str, Function); 7] = [
    (TOKEN, Function::Token),
    (REFRESH, Function::Refresh),
    (REVOKE, Function::Refresh),
    (INTROSPECT, Function::Refresh),
    (JWKS, Function::Jwks),
    (SERVER_METADATA, Function::Jwks),
    (OPENID_CONFIGURATION, Function::Jwks),
];

/// Serves the endpoints of the refresh function. A stage name may precede the path.
pub async fn refresh_function(issuer: &Issuer, request: Request) -> Response {
    match route(Function::Refresh, &request) {
        Some(REFRESH) => refresh(issuer, request).await,
        Some(REVOKE) => revoke(issuer, request).await,
        Some(INTROSPECT) => introspect(issuer, request).await,
        _ => not_found(),
    }
}

/// Serves the JWKS and the metadata. A stage name may precede the path.
pub async fn jwks_function(publisher: &Publisher, request: Request) -> Response {
    match route(Function::Jwks, &request) {
        Some(JWKS) => jwks(publisher, request).await,
        Some(SERVER_METADATA | OPENID_CONFIGURATION) => authorization_server_metadata(publisher, &request),
        _ => not_found(),
    }
}

/// The route of the function that the request's path ends with.
fn route(function: Function, request: &Request) -> Option<&'static str> {
    let path = request.uri().path();
    let mut routes = ROUTES.iter().filter(|(_, served_by)| *served_by == function);
    routes.find(|(route, _)| path.ends_with(route)).map(|(route, _)| *route)
}

//! The public documents: the JWKS (RFC 7517) and the metadata (RFC 8414).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH,
};
use http::{Method, StatusCode};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::routes::{INTROSPECT, JWKS, REVOKE, TOKEN};
use super::{Request, Response, harden, refuse};
use crate::audit::Record;
use crate::issuer::Publisher;
use crate::keys::KeyError;
use crate::records::GrantType;
use crate::request::error::OAuthError;
use crate::tokens::IssuerUrl;

/// Serves `GET /.well-known/jwks.json`: the public keys with which tokens are verified.
pub async fn jwks(publisher: &Publisher, request: Request) -> Response {
    key_set(publisher, &request).await.unwrap_or_else(|error| refuse_publicly("jwks", publisher, &error))
}

async fn key_set(publisher: &Publisher, request: &Request) -> Result<Response, OAuthError> {
    require_get(request)?;
    let keys = publisher.ring().current().await?.published(publisher.now());
    if keys.is_empty() {
        // An empty set would be cached for as long as a good one.
        return Err(KeyError::NoSigningKey.into());
    }
    publish(publisher, request, "application/jwk-set+json", &keys)
}

/// Serves `GET /.well-known/oauth-authorization-server`, and the same document at `/.well-known/openid-configuration`
/// for verifiers that look nowhere else.
pub(super) fn authorization_server_metadata(publisher: &Publisher, request: &Request) -> Response {
    let metadata = Metadata::new(publisher.url());
    let answer =
        require_get(request).and_then(|()| publish(publisher, request, "application/json", &metadata));
    answer.unwrap_or_else(|error| refuse_publicly("metadata", publisher, &error))
}

/// The response to a request for a document that is refused or fails. Web pages may read it, as they may read the
/// document: to them, an answer that they may not read is a broken network.
fn refuse_publicly(endpoint: &'static str, publisher: &Publisher, error: &OAuthError) -> Response {
    let mut response = refuse(endpoint, Record::default(), publisher.audit(), error);
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn require_get(request: &Request) -> Result<(), OAuthError> {
    const ALLOWED: &[Method] = &[Method::GET, Method::HEAD];
    if ALLOWED.contains(request.method()) {
        Ok(())
    } else {
        Err(OAuthError::MethodNotAllowed { allowed: ALLOWED })
    }
}

/// RFC 8414 section 2, and what `OpenID` Connect Discovery 1.0 section 3 requires beside it: libraries
/// that read only that document need it, although no ID token is issued.
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    token_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    jwks_uri: String,
    grant_types_supported: [GrantType; GrantType::ALL.len()],
    token_endpoint_auth_methods_supported: [&'static str; 2],
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    /// Required by RFC 8414, and empty: there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    subject_types_supported: [&'static str; 1],
    /// The algorithms of access tokens: go-oidc and what builds on it take this list as the algorithms
    /// that they may accept, and RS256 alone where it is missing.
    id_token_signing_alg_values_supported: [&'static str; 1],
}

impl<'a> Metadata<'a> {
    fn new(url: &'a IssuerUrl) -> Self {
        let issuer = url.as_str();
        let client_authentication = ["client_secret_basic", "client_secret_post"];
        Self {
            issuer,
            token_endpoint: format!("{issuer}{TOKEN}"),
            revocation_endpoint: format!("{issuer}{REVOKE}"),
            introspection_endpoint: format!("{issuer}{INTROSPECT}"),
            jwks_uri: format!("{issuer}{JWKS}"),
            grant_types_supported: GrantType::ALL,
            token_endpoint_auth_methods_supported: client_authentication,
            revocation_endpoint_auth_methods_supported: client_authentication,
            introspection_endpoint_auth_methods_supported: client_authentication,
            response_types_supported: [],
            // `sub` is the same for every API.
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: ["ES256"],
        }
    }
}

/// Responds with a cacheable document that web pages of any origin may read, or with 304 where the
/// client's copy is current.
fn publish(
    publisher: &Publisher,
    request: &Request,
    content_type: &'static str,
    document: &impl Serialize,
) -> Result<Response, OAuthError> {
    let body = serde_json::to_string(document)?;
    let tag = format!("\"{}\"", BASE64URL.encode(&digest(&SHA256, body.as_bytes()).as_ref()[..16]));
    let unchanged = is_known(request.headers(), &tag);
    let is_head = request.method() == Method::HEAD;
    let length = body.len();
    let mut response = Response::new(if unchanged || is_head { String::new() } else { body });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    if is_head && !unchanged {
        // The length that GET would answer with (RFC 9110 section 8.6).
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    harden(headers);
    let max_age = publisher.jwks_max_age().as_secs();
    for (name, value) in [(CACHE_CONTROL, format!("public, max-age={max_age}")), (ETAG, tag)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// RFC 9110 section 13.1.2: weak comparison with any of the tags, or `*`.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

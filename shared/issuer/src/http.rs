//! The HTTP endpoints. Each one answers whatever comes: no path ends in an error of the transport.

mod introspect;
mod metadata;
mod revoke;
mod token;

pub use introspect::introspect;
pub use metadata::{authorization_server_metadata, jwks};
pub use revoke::revoke;
pub use token::{refresh, token};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use serde::Serialize;
use tracing::Instrument;

use crate::authn::client::{AuthenticatedClient, PresentedCredentials};
use crate::context::SourceAddress;
use crate::records::client::Client;
use crate::request::error::{OAuthError, WireError};
use crate::request::form::{self, Form};
use crate::{Issuer, Publisher, audit_events as audit};

/// A request, however it arrived. Its [`SourceAddress`] is among its extensions, where it is known.
pub type Request = http::Request<Vec<u8>>;
/// An answer: JSON text, or nothing.
pub type Response = http::Response<String>;

/// A longer body is refused unread.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// Everything below `/oauth/` but the token endpoint, by path. A stage's name may stand before it.
pub async fn refresh_function(issuer: &Issuer, request: Request) -> Response {
    let path = request.uri().path();
    if path.ends_with("/oauth/refresh") {
        refresh(issuer, request).await
    } else if path.ends_with("/oauth/revoke") {
        revoke(issuer, request).await
    } else if path.ends_with("/oauth/introspect") {
        introspect(issuer, request).await
    } else {
        not_found()
    }
}

/// The two metadata documents and the key set, by path. A stage's name may stand before it.
pub async fn jwks_function(publisher: &Publisher, request: Request) -> Response {
    let path = request.uri().path();
    if path.ends_with("/.well-known/jwks.json") {
        jwks(publisher, request).await
    } else if path.ends_with("/.well-known/oauth-authorization-server")
        || path.ends_with("/.well-known/openid-configuration")
    {
        authorization_server_metadata(publisher, &request)
    } else {
        not_found()
    }
}

/// The answer for a path at which nothing is served.
pub fn not_found() -> Response {
    error_response(&WireError::from(&OAuthError::NotFound))
}

/// The answer where the time for a better one is up. Whatever was being written may have been written: whoever repeats
/// a refresh within its 10 seconds gets the successor.
pub fn out_of_time() -> Response {
    refuse("any", None, &OAuthError::Unavailable("the invocation's time is up".into()))
}

/// Reads a form from an authenticated client. The client comes first: a stranger learns nothing of what would be
/// said about the rest.
async fn receive<'request>(
    issuer: &Issuer,
    request: &'request Request,
) -> Result<(AuthenticatedClient, Form<'request>), OAuthError> {
    let (presented, form) = read(request)?;
    let client = issuer.authentication.authenticate(&presented).await?;
    audit::authenticated(&client);
    Ok((client, form))
}

/// What can be said of a request without looking anything up.
pub(crate) fn read(request: &Request) -> Result<(PresentedCredentials, Form<'_>), OAuthError> {
    if request.method() != Method::POST {
        return Err(OAuthError::MethodNotAllowed { allowed: &[Method::POST] });
    }
    form::refuse_query_parameters(request.uri().query())?;
    form::require_form_content_type(request.headers())?;
    if request.body().len() > MAX_BODY_BYTES {
        return Err(OAuthError::BodyTooLarge);
    }
    let mut form = Form::parse(request.body())?;
    let from = request.extensions().get::<SourceAddress>().copied();
    let presented = PresentedCredentials::take(request.headers(), &mut form, from)?;
    Ok((presented, form))
}

/// Serves one request of a client's: reads it, lets `answer` judge it, and says what came of it.
async fn serve<T: Serialize>(
    endpoint: &'static str,
    issuer: &Issuer,
    request: Request,
    answer: impl AsyncFnOnce(&AuthenticatedClient, Form<'_>) -> Result<T, OAuthError>,
) -> Response {
    let served = async {
        let mut client = None;
        let result = match receive(issuer, &request).await {
            Ok((authenticated, form)) => answer(client.insert(authenticated), form).await,
            Err(error) => Err(error),
        };
        let rendered = result.and_then(|body| Ok(json_response(StatusCode::OK, render(&body)?)));
        rendered.unwrap_or_else(|error| refuse(endpoint, client.as_deref(), &error))
    };
    served.instrument(audit::request()).await
}

/// Says to the log what went wrong, and to the caller what it may know of it.
fn refuse(endpoint: &'static str, client: Option<&Client>, error: &OAuthError) -> Response {
    let wire = WireError::from(error);
    audit::refused(endpoint, client, wire.error, error);
    error_response(&wire)
}

fn error_response(error: &WireError) -> Response {
    // Three fixed strings cannot fail to serialise.
    let mut response = json_response(error.status, serde_json::to_string(error).unwrap_or_default());
    let headers = response.headers_mut();
    if error.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="countersign""#));
    }
    if let Some(seconds) = error.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if !error.allow.is_empty() {
        let allowed = error.allow.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        if let Ok(allowed) = HeaderValue::from_str(&allowed) {
            headers.insert(ALLOW, allowed);
        }
    }
    response
}

fn render(body: &impl Serialize) -> Result<String, OAuthError> {
    // Two tokens and what goes with them; more is rare.
    let mut json = Vec::with_capacity(2048);
    serde_json::to_writer(&mut json, body)?;
    String::from_utf8(json).map_err(|error| OAuthError::Defect(format!("serialising: {error}")))
}

/// JSON that nobody may keep (RFC 6749 section 5.1).
fn json_response(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

//! The HTTP endpoints. Each one always answers: no path ends in a transport error.

mod error;
mod introspect;
mod metadata;
mod revoke;
mod routes;
mod token;

pub use crate::request::{BodyTooLarge, MAX_BODY_BYTES};
pub use metadata::jwks;
pub use routes::{Function, ROUTES, jwks_function, refresh_function};
pub use token::token;

use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, PRAGMA, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, StatusCode};

use crate::audit::{AuditLog, Event, Record};
use crate::authn::client::AuthenticatedClient;
use crate::context::{RequestContext, SourceAddress};
use crate::http::error::WireError;
use crate::issuer::Issuer;
use crate::request::credentials::PresentedCredentials;
use crate::request::error::{GrantRefusal, OAuthError};
use crate::request::form::{self, Form};

/// A request, in whatever way it arrived. Its [`SourceAddress`] is among its extensions, where it is known.
pub type Request = http::Request<Vec<u8>>;
/// A response: JSON text, or nothing.
pub type Response = http::Response<String>;

/// The outcome of a request that was granted.
struct Granted {
    /// The audit event; `None` where nothing happened that is worth a record.
    event: Option<Event>,
    /// The response as JSON.
    json: String,
}

/// The response for a path at which nothing is served.
pub fn not_found() -> Response {
    WireError::from(&OAuthError::NotFound).into_response()
}

/// The response when the invocation's time is up. What was being written may have been written: a refresh that is
/// repeated within its grace period gets the successor.
pub fn out_of_time(audit: &AuditLog) -> Response {
    let error = OAuthError::Unavailable("the invocation's time is up".into());
    refuse("any", Record::default(), audit, &error)
}

/// The response to an event that is not a readable request.
pub fn unreadable(audit: &AuditLog) -> Response {
    refuse("any", Record::default(), audit, &OAuthError::UnreadableEvent)
}

/// The response when an endpoint panicked.
pub fn panicked(audit: &AuditLog) -> Response {
    refuse("any", Record::default(), audit, &OAuthError::Defect("a panic".into()))
}

/// Parses as much of a request as needs no lookup.
pub(crate) fn parse(request: &Request) -> Result<(PresentedCredentials, Form<'_>), OAuthError> {
    if request.method() != Method::POST {
        return Err(OAuthError::MethodNotAllowed { allowed: &[Method::POST] });
    }
    form::refuse_query_parameters(request.uri().query())?;
    form::refuse_content_encoding(request.headers())?;
    form::require_form_content_type(request.headers())?;
    let is_unread = request.extensions().get::<BodyTooLarge>().is_some();
    if is_unread || request.body().len() > MAX_BODY_BYTES {
        return Err(OAuthError::BodyTooLarge);
    }
    let mut form = Form::parse(request.body())?;
    let presented = PresentedCredentials::take(request.headers(), &mut form)?;
    Ok((presented, form))
}

/// Serves a request of a client: authenticates it, lets `grant` decide, and writes the audit record. The client is
/// authenticated before the form is interpreted: a stranger learns nothing about the rest.
async fn serve(
    endpoint: &'static str,
    issuer: &Issuer,
    request: Request,
    grant: impl AsyncFnOnce(
        &AuthenticatedClient,
        &PresentedCredentials,
        Form<'_>,
        &mut RequestContext,
    ) -> Result<Granted, OAuthError>,
) -> Response {
    let source = request.extensions().get::<SourceAddress>().copied();
    let mut cx = issuer.context(source);
    let decided = async {
        let (presented, form) = parse(&request)?;
        let client = issuer.authenticate(&presented, &mut cx).await?;
        grant(&client, &presented, form, &mut cx).await
    };
    match decided.await {
        Ok(Granted { event, json }) => {
            if let Some(event) = event {
                cx.audit.event = event;
                issuer.audit().write(&cx.audit);
            }
            json_response(StatusCode::OK, json)
        }
        Err(error) => refuse(endpoint, cx.audit, issuer.audit(), &error),
    }
}

/// Writes the audit record of a refusal or failure, and returns the response.
fn refuse(endpoint: &'static str, mut record: Record, audit: &AuditLog, error: &OAuthError) -> Response {
    let wire = WireError::from(error);
    record.event = match error {
        OAuthError::Unavailable(_) | OAuthError::Defect(_) => Event::Failed,
        OAuthError::InvalidGrant(GrantRefusal::Reused) => Event::ReuseDetected,
        OAuthError::TooManyFailures { .. } => Event::SlowedDown,
        _ => Event::Refused,
    };
    record.endpoint = Some(endpoint);
    record.error = Some(wire.error);
    record.reason = Some(error.to_string());
    audit.write(&record);
    wire.into_response()
}

/// A JSON response that no cache may store (RFC 6749 section 5.1).
fn json_response(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    harden(headers);
    response
}

/// Adds the headers that protect callers which are browsers: https only, for a year (RFC 6797; over
/// plain http it is ignored), and no guessing of content types (the Fetch standard).
fn harden(headers: &mut HeaderMap) {
    headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

//! The one mapping of an error to what the caller reads (RFC 6749 section 5.2).

use std::borrow::Cow;

use http::header::{ACCEPT_ENCODING, ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use serde::Serialize;

use super::{Response, json_response};
use crate::request::error::{ClientRefusal, OAuthError};

/// Credentials are read as UTF-8: without the parameter, some clients encode them in Latin-1 (RFC 7617 section 2.1).
const BASIC_CHALLENGE: HeaderValue =
    HeaderValue::from_static(r#"Basic realm="countersign", charset="UTF-8""#);

/// The answer to a request that was refused or failed: fixed texts only, nothing of the request and nothing of a
/// fault.
#[derive(Debug, Serialize)]
pub(super) struct WireError {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    allow: &'static [Method],
    /// In seconds.
    #[serde(skip)]
    retry_after: Option<u64>,
    /// The error code.
    pub(super) error: &'static str,
    error_description: Cow<'static, str>,
}

impl From<&OAuthError> for WireError {
    fn from(error: &OAuthError) -> Self {
        let (status, code, description) = match error {
            OAuthError::InvalidRequest(problem) | OAuthError::InvalidParameter { problem, .. } => {
                (400, "invalid_request", *problem)
            }
            OAuthError::InvalidClient(ClientRefusal::Unusable { problem, .. }) => {
                (401, "invalid_client", *problem)
            }
            OAuthError::InvalidClient(_) => (401, "invalid_client", "client authentication failed"),
            OAuthError::InvalidGrant(_) => {
                (400, "invalid_grant", "the credentials or the refresh token are not valid")
            }
            OAuthError::OperatorRefused(_) => (
                400,
                "invalid_grant",
                "the operator is unknown, disabled, or not one this client may act for",
            ),
            OAuthError::UnauthorizedClient => {
                (400, "unauthorized_client", "the client may not use this grant type")
            }
            OAuthError::UnsupportedGrantType => {
                (400, "unsupported_grant_type", "the grant type is not one of those that this server knows")
            }
            OAuthError::InvalidScope(problem) => (400, "invalid_scope", *problem),
            OAuthError::InvalidTarget(problem) => (400, "invalid_target", *problem),
            OAuthError::UnsupportedTokenType => {
                (400, "unsupported_token_type", "access tokens cannot be revoked; they expire")
            }
            OAuthError::MethodNotAllowed { .. } => (405, "invalid_request", "the method is not allowed here"),
            OAuthError::BodyTooLarge => (413, "invalid_request", "the body is larger than 16 KiB"),
            OAuthError::EncodedBody => (
                415,
                "invalid_request",
                "the body is compressed or encoded: send it without Content-Encoding",
            ),
            OAuthError::UnreadableEvent => (400, "invalid_request", "the event cannot be read"),
            OAuthError::NotFound => (404, "invalid_request", "nothing is served at this path"),
            OAuthError::TooManyFailures { .. } => {
                (429, "temporarily_unavailable", "there were too many failures; wait before the next attempt")
            }
            OAuthError::Unavailable(_) => (503, "temporarily_unavailable", "try again in a moment"),
            OAuthError::Defect(_) => {
                (500, "server_error", "the server failed; the operator of this server can see why")
            }
        };
        let description = match error {
            // Two constants, as a sentence.
            OAuthError::InvalidParameter { name, problem } => format!("{name} {problem}").into(),
            _ => description.into(),
        };
        let allow = if let OAuthError::MethodNotAllowed { allowed } = error { *allowed } else { &[] };
        let retry_after = match error {
            OAuthError::TooManyFailures { wait } => {
                Some(wait.as_millis().div_ceil(1000).try_into().unwrap_or(1))
            }
            OAuthError::Unavailable(_) => Some(1),
            _ => None,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, allow, retry_after, error: code, error_description: description }
    }
}

impl WireError {
    /// The response, with the headers that its status calls for.
    pub(super) fn into_response(self) -> Response {
        // Two strings cannot fail to serialise.
        let mut response = json_response(self.status, serde_json::to_string(&self).unwrap_or_default());
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, BASIC_CHALLENGE);
        }
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            // RFC 9110 section 15.5.16: this tells it from a wrong content type.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if !self.allow.is_empty() {
            let allowed = self.allow.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            if let Ok(allowed) = HeaderValue::from_str(&allowed) {
                headers.insert(ALLOW, allowed);
            }
        }
        response
    }
}

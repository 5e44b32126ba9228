//! What strangers' bytes become before anything is looked up, opened to the fuzz targets.

pub use crate::authorizer::read_event as authorizer_event;

use countersign_verify::{JwkSet, jws};

use crate::SourceAddress;
use crate::authn::client::PresentedCredentials;
use crate::http;
use crate::lambda::request;
use crate::request::form::Form;
use crate::tokens::access::TokenType;
use crate::tokens::refresh::RefreshClaims;

/// A name or client id, and its value or secret.
pub type Pair = (String, String);

/// The parameters of a body, or why it was refused.
pub fn form(body: &[u8]) -> Result<Vec<Pair>, String> {
    Form::parse(body).map(Form::into_pairs).map_err(|error| error.to_string())
}

/// The readings of an Authorization header with HTTP Basic in it, or why it was refused.
pub fn basic(authorization: &str) -> Result<Vec<Pair>, String> {
    let presented = PresentedCredentials::basic(authorization, None).map_err(|error| error.to_string())?;
    Ok(presented.into_pairs())
}

/// The claims of a refresh token that one of `keys` signed, or why it was refused.
pub fn refresh_token(token: &str, keys: &JwkSet) -> Result<serde_json::Value, String> {
    let verified = jws::verify::<RefreshClaims>(token, keys, &[TokenType::Refresh.as_str()]);
    let (claims, _) = verified.map_err(|error| error.to_string())?;
    serde_json::to_value(claims).map_err(|error| error.to_string())
}

/// An event of API Gateway for the token or the refresh function: the address, the credentials and the parameters, or
/// why it was refused. None where it is no event.
pub fn event(event: &[u8]) -> Option<Result<(Option<SourceAddress>, Vec<Pair>, Vec<Pair>), String>> {
    let request = request(str::from_utf8(event).ok()?).ok()?;
    let read = http::read(&request).map_err(|error| error.to_string());
    let address = request.extensions().get::<SourceAddress>().copied();
    Some(read.map(|(presented, form)| (address, presented.into_pairs(), form.into_pairs())))
}

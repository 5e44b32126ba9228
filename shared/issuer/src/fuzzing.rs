//! The parsers of untrusted bytes, opened to the fuzz targets. They look nothing up.

use countersign_verify::Jwk;

use crate::http::{self, Request};
use crate::request::credentials::PresentedCredentials;
use crate::request::form::Form;
use crate::tokens::refresh;

/// A name or client id, and its value or secret.
pub type Pair = (String, String);

/// The parameters of a body, or the reason why it was refused.
pub fn form(body: &[u8]) -> Result<Vec<Pair>, String> {
    Form::parse(body).map(Form::into_pairs).map_err(|error| error.to_string())
}

/// The interpretations of an Authorization header with HTTP Basic, or the reason why it was
/// refused.
pub fn basic(authorization: &str) -> Result<Vec<Pair>, String> {
    let presented = PresentedCredentials::from_basic(authorization).map_err(|error| error.to_string())?;
    presented.into_pairs()
}

/// The claims of a refresh token that `key` signed, whatever number the token gives it, or the reason
/// why it was refused.
pub fn refresh_token(token: &str, key: &Jwk) -> Result<serde_json::Value, String> {
    let claims = refresh::verify_signature(token, |_| Some(key)).map_err(|error| error.to_string())?;
    serde_json::to_value(claims).map_err(|error| error.to_string())
}

/// The credentials and the parameters of a request for the token or the refresh function, or the
/// reason why it was refused.
pub fn request(request: &Request) -> Result<(Vec<Pair>, Vec<Pair>), String> {
    let (presented, form) = http::parse(request).map_err(|error| error.to_string())?;
    Ok((presented.into_pairs()?, form.into_pairs()))
}

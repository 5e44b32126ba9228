//! `application/x-www-form-urlencoded`, parsed strictly: a malformed body is refused, never repaired.

use std::borrow::Cow;

use countersign_verify::jws::MAX_TOKEN_BYTES;
use countersign_verify::percent;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use crate::credentials::MAX_PASSWORD_BYTES;
use crate::request::MAX_BODY_BYTES;
use crate::request::error::OAuthError;

/// More parameters than any request needs. The check for repeated names takes quadratic time, so a body of nothing
/// but `&a` must not reach it.
const MAX_PARAMETERS: usize = 64;
/// The longest value of a parameter that names or authenticates something, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = MAX_PASSWORD_BYTES;

/// Returns how long the value of a parameter may be, in bytes.
fn max_bytes(name: &str) -> usize {
    match name {
        "client_id" | "client_secret" | "username" | "password" | "operator" | "brandKey" | "resource"
        | "audience" | "grant_type" => MAX_VALUE_BYTES,
        "refresh_token" | "token" => MAX_TOKEN_BYTES,
        // `scope` has its own limit, and unknown parameters are ignored (RFC 6749 section 3.2).
        _ => MAX_BODY_BYTES,
    }
}

/// The parameters of all grants and endpoints, and those by which clients authenticate elsewhere.
const PARAMETERS: [&str; 17] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "assertion",
    "username",
    "password",
    "refresh_token",
    "access_token",
    "token",
    "token_type_hint",
    "scope",
    "resource",
    "audience",
    "operator",
    "brandKey",
];

const A_NAME: &str = "the name of a parameter";
const BYTE_ORDER_MARK: &str = "the body begins with a byte order mark: send it without";

/// The text for a body in another format, whatever its content type says.
pub(crate) const NOT_A_FORM: &str =
    "the body is not a form: send name=value pairs joined by &, not JSON, XML or multipart";

/// The parameters of a request, each at most once (RFC 6749 section 3.2).
pub(crate) struct Form<'body> {
    parameters: Vec<(Cow<'body, str>, Cow<'body, str>)>,
    /// False for a body in another format, which has no parameters. Client authentication, and the first parameter
    /// that is required, fail with a text that says so.
    is_form: bool,
}

impl<'body> Form<'body> {
    /// Parses a body. A parameter with an empty value counts as omitted (RFC 6749 section 3.2).
    pub(crate) fn parse(body: &'body [u8]) -> Result<Self, OAuthError> {
        if begins_as_another_format(body) {
            return Ok(Self { parameters: Vec::new(), is_form: false });
        }
        let mut parameters: Vec<(Cow<'body, str>, Cow<'body, str>)> = Vec::with_capacity(8);
        for pair in body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            let name =
                decode(name).map_err(|problem| OAuthError::InvalidParameter { name: A_NAME, problem })?;
            if parameters.is_empty() && name.starts_with('\u{feff}') {
                return Err(OAuthError::InvalidRequest(BYTE_ORDER_MARK));
            }
            let refused = |problem| OAuthError::InvalidParameter { name: printable(&name), problem };
            let value = decode_text(value).map_err(refused)?;
            // Those of a credential make client authentication fail: `PresentedCredentials::take`.
            if !is_credential(&name) {
                refuse_control_characters(&value).map_err(refused)?;
            }
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(match &*name {
                    // RFC 8707 section 2: several are a request for a token for several APIs.
                    "resource" | "audience" => OAuthError::InvalidTarget("a token is for one API: name one"),
                    _ => refused("is repeated"),
                });
            }
            if value.len() > max_bytes(&name) {
                return Err(refused("is too long"));
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(OAuthError::InvalidRequest("too many parameters"));
            }
            parameters.push((name, value));
        }
        parameters.retain(|(_, value)| !value.is_empty());
        Ok(Self { parameters, is_form: true })
    }

    /// Reports whether the body looks like a form.
    pub(crate) fn is_form(&self) -> bool {
        self.is_form
    }

    /// Removes a parameter and returns its value.
    pub(crate) fn take(&mut self, name: &str) -> Option<Cow<'body, str>> {
        let at = self.parameters.iter().position(|(known, _)| known == name)?;
        Some(self.parameters.swap_remove(at).1)
    }

    /// Removes a required parameter and returns its value; `missing` describes its absence to the caller.
    pub(crate) fn require(
        &mut self,
        name: &str,
        missing: &'static str,
    ) -> Result<Cow<'body, str>, OAuthError> {
        let missing = if self.is_form { missing } else { NOT_A_FORM };
        self.take(name).ok_or(OAuthError::InvalidRequest(missing))
    }

    #[cfg(fuzzing)]
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.parameters.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }
}

/// Reports whether a body begins as JSON, XML or multipart do. No known parameter's name begins so.
fn begins_as_another_format(body: &[u8]) -> bool {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).trim_ascii_start();
    body.starts_with(b"--") || matches!(body.first(), Some(b'{' | b'[' | b'"' | b'<'))
}

/// Decodes one name or value: `+` is a space, `%XX` a byte, and the result is UTF-8 without control characters. An
/// error is the predicate of a sentence about it.
pub(crate) fn decode(encoded: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let text = decode_text(encoded)?;
    refuse_control_characters(&text)?;
    Ok(text)
}

fn decode_text(encoded: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    const NOT_UTF8: &str = "is not UTF-8";
    if encoded.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        let decoded = percent::decode_form(encoded).map_err(|_| "has broken percent-encoding")?;
        Ok(Cow::Owned(String::from_utf8(decoded).map_err(|_| NOT_UTF8)?))
    } else {
        Ok(Cow::Borrowed(std::str::from_utf8(encoded).map_err(|_| NOT_UTF8)?))
    }
}

fn refuse_control_characters(text: &str) -> Result<(), &'static str> {
    if !text.contains(char::is_control) {
        Ok(())
    } else if ends_with_line_break(text) {
        Err("ends with a line break: send it without")
    } else {
        Err("holds a control character")
    }
}

/// Reports whether the only control characters of a text that has some are the line breaks at its end, as programs
/// that read a secret from a file leave them.
pub(super) fn ends_with_line_break(text: &str) -> bool {
    !text.trim_end_matches(['\r', '\n']).contains(char::is_control)
}

/// Reports whether a parameter authenticates the client.
fn is_credential(name: &str) -> bool {
    matches!(name, "client_id" | "client_secret")
}

/// Returns the name of a known parameter. An unknown name may be a secret, and is not repeated.
fn printable(name: &str) -> &'static str {
    PARAMETERS.into_iter().find(|known| *known == name).unwrap_or("a parameter")
}

/// Accepts `application/x-www-form-urlencoded` in any letter case. The media type has no parameters, so that all of
/// them are ignored (RFC 9110 section 8.3.1): a form is UTF-8 whatever `charset` says (RFC 6749 appendix B).
pub(crate) fn require_form_content_type(headers: &HeaderMap) -> Result<(), OAuthError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    if let (Some(value), None) = (values.next(), values.next()) {
        let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        if media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Ok(());
        }
    }
    Err(OAuthError::InvalidRequest("the content type must be application/x-www-form-urlencoded"))
}

/// Refuses a body with a content coding, such as gzip (RFC 9110 section 8.4).
pub(crate) fn refuse_content_encoding(headers: &HeaderMap) -> Result<(), OAuthError> {
    let codings =
        headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    let is_none = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    if codings.map(<[u8]>::trim_ascii).all(is_none) { Ok(()) } else { Err(OAuthError::EncodedBody) }
}

/// Refuses OAuth parameters in the query string, which logs and histories keep (RFC 6749 section 2.3.1).
pub(crate) fn refuse_query_parameters(query: Option<&str>) -> Result<(), OAuthError> {
    for pair in query.unwrap_or_default().split('&') {
        let name = pair.split('=').next().unwrap_or_default();
        let name = decode(name.as_bytes())
            .map_err(|problem| OAuthError::InvalidParameter { name: A_NAME, problem })?;
        if PARAMETERS.contains(&name.as_ref()) {
            return Err(OAuthError::InvalidRequest("parameters belong in the body, not in the query"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Percent-encodes every byte, so that the encoder shares no rule with the decoder.
    fn encode(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02x}")).collect()
    }

    proptest! {
        #[test]
        fn an_encoded_form_is_decoded_to_itself_and_garbage_never_panics(
            pairs in proptest::collection::btree_map("\\PC{1,12}", "\\PC{1,12}", 0..8),
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let body: Vec<String> =
                pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
            let body = body.join("&");
            let mut form = Form::parse(body.as_bytes()).unwrap();
            for (name, value) in &pairs {
                let taken = form.take(name);
                prop_assert_eq!(taken.as_deref(), Some(value.as_str()));
            }
            prop_assert!(form.parameters.is_empty());
            let _ = Form::parse(&garbage);
        }
    }
}

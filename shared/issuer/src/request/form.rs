//! `application/x-www-form-urlencoded`, parsed strictly: a malformed body is refused, never repaired.

use std::borrow::Cow;

use countersign_verify::jws::MAX_TOKEN_BYTES;
use countersign_verify::percent;
use http::header::{CONTENT_TYPE, HeaderMap};

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
        | "grant_type" => MAX_VALUE_BYTES,
        "refresh_token" | "token" => MAX_TOKEN_BYTES,
        // `scope` has its own limit, and unknown parameters are ignored (RFC 6749 section 3.2).
        _ => MAX_BODY_BYTES,
    }
}

/// The parameters of a request, each at most once (RFC 6749 section 3.2).
pub(crate) struct Form<'body>(Vec<(Cow<'body, str>, Cow<'body, str>)>);

impl<'body> Form<'body> {
    /// Parses a body. A parameter with an empty value counts as omitted (RFC 6749 section 3.2).
    pub(crate) fn parse(body: &'body [u8]) -> Result<Self, OAuthError> {
        let mut parameters: Vec<(Cow<'body, str>, Cow<'body, str>)> = Vec::with_capacity(8);
        for pair in body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            let name = decode(name).map_err(OAuthError::InvalidRequest)?;
            let value = decode(value).map_err(OAuthError::InvalidRequest)?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(OAuthError::InvalidRequest("a parameter is repeated"));
            }
            if value.len() > max_bytes(&name) {
                return Err(OAuthError::InvalidRequest("a parameter is too long"));
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(OAuthError::InvalidRequest("too many parameters"));
            }
            parameters.push((name, value));
        }
        parameters.retain(|(_, value)| !value.is_empty());
        Ok(Self(parameters))
    }

    /// Removes a parameter and returns its value.
    pub(crate) fn take(&mut self, name: &str) -> Option<Cow<'body, str>> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Removes a required parameter and returns its value; `missing` describes its absence to the caller.
    pub(crate) fn require(
        &mut self,
        name: &str,
        missing: &'static str,
    ) -> Result<Cow<'body, str>, OAuthError> {
        self.take(name).ok_or(OAuthError::InvalidRequest(missing))
    }

    #[cfg(fuzzing)]
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }
}

/// Decodes one name or value: `+` is a space, `%XX` a byte, and the result is UTF-8 without control characters.
pub(crate) fn decode(encoded: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    const NOT_UTF8: &str = "a parameter is not UTF-8";
    let text = if encoded.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        let decoded = percent::decode_form(encoded).map_err(|_| "a parameter has broken percent-encoding")?;
        Cow::Owned(String::from_utf8(decoded).map_err(|_| NOT_UTF8)?)
    } else {
        Cow::Borrowed(std::str::from_utf8(encoded).map_err(|_| NOT_UTF8)?)
    };
    if text.chars().any(char::is_control) {
        return Err("a parameter holds a control character");
    }
    Ok(text)
}

/// Accepts `application/x-www-form-urlencoded` in any letter case, alone or with `charset=UTF-8`.
pub(crate) fn require_form_content_type(headers: &HeaderMap) -> Result<(), OAuthError> {
    let refused = OAuthError::InvalidRequest("the content type must be application/x-www-form-urlencoded");
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refused);
    };
    let Ok(value) = value.to_str() else {
        return Err(refused);
    };
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let is_utf8 = |parameter: &str| {
        parameter.split_once('=').is_some_and(|(name, charset)| {
            name.eq_ignore_ascii_case("charset") && charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    };
    if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") && parts.all(is_utf8) {
        Ok(())
    } else {
        Err(refused)
    }
}

/// Refuses OAuth parameters in the query string, which logs and histories keep (RFC 6749 section 2.3.1).
pub(crate) fn refuse_query_parameters(query: Option<&str>) -> Result<(), OAuthError> {
    const PARAMETERS: [&str; 16] = [
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
        "operator",
        "brandKey",
    ];
    for pair in query.unwrap_or_default().split('&') {
        let name = pair.split('=').next().unwrap_or_default();
        let name = decode(name.as_bytes()).map_err(OAuthError::InvalidRequest)?;
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
            prop_assert!(form.0.is_empty());
            let _ = Form::parse(&garbage);
        }
    }
}

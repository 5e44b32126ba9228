//! The client credentials in a request (RFC 6749 section 2.3). They prove nothing until `authn` has verified them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{AUTHORIZATION, HeaderMap};

use crate::credentials::Secret;
use crate::records::client::ClientId;
use crate::request::error::{ClientRefusal, OAuthError};
use crate::request::form::{self, Form, MAX_VALUE_BYTES};

/// The credentials that a request presents.
#[derive(Debug)]
pub(crate) struct PresentedCredentials {
    /// One interpretation, or two where HTTP Basic can be read in two ways.
    pub(crate) interpretations: Vec<PresentedSecret>,
}

/// A client id with a secret, as one interpretation of the request gives them.
#[derive(Debug)]
pub(crate) struct PresentedSecret {
    /// The client id as it was sent.
    pub(crate) sent_id: String,
    /// The client id, where it can be one. Any other text belongs to no client.
    pub(crate) client_id: Option<ClientId>,
    /// The secret.
    pub(crate) secret: Secret,
}

impl PresentedSecret {
    fn new(sent_id: String, secret: String) -> Self {
        Self { client_id: ClientId::parse(&sent_id).ok(), sent_id, secret: Secret::from_string(secret) }
    }
}

impl PresentedCredentials {
    /// Takes the credentials from the Authorization header or out of the form, never from both.
    pub(crate) fn take(headers: &HeaderMap, form: &mut Form<'_>) -> Result<Self, OAuthError> {
        let client_id = form.take("client_id");
        let client_secret = form.take("client_secret");
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let interpretations = match (values.next(), client_id, client_secret) {
            (None, Some(client_id), Some(client_secret)) => {
                vec![PresentedSecret::new(client_id.into_owned(), client_secret.into_owned())]
            }
            (None, _, _) => return Err(OAuthError::InvalidClient(ClientRefusal::NoCredentials)),
            (Some(_), _, _) if values.next().is_some() => {
                return Err(OAuthError::InvalidRequest("there are two Authorization headers"));
            }
            (Some(_), _, Some(_)) => {
                return Err(OAuthError::InvalidRequest("there are two ways of client authentication"));
            }
            (Some(value), client_id, None) => {
                let mut interpretations = parse_basic(value.as_bytes())?;
                if let Some(client_id) = client_id {
                    interpretations.retain(|presented| presented.sent_id == client_id);
                }
                if interpretations.is_empty() {
                    return Err(OAuthError::InvalidRequest(
                        "client_id is not the one of the Authorization header",
                    ));
                }
                interpretations
            }
        };
        Ok(Self { interpretations })
    }

    /// Parses an Authorization header with HTTP Basic.
    pub(crate) fn from_basic(authorization: &str) -> Result<Self, OAuthError> {
        Ok(Self { interpretations: parse_basic(authorization.as_bytes())? })
    }

    #[cfg(fuzzing)]
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        let pair = |presented: PresentedSecret| (presented.sent_id, presented.secret.expose().to_owned());
        self.interpretations.into_iter().map(pair).collect()
    }
}

/// Parses `Basic` credentials both form-encoded, as RFC 6749 section 2.3.1 requires, and unencoded, as many clients
/// send them.
fn parse_basic(value: &[u8]) -> Result<Vec<PresentedSecret>, OAuthError> {
    let malformed = || OAuthError::InvalidClient(ClientRefusal::MalformedHeader);
    let value = std::str::from_utf8(value).map_err(|_| malformed())?;
    let (scheme, credentials) = value.split_once(' ').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Err(malformed());
    }
    // An HTTP API joins repeated headers with a comma, which is not in the base64 alphabet.
    if credentials.contains(',') {
        return Err(OAuthError::InvalidRequest("there are two Authorization headers"));
    }
    let decoded = BASE64.decode(credentials.trim_matches(' ')).map_err(|_| malformed())?;
    let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
    let (id, secret) = decoded.split_once(':').ok_or_else(malformed)?;
    if decoded.chars().any(char::is_control) || id.is_empty() || secret.is_empty() {
        return Err(malformed());
    }
    let mut interpretations = Vec::with_capacity(2);
    if decoded.bytes().all(may_be_form_encoded)
        && let (Ok(form_id), Ok(form_secret)) = (form::decode(id.as_bytes()), form::decode(secret.as_bytes()))
        && (form_id != id || form_secret != secret)
    {
        interpretations.push(PresentedSecret::new(form_id.into_owned(), form_secret.into_owned()));
    }
    interpretations.push(PresentedSecret::new(id.to_owned(), secret.to_owned()));
    // Form-encoding makes three bytes of one, so the limit applies to the decoded values.
    interpretations
        .retain(|presented| presented.sent_id.len().max(presented.secret.expose().len()) <= MAX_VALUE_BYTES);
    if interpretations.is_empty() { Err(malformed()) } else { Ok(interpretations) }
}

/// Returns true for the bytes that an encoder of forms or URIs writes. Credentials with any other byte were sent
/// unencoded, which saves the slow hash of a second interpretation.
fn may_be_form_encoded(byte: u8) -> bool {
    byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interpretations(credentials: &str) -> Vec<(String, String)> {
        let value = format!("bAsIc {}", BASE64.encode(credentials));
        let parsed = parse_basic(value.as_bytes()).unwrap_or_default();
        parsed.into_iter().map(|one| (one.sent_id, one.secret.expose().to_owned())).collect()
    }

    proptest! {
        #[test]
        fn credentials_sent_raw_and_form_encoded_are_both_among_the_interpretations(
            id in "[!-9;-~]{1,20}",
            secret in "\\PC{1,20}",
            garbage in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let pair = (id.clone(), secret.clone());
            let raw = interpretations(&format!("{id}:{secret}"));
            prop_assert!(raw.contains(&pair));
            let encode = |text: &str| text.bytes().fold(String::new(), |all, byte| format!("{all}%{byte:02X}"));
            let encoded = interpretations(&format!("{}:{}", encode(&id), encode(&secret)));
            prop_assert!(encoded.contains(&pair));
            let _ = parse_basic(&garbage);
            let _ = parse_basic(&[b"Basic ", &garbage[..]].concat());
        }
    }

    #[test]
    fn credentials_have_one_interpretation_unless_they_read_differently_and_may_be_form_encoded() {
        for (one, secret) in [("app:csgn_A-z", "csgn_A-z"), ("app:a%41 b", "a%41 b"), ("app:ü+%41", "ü+%41")]
        {
            assert_eq!(interpretations(one), [("app".into(), secret.into())]);
        }
        let both = [("app".into(), "a b/A".into()), ("app".into(), "a+b/%41".into())];
        assert_eq!(interpretations("app:a+b/%41"), both);
    }
}

//! The client credentials in a request (RFC 6749 section 2.3). They prove nothing until `authn` has verified them.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HeaderMap};

use crate::credentials::Secret;
use crate::records::client::ClientId;
use crate::request::error::OAuthError;
use crate::request::form::{self, Form, MAX_VALUE_BYTES, NOT_A_FORM};

/// The credentials that a request presents.
#[derive(Debug)]
pub(crate) enum PresentedCredentials {
    /// One interpretation, or two where HTTP Basic can be read in two ways.
    Interpretations(Vec<PresentedSecret>),
    /// There is nothing that could be compared with a secret.
    Unusable(UnusableCredentials),
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

/// Credentials that are missing or malformed.
#[derive(Debug)]
pub(crate) struct UnusableCredentials {
    /// A text for the caller. It depends on the form of the request alone.
    pub(crate) problem: &'static str,
    /// The client id, as far as there is one, for the log.
    pub(crate) client_id: Option<ClientId>,
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
        match (values.next(), client_id, client_secret) {
            (None, Some(client_id), Some(client_secret)) => {
                if let Some(problem) = control_characters(&client_id, &client_secret) {
                    return Ok(Self::unusable(problem, Some(client_id.trim_ascii())));
                }
                let presented = PresentedSecret::new(client_id.into_owned(), client_secret.into_owned());
                Ok(Self::Interpretations(vec![presented]))
            }
            (None, Some(client_id), None) => Ok(Self::unusable(NO_SECRET, Some(&client_id))),
            (None, None, Some(_)) => Ok(Self::unusable(NO_ID, None)),
            (None, None, None) => {
                Ok(Self::unusable(if form.is_form() { NO_CREDENTIALS } else { NOT_A_FORM }, None))
            }
            (Some(_), _, _) if values.next().is_some() => {
                Err(OAuthError::InvalidRequest("there are two Authorization headers"))
            }
            (Some(_), _, Some(_)) => {
                Err(OAuthError::InvalidRequest("there are two ways of client authentication"))
            }
            (Some(value), client_id, None) => parse_basic(value.as_bytes())?.for_client(client_id.as_deref()),
        }
    }

    /// Parses an Authorization header with HTTP Basic.
    pub(crate) fn from_basic(authorization: &str) -> Result<Self, OAuthError> {
        parse_basic(authorization.as_bytes())
    }

    fn unusable(problem: &'static str, client_id: Option<&str>) -> Self {
        let client_id = client_id.and_then(|sent| ClientId::parse(sent).ok());
        Self::Unusable(UnusableCredentials { problem, client_id })
    }

    /// Keeps the interpretations with the client id of the form, where it has one.
    fn for_client(self, client_id: Option<&str>) -> Result<Self, OAuthError> {
        let Some(client_id) = client_id else { return Ok(self) };
        match self {
            Self::Interpretations(mut interpretations) => {
                interpretations.retain(|presented| presented.sent_id == client_id);
                if interpretations.is_empty() {
                    return Err(OAuthError::InvalidRequest(
                        "client_id is not the one of the Authorization header",
                    ));
                }
                Ok(Self::Interpretations(interpretations))
            }
            Self::Unusable(UnusableCredentials { problem, client_id: None }) => {
                Ok(Self::unusable(problem, Some(client_id)))
            }
            unusable @ Self::Unusable(_) => Ok(unusable),
        }
    }

    /// The secrets, as each interpretation has them.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let interpretations = match self {
            Self::Interpretations(interpretations) => interpretations.as_slice(),
            Self::Unusable(_) => &[],
        };
        interpretations.iter().map(|presented| presented.secret.expose())
    }

    #[cfg(fuzzing)]
    pub(crate) fn into_pairs(self) -> Result<Vec<(String, String)>, String> {
        let pair = |presented: PresentedSecret| (presented.sent_id, presented.secret.expose().to_owned());
        match self {
            Self::Interpretations(interpretations) => Ok(interpretations.into_iter().map(pair).collect()),
            Self::Unusable(unusable) => Err(unusable.problem.to_owned()),
        }
    }
}

const NO_CREDENTIALS: &str =
    "there are no client credentials: send HTTP Basic, or client_id and client_secret in the body";
const NO_SECRET: &str = "client_secret is missing: client_id alone authenticates no client";
const NO_ID: &str = "client_id is missing beside client_secret";
const OTHER_SCHEME: &str = "the Authorization header is not HTTP Basic, by which clients authenticate here";
const NOTHING_ENCODED: &str = "nothing follows Basic in the Authorization header";
const NOT_ENCODED: &str = "the Basic credentials are not encoded: send id:secret in base64";
const BASE64URL: &str = "the Basic credentials are base64url: use base64, with + and / (RFC 4648 section 4)";
const UNPADDED: &str = "the Basic credentials lack the padding of base64 (= at the end)";
const NOT_BASE64: &str = "the Basic credentials are not base64";
const NOT_UTF8: &str =
    "the Basic credentials are not UTF-8, which the challenge asks for (RFC 7617 section 2.1)";
const BYTE_ORDER_MARK: &str = "the Basic credentials begin with a byte order mark: encode them without it";
const LINE_BREAK: &str = "the Basic credentials end with a line break: encode them without it";
const CONTROL_CHARACTER: &str = "the Basic credentials hold a control character";
const NO_COLON: &str = "the Basic credentials have no colon between client id and secret";
const EMPTY_ID: &str = "the Basic credentials have no client id before the colon";
const EMPTY_SECRET: &str = "the Basic credentials have no secret after the colon";
const TOO_LONG: &str = "the client id or the secret is too long";

/// Returns what is wrong with a client id or a secret of the form that holds a control character.
fn control_characters(id: &str, secret: &str) -> Option<&'static str> {
    let problem = |text: &str, line_break, other| {
        text.contains(char::is_control)
            .then(|| if form::ends_with_line_break(text) { line_break } else { other })
    };
    problem(
        secret,
        "client_secret ends with a line break: send it without",
        "client_secret holds a control character",
    )
    .or_else(|| {
        problem(
            id,
            "client_id ends with a line break: send it without",
            "client_id holds a control character",
        )
    })
}

/// Decodes what [`BASE64`] refuses for its padding alone, to find the client id for the log.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Parses `Basic` credentials both form-encoded, as RFC 6749 section 2.3.1 requires, and unencoded, as many clients
/// send them.
fn parse_basic(value: &[u8]) -> Result<PresentedCredentials, OAuthError> {
    let unusable = |problem, id| Ok(PresentedCredentials::unusable(problem, id));
    let Ok(value) = std::str::from_utf8(value) else { return unusable(OTHER_SCHEME, None) };
    let (scheme, credentials) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Basic") {
        return unusable(OTHER_SCHEME, None);
    }
    // An HTTP API joins repeated headers with a comma, which is not in the base64 alphabet.
    if credentials.contains(',') {
        return Err(OAuthError::InvalidRequest("there are two Authorization headers"));
    }
    let credentials = credentials.trim_matches(' ');
    if credentials.is_empty() {
        return unusable(NOTHING_ENCODED, None);
    }
    let Ok(decoded) = BASE64.decode(credentials) else {
        let (problem, decoded) = explain_base64(credentials);
        return unusable(problem, decoded.as_deref().and_then(id_in).as_deref());
    };
    let interpretations = match interpret(&decoded) {
        Ok(interpretations) => interpretations,
        Err(problem) => return unusable(problem, id_in(&decoded).as_deref()),
    };
    if interpretations.is_empty() {
        // What is too long costs no read.
        return unusable(TOO_LONG, None);
    }
    Ok(PresentedCredentials::Interpretations(interpretations))
}

/// Returns the interpretations that are not too long.
fn interpret(decoded: &[u8]) -> Result<Vec<PresentedSecret>, &'static str> {
    // A pair in another encoding has a colon too; the word `null`, read as base64, has none.
    if !decoded.contains(&b':') {
        return Err(NO_COLON);
    }
    let decoded = std::str::from_utf8(decoded).map_err(|_| NOT_UTF8)?;
    let (id, secret) = decoded.split_once(':').ok_or(NO_COLON)?;
    if id.starts_with('\u{feff}') {
        return Err(BYTE_ORDER_MARK);
    }
    if decoded.contains(char::is_control) {
        return Err(if form::ends_with_line_break(decoded) { LINE_BREAK } else { CONTROL_CHARACTER });
    }
    if id.is_empty() {
        return Err(EMPTY_ID);
    }
    if secret.is_empty() {
        return Err(EMPTY_SECRET);
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
    Ok(interpretations)
}

/// Returns the reason why a text is not base64, and the bytes that were probably meant.
fn explain_base64(text: &str) -> (&'static str, Option<Vec<u8>>) {
    if text.contains(':') {
        return (NOT_ENCODED, Some(text.as_bytes().to_vec()));
    }
    let decoded = LENIENT.decode(text.replace('-', "+").replace('_', "/")).ok();
    match decoded {
        Some(_) if text.contains(['-', '_']) => (BASE64URL, decoded),
        Some(_) if !text.len().is_multiple_of(4) => (UNPADDED, decoded),
        _ => (NOT_BASE64, decoded),
    }
}

/// Returns the client id in malformed credentials. Form-encoding is undone, as RFC 6749 section 2.3.1 wants it.
fn id_in(decoded: &[u8]) -> Option<String> {
    let decoded = decoded.strip_prefix("\u{feff}".as_bytes()).unwrap_or(decoded);
    let id = decoded.split(|&byte| byte == b':').next()?.trim_ascii();
    Some(form::decode(id).ok()?.into_owned())
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
        match parse_basic(value.as_bytes()) {
            Ok(PresentedCredentials::Interpretations(parsed)) => {
                parsed.into_iter().map(|one| (one.sent_id, one.secret.expose().to_owned())).collect()
            }
            _ => Vec::new(),
        }
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

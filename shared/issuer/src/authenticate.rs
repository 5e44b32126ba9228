//! From credentials presented to a client authenticated (RFC 6749 section 2.3).

use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_verify::Timestamp;
use http::header::{AUTHORIZATION, HeaderMap};

use crate::Issuer;
use crate::audit;
use crate::client::Client;
use crate::error::{ClientRefusal, OAuthError};
use crate::form::{self, Form};
use crate::secret::{self, Secret};

/// What a request shows of a client's credentials. Proves nothing yet.
#[derive(Debug)]
pub(crate) struct PresentedCredentials {
    /// One pair, or two where HTTP Basic can be read in two ways.
    readings: Vec<(String, Secret)>,
}

/// A client whose secret has been checked; only [`Issuer::authenticate`] makes one.
#[derive(Debug)]
pub(crate) struct AuthenticatedClient {
    client: Client,
    secret_id: String,
    secret_expires: Option<Timestamp>,
}

impl AuthenticatedClient {
    /// Names the secret that was used, for the audit log.
    pub(crate) fn secret_id(&self) -> &str {
        &self.secret_id
    }

    /// When that secret ends, for whoever watches the log for secrets that are in use and near their end.
    pub(crate) fn secret_expires(&self) -> Option<Timestamp> {
        self.secret_expires
    }
}

impl Deref for AuthenticatedClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl PresentedCredentials {
    /// Takes the credentials from the Authorization header or out of the form, never from both.
    pub(crate) fn take(headers: &HeaderMap, form: &mut Form) -> Result<Self, OAuthError> {
        let client_id = form.take("client_id");
        let client_secret = form.take("client_secret");
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let readings = match (values.next(), client_id, client_secret) {
            (None, Some(client_id), Some(client_secret)) => vec![(client_id, Secret::given(client_secret))],
            (None, _, _) => return Err(OAuthError::InvalidClient(ClientRefusal::NoCredentials)),
            (Some(_), _, _) if values.next().is_some() => {
                return Err(OAuthError::InvalidRequest("there are two Authorization headers"));
            }
            (Some(_), _, Some(_)) => {
                return Err(OAuthError::InvalidRequest("there are two ways of client authentication"));
            }
            (Some(value), client_id, None) => {
                let mut readings = read_basic(value.as_bytes())?;
                if let Some(client_id) = client_id {
                    readings.retain(|(known, _)| *known == client_id);
                }
                if readings.is_empty() {
                    return Err(OAuthError::InvalidRequest(
                        "client_id is not the one of the Authorization header",
                    ));
                }
                readings
            }
        };
        Ok(Self { readings })
    }
}

/// Reads `Basic` credentials both as RFC 6749 section 2.3.1 has them, form-encoded, and as they stand, which is how
/// many clients send them.
fn read_basic(value: &[u8]) -> Result<Vec<(String, Secret)>, OAuthError> {
    let malformed = || OAuthError::InvalidClient(ClientRefusal::MalformedHeader);
    let value = std::str::from_utf8(value).map_err(|_| malformed())?;
    let (scheme, credentials) = value.split_once(' ').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Err(malformed());
    }
    // An HTTP API joins repeated headers with a comma, which no Basic credentials contain.
    if credentials.contains(',') {
        return Err(OAuthError::InvalidRequest("there are two Authorization headers"));
    }
    let decoded = BASE64.decode(credentials.trim_matches(' ')).map_err(|_| malformed())?;
    let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
    let (id, secret) = decoded.split_once(':').ok_or_else(malformed)?;
    if decoded.chars().any(char::is_control) || id.is_empty() || secret.is_empty() {
        return Err(malformed());
    }
    let mut readings = Vec::with_capacity(2);
    if let (Ok(form_id), Ok(form_secret)) = (form::decode(id.as_bytes()), form::decode(secret.as_bytes()))
        && (form_id != id || form_secret != secret)
    {
        readings.push((form_id, Secret::given(form_secret)));
    }
    readings.push((id.to_owned(), Secret::given(secret.to_owned())));
    Ok(readings)
}

impl Issuer {
    /// The client whose credentials these are.
    pub(crate) async fn authenticate(
        &self,
        presented: &PresentedCredentials,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let mut refusal = ClientRefusal::NoCredentials;
        for (client_id, secret) in &presented.readings {
            match self.authenticate_reading(client_id, secret).await? {
                Ok(client) => return Ok(client),
                Err(reason) => {
                    audit::client_refused(client_id, reason);
                    refusal = reason;
                }
            }
        }
        Err(OAuthError::InvalidClient(refusal))
    }

    async fn authenticate_reading(
        &self,
        client_id: &str,
        presented: &Secret,
    ) -> Result<Result<AuthenticatedClient, ClientRefusal>, OAuthError> {
        // DynamoDB takes no key of more than 2048 bytes, and no client id has more than 128.
        let client = if client_id.len() > 128 { None } else { self.clients.get(client_id).await? };
        let Some(client) = client else {
            secret::find(presented.expose(), &[]);
            return Ok(Err(ClientRefusal::Unknown));
        };
        let now = self.clock.now();
        let live: Vec<_> = client.secrets.iter().filter(|secret| secret.is_live(now)).collect();
        let found = secret::find_generated(presented.expose(), &live)
            .or_else(|| self.remembered.find(&client, presented, &live))
            .or_else(|| {
                let found = secret::find_slow(presented.expose(), &live)?;
                self.remembered.remember(&client, presented, found);
                Some(found)
            });
        let Some((secret_id, secret_expires)) = found.map(|secret| (secret.id.clone(), secret.expires))
        else {
            return Ok(Err(ClientRefusal::WrongSecret));
        };
        if !client.enabled {
            return Ok(Err(ClientRefusal::Disabled));
        }
        Ok(Ok(AuthenticatedClient { client, secret_id, secret_expires }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn readings(credentials: &str) -> Vec<(String, String)> {
        let value = format!("bAsIc {}", BASE64.encode(credentials));
        let readings = read_basic(value.as_bytes()).unwrap_or_default();
        readings.into_iter().map(|(id, secret)| (id, secret.expose().to_owned())).collect()
    }

    proptest! {
        #[test]
        fn credentials_sent_raw_and_form_encoded_are_both_among_the_readings(
            id in "[!-9;-~]{1,20}",
            secret in "\\PC{1,20}",
            garbage in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let pair = (id.clone(), secret.clone());
            let raw = readings(&format!("{id}:{secret}"));
            prop_assert!(raw.contains(&pair));
            let encode = |text: &str| text.bytes().fold(String::new(), |all, byte| format!("{all}%{byte:02X}"));
            let encoded = readings(&format!("{}:{}", encode(&id), encode(&secret)));
            prop_assert!(encoded.contains(&pair));
            let _ = read_basic(&garbage);
            let _ = read_basic(&[b"Basic ", &garbage[..]].concat());
        }
    }

    #[test]
    fn what_both_readings_agree_on_is_read_once() {
        assert_eq!(readings("demo-app:csgn_A-z"), [("demo-app".into(), "csgn_A-z".into())]);
    }
}

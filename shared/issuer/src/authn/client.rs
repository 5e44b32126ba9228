//! From credentials presented to a client authenticated (RFC 6749 section 2.3).

use std::ops::Deref;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_verify::{Clock, Timestamp};
use http::header::{AUTHORIZATION, HeaderMap};

use aws_sdk_dynamodb::Client as DynamoDb;

use crate::audit::AuditLog;
use crate::audit_events as audit;
use crate::authn::hashing_pool::{HashingPool, Turn};
use crate::authn::throttle::LoginThrottle;
use crate::authn::verified_secrets::VerifiedSecretCache;
use crate::context::SourceAddress;
use crate::credentials::client_secret::{self, ClientSecret, Secret};
use crate::records::client::Client;
use crate::request::error::{ClientRefusal, OAuthError};
use crate::request::form::{self, Form, MAX_VALUE_BYTES};
use crate::store::cache::Cache;
use crate::store::circuit_breaker::CircuitBreaker;
use crate::store::table::Table;
use crate::{AuthenticationConfig, Random};

/// What a request shows of a client's credentials. Proves nothing yet.
#[derive(Debug)]
pub(crate) struct PresentedCredentials {
    /// One pair, or two where HTTP Basic can be read in two ways.
    readings: Vec<(String, Secret)>,
    from: Option<SourceAddress>,
}

/// A client whose secret has been checked; only [`ClientAuthenticator::authenticate`] makes one.
#[derive(Debug)]
pub(crate) struct AuthenticatedClient {
    client: Arc<Client>,
    /// Where among the client's secrets the one is that was used.
    secret: usize,
    from: Option<SourceAddress>,
}

impl AuthenticatedClient {
    /// The secret that was used, for the audit log.
    pub(crate) fn secret(&self) -> Option<&ClientSecret> {
        self.client.secrets.get(self.secret)
    }

    /// Where the request came from.
    pub(crate) fn source_address(&self) -> Option<SourceAddress> {
        self.from
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
    pub(crate) fn take(
        headers: &HeaderMap,
        form: &mut Form<'_>,
        from: Option<SourceAddress>,
    ) -> Result<Self, OAuthError> {
        let client_id = form.take("client_id");
        let client_secret = form.take("client_secret");
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let readings = match (values.next(), client_id, client_secret) {
            (None, Some(client_id), Some(client_secret)) => {
                vec![(client_id.into_owned(), Secret::given(client_secret.into_owned()))]
            }
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
        Ok(Self { readings, from })
    }

    /// Takes the credentials of an Authorization header with HTTP Basic in it.
    pub(crate) fn basic(authorization: &str, from: Option<SourceAddress>) -> Result<Self, OAuthError> {
        Ok(Self { readings: read_basic(authorization.as_bytes())?, from })
    }

    #[cfg(fuzzing)]
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.readings.into_iter().map(|(id, secret)| (id, secret.expose().to_owned())).collect()
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
        readings.push((form_id.into_owned(), Secret::given(form_secret.into_owned())));
    }
    readings.push((id.to_owned(), Secret::given(secret.to_owned())));
    // Form-encoding makes three bytes of one, so the bound is one of what was meant.
    readings.retain(|(id, secret)| id.len().max(secret.expose().len()) <= MAX_VALUE_BYTES);
    if readings.is_empty() { Err(malformed()) } else { Ok(readings) }
}

/// A reading of the credentials beside the record that it names.
struct Candidate<'a> {
    client_id: &'a str,
    presented: &'a Secret,
    client: Option<Arc<Client>>,
    /// Where among the client's secrets the right one is. It does not let a disabled client in.
    secret: Option<usize>,
}

impl Candidate<'_> {
    fn refusal(&self) -> ClientRefusal {
        match (&self.client, &self.secret) {
            (None, _) => ClientRefusal::Unknown,
            (Some(_), None) => ClientRefusal::WrongSecret,
            (Some(_), Some(_)) => ClientRefusal::Disabled,
        }
    }

    fn needs_a_slow_hash(&self) -> bool {
        let has_slow = |client: &Arc<Client>| client.secrets.iter().any(ClientSecret::is_slow);
        self.secret.is_none() && self.client.as_ref().is_some_and(has_slow)
    }

    fn is_let_in(&self) -> bool {
        self.secret.is_some() && self.client.as_ref().is_some_and(|client| client.enabled)
    }

    fn authenticated(&self, from: Option<SourceAddress>) -> Option<AuthenticatedClient> {
        let client = self.client.as_ref().filter(|client| client.enabled)?;
        Some(AuthenticatedClient { client: Arc::clone(client), secret: self.secret?, from })
    }
}

/// Says to the log whom the caller said to be, and why that is refused: in the reading that is known best, and of two that
/// are known alike in the first, which is the one of RFC 6749 section 2.3.1.
fn tell_of(candidates: &[Candidate<'_>]) -> ClientRefusal {
    let Some(candidate) = candidates.iter().rev().max_by_key(|candidate| candidate.refusal()) else {
        return ClientRefusal::NoCredentials;
    };
    audit::client_refused(candidate.client_id, candidate.refusal());
    candidate.refusal()
}

/// Tells clients from those who only say that they are one, and slows down whoever guesses at anybody's secret.
#[derive(Debug)]
pub(crate) struct ClientAuthenticator {
    clients: Cache<Client>,
    pub(crate) throttle: LoginThrottle,
    pub(crate) hashing_pool: HashingPool,
    verified_secrets: VerifiedSecretCache,
    clock: Clock,
}

impl ClientAuthenticator {
    /// Over the tables below `prefix`. Nothing is read yet.
    pub(crate) fn new(
        db: &DynamoDb,
        prefix: &str,
        config: &AuthenticationConfig,
        clock: Clock,
        random: Random,
        breaker: CircuitBreaker,
    ) -> Self {
        Self {
            clients: Cache::new(
                Table::new(db.clone(), prefix),
                config.max_stale,
                clock.clone(),
                breaker,
                AuditLog::tracing(),
            ),
            verified_secrets: VerifiedSecretCache::new(&random),
            throttle: LoginThrottle::new(db.clone(), prefix, config.throttle, clock.clone(), random),
            hashing_pool: HashingPool::new(),
            clock,
        }
    }

    /// The client whose credentials these are. A right generated secret is known at once and touches no counter;
    /// whatever else is presented is a guess, and counted before it costs a slow hash.
    pub(crate) async fn authenticate(
        &self,
        presented: &PresentedCredentials,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let from = presented.from;
        let now = self.clock.now();
        let mut candidates = Vec::new();
        for (client_id, presented) in &presented.readings {
            let candidate = self.candidate(client_id, presented, now).await?;
            if let Some(authenticated) = candidate.authenticated(from) {
                return Ok(authenticated);
            }
            candidates.push(candidate);
        }

        // Each client that the guess may be at: a counter that it misses would be a second row of guesses.
        let mut names: Vec<&str> = candidates.iter().map(|candidate| candidate.client_id).collect();
        names.dedup();
        let turn = if candidates.iter().any(Candidate::needs_a_slow_hash) {
            Some(self.hashing_pool.turn().await?)
        } else {
            None
        };
        let reservation = self.throttle.reserve_for_client(&names, from).await.inspect_err(|_| {
            tell_of(&candidates);
        })?;
        for candidate in &mut candidates {
            if let Some(turn) = turn.as_ref().filter(|_| candidate.needs_a_slow_hash())
                && let Err(error) = self.find_slow(candidate, turn, now).await
            {
                self.throttle.release(reservation).await;
                return Err(error);
            }
            if let Some(authenticated) = candidate.authenticated(from) {
                self.throttle.release(reservation).await;
                return Ok(authenticated);
            }
        }
        Err(OAuthError::InvalidClient(tell_of(&candidates)))
    }

    /// What is known of a reading without a slow hash.
    async fn candidate<'a>(
        &self,
        client_id: &'a str,
        presented: &'a Secret,
        now: Timestamp,
    ) -> Result<Candidate<'a>, OAuthError> {
        let judge = |client: Option<Arc<Client>>| {
            let secrets = client.as_deref().map_or(&[][..], |client| &client.secrets);
            let secret = client_secret::position_of_generated(presented, secrets, now)
                .or_else(|| self.verified_secrets.position(client.as_deref()?, presented, now));
            Candidate { client_id, presented, client, secret }
        };
        // DynamoDB takes no key of more than 2048 bytes, and no client id has more than 128.
        if client_id.len() > 128 {
            return Ok(judge(None));
        }
        let candidate = judge(self.clients.get(client_id).await?);
        if candidate.is_let_in() {
            return Ok(candidate);
        }
        Ok(judge(self.clients.get_before_refusing(client_id).await?))
    }

    /// Looks for the chosen or imported secret that is presented, which need not be hashed again once it is found.
    async fn find_slow(
        &self,
        candidate: &mut Candidate<'_>,
        turn: &Turn,
        now: Timestamp,
    ) -> Result<(), OAuthError> {
        let Some(client) = candidate.client.clone() else { return Ok(()) };
        let (hashed, presented) =
            (Arc::clone(&client), Secret::given(candidate.presented.expose().to_owned()));
        let find = move || client_secret::position_of_slow(&presented, &hashed.secrets, now);
        if let Some(at) = turn.run(find).await?
            && let Some(secret) = client.secrets.get(at)
        {
            self.verified_secrets.remember(&client, candidate.presented, secret);
            candidate.secret = Some(at);
        }
        Ok(())
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

//! Client authentication: from presented credentials to an authenticated client (RFC 6749 section 2.3).

use std::ops::Deref;
use std::sync::Arc;

use countersign_verify::Timestamp;

use crate::audit;
use crate::authn::hashing_pool::{HashingPermit, HashingPool};
use crate::authn::throttle::{Guess, LoginThrottle, Verdict};
use crate::authn::verified_secrets::VerifiedSecretCache;
use crate::context::RequestContext;
use crate::credentials::client_secret::{self, ClientSecret};
use crate::random::Random;
use crate::records::Client;
use crate::request::credentials::{PresentedCredentials, PresentedSecret, UnusableCredentials};
use crate::request::error::{ClientRefusal, NamedClient, OAuthError};
use crate::store::StoreError;
use crate::store::cache::Cache;

/// A client whose secret has been verified; only [`ClientAuthenticator::authenticate`] makes one.
#[derive(Debug)]
pub(crate) struct AuthenticatedClient {
    client: Arc<Client>,
    /// The index of the secret that was used.
    secret: usize,
}

impl AuthenticatedClient {
    /// The secret that was used, for the audit log.
    pub(crate) fn secret(&self) -> Option<&ClientSecret> {
        self.client.secrets.get(self.secret)
    }
}

impl Deref for AuthenticatedClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// One interpretation of the credentials, with the record that it names.
struct Attempt<'request> {
    presented: &'request PresentedSecret,
    client: Option<Arc<Client>>,
    /// There is a record that cannot be parsed. The client is refused as for a wrong secret.
    is_broken: bool,
    /// The index of the client's secret that equals the presented one. A disabled client is refused all the same.
    secret: Option<usize>,
}

impl Attempt<'_> {
    fn refusal(&self) -> ClientRefusal {
        match (&self.client, &self.secret) {
            (None, _) if self.is_broken => ClientRefusal::BrokenRecord,
            (None, _) => ClientRefusal::Unknown,
            (Some(_), None) => ClientRefusal::WrongSecret,
            (Some(_), Some(_)) => ClientRefusal::Disabled,
        }
    }

    /// A secret that was presented in the form of a generated one equals no chosen one: those of this form are stored
    /// as generated ones are.
    fn needs_slow_hash(&self) -> bool {
        let has_slow = |client: &Arc<Client>| client.secrets.iter().any(ClientSecret::is_slow);
        self.secret.is_none()
            && !self.presented.secret.is_generated()
            && self.client.as_ref().is_some_and(has_slow)
    }

    fn authenticated(&self) -> Option<AuthenticatedClient> {
        let client = self.client.as_ref().filter(|client| client.enabled)?;
        Some(AuthenticatedClient { client: Arc::clone(client), secret: self.secret? })
    }
}

/// Records the client that was presented, where it is on record, and returns the reason for the refusal. Of two
/// interpretations it takes the one that is known best, and of two that are known alike the first, which is the one of
/// RFC 6749 section 2.3.1.
fn record_refusal(attempts: &[Attempt<'_>], cx: &mut RequestContext) -> ClientRefusal {
    let Some(attempt) = attempts.iter().rev().max_by_key(|attempt| attempt.refusal()) else {
        return ClientRefusal::Unknown;
    };
    let refusal = attempt.refusal();
    if refusal != ClientRefusal::Unknown {
        cx.audit.presented = Some(audit::bounded(&attempt.presented.sent_id));
    }
    refusal
}

/// Authenticates clients by their secrets, and throttles guesses at them.
#[derive(Debug)]
pub(crate) struct ClientAuthenticator {
    clients: Arc<Cache<Client>>,
    throttle: Arc<LoginThrottle>,
    hashing: Arc<HashingPool>,
    verified: VerifiedSecretCache,
}

impl ClientAuthenticator {
    pub(crate) fn new(
        clients: Arc<Cache<Client>>,
        throttle: Arc<LoginThrottle>,
        hashing: Arc<HashingPool>,
        random: &Random,
    ) -> Self {
        Self { clients, throttle, hashing, verified: VerifiedSecretCache::new(random) }
    }

    /// Authenticates a client. A right generated secret is recognised at once and touches no counter. Everything else
    /// is a guess, and is counted before it costs a slow hash.
    pub(crate) async fn authenticate(
        &self,
        presented: &PresentedCredentials,
        cx: &mut RequestContext,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let interpretations = match presented {
            PresentedCredentials::Interpretations(interpretations) => interpretations,
            PresentedCredentials::Unusable(unusable) => {
                return Err(Box::pin(self.refuse_unusable(unusable, cx)).await);
            }
        };
        let mut attempts = Vec::with_capacity(interpretations.len());
        for presented in interpretations {
            let attempt = self.attempt(presented, cx.now).await?;
            if let Some(client) = attempt.authenticated() {
                return Ok(record_secret(client, cx));
            }
            attempts.push(attempt);
        }

        let permit = if attempts.iter().any(Attempt::needs_slow_hash) {
            Some(self.hashing.acquire().await?)
        } else {
            None
        };
        let reservation = match self.throttle.reserve_for_clients(guesses(&attempts), cx).await {
            Ok(reservation) => reservation,
            Err(error) => {
                record_refusal(&attempts, cx);
                return Err(error);
            }
        };
        match self.verify_slow_secrets(&mut attempts, permit.as_ref(), cx.now).await {
            Ok(Some(client)) => {
                self.throttle.settle(reservation, Verdict::RightSecret).await;
                Ok(record_secret(client, cx))
            }
            Ok(None) => {
                self.throttle.settle(reservation, Verdict::Refused).await;
                Err(OAuthError::InvalidClient(record_refusal(&attempts, cx)))
            }
            Err(error) => {
                self.throttle.settle(reservation, Verdict::Unverified).await;
                Err(error)
            }
        }
    }

    /// Refuses credentials that name no secret, and names their client in the audit record where it is on record: any
    /// other text may be a secret. The answer does not depend on what is found, and neither does the number of reads.
    async fn refuse_unusable(&self, unusable: &UnusableCredentials, cx: &mut RequestContext) -> OAuthError {
        let client = match &unusable.client_id {
            None => NamedClient::NotNamed,
            Some(id) => match self.clients.get_before_refusing(id.as_str()).await {
                Ok(None) => NamedClient::Unknown,
                Ok(Some(_)) | Err(StoreError::Corrupt { .. }) => {
                    cx.audit.presented = Some(id.as_str().to_owned());
                    NamedClient::OnRecord
                }
                Err(_) => NamedClient::NotLookedUp,
            },
        };
        OAuthError::InvalidClient(ClientRefusal::Unusable { problem: unusable.problem, client })
    }

    /// Looks up the client and compares the secret, as far as no slow hash is needed.
    async fn attempt<'request>(
        &self,
        presented: &'request PresentedSecret,
        now: Timestamp,
    ) -> Result<Attempt<'request>, OAuthError> {
        let compare = |client: Option<Arc<Client>>| {
            let secrets = client.as_deref().map_or(&[][..], |client| &client.secrets);
            let secret = client_secret::find_generated(&presented.secret, secrets, now)
                .or_else(|| self.verified.find(client.as_deref()?, &presented.secret, now));
            Attempt { presented, client, is_broken: false, secret }
        };
        let Some(client_id) = &presented.client_id else {
            return Ok(compare(None));
        };
        let mut found = self.clients.get(client_id.as_str()).await;
        if let Ok(client) = found {
            let attempt = compare(client);
            if attempt.authenticated().is_some() {
                return Ok(attempt);
            }
            found = self.clients.get_before_refusing(client_id.as_str()).await;
        }
        match found {
            Ok(client) => Ok(compare(client)),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "a client is refused because its record is broken");
                Ok(Attempt { is_broken: true, ..compare(None) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks for the chosen or imported secret that was presented, and caches it once it is found. Every hash is one
    /// step of its own, so that a request that is cut off begins no further one.
    async fn verify_slow_secrets(
        &self,
        attempts: &mut [Attempt<'_>],
        permit: Option<&HashingPermit>,
        now: Timestamp,
    ) -> Result<Option<AuthenticatedClient>, OAuthError> {
        for attempt in attempts {
            if let (Some(permit), Some(client)) = (permit, &attempt.client)
                && attempt.needs_slow_hash()
            {
                let presented = &attempt.presented.secret;
                for (at, secret) in client.secrets.iter().enumerate() {
                    if secret.is_slow()
                        && secret.is_live(now)
                        && permit.verify(presented, secret.hash()).await?
                    {
                        self.verified.insert(client, presented, secret);
                        attempt.secret = Some(at);
                        break;
                    }
                }
            }
            if let Some(client) = attempt.authenticated() {
                return Ok(Some(client));
            }
        }
        Ok(None)
    }
}

/// The guesses to count, one for every client that they may be for: an interpretation without a counter would double
/// the guesses. A guess at 256 random bits is not counted: it costs no slow hash, made-up client ids would cost a write
/// each, and through an API, strangers would share the count with the API's callers.
fn guesses<'a>(attempts: &[Attempt<'a>]) -> Vec<Guess<'a>> {
    let mut guesses: Vec<Guess<'a>> = Vec::with_capacity(attempts.len());
    let is_counted = |attempt: &&Attempt<'_>| !attempt.presented.secret.is_generated();
    for attempt in attempts.iter().filter(is_counted) {
        let PresentedSecret { sent_id, secret, .. } = attempt.presented;
        match guesses.iter_mut().find(|guess| guess.name == sent_id) {
            Some(guess) => guess.secrets.push(secret),
            None => guesses.push(Guess { name: sent_id, secrets: vec![secret] }),
        }
    }
    guesses
}

/// Records the secret in use, whatever becomes of the request.
fn record_secret(client: AuthenticatedClient, cx: &mut RequestContext) -> AuthenticatedClient {
    cx.audit.client_id = Some(client.client_id.clone());
    cx.audit.secret_id = client.secret().map(|secret| secret.id.clone());
    client
}

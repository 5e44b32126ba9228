//! HTTP Basic for APIs. The client's credentials are exchanged for a token at the issuer's token
//! endpoint, so that an API neither knows nor checks a secret.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode, Uri};
use ring::hmac;
use serde::Deserialize;

use crate::guess_limit::{BasicCredentials, GuessLimit, Reservation, keyed_digest};
use crate::http_client::{self, HttpClient, HttpError, HttpLimits};
use crate::{BuildError, Clock, Timestamp, TokenError, Verified, Verifier};

/// The time that a successful exchange is cached. The issuer may itself cache its clients for a
/// minute, so a client that was disabled, or a secret that was revoked, is accepted for up to two
/// minutes.
const CACHE_TTL: Duration = Duration::from_secs(60);
/// The time that an unreachable issuer is cached for the same credentials. Callers that waited for
/// the first request would otherwise each wait for another one.
const UNAVAILABLE_TTL: Duration = Duration::from_secs(1);
/// The maximum number of cached credentials. An API has fewer callers within a minute, or they
/// should use tokens.
const MAX_ENTRIES: usize = 1024;

/// The reason why a Basic caller is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BasicError {
    /// The issuer rejects the credentials.
    InvalidClient,
    /// The client needs more than Basic can express: it has several brands, must name an operator,
    /// or may not use `client_credentials` for this API.
    NeedsToken,
    /// There were too many failures, at this API or at the issuer. The number is the Retry-After in
    /// seconds.
    Throttled(u64),
    /// The issuer is unreachable, or its response cannot be used.
    Unavailable,
    /// The issuer did not answer in time. It may have counted a failure.
    TimedOut,
}

/// Exchanges Basic credentials at one token endpoint.
#[derive(Debug)]
pub(crate) struct BasicExchange {
    endpoint: Uri,
    form: String,
    http: HttpClient,
    clock: Clock,
    /// The key of the HMAC that credentials are cached under, random for each process. The cached
    /// digests reveal no secret and cannot be used to test guesses.
    hmac_key: hmac::Key,
    limit: GuessLimit,
    cache: Mutex<HashMap<[u8; 32], Arc<Entry>>>,
}

/// The cache entry of one pair of credentials. Its lock is held during an exchange, so that a burst
/// of requests with the same credentials causes one exchange.
type Entry = tokio::sync::Mutex<CachedPair>;

#[derive(Debug, Default)]
struct CachedPair {
    /// The caller of the last exchange that succeeded, if the issuer has not rejected the pair
    /// since. Such a pair is no guess.
    caller: Option<Verified>,
    outcome: Option<CachedOutcome>,
}

#[derive(Debug)]
struct CachedOutcome {
    /// The caller, [`BasicError::Unavailable`] or [`BasicError::TimedOut`]. Rejected credentials are
    /// not cached.
    outcome: Result<Verified, BasicError>,
    until: Timestamp,
}

impl CachedPair {
    fn current(&self, now: Timestamp) -> Option<&Result<Verified, BasicError>> {
        self.outcome.as_ref().filter(|cached| now < cached.until).map(|cached| &cached.outcome)
    }
}

impl BasicExchange {
    /// Creates an exchange at `token_endpoint` for tokens of the verifier's audience.
    pub(crate) fn new(token_endpoint: &str, verifier: &Verifier) -> Result<Self, BuildError> {
        let invalid = |reason| BuildError::TokenEndpoint { url: token_endpoint.to_owned(), reason };
        let endpoint = http_client::trusted_url(token_endpoint).map_err(invalid)?;
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(audience) = verifier.audience() {
            form.push_str("&resource=");
            form.extend(audience.bytes().map(|byte| format!("%{byte:02X}")));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the key never leaves this process, and no test needs to know it"
        )]
        let random = ring::rand::SystemRandom::new();
        let hmac_key =
            hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| BuildError::NoRandomness)?;
        let http = HttpClient::new(HttpLimits::default())?;
        let clock = verifier.clock().clone();
        let limit = GuessLimit::new(hmac_key.clone());
        Ok(Self { endpoint, form, http, clock, hmac_key, limit, cache: Mutex::default() })
    }

    /// Authenticates the client whose credentials are in the Authorization header, which `peer`
    /// sent. `credentials` is the header without its scheme.
    ///
    /// A pair that the issuer has accepted before is never held back. While the issuer throttles
    /// its client, because others guess at it, the last token counts until it expires: it would
    /// count as long if the caller had requested it.
    pub(crate) async fn authenticate(
        &self,
        authorization: &HeaderValue,
        credentials: &str,
        peer: Option<IpAddr>,
        verifier: &Verifier,
    ) -> Result<Verified, BasicError> {
        let entry = self.entry(authorization);
        let mut pair = entry.lock().await;
        let now = self.clock.now();
        if let Some(outcome) = pair.current(now) {
            return outcome.clone();
        }
        let reservation = match pair.caller {
            Some(_) => Reservation::default(),
            None => self.reserve(credentials, peer, now)?,
        };
        let outcome = self.exchange_and_verify(authorization, verifier).await;
        let now = self.clock.now();
        if !matches!(outcome, Err(BasicError::InvalidClient | BasicError::TimedOut)) {
            self.limit.release(reservation);
        }
        let outcome = match (outcome, &pair.caller) {
            (Err(BasicError::Throttled(_)), Some(caller)) if now.seconds() < caller.exp => Ok(caller.clone()),
            (outcome, _) => outcome,
        };
        let until = match &outcome {
            Ok(caller) => Some(now.plus(CACHE_TTL).min(Timestamp::from_seconds(caller.exp))),
            Err(BasicError::Unavailable | BasicError::TimedOut) => Some(now.plus(UNAVAILABLE_TTL)),
            Err(_) => None,
        };
        match &outcome {
            Ok(caller) => pair.caller = Some(caller.clone()),
            Err(BasicError::InvalidClient) => pair.caller = None,
            Err(_) => {}
        }
        pair.outcome = until.map(|until| CachedOutcome { outcome: outcome.clone(), until });
        outcome
    }

    /// Counts a failure in advance.
    fn reserve(
        &self,
        credentials: &str,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Reservation, BasicError> {
        let credentials = BasicCredentials::parse(credentials).ok_or_else(|| {
            tracing::info!(
                "Basic credentials that are not base64 of id:secret in UTF-8: the issuer is not asked"
            );
            BasicError::InvalidClient
        })?;
        self.limit.reserve(&credentials, peer, now).map_err(|wait| {
            let wait = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            tracing::warn!(?peer, wait, "too many failed Basic credentials: the issuer is not asked");
            BasicError::Throttled(wait)
        })
    }

    async fn exchange_and_verify(
        &self,
        authorization: &HeaderValue,
        verifier: &Verifier,
    ) -> Result<Verified, BasicError> {
        let token = self.exchange(authorization).await?;
        verifier.verify(&token).await.map_err(|error| {
            tracing::warn!(reason = %error, "this API rejects the token of the token endpoint");
            match error {
                // The client is set to `typ` JWT, and this API accepts `at+jwt` only.
                TokenError::WrongType => BasicError::NeedsToken,
                _ => BasicError::Unavailable,
            }
        })
    }

    /// Returns the cache entry of the credentials. A full cache drops the entries that are not in
    /// use: first those of pairs that the issuer has not accepted, then those without a current
    /// outcome. If it is still full, the new entry is not cached, so that guesses cannot exhaust
    /// the memory.
    fn entry(&self, authorization: &HeaderValue) -> Arc<Entry> {
        let digest = keyed_digest(&self.hmac_key, authorization.as_bytes());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = cache.get(&digest) {
            return Arc::clone(entry);
        }
        let now = self.clock.now();
        let is_current = |pair: &CachedPair| pair.current(now).is_some();
        if cache.len() >= MAX_ENTRIES {
            drop_unless(&mut cache, |pair| is_current(pair) || pair.caller.is_some());
        }
        if cache.len() >= MAX_ENTRIES {
            drop_unless(&mut cache, is_current);
        }
        let entry = Arc::<Entry>::default();
        if cache.len() < MAX_ENTRIES {
            cache.insert(digest, Arc::clone(&entry));
        }
        entry
    }

    /// Requests an access token with the credentials.
    async fn exchange(&self, authorization: &HeaderValue) -> Result<String, BasicError> {
        #[derive(Deserialize)]
        struct TokenResponse {
            access_token: String,
        }
        let unavailable = |reason: String| {
            tracing::warn!(endpoint = %self.endpoint, reason, "the Basic credentials cannot be exchanged");
            BasicError::Unavailable
        };
        let request = Request::post(&self.endpoint)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(self.form.clone())
            .map_err(|error| unavailable(error.to_string()))?;
        let response = self.http.send(request).await.map_err(|error| {
            let outcome = unavailable(error.to_string());
            if matches!(error, HttpError::TimedOut(_)) { BasicError::TimedOut } else { outcome }
        })?;
        if response.status().is_client_error() {
            log_rejection(&response);
        }
        match response.status() {
            StatusCode::OK => {
                let body: TokenResponse = serde_json::from_str(response.body())
                    .map_err(|_| unavailable("the response is not a token response".into()))?;
                Ok(body.access_token)
            }
            StatusCode::UNAUTHORIZED => Err(BasicError::InvalidClient),
            StatusCode::BAD_REQUEST => Err(BasicError::NeedsToken),
            StatusCode::TOO_MANY_REQUESTS => {
                Err(BasicError::Throttled(http_client::seconds(response.headers(), RETRY_AFTER).unwrap_or(1)))
            }
            status => Err(unavailable(format!("the response is {status}"))),
        }
    }
}

/// Drops the entries that are neither in use nor wanted.
fn drop_unless(cache: &mut HashMap<[u8; 32], Arc<Entry>>, is_wanted: impl Fn(&CachedPair) -> bool) {
    // A locked entry is in use.
    cache.retain(|_, entry| entry.try_lock().map_or(true, |pair| is_wanted(&pair)));
}

fn log_rejection(response: &Response<String>) {
    /// RFC 6749 section 5.2.
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct ErrorResponse {
        error: String,
        error_description: String,
    }
    let ErrorResponse { error, error_description: reason } =
        serde_json::from_str(response.body()).unwrap_or_default();
    tracing::info!(
        status = response.status().as_u16(),
        error,
        reason,
        "the issuer rejected the Basic credentials"
    );
}

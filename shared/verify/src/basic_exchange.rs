//! HTTP Basic for APIs: the pair is exchanged for a token at the issuer's token endpoint, so that an API neither
//! knows nor checks a secret.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode, Uri};
use ring::hmac;
use serde::Deserialize;

use crate::http_client::{self, HttpClient};
use crate::{BuildError, Clock, Timestamp, TokenError, Verified, Verifier};

/// How long a pair that was right counts as right. The issuer may itself know its clients for a minute, so a client that
/// was disabled, or a secret that was revoked, is let in for up to two.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How long an issuer that could not be asked is not asked again for the same pair, so that those who waited for the
/// answer do not each wait for another.
const OUT_OF_REACH_FOR: Duration = Duration::from_secs(1);
/// So many pairs are kept at most. An API has fewer callers within a minute, or should have them use tokens.
const MAX_KEPT: usize = 1024;

/// Why a Basic caller is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BasicError {
    /// The issuer does not know the pair.
    InvalidClient,
    /// The client has to say more than Basic can: it has several brands, must name an operator, or may not use
    /// `client_credentials` for this API.
    NeedsToken,
    /// The issuer has seen too many failures; the number is its Retry-After, in seconds.
    SlowedDown(u64),
    /// The issuer cannot be asked.
    Unavailable,
}

/// Exchanges Basic credentials at one token endpoint.
#[derive(Debug)]
pub(crate) struct BasicExchange {
    endpoint: Uri,
    form: String,
    http: HttpClient,
    clock: Clock,
    /// Pairs are found again by their HMAC under this key, which is this process's own: what is kept tells nobody a
    /// secret, nor lets anybody try one.
    key: hmac::Key,
    kept: Mutex<HashMap<[u8; 32], Arc<Slot>>>,
}

/// What is known of one pair. The lock is held during an exchange, so that a burst of requests with one pair causes one.
type Slot = tokio::sync::Mutex<Option<Kept>>;

#[derive(Debug)]
struct Kept {
    /// The caller, or that the issuer could not be asked; a wrong pair is not kept.
    outcome: Result<Verified, BasicError>,
    until: Timestamp,
}

impl BasicExchange {
    /// An exchange at `token_endpoint`, for tokens meant for the verifier's audience.
    pub(crate) fn at(token_endpoint: &str, verifier: &Verifier) -> Result<Self, BuildError> {
        let refused = |reason| BuildError::TokenEndpoint { url: token_endpoint.to_owned(), reason };
        let endpoint = http_client::trusted(token_endpoint).map_err(refused)?;
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(audience) = verifier.audience() {
            form.push_str("&resource=");
            form.extend(audience.bytes().map(|byte| format!("%{byte:02X}")));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a key of this process's own, which no test needs to know"
        )]
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| BuildError::NoRandomness)?;
        let http = HttpClient::new().map_err(BuildError::HttpClient)?;
        Ok(Self { endpoint, form, http, clock: verifier.clock().clone(), key, kept: Mutex::default() })
    }

    /// The client whose pair the Authorization header holds.
    pub(crate) async fn caller(
        &self,
        authorization: &HeaderValue,
        verifier: &Verifier,
    ) -> Result<Verified, BasicError> {
        let slot = self.slot(authorization);
        let mut kept = slot.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| self.clock.now() < kept.until) {
            return kept.outcome.clone();
        }
        let outcome = self.ask(authorization, verifier).await;
        let now = self.clock.now();
        *kept = match &outcome {
            Ok(caller) => Some(now.plus(KEPT_FOR).min(Timestamp::from_seconds(caller.exp))),
            Err(BasicError::Unavailable) => Some(now.plus(OUT_OF_REACH_FOR)),
            Err(_) => None,
        }
        .map(|until| Kept { outcome: outcome.clone(), until });
        outcome
    }

    async fn ask(&self, authorization: &HeaderValue, verifier: &Verifier) -> Result<Verified, BasicError> {
        let token = self.exchange(authorization).await?;
        verifier.verify(&token).await.map_err(|error| {
            tracing::warn!(reason = %error, "the token endpoint gave a token that this API does not take");
            match error {
                // A client set to `typ` JWT, where only `at+jwt` is taken.
                TokenError::WrongType => BasicError::NeedsToken,
                _ => BasicError::Unavailable,
            }
        })
    }

    /// The place of a pair's token. Where there is no more room, places that hold nothing of use are given up, and
    /// then, rather than growing, a new pair is not kept.
    fn slot(&self, authorization: &HeaderValue) -> Arc<Slot> {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.key, authorization.as_bytes()).as_ref());
        let mut slots = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&digest) {
            return Arc::clone(slot);
        }
        let now = self.clock.now();
        if slots.len() >= MAX_KEPT {
            // A slot that is locked is in use.
            slots.retain(|_, slot| {
                slot.try_lock().map_or(true, |kept| kept.as_ref().is_some_and(|kept| now < kept.until))
            });
        }
        let slot = Arc::<Slot>::default();
        if slots.len() < MAX_KEPT {
            slots.insert(digest, Arc::clone(&slot));
        }
        slot
    }

    /// The access token that the issuer gives for the pair.
    async fn exchange(&self, authorization: &HeaderValue) -> Result<String, BasicError> {
        #[derive(Deserialize)]
        struct TokenResponse {
            access_token: String,
        }
        /// RFC 6749 section 5.2.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Refused {
            error: String,
            error_description: String,
        }
        let unavailable = |reason: String| {
            tracing::warn!(endpoint = %self.endpoint, reason, "Basic credentials could not be exchanged");
            BasicError::Unavailable
        };
        let request = Request::post(&self.endpoint)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(self.form.clone())
            .map_err(|error| unavailable(error.to_string()))?;
        let response = self.http.send(request).await.map_err(unavailable)?;
        if response.status().is_client_error() {
            let said: Refused = serde_json::from_str(response.body()).unwrap_or_default();
            let (error, reason) = (said.error, said.error_description);
            tracing::info!(status = response.status().as_u16(), error, reason, "Basic refused by the issuer");
        }
        match response.status() {
            StatusCode::OK => {
                let body: TokenResponse = serde_json::from_str(response.body())
                    .map_err(|_| unavailable("the answer is no token response".into()))?;
                Ok(body.access_token)
            }
            StatusCode::UNAUTHORIZED => Err(BasicError::InvalidClient),
            StatusCode::BAD_REQUEST => Err(BasicError::NeedsToken),
            StatusCode::TOO_MANY_REQUESTS => {
                let seconds = response.headers().get(RETRY_AFTER);
                let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
                Err(BasicError::SlowedDown(seconds.unwrap_or(1)))
            }
            status => Err(unavailable(format!("the answer is {status}"))),
        }
    }
}

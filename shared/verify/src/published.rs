//! The key set as the issuer publishes it: fetched when needed, kept as long as it says, and longer while the
//! issuer is out of reach.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::header::{ACCEPT, AGE, CACHE_CONTROL, HeaderMap};
use http::{Request, StatusCode, Uri};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

use crate::http_client::{self, HttpClient};
use crate::{BuildError, Clock, JwkSet, Timestamp, TokenError};

/// Unknown kids cause no more than one fetch in this time. An honest one is rare: the issuer announces a key hours
/// before it signs.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// After a failed fetch the next one waits this long.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Freshness where the answer says nothing: what the issuer's own answers say.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(900);
/// However short or long a max-age, a set is fresh for at least and at most this long.
const MAX_AGE_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));
/// How long the last good set serves while the issuer is out of reach: without an end, whoever cuts a server off
/// from its issuer could use a withdrawn key for ever.
const LONGEST_STALE: Duration = Duration::from_secs(86_400);

/// A key set at an address. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct PublishedKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    url: Uri,
    http: HttpClient,
    clock: Clock,
    state: RwLock<State>,
    /// Held by whoever fetches.
    fetching: Arc<Mutex<()>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    held: Option<Held>,
    last_attempt: Option<Attempt>,
}

#[derive(Debug, Clone)]
struct Held {
    keys: Arc<JwkSet>,
    fetched: Timestamp,
    max_age: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempt {
    at: Timestamp,
    failed: bool,
}

impl State {
    fn is_fresh(&self, now: Timestamp) -> bool {
        // A clock that was set back makes a set's age unknown.
        self.held.as_ref().is_some_and(|held| held.fetched.is_within(held.max_age, now))
    }

    /// Whether enough time has passed since the last fetch, given how long a good one keeps the next one off.
    fn may_fetch(&self, now: Timestamp, pause_after_success: Duration) -> bool {
        self.last_attempt.is_none_or(|last| {
            let pause = if last.failed { RETRY_AFTER_FAILURE } else { pause_after_success };
            !last.at.is_within(pause, now)
        })
    }

    fn usable(&self, now: Timestamp) -> Result<Arc<JwkSet>, TokenError> {
        let held = self.held.as_ref().filter(|held| now.since(held.fetched) < held.max_age + LONGEST_STALE);
        held.map(|held| Arc::clone(&held.keys)).ok_or(TokenError::KeysUnavailable)
    }
}

impl PublishedKeys {
    /// The key set at `url`. Nothing is fetched yet.
    pub(crate) fn at(url: &str, clock: Clock) -> Result<Self, BuildError> {
        let refused = |reason| BuildError::JwksUrl { url: url.to_owned(), reason };
        let url = http_client::trusted(url).map_err(refused)?;
        let http = HttpClient::new().map_err(BuildError::HttpClient)?;
        let (state, fetching) = (RwLock::default(), Arc::default());
        Ok(Self(Arc::new(Shared { url, http, clock, state, fetching })))
    }

    /// The set, fetched before if it has outlived its max-age.
    pub(crate) async fn current(&self) -> Result<Arc<JwkSet>, TokenError> {
        let is_due = |state: &State, now| !state.is_fresh(now) && state.may_fetch(now, Duration::ZERO);
        self.fetch_if(is_due).await;
        self.state().usable(self.0.clock.now())
    }

    /// The set after `seen`, which lacks a key: fetched anew unless that was done a moment ago.
    pub(crate) async fn later_than(&self, seen: &Arc<JwkSet>) -> Result<Arc<JwkSet>, TokenError> {
        let is_due = |state: &State, now| {
            state.held.as_ref().is_none_or(|held| Arc::ptr_eq(&held.keys, seen))
                && state.may_fetch(now, COOL_DOWN)
        };
        self.fetch_if(is_due).await;
        self.state().usable(self.0.clock.now())
    }

    /// Fetches if `is_due` says so, one at a time: who waited for another's fetch asks again whether one is due. Nobody
    /// waits for an issuer that did not answer the last time, as long as there is a set to go on with.
    async fn fetch_if(&self, is_due: impl Fn(&State, Timestamp) -> bool) {
        let (state, now) = (self.state(), self.0.clock.now());
        if !is_due(&state, now) {
            return;
        }
        let is_away = state.last_attempt.is_some_and(|last| last.failed);
        if is_away && state.usable(now).is_ok() {
            if let Ok(turn) = Arc::clone(&self.0.fetching).try_lock_owned() {
                self.spawn_fetch(turn);
            }
            return;
        }
        let turn = Arc::clone(&self.0.fetching).lock_owned().await;
        if is_due(&self.state(), self.0.clock.now()) {
            // It fails only where the runtime is going down.
            let _ = self.spawn_fetch(turn).await;
        }
    }

    /// A task of its own: a caller who hangs up does not take the fetch along, or everybody would start over.
    fn spawn_fetch(&self, turn: OwnedMutexGuard<()>) -> JoinHandle<()> {
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            shared.fetch().await;
            drop(turn);
        })
    }

    fn state(&self) -> State {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    async fn fetch(&self) {
        let fetched = self.ask().await;
        let now = self.clock.now();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.last_attempt = Some(Attempt { at: now, failed: fetched.is_err() });
        match fetched {
            Ok((keys, max_age)) => {
                state.held = Some(Held { keys: Arc::new(keys), fetched: now, max_age });
            }
            Err(reason) => {
                let kept_for = state.held.as_ref().map(|held| now.since(held.fetched).as_secs());
                tracing::warn!(url = %self.url, reason, kept_for, "the key set could not be fetched");
            }
        }
    }

    async fn ask(&self) -> Result<(JwkSet, Duration), String> {
        let request = Request::get(&self.url).header(ACCEPT, "application/json").body(String::new());
        let response = self.http.send(request.map_err(|error| error.to_string())?).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        let max_age = freshness(response.headers());
        let keys = JwkSet::from_json(response.body()).map_err(|error| error.to_string())?;
        if keys.is_empty() {
            return Err("there is no usable key in it".into());
        }
        Ok((keys, max_age))
    }
}

/// How long an answer stays fresh: its max-age less the time that caches on the way have held it (RFC 9111 sections
/// 4.2 and 5.1).
fn freshness(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in directives.flat_map(|value| value.split(',')).map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            max_age = Some(0);
        } else if let Some((name, seconds)) = directive.split_once('=')
            && name.eq_ignore_ascii_case("max-age")
        {
            max_age = max_age.or(seconds.trim_matches('"').parse().ok());
        }
    }
    let age = headers.get(AGE).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let fresh = max_age.map_or(DEFAULT_MAX_AGE, Duration::from_secs);
    let (shortest, longest) = MAX_AGE_BOUNDS;
    fresh.saturating_sub(Duration::from_secs(age.unwrap_or(0))).clamp(shortest, longest)
}

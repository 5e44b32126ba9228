//! The JWKS cache. It fetches the issuer's key set on first use and keeps it as long as the
//! response allows, or longer while the issuer is unreachable.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, HeaderMap};
use http::{StatusCode, Uri};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;

use crate::http_client::{self, HttpClient, HttpLimits};
use crate::{BuildError, Clock, JwkSet, Timestamp, TokenError};

/// The rate limit for unknown kids: they cause at most one fetch in this time. An honest unknown
/// kid is rare, because the issuer announces a key hours before it signs.
const UNKNOWN_KID_COOL_DOWN: Duration = Duration::from_secs(30);
/// The limit on a fetch while there is a set to use: one caller waits for it.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a failed fetch.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The freshness of a response without a max-age. The issuer's own responses have this max-age.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(900);
/// The least and the longest time that a set is fresh, whatever its max-age.
const MAX_AGE_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));
/// The time that the last good set is used after its max-age while the issuer is unreachable.
/// Without this limit, an attacker who cuts a server off from its issuer could use a withdrawn key
/// for ever.
const MAX_STALENESS: Duration = Duration::from_secs(86_400);

/// The cached key set of one URL. Clones share the cache.
#[derive(Debug, Clone)]
pub(crate) struct JwksCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    url: Uri,
    http: HttpClient,
    clock: Clock,
    state: RwLock<State>,
    /// Locked during a fetch, so that there is one fetch at a time.
    fetch_lock: Arc<Mutex<()>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    cached: Option<CachedSet>,
    last_fetch: Option<Fetch>,
    /// The start of the fetch that is under way.
    fetching_since: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct CachedSet {
    keys: Arc<JwkSet>,
    fetched_at: Timestamp,
    max_age: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fetch {
    at: Timestamp,
    failed: bool,
}

impl State {
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.cached.as_ref().is_some_and(|set| set.fetched_at.is_within(set.max_age, now))
    }

    /// Returns true if enough time has passed since the last fetch: `pause_after_success` or
    /// [`RETRY_AFTER_FAILURE`].
    fn may_fetch(&self, now: Timestamp, pause_after_success: Duration) -> bool {
        self.last_fetch.is_none_or(|last| {
            let pause = if last.failed { RETRY_AFTER_FAILURE } else { pause_after_success };
            !last.at.is_within(pause, now)
        })
    }

    /// Returns true if the fetch under way should have ended by now: the process was frozen
    /// meanwhile, and the fetch goes on only while a caller waits.
    fn has_overdue_fetch(&self, now: Timestamp) -> bool {
        self.fetching_since.is_some_and(|start| !start.is_within(REFRESH_TIMEOUT, now))
    }

    fn usable_keys(&self, now: Timestamp) -> Result<Arc<JwkSet>, TokenError> {
        let is_usable = |set: &&CachedSet| now.since(set.fetched_at) < set.max_age + MAX_STALENESS;
        let set = self.cached.as_ref().filter(is_usable);
        set.map(|set| Arc::clone(&set.keys)).ok_or(TokenError::KeysUnavailable)
    }
}

impl JwksCache {
    /// Creates an empty cache for the key set at `url`. It fetches nothing yet.
    pub(crate) fn new(url: &str, clock: Clock) -> Result<Self, BuildError> {
        let invalid = |reason| BuildError::JwksUrl { url: url.to_owned(), reason };
        let url = http_client::trusted_url(url).map_err(invalid)?;
        let http = HttpClient::new(HttpLimits::default())?;
        let (state, fetch_lock) = (RwLock::default(), Arc::default());
        Ok(Self(Arc::new(Shared { url, http, clock, state, fetch_lock })))
    }

    /// Returns the key set. Fetches it first if its max-age has passed.
    pub(crate) async fn current(&self) -> Result<Arc<JwkSet>, TokenError> {
        let is_due = |state: &State, now| !state.is_fresh(now) && state.may_fetch(now, Duration::ZERO);
        self.fetch_if(is_due, Others::UseTheOldSet).await;
        self.state().usable_keys(self.0.clock.now())
    }

    /// Returns the newest key set, after a caller found that `seen` lacks a key. Fetches it first,
    /// within the rate limit for unknown kids.
    pub(crate) async fn newest_after(&self, seen: &Arc<JwkSet>) -> Result<Arc<JwkSet>, TokenError> {
        let is_due = |state: &State, now| {
            state.cached.as_ref().is_none_or(|set| Arc::ptr_eq(&set.keys, seen))
                && state.may_fetch(now, UNKNOWN_KID_COOL_DOWN)
        };
        self.fetch_if(is_due, Others::Wait).await;
        self.state().usable_keys(self.0.clock.now())
    }

    /// Fetches if `is_due` returns true, one fetch at a time.
    ///
    /// The caller that gets the turn waits for its fetch. AWS Lambda freezes a process between two
    /// requests, so a fetch for which no request waits would never end, and a withdrawn key would
    /// stay trusted. While there is a usable set, the wait is at most [`REFRESH_TIMEOUT`].
    ///
    /// A caller that waited for another's fetch checks again if one is still due.
    async fn fetch_if(&self, is_due: impl Fn(&State, Timestamp) -> bool, others: Others) {
        let (state, now) = (self.state(), self.0.clock.now());
        if !is_due(&state, now) {
            return;
        }
        let may_skip = others == Others::UseTheOldSet && !state.has_overdue_fetch(now);
        let lock = match Arc::clone(&self.0.fetch_lock).try_lock_owned() {
            Ok(lock) => lock,
            Err(_) if may_skip && state.usable_keys(now).is_ok() => return,
            Err(_) => Arc::clone(&self.0.fetch_lock).lock_owned().await,
        };
        if is_due(&self.state(), self.0.clock.now()) {
            // Joining fails only while the runtime shuts down.
            let _ = self.spawn_fetch(lock).await;
        }
    }

    /// Fetches in a separate task. If the caller hangs up, the fetch goes on, and the others need
    /// not start again.
    fn spawn_fetch(&self, lock: OwnedMutexGuard<()>) -> JoinHandle<()> {
        let shared = Arc::clone(&self.0);
        let now = shared.clock.now();
        let limit = {
            let mut state = shared.state.write().unwrap_or_else(PoisonError::into_inner);
            state.fetching_since = Some(now);
            // Without a set there is nothing to fall back on, and the HTTP client has its own limit.
            if state.usable_keys(now).is_ok() { REFRESH_TIMEOUT } else { Duration::MAX }
        };
        tokio::spawn(async move {
            shared.fetch(now, limit).await;
            drop(lock);
        })
    }

    fn state(&self) -> State {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The behaviour of a caller that finds another's fetch under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    /// It uses the set at hand, if there is one.
    UseTheOldSet,
    /// It waits: without a newer set, its token would be rejected.
    Wait,
}

impl Shared {
    /// Fetches a set that is as old as `start`: a frozen process may read the response much later.
    async fn fetch(&self, start: Timestamp, limit: Duration) {
        let timed_out = |_| Err(format!("no complete response within {limit:?}"));
        let fetched = tokio::time::timeout(limit, self.request()).await.unwrap_or_else(timed_out);
        let now = self.clock.now();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // A fetch that failed after the process was frozen says nothing about the issuer: the caller
        // that finds it fetches again at once.
        let was_frozen = fetched.is_err() && state.has_overdue_fetch(now);
        state.fetching_since = None;
        if !was_frozen {
            state.last_fetch = Some(Fetch { at: now, failed: fetched.is_err() });
        }
        match fetched {
            Ok((keys, max_age)) => {
                state.cached = Some(CachedSet { keys: Arc::new(keys), fetched_at: start, max_age });
            }
            Err(reason) => {
                let cached_for = state.cached.as_ref().map(|set| now.since(set.fetched_at).as_secs());
                tracing::warn!(url = %self.url, reason, cached_for, "the key set cannot be fetched");
            }
        }
    }

    /// Requests the key set. The error is for the log.
    async fn request(&self) -> Result<(JwkSet, Duration), String> {
        let response = self.http.get_trusted(&self.url).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("the response is {}", response.status()));
        }
        let max_age = freshness(response.headers());
        let keys = JwkSet::from_json(response.body()).map_err(|error| error.to_string())?;
        if keys.is_empty() {
            return Err("the key set has no usable key".into());
        }
        Ok((keys, max_age))
    }
}

/// Returns the time that a response stays fresh: its max-age minus its age in other caches (RFC
/// 9111 sections 4.2 and 5.1).
fn freshness(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut max_age = None;
    for directive in directives.flat_map(|value| value.split(',')).map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            max_age = Some(0);
        } else if let Some((name, seconds)) = directive.split_once('=') {
            if name.eq_ignore_ascii_case("max-age") {
                max_age = max_age.or(seconds.trim_matches('"').parse().ok());
            }
        }
    }
    let max_age = max_age.map_or(DEFAULT_MAX_AGE, Duration::from_secs);
    let age = Duration::from_secs(http_client::seconds(headers, AGE).unwrap_or(0));
    let (shortest, longest) = MAX_AGE_BOUNDS;
    max_age.saturating_sub(age).clamp(shortest, longest)
}

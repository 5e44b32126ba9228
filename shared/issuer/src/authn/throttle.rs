//! The throttle on guesses at passwords and client secrets: it delays, and never locks out for good.
//!
//! A guess is counted as a failure by a conditional write before it is verified, and the count is released when the
//! guess was right. So of any number of parallel guesses no more than the limit are verified. Names that do not exist
//! are counted like any other.
//!
//! A login is counted at its network first. The item of that counter also knows whether the principal has logged in
//! from there: then no other counter applies, and no failure elsewhere makes the login wait.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::{Clock, Timestamp, network_of};
use ring::digest::{Context, SHA256};

use crate::audit::Counter;
use crate::context::{RequestContext, SourceAddress};
use crate::credentials::Secret;
use crate::random::{Random, RandomError};
use crate::records::Client as ClientRecord;
use crate::request::error::OAuthError;
use crate::store::table::{ATTEMPTS, StoreError, number, numeric, was_applied};

/// The window of a counter: it begins with the first failure, and its failures expire together.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// The longest wait before the next guess.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// An item is kept for some time after its window, because clocks differ.
const KEPT_AFTER_WINDOW: Duration = Duration::from_secs(60 * 60);
/// A network stays known to a principal for this long after the last login from it.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Each lost round means that a parallel guess was counted; few of those can follow one another.
const ROUNDS: usize = 8;
/// The salt of the digest of the last wrong guess.
const SALT_BYTES: usize = 8;

const OPERATION: &str = "count guess";

/// The failures within 15 minutes after which further guesses must wait. 0 switches a counter off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// For one user or operator from one address. `COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS`.
    pub principal_and_address: u32,
    /// For one user or operator through one client, from networks that are not known.
    /// `COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT`.
    pub principal_and_client: u32,
    /// For logins through one client from one address, over all names, where the network is not known. A client's
    /// record can have its own limit. `COUNTERSIGN_MAX_LOGIN_FAILURES_PER_CLIENT_AND_ADDRESS`.
    pub logins_by_client_and_address: u32,
    /// For the secrets of one client from one address. `COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS`.
    pub client_and_address: u32,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        Self {
            principal_and_address: 10,
            principal_and_client: 100,
            logins_by_client_and_address: 300,
            client_and_address: 20,
        }
    }
}

/// A guess at the secrets or the password of one name. HTTP Basic can present two secrets at once.
#[derive(Debug, Clone)]
pub(crate) struct Guess<'a> {
    pub(crate) name: &'a str,
    pub(crate) secrets: Vec<&'a Secret>,
}

impl Guess<'_> {
    /// One byte of a salted digest for each secret. One byte: a reader of the table learns little about a wrong guess,
    /// which is often nearly right, and a guess that is taken for the last one is still verified. Salted: nobody who
    /// guesses can choose guesses with the same byte.
    fn digests(&self, salt: &[u8]) -> Vec<u8> {
        let byte = |secret: &&Secret| {
            let mut digest = Context::new(&SHA256);
            digest.update(salt);
            digest.update(secret.expose().as_bytes());
            digest.finish().as_ref()[0]
        };
        self.secrets.iter().map(byte).collect()
    }

    /// Reports whether every secret is among those that a counter remembers.
    fn repeats(&self, salt: &[u8], remembered: &[u8]) -> bool {
        self.digests(salt).iter().all(|byte| remembered.contains(byte))
    }
}

/// A guess that is being verified. Unless it is settled otherwise, it counts as a failure.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Reservation<'a>(Vec<Reserved<'a>>);

impl Reservation<'_> {
    /// The principal's `sessions_valid_from` when it last logged in from this network, within [`KNOWN_FOR`].
    pub(crate) fn known_session(&self) -> Option<Timestamp> {
        self.0.iter().find_map(|reserved| reserved.known_session)
    }
}

#[derive(Debug)]
struct Reserved<'a> {
    target: Target<'a>,
    /// The window that it is counted in.
    window_start: Timestamp,
    by: String,
    known_session: Option<Timestamp>,
    /// The guess equals the last wrong one.
    is_repeat: bool,
    /// The counter's salt, if it has one.
    salt: Option<Vec<u8>>,
}

/// The result of a guess.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// It was never verified.
    Unverified,
    /// The client's secret was right.
    RightSecret,
    /// The principal's password was right, under this `sessions_valid_from`.
    LoggedIn(Timestamp),
    /// It was refused.
    Refused,
}

/// The state of one counter.
#[derive(Debug, Clone)]
struct CounterState {
    failures: u64,
    window_start: Timestamp,
    last_failure: Timestamp,
    /// The id of the last write: recognises a write that the SDK repeats after a lost answer.
    written_by: String,
    /// The end of the time for which the network is known, and the principal's session state at the login there.
    known: Option<(Timestamp, Timestamp)>,
    last_wrong: Option<Vec<u8>>,
    /// Stays for as long as the item lives, so that a guess which comes back shows a reader of the table no further byte.
    salt: Option<Vec<u8>>,
}

impl CounterState {
    fn read(item: &HashMap<String, AttributeValue>) -> Result<Self, StoreError> {
        let time = |name| Some(Timestamp::from_millis(number(item, name)?));
        let read = || {
            Some(Self {
                failures: number(item, "failures")?,
                window_start: time("window_start")?,
                last_failure: time("last_failure")?,
                written_by: item.get("written_by")?.as_s().ok()?.clone(),
                known: time("known_until").zip(time("known_session")),
                last_wrong: bytes(item, "last_wrong"),
                salt: bytes(item, "salt"),
            })
        };
        read().ok_or_else(|| StoreError::Corrupt { operation: OPERATION, detail: "no counter".into() })
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.window_start) >= WINDOW
    }

    /// The rest of the wait before the next guess. A clock that is behind does not lengthen it.
    fn remaining_wait(&self, limit: u32, now: Timestamp) -> Duration {
        let wait = self.wait(limit);
        self.last_failure.plus(wait).since(now).min(wait)
    }

    /// The wait between the last failure and the next guess: 1 s at the limit, doubled with each further failure.
    fn wait(&self, limit: u32) -> Duration {
        match self.failures.checked_sub(u64::from(limit)) {
            None => Duration::ZERO,
            Some(beyond) => MAX_WAIT.min(Duration::from_secs(1 << beyond.min(16))),
        }
    }
}

/// The throttle, over the `attempts` table.
#[derive(Debug)]
pub(crate) struct LoginThrottle {
    db: Client,
    /// Without retries: a release that is applied twice would allow a guess for free.
    without_retries: Client,
    name: String,
    limits: ThrottleLimits,
    clock: Clock,
    random: Random,
}

impl LoginThrottle {
    pub(crate) fn new(
        db: Client,
        prefix: &str,
        limits: ThrottleLimits,
        clock: Clock,
        random: Random,
    ) -> Self {
        let without_retries =
            Client::from_conf(db.config().to_builder().retry_config(RetryConfig::disabled()).build());
        Self { db, without_retries, name: format!("{prefix}{ATTEMPTS}"), limits, clock, random }
    }

    /// Counts a guess at the password of a principal in its network, whether or not there is such a principal.
    /// [`Reservation::known_session`] then tells whether it must be counted elsewhere too.
    pub(crate) async fn reserve_in_network<'a>(
        &self,
        guess: Guess<'a>,
        cx: &mut RequestContext,
    ) -> Result<Reservation<'a>, OAuthError> {
        let network = network(cx.source);
        let limit = self.limits.principal_and_address;
        let target = Target {
            // Requests from unknown addresses share a counter, but no network.
            is_network: cx.source.is_some(),
            ..Target::new(Counter::PrincipalAndAddress, &[guess.name, &network], limit, guess.clone())
        };
        self.reserve(Reservation::default(), [target], cx).await
    }

    /// Counts the same guess where the failures of all networks add up that are not known.
    pub(crate) async fn reserve_beyond_network<'a>(
        &self,
        reservation: Reservation<'a>,
        guess: Guess<'a>,
        client: &ClientRecord,
        cx: &mut RequestContext,
    ) -> Result<Reservation<'a>, OAuthError> {
        let (network, client_id) = (network(cx.source), client.client_id.as_str());
        let over_all_names = client.max_login_failures.unwrap_or(self.limits.logins_by_client_and_address);
        let targets = [
            Target::new(
                Counter::PrincipalAndClient,
                &[guess.name, client_id],
                self.limits.principal_and_client,
                guess.clone(),
            ),
            Target {
                // The same password for another name is another guess.
                remembers: false,
                ..Target::new(
                    Counter::LoginsByClientAndAddress,
                    &[client_id, &network],
                    over_all_names,
                    guess,
                )
            },
        ];
        self.reserve(reservation, targets, cx).await
    }

    /// Counts a guess at the secrets of clients, whether or not there are such clients.
    pub(crate) async fn reserve_for_clients<'a>(
        &self,
        guesses: Vec<Guess<'a>>,
        cx: &mut RequestContext,
    ) -> Result<Reservation<'a>, OAuthError> {
        let network = network(cx.source);
        let limit = self.limits.client_and_address;
        let target =
            |guess: Guess<'a>| Target::new(Counter::ClientAndAddress, &[guess.name, &network], limit, guess);
        self.reserve(Reservation::default(), guesses.into_iter().map(target).collect::<Vec<_>>(), cx).await
    }

    /// Counts at every target, or releases what was reserved.
    async fn reserve<'a>(
        &self,
        mut reservation: Reservation<'a>,
        targets: impl IntoIterator<Item = Target<'a>>,
        cx: &mut RequestContext,
    ) -> Result<Reservation<'a>, OAuthError> {
        for target in targets.into_iter().filter(|target| target.limit > 0) {
            let counter = target.counter;
            match self.count(target).await {
                Ok(mut reserved) => {
                    let of_same_name =
                        |other: &&Reserved<'_>| other.target.guess.name == reserved.target.guess.name;
                    if let Some(first) = reservation.0.iter().find(of_same_name) {
                        (reserved.target.remembers, reserved.is_repeat) = (false, first.is_repeat);
                    }
                    reservation.0.push(reserved);
                }
                Err(error) => {
                    if let OAuthError::TooManyFailures { wait } = error {
                        cx.audit.counter = Some(counter);
                        cx.audit.wait_ms = Some(millis(wait));
                    }
                    self.settle(reservation, Verdict::Unverified).await;
                    return Err(error);
                }
            }
        }
        Ok(reservation)
    }

    /// Counts one failure in advance, or refuses with the wait.
    async fn count<'a>(&self, target: Target<'a>) -> Result<Reserved<'a>, OAuthError> {
        let Target { limit, .. } = target;
        let by = self.random.id()?;
        let mut seen: Option<CounterState> = None;
        for _ in 0..ROUNDS {
            // Not the request's time: a round can last seconds, and a wait can end in it.
            let now = self.clock.now();
            let request = match &seen {
                Some(seen) if seen.is_over(now) => self.increment_after_wait(&target.key, seen, now, &by),
                Some(seen) if seen.failures >= u64::from(limit) => {
                    let wait = seen.remaining_wait(limit, now);
                    if !wait.is_zero() {
                        return Err(OAuthError::TooManyFailures { wait });
                    }
                    self.increment_after_wait(&target.key, seen, now, &by)
                }
                _ => self.increment_below_limit(&target.key, limit, now, &by),
            };
            let request = request
                .return_values(ReturnValue::AllOld)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let error = match Box::pin(request.send()).await {
                Ok(answer) => {
                    let before = read_item(answer.attributes.as_ref())?;
                    return Ok(Reserved::new(target, before.as_ref(), now, by));
                }
                Err(error) => error,
            };
            let item = match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => refused.item(),
                _ => return Err(StoreError::from_sdk(OPERATION, error).into()),
            };
            seen = read_item(item)?;
            if let Some(seen) = seen.as_ref().filter(|seen| seen.written_by == by) {
                return Ok(Reserved::new(target, Some(seen), now, by));
            }
        }
        Err(OAuthError::TooManyFailures { wait: Duration::from_secs(1) })
    }

    /// Below the limit any number of guesses are counted at once, each with one write and no read.
    fn increment_below_limit(
        &self,
        key: &str,
        limit: u32,
        now: Timestamp,
        by: &str,
    ) -> UpdateItemFluentBuilder {
        self.update(&self.db, key)
            .update_expression(
                "SET failures = if_not_exists(failures, :zero) + :one, expires = if_not_exists(expires, :expires), \
                 window_start = if_not_exists(window_start, :now), last_failure = :now, written_by = :by",
            )
            .condition_expression(
                "attribute_not_exists(failures) OR \
                 (failures < :limit AND window_start > :over AND written_by <> :by)",
            )
            .expression_attribute_values(":zero", numeric(0))
            .expression_attribute_values(":one", numeric(1))
            .expression_attribute_values(":expires", numeric(end_of_window(now).seconds()))
            .expression_attribute_values(":now", numeric(now.millis()))
            .expression_attribute_values(":limit", numeric(limit.into()))
            .expression_attribute_values(":over", numeric(now.millis().saturating_sub(millis(WINDOW))))
            .expression_attribute_values(":by", AttributeValue::S(by.into()))
    }

    /// Counts a further failure, or the first of a new window, if the counter is unchanged since `seen` was read: of many
    /// guesses that waited for the same moment, one passes.
    fn increment_after_wait(
        &self,
        key: &str,
        seen: &CounterState,
        now: Timestamp,
        by: &str,
    ) -> UpdateItemFluentBuilder {
        // A guess of an earlier window is no longer counted, so nothing repeats it.
        let (failures, window_start, forget) = if seen.is_over(now) {
            (1, now, " REMOVE last_wrong")
        } else {
            (seen.failures + 1, seen.window_start, "")
        };
        // A failure neither lengthens nor shortens the time for which a network is known.
        let known_until = seen.known.map_or(Timestamp::from_millis(0), |(until, _)| until);
        let expires = end_of_window(window_start).max(known_until);
        self.update(&self.db, key)
            .update_expression(format!(
                "SET failures = :failures, expires = :expires, window_start = :start, last_failure = :now, \
                 written_by = :by{forget}"
            ))
            .condition_expression("written_by = :seen")
            .expression_attribute_values(":failures", numeric(failures))
            .expression_attribute_values(":expires", numeric(expires.seconds()))
            .expression_attribute_values(":start", numeric(window_start.millis()))
            .expression_attribute_values(":now", numeric(now.millis()))
            .expression_attribute_values(":by", AttributeValue::S(by.into()))
            .expression_attribute_values(":seen", AttributeValue::S(seen.written_by.clone()))
    }

    /// Corrects the counters once the result of the guess is known.
    pub(crate) async fn settle(&self, reservation: Reservation<'_>, verdict: Verdict) {
        for reserved in reservation.0 {
            let request = match verdict {
                Verdict::Unverified => self.decrement(&reserved, ", last_failure = :zero"),
                Verdict::RightSecret => self.decrement_after_success(&reserved, None),
                Verdict::LoggedIn(session) => self.decrement_after_success(&reserved, Some(session)),
                // A guess that repeats the last one restarts the wait, but does not lengthen it. It may do so once: a
                // library repeats each refused request once, and every repetition costs a hash.
                Verdict::Refused if reserved.is_repeat => self.decrement(&reserved, " REMOVE last_wrong"),
                Verdict::Refused if reserved.target.remembers => match self.remember(&reserved) {
                    Ok(request) => request,
                    Err(_) => continue,
                },
                Verdict::Refused => continue,
            };
            // One failure too many then stays counted until the window ends, or a repeated guess is counted.
            if let Err(error) = was_applied("settle guess", Box::pin(request.send()).await) {
                tracing::warn!(%error, "a guess may be counted that was no further failure");
            }
        }
    }

    /// Takes back a failure that was counted in advance. `more` continues the update expression.
    fn decrement(&self, reserved: &Reserved<'_>, more: &str) -> UpdateItemFluentBuilder {
        let by = format!("{}, released", reserved.by);
        self.settling(reserved)
            .update_expression(format!("SET failures = failures - :one, written_by = :by{more}"))
            .condition_expression("failures > :zero AND window_start = :start")
            .expression_attribute_values(":one", numeric(1))
            .expression_attribute_values(":zero", numeric(0))
            .expression_attribute_values(":by", AttributeValue::S(by))
    }

    /// Takes back the failure after a right guess. After a login it makes the network known in the same write.
    fn decrement_after_success(
        &self,
        reserved: &Reserved<'_>,
        session: Option<Timestamp>,
    ) -> UpdateItemFluentBuilder {
        let Some(session) = session.filter(|_| reserved.target.is_network) else {
            return self.decrement(reserved, ", last_failure = :zero REMOVE last_wrong");
        };
        let until = self.clock.now().plus(KNOWN_FOR);
        let known = ", last_failure = :zero, known_until = :until, known_session = :session, \
                     expires = :expires REMOVE last_wrong";
        self.decrement(reserved, known)
            .expression_attribute_values(":until", numeric(until.millis()))
            .expression_attribute_values(":session", numeric(session.millis()))
            .expression_attribute_values(":expires", numeric(until.seconds()))
    }

    fn remember(&self, reserved: &Reserved<'_>) -> Result<UpdateItemFluentBuilder, RandomError> {
        let salt = match &reserved.salt {
            Some(salt) => salt.clone(),
            None => self.random.bytes::<SALT_BYTES>()?.to_vec(),
        };
        let wrong = reserved.target.guess.digests(&salt);
        let request = self
            .settling(reserved)
            .update_expression("SET last_wrong = :wrong, salt = :salt")
            .condition_expression("window_start = :start")
            .expression_attribute_values(":wrong", AttributeValue::B(Blob::new(wrong)))
            .expression_attribute_values(":salt", AttributeValue::B(Blob::new(salt)));
        Ok(request)
    }

    fn settling(&self, reserved: &Reserved<'_>) -> UpdateItemFluentBuilder {
        self.update(&self.without_retries, &reserved.target.key)
            .expression_attribute_values(":start", numeric(reserved.window_start.millis()))
    }

    fn update(&self, db: &Client, key: &str) -> UpdateItemFluentBuilder {
        db.update_item().table_name(&self.name).key("attempt", AttributeValue::S(key.into()))
    }
}

/// One counter to be incremented.
#[derive(Debug, Clone)]
struct Target<'a> {
    counter: Counter,
    key: String,
    /// The failures after which guesses must wait.
    limit: u32,
    guess: Guess<'a>,
    /// A login makes the network of this counter known.
    is_network: bool,
    /// It remembers the last wrong guess; the first counter of a name does.
    remembers: bool,
}

impl<'a> Target<'a> {
    /// The key is a digest, because people type passwords into name fields, and because names may have any length.
    fn new(counter: Counter, parts: &[&str], limit: u32, guess: Guess<'a>) -> Self {
        let mut digest = Context::new(&SHA256);
        for part in parts {
            digest.update(&part.len().to_be_bytes());
            digest.update(part.as_bytes());
        }
        let key = format!("{}#{}", counter.as_str(), BASE64URL.encode(digest.finish()));
        Self { counter, key, limit, guess, is_network: false, remembers: true }
    }
}

impl<'a> Reserved<'a> {
    /// A failure that was counted at `now`. `before` is the counter as it was, or as the same write left it.
    fn new(target: Target<'a>, before: Option<&CounterState>, now: Timestamp, by: String) -> Self {
        let window = before.filter(|before| !before.is_over(now));
        let last_wrong = window.and_then(|before| before.last_wrong.as_deref());
        let salt = before.and_then(|before| before.salt.clone());
        let known = before.and_then(|before| before.known).filter(|(until, _)| now < *until);
        Self {
            window_start: window.map_or(now, |before| before.window_start),
            by,
            known_session: known.map(|(_, session)| session).filter(|_| target.is_network),
            is_repeat: target.remembers
                && last_wrong
                    .zip(salt.as_deref())
                    .is_some_and(|(wrong, salt)| target.guess.repeats(salt, wrong)),
            salt,
            target,
        }
    }
}

/// Requests from unknown addresses share one counter.
fn network(from: Option<SourceAddress>) -> String {
    from.map_or_else(String::new, |SourceAddress(from)| network_of(from).to_string())
}

/// The time at which the item of a counter without a known network expires.
fn end_of_window(window_start: Timestamp) -> Timestamp {
    window_start.plus(WINDOW + KEPT_AFTER_WINDOW)
}

fn read_item(item: Option<&HashMap<String, AttributeValue>>) -> Result<Option<CounterState>, StoreError> {
    item.filter(|item| item.contains_key("failures")).map(CounterState::read).transpose()
}

fn bytes(item: &HashMap<String, AttributeValue>, name: &str) -> Option<Vec<u8>> {
    Some(item.get(name)?.as_b().ok()?.as_ref().to_vec())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_a_second_to_a_minute() {
        let zero = Timestamp::from_millis(0);
        let wait = |failures| {
            let counter = CounterState {
                failures,
                window_start: zero,
                last_failure: zero,
                written_by: String::new(),
                known: None,
                last_wrong: None,
                salt: None,
            };
            counter.wait(10).as_secs()
        };
        let waits: Vec<u64> = (9..19).map(wait).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(wait(u64::MAX), 60);
    }

    #[test]
    fn different_targets_have_different_keys() {
        let guess = || Guess { name: "any", secrets: Vec::new() };
        let key = |counter, parts: &[&str]| Target::new(counter, parts, 1, guess()).key;
        let (one, other) = (Counter::PrincipalAndAddress, Counter::PrincipalAndClient);
        assert_ne!(key(one, &["b", "cd"]), key(one, &["bc", "d"]));
        assert_ne!(key(one, &["b"]), key(other, &["b"]));
    }

    #[test]
    fn a_guess_repeats_the_last_one_only_if_it_has_no_other_secret() {
        let [known, other, third] =
            ["known one", "other one", "third one"].map(|text| Secret::from_string(text.into()));
        let both = Guess { name: "jane", secrets: vec![&known, &other] };
        let (salt, wrong) = (&[7; SALT_BYTES], both.digests(&[7; SALT_BYTES]));
        assert!(both.repeats(salt, &wrong));
        assert!(Guess { name: "jane", secrets: vec![&other] }.repeats(salt, &wrong));
        for unlike in [vec![&third], vec![&known, &third]] {
            assert!(!Guess { name: "jane", secrets: unlike }.repeats(salt, &wrong));
        }
        assert!(!both.repeats(salt, &[]));
        assert!(!both.repeats(&[8; SALT_BYTES], &wrong), "the digests depend on the salt");
    }
}

//! Guesses at passwords and client secrets: counted before they are judged, slowed down, never locked out for good.
//!
//! A guess is reserved by a conditional write and handed back when it turns out right, so that of any number of
//! parallel guesses no more than the threshold are judged. Names that do not exist are counted like any other.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::{Clock, Timestamp};
use ring::digest::{Context, SHA256};

use crate::audit_events as audit;
use crate::context::SourceAddress;
use crate::random::Random;
use crate::request::error::OAuthError;
use crate::store::table::{ATTEMPTS, StoreError, number, numeric, was_applied};

/// Failures count from the first one on for this long, and are then forgotten together.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Nobody waits longer than this for the next guess.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// An item is deleted some time after its window, since clocks differ.
const KEPT_AFTER_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Each round is lost to somebody else's guess, and few of those get through.
const ROUNDS: usize = 8;

const OPERATION: &str = "count guess";

/// How many failures within 15 minutes are borne before guesses are slowed down. 0 switches a counter off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// At one user or operator from one address. `COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS`.
    pub principal_and_address: u32,
    /// At one user or operator from anywhere. `COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL`.
    pub principal: u32,
    /// At one client from one address. `COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS`.
    pub client_and_address: u32,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        Self { principal_and_address: 10, principal: 100, client_and_address: 20 }
    }
}

/// The network that counts as one address: of IPv6 the /64, since one caller commonly holds all of it.
fn network_of(source: SourceAddress) -> IpAddr {
    match source.0.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        canonical @ IpAddr::V4(_) => canonical,
    }
}

/// A guess that is under way. Unless it is handed back it counts as a failure.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Reservation(Vec<Reserved>);

#[derive(Debug)]
struct Reserved {
    key: String,
    /// Which window it counts in.
    window_start: Timestamp,
    by: String,
}

/// One counter as it stands.
#[derive(Debug, Clone)]
struct Counter {
    failures: u64,
    window_start: Timestamp,
    last_failure: Timestamp,
    /// Names the last write, so that one that the SDK repeats after a lost answer is known for what it is.
    written_by: String,
}

impl Counter {
    fn read(item: &HashMap<String, AttributeValue>) -> Result<Self, StoreError> {
        let read = || {
            Some(Self {
                failures: number(item, "failures")?,
                window_start: Timestamp::from_millis(number(item, "window_start")?),
                last_failure: Timestamp::from_millis(number(item, "last_failure")?),
                written_by: item.get("written_by")?.as_s().ok()?.clone(),
            })
        };
        read().ok_or_else(|| StoreError::Corrupt { operation: OPERATION, detail: "no counter".into() })
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.window_start) >= WINDOW
    }

    /// How long the next guess has to wait still. A clock that is behind makes nobody wait longer.
    fn remaining_wait(&self, limit: u32, now: Timestamp) -> Duration {
        let wait = self.wait(limit);
        self.last_failure.plus(wait).since(now).min(wait)
    }

    /// How long after the last failure the next guess may come: 1 s at the threshold, then twice as long each time.
    fn wait(&self, limit: u32) -> Duration {
        match self.failures.checked_sub(u64::from(limit)) {
            None => Duration::ZERO,
            Some(beyond) => LONGEST_WAIT.min(Duration::from_secs(1 << beyond.min(16))),
        }
    }
}

/// The `attempts` table.
#[derive(Debug)]
pub(crate) struct LoginThrottle {
    db: Client,
    /// Without retries: what is handed back twice would be a guess for free.
    once: Client,
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
        let once = Client::from_conf(db.config().to_builder().retry_config(RetryConfig::disabled()).build());
        Self { db, once, name: format!("{prefix}{ATTEMPTS}"), limits, clock, random }
    }

    /// Reserves a guess at the password of `principal`, whether or not there is one.
    pub(crate) async fn reserve_for_principal(
        &self,
        principal: &str,
        from: Option<SourceAddress>,
    ) -> Result<Reservation, OAuthError> {
        let ThrottleLimits { principal_and_address, principal: anywhere, .. } = self.limits;
        let address = network(from);
        let targets = [
            Target::new("principal and address", &[principal, &address], principal_and_address),
            Target::new("principal", &[principal], anywhere),
        ];
        self.reserve(&targets).await
    }

    /// Reserves a guess at a secret of whichever of the clients `client_ids` there is.
    pub(crate) async fn reserve_for_client(
        &self,
        client_ids: &[&str],
        from: Option<SourceAddress>,
    ) -> Result<Reservation, OAuthError> {
        let address = network(from);
        let limit = self.limits.client_and_address;
        let target = |id: &&str| Target::new("client and address", &[id, address.as_str()], limit);
        self.reserve(&client_ids.iter().map(target).collect::<Vec<_>>()).await
    }

    async fn reserve(&self, targets: &[Target]) -> Result<Reservation, OAuthError> {
        let mut reservation = Reservation::default();
        for Target { kind, key, limit } in targets.iter().filter(|target| target.limit > 0) {
            match self.count(key, *limit).await {
                Ok(reserved) => reservation.0.push(reserved),
                Err(error) => {
                    if let OAuthError::TooManyFailures { wait } = error {
                        audit::guess_refused(kind, wait);
                    }
                    self.release(reservation).await;
                    return Err(error);
                }
            }
        }
        Ok(reservation)
    }

    /// Counts one failure in advance, or says how long to wait.
    async fn count(&self, key: &str, limit: u32) -> Result<Reserved, OAuthError> {
        let by = self.random.id()?;
        let reserved = |window_start, by| Reserved { key: key.to_owned(), window_start, by };
        let mut seen: Option<Counter> = None;
        for _ in 0..ROUNDS {
            let now = self.clock.now();
            let request = match &seen {
                Some(seen) if seen.is_over(now) => self.after(key, seen, now, &by),
                Some(seen) if seen.failures >= u64::from(limit) => {
                    let wait = seen.remaining_wait(limit, now);
                    if !wait.is_zero() {
                        return Err(OAuthError::TooManyFailures { wait });
                    }
                    self.after(key, seen, now, &by)
                }
                _ => self.below(key, limit, now, &by),
            };
            let request = request
                .return_values(ReturnValue::UpdatedNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let error = match Box::pin(request.send()).await {
                Ok(answer) => {
                    let written = Counter::read(&answer.attributes.unwrap_or_default())?;
                    return Ok(reserved(written.window_start, by));
                }
                Err(error) => error,
            };
            let item = match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => refused.item(),
                _ => return Err(StoreError::from_sdk(OPERATION, error).into()),
            };
            seen = item.filter(|item| !item.is_empty()).map(Counter::read).transpose()?;
            if let Some(seen) = seen.as_ref().filter(|seen| seen.written_by == by) {
                return Ok(reserved(seen.window_start, by));
            }
        }
        Err(OAuthError::TooManyFailures { wait: Duration::from_secs(1) })
    }

    /// Below the threshold any number may count at once, each in one write and without a read.
    fn below(&self, key: &str, limit: u32, now: Timestamp, by: &str) -> UpdateItemFluentBuilder {
        self.update(&self.db, key, by)
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
            .expression_attribute_values(":expires", expires(now))
            .expression_attribute_values(":now", numeric(now.millis()))
            .expression_attribute_values(":limit", numeric(limit.into()))
            .expression_attribute_values(":over", numeric(now.millis().saturating_sub(millis(WINDOW))))
    }

    /// One failure more, or the first of a new window, on condition that nobody has written since `seen`: of many
    /// that have waited for the same moment one gets through.
    fn after(&self, key: &str, seen: &Counter, now: Timestamp, by: &str) -> UpdateItemFluentBuilder {
        let (failures, window_start) =
            if seen.is_over(now) { (1, now) } else { (seen.failures + 1, seen.window_start) };
        self.update(&self.db, key, by)
            .update_expression(
                "SET failures = :failures, expires = :expires, window_start = :start, last_failure = :now, \
                 written_by = :by",
            )
            .condition_expression("written_by = :seen")
            .expression_attribute_values(":failures", numeric(failures))
            .expression_attribute_values(":expires", expires(window_start))
            .expression_attribute_values(":start", numeric(window_start.millis()))
            .expression_attribute_values(":now", numeric(now.millis()))
            .expression_attribute_values(":seen", AttributeValue::S(seen.written_by.clone()))
    }

    /// Takes back what was counted in advance: the guess was right, or never judged. Whoever is right once need not
    /// wait the next time.
    pub(crate) async fn release(&self, reservation: Reservation) {
        for Reserved { key, window_start, by } in reservation.0 {
            let request = self
                .update(&self.once, &key, &format!("{by}, handed back"))
                .update_expression("SET failures = failures - :one, last_failure = :zero, written_by = :by")
                .condition_expression("failures > :zero AND window_start = :start")
                .expression_attribute_values(":one", numeric(1))
                .expression_attribute_values(":zero", numeric(0))
                .expression_attribute_values(":start", numeric(window_start.millis()));
            // One failure too many is on record then, until the window ends.
            if let Err(error) = was_applied("hand back guess", Box::pin(request.send()).await) {
                tracing::warn!(%error, "a guess that was no failure stays counted");
            }
        }
    }

    fn update(&self, db: &Client, key: &str, by: &str) -> UpdateItemFluentBuilder {
        db.update_item()
            .table_name(&self.name)
            .key("attempt", AttributeValue::S(key.into()))
            .expression_attribute_values(":by", AttributeValue::S(by.into()))
    }
}

/// What is guessed at, as one counter has it.
struct Target {
    kind: &'static str,
    key: String,
    /// How many failures are borne.
    limit: u32,
}

impl Target {
    /// Its key is a digest, since people type passwords where names belong, and names may have any length.
    fn new(kind: &'static str, parts: &[&str], limit: u32) -> Self {
        let mut digest = Context::new(&SHA256);
        for part in parts {
            digest.update(&part.len().to_be_bytes());
            digest.update(part.as_bytes());
        }
        Self { kind, key: format!("{kind}#{}", BASE64URL.encode(digest.finish())), limit }
    }
}

/// Requests whose address is not known count as coming from one.
fn network(from: Option<SourceAddress>) -> String {
    from.map_or_else(String::new, |from| network_of(from).to_string())
}

fn expires(window_start: Timestamp) -> AttributeValue {
    numeric(window_start.plus(WINDOW + KEPT_AFTER_WINDOW).seconds())
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
            let counter =
                Counter { failures, window_start: zero, last_failure: zero, written_by: String::new() };
            counter.wait(10).as_secs()
        };
        let waits: Vec<u64> = (9..19).map(wait).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(wait(u64::MAX), 60);
    }

    #[test]
    fn an_address_counts_as_its_network() {
        let of = |address: &str| network_of(SourceAddress(address.parse().unwrap())).to_string();
        assert_eq!(of("203.0.113.7"), "203.0.113.7");
        assert_eq!(of("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
    }

    #[test]
    fn no_two_targets_share_a_key() {
        let key = |kind, parts: &[&str]| Target::new(kind, parts, 1).key;
        assert_ne!(key("a", &["b", "cd"]), key("a", &["bc", "d"]));
        assert_ne!(key("a", &["b"]), key("c", &["b"]));
    }
}

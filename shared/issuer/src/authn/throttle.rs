//! The throttle on guesses at passwords and client secrets: it delays, and never locks out for good.
//!
//! A guess is counted as a failure by a conditional write before it is verified, and the count is released when the
//! guess was right. So of any number of parallel guesses no more than the limit are verified. Names that do not exist
//! are counted like any other.

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
use countersign_verify::Timestamp;
use ring::digest::{Context, SHA256};

use crate::context::{RequestContext, SourceAddress};
use crate::random::Random;
use crate::request::error::OAuthError;
use crate::store::table::{ATTEMPTS, StoreError, number, numeric, was_applied};

/// The window of a counter: it begins with the first failure, and its failures expire together.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// The longest wait before the next guess.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// An item is kept for some time after its window, because clocks differ.
const KEPT_AFTER_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Each lost round means that a parallel guess was counted; few of those can follow one another.
const ROUNDS: usize = 8;

const OPERATION: &str = "count guess";

/// The failures within 15 minutes after which further guesses must wait. 0 switches a counter off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// For one user or operator from one address. `COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS`.
    pub principal_and_address: u32,
    /// For one user or operator from anywhere. `COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL`.
    pub principal: u32,
    /// For one client from one address. `COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS`.
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

/// A guess that is being verified. Unless it is released, it counts as a failure.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Reservation(Vec<Reserved>);

#[derive(Debug)]
struct Reserved {
    key: String,
    /// The window that it is counted in.
    window_start: Timestamp,
    by: String,
}

/// The state of one counter.
#[derive(Debug, Clone)]
struct Counter {
    failures: u64,
    window_start: Timestamp,
    last_failure: Timestamp,
    /// The id of the last write: recognises a write that the SDK repeats after a lost answer.
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
    random: Random,
}

impl LoginThrottle {
    pub(crate) fn new(db: Client, prefix: &str, limits: ThrottleLimits, random: Random) -> Self {
        let without_retries =
            Client::from_conf(db.config().to_builder().retry_config(RetryConfig::disabled()).build());
        Self { db, without_retries, name: format!("{prefix}{ATTEMPTS}"), limits, random }
    }

    /// Counts a guess at the password of `principal`, whether or not there is such a principal.
    pub(crate) async fn reserve_for_principal(
        &self,
        principal: &str,
        cx: &mut RequestContext,
    ) -> Result<Reservation, OAuthError> {
        let ThrottleLimits { principal_and_address, principal: anywhere, .. } = self.limits;
        let address = network(cx.source);
        let targets = [
            Target::new("principal and address", &[principal, &address], principal_and_address),
            Target::new("principal", &[principal], anywhere),
        ];
        self.reserve(&targets, cx).await
    }

    /// Counts a guess at a secret of each client in `client_ids`, whether or not there is such a client.
    pub(crate) async fn reserve_for_client(
        &self,
        client_ids: &[&str],
        cx: &mut RequestContext,
    ) -> Result<Reservation, OAuthError> {
        let address = network(cx.source);
        let limit = self.limits.client_and_address;
        let target = |id: &&str| Target::new("client and address", &[id, address.as_str()], limit);
        self.reserve(&client_ids.iter().map(target).collect::<Vec<_>>(), cx).await
    }

    async fn reserve(&self, targets: &[Target], cx: &mut RequestContext) -> Result<Reservation, OAuthError> {
        let mut reservation = Reservation::default();
        for Target { kind, key, limit } in targets.iter().filter(|target| target.limit > 0) {
            match self.count(key, *limit, cx.now).await {
                Ok(reserved) => reservation.0.push(reserved),
                Err(error) => {
                    if let OAuthError::TooManyFailures { wait } = error {
                        cx.audit.counter = Some(kind);
                        cx.audit.wait_ms = Some(millis(wait));
                    }
                    self.release(reservation).await;
                    return Err(error);
                }
            }
        }
        Ok(reservation)
    }

    /// Counts one failure in advance, or refuses with the wait.
    async fn count(&self, key: &str, limit: u32, now: Timestamp) -> Result<Reserved, OAuthError> {
        let by = self.random.id()?;
        let reserved = |window_start, by| Reserved { key: key.to_owned(), window_start, by };
        let mut seen: Option<Counter> = None;
        for _ in 0..ROUNDS {
            let request = match &seen {
                Some(seen) if seen.is_over(now) => self.increment_after_wait(key, seen, now, &by),
                Some(seen) if seen.failures >= u64::from(limit) => {
                    let wait = seen.remaining_wait(limit, now);
                    if !wait.is_zero() {
                        return Err(OAuthError::TooManyFailures { wait });
                    }
                    self.increment_after_wait(key, seen, now, &by)
                }
                _ => self.increment_below_limit(key, limit, now, &by),
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

    /// Below the limit any number of guesses are counted at once, each with one write and no read.
    fn increment_below_limit(
        &self,
        key: &str,
        limit: u32,
        now: Timestamp,
        by: &str,
    ) -> UpdateItemFluentBuilder {
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

    /// Counts a further failure, or the first of a new window, if the counter is unchanged since `seen` was read: of many
    /// guesses that waited for the same moment, one passes.
    fn increment_after_wait(
        &self,
        key: &str,
        seen: &Counter,
        now: Timestamp,
        by: &str,
    ) -> UpdateItemFluentBuilder {
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

    /// Takes back a failure that was counted in advance: the guess was right, or was never verified. A right guess also
    /// ends the wait.
    pub(crate) async fn release(&self, reservation: Reservation) {
        for Reserved { key, window_start, by } in reservation.0 {
            let request = self
                .update(&self.without_retries, &key, &format!("{by}, handed back"))
                .update_expression("SET failures = failures - :one, last_failure = :zero, written_by = :by")
                .condition_expression("failures > :zero AND window_start = :start")
                .expression_attribute_values(":one", numeric(1))
                .expression_attribute_values(":zero", numeric(0))
                .expression_attribute_values(":start", numeric(window_start.millis()));
            // One failure too many then stays counted until the window ends.
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

/// One counter to be incremented.
struct Target {
    kind: &'static str,
    key: String,
    /// The failures after which guesses must wait.
    limit: u32,
}

impl Target {
    /// The key is a digest, because people type passwords into name fields, and because names may have any length.
    fn new(kind: &'static str, parts: &[&str], limit: u32) -> Self {
        let mut digest = Context::new(&SHA256);
        for part in parts {
            digest.update(&part.len().to_be_bytes());
            digest.update(part.as_bytes());
        }
        Self { kind, key: format!("{kind}#{}", BASE64URL.encode(digest.finish())), limit }
    }
}

/// Requests from unknown addresses share one counter.
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
    fn different_targets_have_different_keys() {
        let key = |kind, parts: &[&str]| Target::new(kind, parts, 1).key;
        assert_ne!(key("a", &["b", "cd"]), key("a", &["bc", "d"]));
        assert_ne!(key("a", &["b"]), key("c", &["b"]));
    }
}

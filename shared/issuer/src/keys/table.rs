//! The `signing-keys` table: partition `ring`, sort key `seq`.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use countersign_verify::{Jwk, Timestamp};

use crate::keys::envelope::EncryptionContext;
use crate::keys::{Lifetimes, Ring, RingKey, RotationSchedule};
use crate::store::table::{SIGNING_KEYS, StoreError, number, was_applied};

/// The one partition: a deployment has one ring.
const RING: &str = "issuer";

/// What a function that only publishes may see of an item.
const PUBLIC_ATTRIBUTES: &str = "#ring, #seq, kid, jwk, announced_at, known_at, activates_at, longest_access, longest_refresh, \
     withdrawn_at, erased_at";

/// The ring as it stands in the table.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The keys that can be read.
    pub(crate) keys: Vec<RingKey>,
    /// The highest number given so far, to whatever stands there.
    pub(crate) last_seq: u64,
}

/// Reads and writes the items of the ring.
#[derive(Debug, Clone)]
pub struct KeyTable {
    db: Client,
    name: String,
}

impl KeyTable {
    /// The table below `prefix`.
    pub fn new(db: Client, prefix: &str) -> Self {
        Self { db, name: format!("{prefix}{SIGNING_KEYS}") }
    }

    pub(crate) fn encryption_context(&self, seq: u64) -> EncryptionContext {
        EncryptionContext { table: self.name.clone(), seq }
    }

    /// The public half of every key. Asks for the public attributes and no others, so that a function whose
    /// permissions end there can read the ring. Items that are no keys are logged, passed over and left alone.
    pub(crate) async fn read(&self) -> Result<Contents, StoreError> {
        let mut pages = self
            .db
            .query()
            .table_name(&self.name)
            // The lead counts from the announcement: a copy may be old, but is not older than it says.
            .consistent_read(true)
            .key_condition_expression("#ring = :ring")
            .select(Select::SpecificAttributes)
            .projection_expression(PUBLIC_ATTRIBUTES)
            .expression_attribute_names("#ring", "ring")
            .expression_attribute_names("#seq", "seq")
            .expression_attribute_values(":ring", AttributeValue::S(RING.into()))
            .into_paginator()
            .items()
            .send();
        let mut contents = Contents::default();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| StoreError::from_sdk("query signing keys", error))?;
            let seq = number(&item, "seq").unwrap_or(0);
            contents.last_seq = contents.last_seq.max(seq);
            let key = read(&item).and_then(|key| {
                let is_copy = contents.keys.iter().any(|known| known.jwk == key.jwk);
                if is_copy { Err("the same key stands at another number") } else { Ok(key) }
            });
            match key {
                Ok(key) => contents.keys.push(key),
                Err(reason) => {
                    tracing::error!(
                        seq,
                        reason,
                        "a signing key's item cannot be used; repair it or delete it"
                    );
                }
            }
        }
        Ok(contents)
    }

    /// The ring as it stands.
    pub async fn ring(&self, schedule: &RotationSchedule) -> Result<Ring, StoreError> {
        Ok(Ring::new(self.read().await?.keys, schedule))
    }

    /// The wrapped private half of a key; none once it has been erased.
    pub(crate) async fn wrapped(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let request =
            self.db.get_item().table_name(&self.name).set_key(Some(key_of(seq))).consistent_read(true);
        let answer = request.send().await.map_err(|error| StoreError::from_sdk("get signing key", error))?;
        match answer.item.and_then(|mut item| item.remove("wrapped")) {
            Some(AttributeValue::B(bytes)) => Ok(Some(bytes.into_inner())),
            _ => Ok(None),
        }
    }

    /// Adds a key, on condition that its number is free; says whether it was.
    pub(crate) async fn put(&self, key: &RingKey, wrapped: Vec<u8>) -> Result<bool, StoreError> {
        const OPERATION: &str = "put signing key";
        let jwk = serde_json::to_string(&key.jwk)
            .map_err(|error| StoreError::Corrupt { operation: OPERATION, detail: error.to_string() })?;
        let request = self
            .db
            .put_item()
            .table_name(&self.name)
            .set_item(Some(key_of(key.seq)))
            .item("kid", AttributeValue::S(key.jwk.kid().into()))
            .item("jwk", AttributeValue::S(jwk))
            .item("announced_at", moment(key.announced_at))
            .item("known_at", moment(key.known_at))
            .item("activates_at", moment(key.activates_at))
            .item("longest_access", AttributeValue::N(key.max_lifetimes.access.to_string()))
            .item("longest_refresh", AttributeValue::N(key.max_lifetimes.refresh.to_string()))
            .item("wrapped", AttributeValue::B(Blob::new(wrapped)))
            .condition_expression("attribute_not_exists(#ring)")
            .expression_attribute_names("#ring", "ring");
        was_applied(OPERATION, request.send().await)
    }

    /// Lets an announced key sign from `now` on. Does nothing where it signs already.
    pub(crate) async fn activate(&self, seq: u64, now: Timestamp) -> Result<bool, StoreError> {
        let request = self
            .update(seq)
            .update_expression("SET activates_at = :now")
            .condition_expression("activates_at > :now AND attribute_not_exists(withdrawn_at)")
            .expression_attribute_values(":now", moment(now));
        was_applied("activate signing key", request.send().await)
    }

    /// Marks a key as compromised and erases its private half. The first mark stands.
    pub(crate) async fn withdraw(&self, seq: u64, now: Timestamp) -> Result<bool, StoreError> {
        let request = self
            .update(seq)
            .update_expression("SET withdrawn_at = :now, erased_at = :now REMOVE #wrapped")
            .condition_expression("attribute_exists(kid) AND attribute_not_exists(withdrawn_at)")
            .expression_attribute_names("#wrapped", "wrapped")
            .expression_attribute_values(":now", moment(now));
        was_applied("withdraw signing key", request.send().await)
    }

    /// Erases the private half of a key that has signed for the last time.
    pub(crate) async fn erase_wrapped(&self, seq: u64, now: Timestamp) -> Result<bool, StoreError> {
        let request = self
            .update(seq)
            .update_expression("SET erased_at = :now REMOVE #wrapped")
            .expression_attribute_values(":now", moment(now))
            .condition_expression("attribute_exists(#wrapped)")
            .expression_attribute_names("#wrapped", "wrapped");
        was_applied("erase signing key", request.send().await)
    }

    pub(crate) async fn delete(&self, seq: u64) -> Result<(), StoreError> {
        let request = self.db.delete_item().table_name(&self.name).set_key(Some(key_of(seq)));
        request.send().await.map_err(|error| StoreError::from_sdk("delete signing key", error))?;
        Ok(())
    }

    fn update(&self, seq: u64) -> UpdateItemFluentBuilder {
        self.db.update_item().table_name(&self.name).set_key(Some(key_of(seq)))
    }
}

fn key_of(seq: u64) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("ring".into(), AttributeValue::S(RING.into())),
        ("seq".into(), AttributeValue::N(seq.to_string())),
    ])
}

fn moment(at: Timestamp) -> AttributeValue {
    AttributeValue::N(at.millis().to_string())
}

fn read(item: &HashMap<String, AttributeValue>) -> Result<RingKey, &'static str> {
    let text = |name: &str| -> Option<&str> { Some(item.get(name)?.as_s().ok()?.as_str()) };
    // The bound that the configuration sets too; what lies beyond would overflow sums, or never come.
    let bounded =
        |name: &str, unit: u64| number(item, name).filter(|value| *value <= u64::from(u32::MAX) * unit);
    let moment = |name: &str| bounded(name, 1000).map(Timestamp::from_millis);
    let seconds = |name: &str| bounded(name, 1);
    let if_there = |name: &'static str| match item.get(name) {
        None => Ok(None),
        Some(_) => moment(name).map(Some).ok_or("withdrawn_at or erased_at is no number"),
    };
    let jwk = text("jwk").ok_or("no string jwk")?;
    let jwk: Jwk = serde_json::from_str(jwk).map_err(|_| "jwk is not a public P-256 signing key")?;
    if text("kid") != Some(jwk.kid()) || jwk.kid() != jwk.thumbprint() {
        return Err("kid is not the thumbprint of jwk");
    }
    Ok(RingKey {
        seq: number(item, "seq").ok_or("no number seq")?,
        jwk,
        announced_at: moment("announced_at").ok_or("announced_at is no moment")?,
        known_at: moment("known_at").ok_or("known_at is no moment")?,
        activates_at: moment("activates_at").ok_or("activates_at is no moment")?,
        max_lifetimes: Lifetimes {
            access: seconds("longest_access").ok_or("longest_access is no number of seconds")?,
            refresh: seconds("longest_refresh").ok_or("longest_refresh is no number of seconds")?,
        },
        withdrawn_at: if_there("withdrawn_at")?,
        erased_at: if_there("erased_at")?,
    })
}

//! The `signing-keys` table: partition `ring`, sort key `seq`.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use countersign_verify::{Jwk, Timestamp};

use crate::keys::envelope::EncryptionContext;
use crate::keys::{Ring, RingKey, RotationSchedule};
use crate::records::Lifetimes;
use crate::store::table::{SIGNING_KEYS, StoreError, number, was_applied};

/// The only partition: a deployment has one ring.
const RING: &str = "issuer";

/// The attributes that a function which only publishes may read.
const PUBLIC_ATTRIBUTES: &str = "#ring, #seq, kid, jwk, announced_at, known_at, activates_at, longest_access, longest_refresh, \
     withdrawn_at, erased_at";

/// The attribute of the encrypted private half.
const ENCRYPTED_PRIVATE_KEY: &str = "wrapped";

/// The attribute of the ARN of the KMS key that encrypted it. The two are removed together.
const KMS_KEY: &str = "kms_key";

/// The contents of the table.
#[derive(Debug, Default)]
pub(crate) struct TableContents {
    /// The keys whose items can be parsed.
    pub(crate) keys: Vec<RingKey>,
    /// The highest number in use, also by items that cannot be parsed.
    pub(crate) last_seq: u64,
}

/// Reads and writes the items of the ring.
#[derive(Debug, Clone)]
pub struct KeyTable {
    db: Client,
    name: String,
}

impl KeyTable {
    /// The table whose name starts with `prefix`.
    pub fn new(db: Client, prefix: &str) -> Self {
        Self { db, name: format!("{prefix}{SIGNING_KEYS}") }
    }

    pub(crate) fn encryption_context(&self, seq: u64) -> EncryptionContext {
        EncryptionContext { table: self.name.clone(), seq }
    }

    /// Reads the public half of every key. It requests only the public attributes, so that a
    /// function which may read no others can read the ring. Items that are not keys are logged,
    /// skipped and left unchanged.
    pub(crate) async fn read(&self) -> Result<TableContents, StoreError> {
        let mut pages = self
            .query(PUBLIC_ATTRIBUTES)
            .expression_attribute_names("#seq", "seq")
            .into_paginator()
            .items()
            .send();
        let mut contents = TableContents::default();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| StoreError::from_sdk("query signing keys", error))?;
            let seq = number(&item, "seq").unwrap_or(0);
            contents.last_seq = contents.last_seq.max(seq);
            let key = read(&item).and_then(|key| {
                let is_copy = contents.keys.iter().any(|known| known.jwk == key.jwk);
                if is_copy { Err("the same key is stored under another number") } else { Ok(key) }
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

    /// Reads the ring.
    pub async fn ring(&self, schedule: &RotationSchedule) -> Result<Ring, StoreError> {
        Ok(Ring::new(self.read().await?.keys, schedule))
    }

    /// Reads which KMS keys encrypt the private halves, by their ARNs.
    pub async fn kms_keys(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut pages = self.query(KMS_KEY).into_paginator().items().send();
        let mut found = BTreeSet::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| StoreError::from_sdk("query the KMS keys", error))?;
            found.extend(item.get(KMS_KEY).and_then(|arn| arn.as_s().ok()).cloned());
        }
        Ok(found)
    }

    /// A query for these attributes of every key.
    fn query(&self, attributes: &str) -> QueryFluentBuilder {
        self.db
            .query()
            .table_name(&self.name)
            // The lead starts with the announcement, so a copy must not be older than its time of
            // reading.
            .consistent_read(true)
            .key_condition_expression("#ring = :ring")
            .select(Select::SpecificAttributes)
            .projection_expression(attributes)
            .expression_attribute_names("#ring", "ring")
            .expression_attribute_values(":ring", AttributeValue::S(RING.into()))
    }

    /// Reads the encrypted private half of a key. Returns none once it has been erased.
    pub(crate) async fn encrypted_private_key(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let request =
            self.db.get_item().table_name(&self.name).set_key(Some(key_of(seq))).consistent_read(true);
        let answer = request.send().await.map_err(|error| StoreError::from_sdk("get signing key", error))?;
        match answer.item.and_then(|mut item| item.remove(ENCRYPTED_PRIVATE_KEY)) {
            Some(AttributeValue::B(bytes)) => Ok(Some(bytes.into_inner())),
            _ => Ok(None),
        }
    }

    /// Adds a key, on condition that its number is free. Returns false if it was not.
    pub(crate) async fn put(
        &self,
        key: &RingKey,
        encrypted_private_key: Vec<u8>,
        kms_key: Option<String>,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "put signing key";
        let jwk = serde_json::to_string(&key.jwk)
            .map_err(|error| StoreError::Corrupt { operation: OPERATION, detail: error.to_string() })?;
        let mut request = self
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
            .item(ENCRYPTED_PRIVATE_KEY, AttributeValue::B(Blob::new(encrypted_private_key)))
            .condition_expression("attribute_not_exists(#ring)")
            .expression_attribute_names("#ring", "ring");
        if let Some(arn) = kms_key {
            request = request.item(KMS_KEY, AttributeValue::S(arn));
        }
        was_applied(OPERATION, request.send().await)
    }

    /// Makes an announced key sign from `now` on. Returns false if it already signs or was
    /// withdrawn.
    pub(crate) async fn activate(&self, seq: u64, now: Timestamp) -> Result<bool, StoreError> {
        let request = self
            .update(seq)
            .update_expression("SET activates_at = :now")
            .condition_expression("activates_at > :now AND attribute_not_exists(withdrawn_at)")
            .expression_attribute_values(":now", moment(now));
        was_applied("activate signing key", request.send().await)
    }

    /// Marks a key as compromised and erases its private half. Returns false if it is already
    /// marked.
    pub(crate) async fn withdraw(&self, seq: u64, now: Timestamp) -> Result<bool, StoreError> {
        let request = self
            .update(seq)
            .update_expression("SET withdrawn_at = :now, erased_at = :now REMOVE #private, #kms_key")
            .condition_expression("attribute_exists(kid) AND attribute_not_exists(withdrawn_at)")
            .expression_attribute_names("#private", ENCRYPTED_PRIVATE_KEY)
            .expression_attribute_names("#kms_key", KMS_KEY)
            .expression_attribute_values(":now", moment(now));
        was_applied("withdraw signing key", request.send().await)
    }

    /// Erases the private half of a key that will not sign again. Returns false if it is already
    /// erased.
    pub(crate) async fn erase_private_key(&self, seq: u64, now: Timestamp) -> Result<bool, StoreError> {
        let request = self
            .update(seq)
            .update_expression("SET erased_at = :now REMOVE #private, #kms_key")
            .expression_attribute_values(":now", moment(now))
            .condition_expression("attribute_exists(#private)")
            .expression_attribute_names("#private", ENCRYPTED_PRIVATE_KEY)
            .expression_attribute_names("#kms_key", KMS_KEY);
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

/// Parses the public attributes of an item.
fn read(item: &HashMap<String, AttributeValue>) -> Result<RingKey, &'static str> {
    let text = |name: &str| -> Option<&str> { Some(item.get(name)?.as_s().ok()?.as_str()) };
    // The configuration has the same bound. A larger value would overflow sums, or be a time that
    // never comes.
    let bounded =
        |name: &str, unit: u64| number(item, name).filter(|value| *value <= u64::from(u32::MAX) * unit);
    let moment = |name: &str| bounded(name, 1000).map(Timestamp::from_millis);
    let seconds = |name: &str| bounded(name, 1);
    let optional = |name: &'static str| match item.get(name) {
        None => Ok(None),
        Some(_) => moment(name).map(Some).ok_or("withdrawn_at or erased_at is not a number"),
    };
    let jwk = text("jwk").ok_or("jwk is not a string")?;
    let jwk: Jwk = serde_json::from_str(jwk).map_err(|_| "jwk is not a public P-256 signing key")?;
    if text("kid") != Some(jwk.kid()) || jwk.kid() != jwk.thumbprint() {
        return Err("kid is not the thumbprint of jwk");
    }
    Ok(RingKey {
        seq: number(item, "seq").ok_or("seq is not a number")?,
        jwk,
        announced_at: moment("announced_at").ok_or("announced_at is not a time")?,
        known_at: moment("known_at").ok_or("known_at is not a time")?,
        activates_at: moment("activates_at").ok_or("activates_at is not a time")?,
        max_lifetimes: Lifetimes {
            access: seconds("longest_access").ok_or("longest_access is not a number of seconds")?,
            refresh: seconds("longest_refresh").ok_or("longest_refresh is not a number of seconds")?,
        },
        withdrawn_at: optional("withdrawn_at")?,
        erased_at: optional("erased_at")?,
    })
}

//! The `signing-keys` table: partition `ring`, sort key `seq`.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use countersign_verify::{Jwk, Timestamp};

use crate::keys::RingKey;
use crate::keys::wrapper::EncryptionContext;
use crate::store::{SIGNING_KEYS, StoreError};

/// The one partition: a deployment has one ring.
const RING: &str = "issuer";

/// Reads and writes the items of the ring.
#[derive(Debug, Clone)]
pub struct KeyTable {
    db: Client,
    name: String,
}

impl KeyTable {
    /// The table below `prefix`.
    pub fn new(db: Client, prefix: &str) -> Self {
        Self {
            db,
            name: format!("{prefix}{SIGNING_KEYS}"),
        }
    }

    pub(crate) fn encryption_context(&self, seq: u64) -> EncryptionContext {
        EncryptionContext {
            table: self.name.clone(),
            seq,
        }
    }

    /// The public half of every key, in the order of `seq`. Asks for the public attributes and no others, so that
    /// a function whose permissions end there can read the ring. Items that are no keys are logged and passed over.
    pub(crate) async fn public_keys(&self) -> Result<Vec<RingKey>, StoreError> {
        let mut pages = self
            .db
            .query()
            .table_name(&self.name)
            .key_condition_expression("#ring = :ring")
            .select(Select::SpecificAttributes)
            .projection_expression("#ring, #seq, kid, jwk, activates_at")
            .expression_attribute_names("#ring", "ring")
            .expression_attribute_names("#seq", "seq")
            .expression_attribute_values(":ring", AttributeValue::S(RING.into()))
            .into_paginator()
            .items()
            .send();
        let mut keys = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| StoreError::from_sdk("query signing keys", error))?;
            match read(&item) {
                Ok(key) => keys.push(key),
                Err(reason) => {
                    tracing::error!(seq = ?item.get("seq"), reason, "a signing key's item cannot be used; repair or delete it");
                }
            }
        }
        Ok(keys)
    }

    /// The wrapped private half of a key; none once it has been erased.
    pub(crate) async fn wrapped(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let request = self
            .db
            .get_item()
            .table_name(&self.name)
            .key("ring", AttributeValue::S(RING.into()))
            .key("seq", AttributeValue::N(seq.to_string()));
        let answer = request
            .send()
            .await
            .map_err(|error| StoreError::from_sdk("get signing key", error))?;
        let wrapped = answer.item.and_then(|mut item| item.remove("wrapped"));
        Ok(match wrapped {
            Some(AttributeValue::B(bytes)) => Some(bytes.into_inner()),
            _ => None,
        })
    }

    /// Adds a key, on condition that its `seq` is free. Where it is not, another run was faster and nothing is done.
    pub(crate) async fn put(&self, key: &RingKey, wrapped: Vec<u8>) -> Result<(), StoreError> {
        let jwk = serde_json::to_string(&key.jwk).unwrap_or_default();
        let request = self
            .db
            .put_item()
            .table_name(&self.name)
            .item("ring", AttributeValue::S(RING.into()))
            .item("seq", AttributeValue::N(key.seq.to_string()))
            .item("kid", AttributeValue::S(key.jwk.kid().into()))
            .item("jwk", AttributeValue::S(jwk))
            .item(
                "activates_at",
                AttributeValue::N(key.activates_at.millis().to_string()),
            )
            .item("wrapped", AttributeValue::B(Blob::new(wrapped)))
            .condition_expression("attribute_not_exists(#ring)")
            .expression_attribute_names("#ring", "ring");
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(PutItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(StoreError::from_sdk("put signing key", error)),
        }
    }
}

fn read(item: &HashMap<String, AttributeValue>) -> Result<RingKey, &'static str> {
    let number = |name: &str| -> Option<u64> { item.get(name)?.as_n().ok()?.parse().ok() };
    let text = |name: &str| -> Option<&str> { Some(item.get(name)?.as_s().ok()?.as_str()) };
    let seq = number("seq").ok_or("no number seq")?;
    let activates_at = number("activates_at").ok_or("no number activates_at")?;
    let jwk = text("jwk").ok_or("no string jwk")?;
    let jwk: Jwk = serde_json::from_str(jwk).map_err(|_| "jwk is not a public P-256 signing key")?;
    if text("kid") != Some(jwk.kid()) || jwk.kid() != jwk.thumbprint() {
        return Err("kid is not the thumbprint of jwk");
    }
    Ok(RingKey {
        seq,
        jwk,
        activates_at: Timestamp::from_millis(activates_at),
    })
}

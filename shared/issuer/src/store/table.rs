//! DynamoDB: the tables and the operations that every administered record shares.

use std::collections::HashMap;
use std::marker::PhantomData;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Serialize, de::DeserializeOwned};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::store::aws;

/// A table: its name without the prefix, its key, and the attribute that expires its items.
#[derive(Debug)]
pub struct TableShape {
    /// Without the prefix.
    pub name: &'static str,
    partition_key: &'static str,
    /// A number.
    sort_key: Option<&'static str>,
    /// What expires its items: seconds since 1970.
    pub ttl: Option<&'static str>,
}

impl TableShape {
    /// The attributes of its key, the partition's first.
    pub fn keys(&self) -> Vec<&'static str> {
        [Some(self.partition_key), self.sort_key].into_iter().flatten().collect()
    }
}

/// Every table of an issuer.
pub fn table_shapes() -> &'static [TableShape] {
    &TABLES
}

pub(crate) const CLIENTS: &str = "clients";
pub(crate) const PRINCIPALS: &str = "principals";
pub(crate) const SIGNING_KEYS: &str = "signing-keys";
pub(crate) const REFRESH_FAMILIES: &str = "refresh-families";
pub(crate) const ATTEMPTS: &str = "attempts";

const TABLES: [TableShape; 5] = [
    TableShape { name: CLIENTS, partition_key: "client_id", sort_key: None, ttl: None },
    TableShape { name: PRINCIPALS, partition_key: "principal", sort_key: None, ttl: None },
    // Keys never expire by themselves: one that vanished early would take its tokens with it.
    TableShape { name: SIGNING_KEYS, partition_key: "ring", sort_key: Some("seq"), ttl: None },
    TableShape { name: REFRESH_FAMILIES, partition_key: "family", sort_key: None, ttl: Some("expires") },
    TableShape { name: ATTEMPTS, partition_key: "attempt", sort_key: None, ttl: Some("expires") },
];

/// Why the store gave no answer. The detail is for the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB is out of reach, slow, or throttles: worth trying again.
    #[error("{operation}: DynamoDB is out of reach: {detail}")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// The SDK's words.
        detail: String,
    },
    /// DynamoDB refused: a missing table, a missing permission, or a defect of ours.
    #[error("{operation}: DynamoDB refused: {detail}")]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// The SDK's words.
        detail: String,
    },
    /// An item does not read as what it should be.
    #[error("{operation}: the item cannot be read: {detail}")]
    Corrupt {
        /// What was tried.
        operation: &'static str,
        /// The parser's words.
        detail: String,
    },
}

impl StoreError {
    #[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
    pub(crate) fn from_sdk<E>(operation: &'static str, error: SdkError<E>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let answered = error.as_service_error().map(|service| {
            let passing = matches!(
                service.code(),
                Some(
                    "ProvisionedThroughputExceededException"
                        | "RequestLimitExceeded"
                        | "ThrottlingException"
                        | "TransactionConflictException"
                        | "InternalServerError"
                        | "ServiceUnavailable"
                )
            );
            passing || error.raw_response().is_some_and(|raw| raw.status().is_server_error())
        });
        let detail = aws::describe(&error);
        match answered {
            Some(false) => Self::Refused { operation, detail },
            Some(true) | None => Self::Unavailable { operation, detail },
        }
    }
}

/// A record that an administrator writes: a client or a principal.
pub trait Record: Serialize + DeserializeOwned {
    /// Its table's name without the prefix.
    const TABLE: &'static str;
    /// The name of its key attribute.
    const KEY: &'static str;
    /// The value of its key.
    fn key(&self) -> String;
    /// The optimistic lock: 1 when created, one more with every save.
    fn version(&mut self) -> &mut u64;
}

/// The table of one kind of record.
#[derive(Debug, Clone)]
pub struct Table<R> {
    db: Client,
    name: String,
    record: PhantomData<fn() -> R>,
}

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A record of that name exists.
    #[error("it exists already")]
    Exists,
    /// The record changed, or went, since it was read.
    #[error("it was changed by somebody else in the meantime; look at it again and repeat the command")]
    Changed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<R: Record> Table<R> {
    /// The table below `prefix`.
    pub fn new(db: Client, prefix: &str) -> Self {
        Self { db, name: format!("{prefix}{}", R::TABLE), record: PhantomData }
    }

    /// The record of that key. Eventually consistent, which costs half: a record may be a second old.
    pub async fn get(&self, key: &str) -> Result<Option<R>, StoreError> {
        const OPERATION: &str = "get item";
        let request = self.db.get_item().table_name(&self.name).key(R::KEY, AttributeValue::S(key.into()));
        let answer = request.send().await.map_err(|error| StoreError::from_sdk(OPERATION, error))?;
        answer.item.map(|item| self.read(item)).transpose()
    }

    /// Every record, in no order; one that cannot be read hides no other.
    pub async fn list(&self) -> Result<Vec<Result<R, StoreError>>, StoreError> {
        let mut pages = self.db.scan().table_name(&self.name).into_paginator().items().send();
        let mut records = Vec::new();
        while let Some(item) = pages.next().await {
            records.push(self.read(item.map_err(|error| StoreError::from_sdk("scan", error))?));
        }
        Ok(records)
    }

    fn read(&self, item: HashMap<String, AttributeValue>) -> Result<R, StoreError> {
        let key = item.get(R::KEY).and_then(|key| key.as_s().ok()).cloned().unwrap_or_default();
        from_item(item).map_err(|error| StoreError::Corrupt {
            operation: "read record",
            detail: format!("{key:?} in {}: {error}", self.name),
        })
    }

    fn write(record: &R) -> Result<HashMap<String, AttributeValue>, StoreError> {
        to_item(record)
            .map_err(|error| StoreError::Corrupt { operation: "write record", detail: error.to_string() })
    }

    /// Writes a record that must not exist yet.
    pub async fn create(&self, record: &R) -> Result<(), WriteError> {
        let item = Self::write(record)?;
        let request = self
            .db
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", R::KEY);
        if was_applied("put item", request.send().await)? { Ok(()) } else { Err(WriteError::Exists) }
    }

    /// Writes a record that was read before, on condition that nobody has written it since; its version goes up.
    pub async fn save(&self, record: &mut R) -> Result<(), WriteError> {
        let read_version = *record.version();
        *record.version() += 1;
        let item = Self::write(record)?;
        let request = self
            .db
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression("#version = :read")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":read", AttributeValue::N(read_version.to_string()));
        if was_applied("put item", request.send().await)? { Ok(()) } else { Err(WriteError::Changed) }
    }

    /// Deletes the record of that key; says whether there was one.
    pub async fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let request = self
            .db
            .delete_item()
            .table_name(&self.name)
            .key(R::KEY, AttributeValue::S(key.into()))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld);
        let answer = request.send().await.map_err(|error| StoreError::from_sdk("delete item", error))?;
        Ok(answer.attributes.is_some())
    }
}

/// Whether a conditional write was applied: a refused condition means that somebody else was there before.
pub(crate) fn was_applied<T, E>(
    operation: &'static str,
    answer: Result<T, SdkError<E>>,
) -> Result<bool, StoreError>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(error) => Err(StoreError::from_sdk(operation, error)),
    }
}

/// An attribute that is a whole number.
pub(crate) fn number(item: &HashMap<String, AttributeValue>, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// A whole number, as an attribute.
pub(crate) fn numeric(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

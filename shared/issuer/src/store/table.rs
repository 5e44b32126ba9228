//! DynamoDB: the tables and the operations that every administered record shares.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Serialize, de::DeserializeOwned};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::store::aws;
use crate::store::circuit_breaker::CallError;

/// A table: its name without the prefix, its key, the attribute that expires its items, and its
/// index.
#[derive(Debug)]
pub struct TableShape {
    /// Without the prefix.
    pub name: &'static str,
    partition_key: &'static str,
    /// Always a number.
    sort_key: Option<&'static str>,
    /// The attribute that expires its items, in seconds since 1970.
    pub ttl: Option<&'static str>,
    /// Its global secondary index.
    pub index: Option<IndexShape>,
}

/// A global secondary index: its name, its key, which is a string, and the attributes that it holds
/// beside the keys.
#[derive(Debug, Clone, Copy)]
pub struct IndexShape {
    /// The name.
    pub name: &'static str,
    /// The partition key.
    pub key: &'static str,
    /// The attributes beside the keys of table and index.
    pub included: &'static str,
}

impl TableShape {
    /// The names of the key attributes, the partition key first.
    pub fn keys(&self) -> Vec<&'static str> {
        [Some(self.partition_key), self.sort_key].into_iter().flatten().collect()
    }
}

/// All tables of an issuer.
pub fn table_shapes() -> &'static [TableShape] {
    &TABLES
}

pub(crate) const CLIENTS: &str = "clients";
pub(crate) const PRINCIPALS: &str = "principals";
pub(crate) const SIGNING_KEYS: &str = "signing-keys";
pub(crate) const REFRESH_FAMILIES: &str = "refresh-families";
pub(crate) const ATTEMPTS: &str = "attempts";

const TABLES: [TableShape; 5] = [
    TableShape { partition_key: "client_id", ..table(CLIENTS) },
    TableShape { partition_key: "principal", index: Some(PRINCIPALS_BY_ID), ..table(PRINCIPALS) },
    // Keys never expire by themselves: if one vanished early, its tokens would become invalid.
    TableShape { partition_key: "ring", sort_key: Some("seq"), ..table(SIGNING_KEYS) },
    TableShape { partition_key: "family", ttl: Some("expires"), ..table(REFRESH_FAMILIES) },
    TableShape { partition_key: "attempt", ttl: Some("expires"), ..table(ATTEMPTS) },
];

const fn table(name: &'static str) -> TableShape {
    TableShape { name, partition_key: "", sort_key: None, ttl: None, index: None }
}

/// Finds a principal by the `sub` of its tokens, which is all that a user's access token says.
pub(crate) const PRINCIPALS_BY_ID: IndexShape = IndexShape { name: "by-id", key: "id", included: "enabled" };

/// An error of the store. The detail is for the log.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB is unreachable, slow or throttling. A retry may succeed.
    #[error("{operation}: DynamoDB is out of reach: {detail}")]
    Unavailable {
        /// The operation that failed.
        operation: &'static str,
        /// The SDK's error.
        detail: String,
    },
    /// DynamoDB knows no table of that name.
    #[error("{operation}: DynamoDB refused: {detail}")]
    MissingTable {
        /// The operation that failed.
        operation: &'static str,
        /// The SDK's error.
        detail: String,
    },
    /// DynamoDB refused the operation: a missing permission, or a defect of ours.
    #[error("{operation}: DynamoDB refused: {detail}")]
    Refused {
        /// The operation that failed.
        operation: &'static str,
        /// The SDK's error.
        detail: String,
    },
    /// An item cannot be parsed.
    #[error("{operation}: the item cannot be read: {detail}")]
    Corrupt {
        /// The operation that failed.
        operation: &'static str,
        /// The parser's error.
        detail: String,
    },
}

impl StoreError {
    /// Returns true when DynamoDB was unreachable, slow or throttling.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Classifies an error of the SDK. Without a response from the service it counts as an outage.
    #[expect(clippy::needless_pass_by_value, reason = "the signature that map_err needs")]
    pub(crate) fn from_sdk<E>(operation: &'static str, error: SdkError<E>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let is_outage = error.as_service_error().is_none_or(|service| {
            let is_transient = matches!(
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
            is_transient || error.raw_response().is_some_and(|raw| raw.status().is_server_error())
        });
        let detail = aws::describe(&error);
        if is_outage {
            Self::Unavailable { operation, detail }
        } else if error.code() == Some("ResourceNotFoundException") {
            Self::MissingTable { operation, detail }
        } else {
            Self::Refused { operation, detail }
        }
    }
}

impl CallError for StoreError {
    fn timed_out(timeout: Duration) -> Self {
        Self::Unavailable { operation: "read", detail: format!("no answer within {timeout:?}") }
    }

    fn is_outage(&self) -> bool {
        self.is_outage()
    }
}

/// A record that an administrator writes: a client or a principal.
pub trait Record: Serialize + DeserializeOwned {
    /// The name of its table, without the prefix.
    const TABLE: &'static str;
    /// The name of its key attribute.
    const KEY: &'static str;
    /// The value of its key.
    fn key(&self) -> String;
    /// The version for optimistic locking: 1 when created, incremented by every save.
    fn version(&mut self) -> &mut u64;
}

/// The table of one kind of record.
#[derive(Debug, Clone)]
pub struct Table<R> {
    db: Client,
    name: String,
    record: PhantomData<fn() -> R>,
}

/// An error of a write.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A record with that key exists.
    #[error("it exists already")]
    Exists,
    /// The record was changed or deleted since it was read.
    #[error("it was changed in the meantime; look at it again and repeat the command")]
    Changed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<R: Record> Table<R> {
    /// The table of `R` whose name starts with `prefix`.
    pub fn new(db: Client, prefix: &str) -> Self {
        Self { db, name: format!("{prefix}{}", R::TABLE), record: PhantomData }
    }

    /// Returns the record under `key`. An eventually consistent read costs half; the record may be
    /// a second old.
    pub async fn get(&self, key: &str) -> Result<Option<R>, StoreError> {
        const OPERATION: &str = "get item";
        let answer = self.get_item(key).send().await;
        let answer = answer.map_err(|error| StoreError::from_sdk(OPERATION, error))?;
        answer.item.map(|item| self.read(item)).transpose()
    }

    /// Returns the items of the table's index whose index key is `value`, with the attributes that
    /// the index holds. The index follows the table within a second.
    pub(crate) async fn find_in_index(
        &self,
        index: IndexShape,
        value: &str,
    ) -> Result<Vec<HashMap<String, AttributeValue>>, StoreError> {
        let request = self
            .db
            .query()
            .table_name(&self.name)
            .index_name(index.name)
            .key_condition_expression("#key = :value")
            .expression_attribute_names("#key", index.key)
            .expression_attribute_values(":value", AttributeValue::S(value.into()));
        let answer = request.send().await.map_err(|error| StoreError::from_sdk("query index", error))?;
        Ok(answer.items.unwrap_or_default())
    }

    /// Returns all records in no particular order. One that cannot be parsed does not hide the
    /// others.
    pub async fn list(&self) -> Result<Vec<Result<R, StoreError>>, StoreError> {
        let mut pages = self.db.scan().table_name(&self.name).into_paginator().items().send();
        let mut records = Vec::new();
        while let Some(item) = pages.next().await {
            records.push(self.read(item.map_err(|error| StoreError::from_sdk("scan", error))?));
        }
        Ok(records)
    }

    /// Returns some of the records that can be read, at most `count`: for a hint, which may miss
    /// one. A table may have millions.
    pub async fn list_some(&self, count: usize) -> Result<Vec<R>, StoreError> {
        let mut pages = self.db.scan().table_name(&self.name).into_paginator().items().send();
        let mut records = Vec::new();
        while records.len() < count
            && let Some(item) = pages.next().await
        {
            let item = item.map_err(|error| StoreError::from_sdk("scan", error))?;
            records.extend(self.read(item).ok());
        }
        Ok(records)
    }

    /// Returns one text attribute of every item that has it, with the item's key. Unlike
    /// [`list`](Self::list) it keeps nothing else of an item in memory.
    pub async fn list_attribute(&self, name: &str) -> Result<Vec<(String, String)>, StoreError> {
        let request = self.db.scan().table_name(&self.name).projection_expression("#key, #attribute");
        let request = request.expression_attribute_names("#key", R::KEY);
        let request = request.expression_attribute_names("#attribute", name);
        let mut pages = request.into_paginator().items().send();
        let mut values = Vec::new();
        while let Some(item) = pages.next().await {
            let mut item = item.map_err(|error| StoreError::from_sdk("scan", error))?;
            let texts = (item.remove(R::KEY), item.remove(name));
            if let (Some(AttributeValue::S(key)), Some(AttributeValue::S(value))) = texts {
                values.push((key, value));
            }
        }
        Ok(values)
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

    /// Creates a record, on condition that no record with its key exists.
    pub async fn create(&self, record: &R) -> Result<(), WriteError> {
        let request = self.db.put_item().condition_expression("attribute_not_exists(#key)");
        let request = request.expression_attribute_names("#key", R::KEY);
        if self.put(record, request).await? { Ok(()) } else { Err(WriteError::Exists) }
    }

    /// Writes a record that was read before, on condition that it has not been written since.
    /// Increments its version.
    pub async fn save(&self, record: &mut R) -> Result<(), WriteError> {
        let read_version = AttributeValue::N(record.version().to_string());
        *record.version() += 1;
        let request = self.db.put_item().condition_expression("#version = :read");
        let request = request
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":read", read_version);
        if self.put(record, request).await? { Ok(()) } else { Err(WriteError::Changed) }
    }

    /// Writes a record under the condition of `request`. Returns false if the condition failed and
    /// another record is stored: the SDK repeats a write whose answer was lost, and the condition
    /// of the repeated write fails because of the first one.
    async fn put(&self, record: &R, request: PutItemFluentBuilder) -> Result<bool, StoreError> {
        let item = Self::write(record)?;
        let request = request.table_name(&self.name).set_item(Some(item.clone()));
        if was_applied("put item", request.send().await)? {
            return Ok(true);
        }
        let stored = self.get_item(&record.key()).consistent_read(true).send().await;
        let stored = stored.map_err(|error| StoreError::from_sdk("get item", error))?.item;
        Ok(stored == Some(item))
    }

    fn get_item(&self, key: &str) -> GetItemFluentBuilder {
        self.db.get_item().table_name(&self.name).key(R::KEY, AttributeValue::S(key.into()))
    }

    /// Deletes the record under `key`. Returns false if there was none. It looks before it deletes:
    /// the SDK repeats a delete whose answer was lost, and the repeated one finds nothing.
    pub async fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let request = self.get_item(key).consistent_read(true);
        let request = request.projection_expression("#key").expression_attribute_names("#key", R::KEY);
        let found = request.send().await.map_err(|error| StoreError::from_sdk("get item", error))?;
        if found.item.is_none() {
            return Ok(false);
        }
        let request = self.db.delete_item().table_name(&self.name).key(R::KEY, AttributeValue::S(key.into()));
        request.send().await.map_err(|error| StoreError::from_sdk("delete item", error))?;
        Ok(true)
    }
}

/// Returns true if a conditional write was applied, and false if its condition failed because
/// another writer was first.
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

/// Reads an attribute that is a whole number.
pub(crate) fn number(item: &HashMap<String, AttributeValue>, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// Makes a whole number an attribute.
pub(crate) fn numeric(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

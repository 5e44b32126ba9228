//! DynamoDB: the SDK's clients, the tables, the record cache and the circuit breaker.

pub(crate) mod aws;
pub(crate) mod cache;
pub(crate) mod circuit_breaker;
mod https;
pub(crate) mod table;

pub use aws::{AwsConfig, dynamodb};
pub use cache::{FRESHNESS, FRESHNESS_BEFORE_REFUSING};
pub use https::HttpsClient;
pub use table::{IndexShape, Record, StoreError, Table, TableShape, WriteError, table_shapes};

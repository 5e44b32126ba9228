//! Creates the tables of an issuer, in the embedded DynamoDB or in AWS's DynamoDB Local. On AWS the
//! template does it.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
    TimeToLiveSpecification,
};
use countersign_issuer::store::{TableShape, table_shapes};

use super::DevError;

/// Creates the tables that do not exist yet, switches on their expiry, and waits until all can be
/// used.
pub async fn create_tables(db: &Client, prefix: &str) -> Result<(), DevError> {
    for shape in table_shapes() {
        create_table(db, prefix, shape).await?;
    }
    for shape in table_shapes() {
        let table = format!("{prefix}{}", shape.name);
        await_active(db, &table).await?;
        if let Some(ttl) = shape.ttl {
            expire_by(db, &table, ttl).await?;
        }
    }
    Ok(())
}

async fn create_table(db: &Client, prefix: &str, shape: &TableShape) -> Result<(), DevError> {
    // The partition key is a string, the sort key a number.
    const KEY: [(KeyType, ScalarAttributeType); 2] =
        [(KeyType::Hash, ScalarAttributeType::S), (KeyType::Range, ScalarAttributeType::N)];
    let mut request = db
        .create_table()
        .table_name(format!("{prefix}{}", shape.name))
        .billing_mode(BillingMode::PayPerRequest);
    for (name, (role, kind)) in shape.keys().into_iter().zip(KEY) {
        let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
        let element = KeySchemaElement::builder().attribute_name(name).key_type(role).build();
        request = request
            .attribute_definitions(definition.map_err(DevError::setup)?)
            .key_schema(element.map_err(DevError::setup)?);
    }
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) =>
        {
            Ok(())
        }
        Err(error) => Err(failed("create table", error)),
    }
}

async fn await_active(db: &Client, table: &str) -> Result<(), DevError> {
    // DynamoDB takes some seconds. A table that is not active after a minute never will be.
    for _ in 0..600 {
        let answer = db.describe_table().table_name(table).send().await;
        let answer = answer.map_err(|error| failed("describe table", error))?;
        if answer.table().and_then(|table| table.table_status()) == Some(&TableStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(DevError::setup(format!("{table} did not become active")))
}

async fn expire_by(db: &Client, table: &str, attribute: &str) -> Result<(), DevError> {
    let specification = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build();
    let request = db
        .update_time_to_live()
        .table_name(table)
        .time_to_live_specification(specification.map_err(DevError::setup)?);
    match request.send().await {
        Ok(_) => Ok(()),
        // "TimeToLive is already enabled": the table existed before.
        Err(error) if error.code() == Some("ValidationException") => Ok(()),
        Err(error) => Err(failed("update time to live", error)),
    }
}

fn failed(operation: &str, error: impl std::error::Error + Send + Sync + 'static) -> DevError {
    DevError::setup(format!("{operation}: {}", DisplayErrorContext(error)))
}

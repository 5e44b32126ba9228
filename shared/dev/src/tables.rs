//! Creates the tables of an issuer, in the embedded DynamoDB or in AWS's DynamoDB Local. On AWS the
//! template does it.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
    GlobalSecondaryIndexUpdate, KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType,
    TableDescription, TableStatus, TimeToLiveSpecification,
};
use countersign_issuer::store::{IndexShape, TableShape, table_shapes};

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
        request = request.attribute_definitions(definition(name, kind)?).key_schema(element(name, role)?);
    }
    if let Some(index) = shape.index {
        request = request
            .attribute_definitions(definition(index.key, ScalarAttributeType::S)?)
            .global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(index.name)
                    .key_schema(element(index.key, KeyType::Hash)?)
                    .projection(projection(index))
                    .build()
                    .map_err(DevError::setup)?,
            );
    }
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception) =>
        {
            add_index(db, prefix, shape).await
        }
        Err(error) => Err(failed("create table", error)),
    }
}

/// Adds the index to a table from before there was one.
async fn add_index(db: &Client, prefix: &str, shape: &TableShape) -> Result<(), DevError> {
    let Some(index) = shape.index else { return Ok(()) };
    let table = format!("{prefix}{}", shape.name);
    let described = db.describe_table().table_name(&table).send().await;
    let described = described.map_err(|error| failed("describe table", error))?;
    let indexes = described.table().map(TableDescription::global_secondary_indexes).unwrap_or_default();
    if indexes.iter().any(|found| found.index_name() == Some(index.name)) {
        return Ok(());
    }
    let action = CreateGlobalSecondaryIndexAction::builder()
        .index_name(index.name)
        .key_schema(element(index.key, KeyType::Hash)?)
        .projection(projection(index))
        .build()
        .map_err(DevError::setup)?;
    let request = db
        .update_table()
        .table_name(table)
        .attribute_definitions(definition(index.key, ScalarAttributeType::S)?)
        .global_secondary_index_updates(GlobalSecondaryIndexUpdate::builder().create(action).build());
    request.send().await.map_err(|error| failed("add index", error))?;
    Ok(())
}

fn definition(attribute: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition, DevError> {
    let definition = AttributeDefinition::builder().attribute_name(attribute).attribute_type(kind);
    definition.build().map_err(DevError::setup)
}

fn element(attribute: &str, role: KeyType) -> Result<KeySchemaElement, DevError> {
    let element = KeySchemaElement::builder().attribute_name(attribute).key_type(role);
    element.build().map_err(DevError::setup)
}

fn projection(index: IndexShape) -> Projection {
    Projection::builder().projection_type(ProjectionType::Include).non_key_attributes(index.included).build()
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

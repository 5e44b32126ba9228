//! The tables: that they are there, have the right keys, and expire what they must.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{KeySchemaElement, TableDescription, TableStatus, TimeToLiveStatus};
use countersign_issuer::config::StoreConfig;
use countersign_issuer::store::{TableShape, table_shapes};

use super::{Finding, with_causes};

const CHECK: &str = "tables";

/// Looks at every table below the prefix.
pub(super) async fn check(db: &Client, config: &StoreConfig) -> Vec<Finding> {
    let at = config.aws.endpoint.as_ref().map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
    let place = format!("{}{at}", config.aws.region);
    let mut findings = Vec::new();
    for shape in table_shapes() {
        let name = format!("{}{}", config.table_prefix, shape.name);
        findings.extend(check_one(db, shape, &name, &place).await);
    }
    if findings.is_empty() {
        let count = table_shapes().len();
        findings.push(Finding::ok(CHECK, format!("all {count} below {} in {place}", config.table_prefix)));
    }
    findings
}

async fn check_one(db: &Client, shape: &TableShape, name: &str, place: &str) -> Vec<Finding> {
    let described = match db.describe_table().table_name(name).send().await {
        Ok(described) => described,
        Err(error) => return vec![unreachable(&error, error.code(), name, place)],
    };
    let mut findings = Vec::new();
    let Some(table) = described.table() else {
        return vec![Finding::broken(CHECK, format!("DynamoDB says nothing of {name}"), "try again")];
    };
    if table.table_status() != Some(&TableStatus::Active) {
        let status = table.table_status().map_or("unknown", TableStatus::as_str);
        findings.push(Finding::warning(
            CHECK,
            format!("{name} is {status}"),
            "wait until DynamoDB has it ACTIVE; the console says what holds it up",
        ));
    }
    if keys_of(table) != shape.keys() {
        findings.push(Finding::broken(
            CHECK,
            format!("{name} has the key {:?}, and the issuer looks for {:?}", keys_of(table), shape.keys()),
            "this is not a table of the issuer's: another --prefix is meant, or it must be made anew as template.yaml has it",
        ));
    }
    findings.extend(check_expiry(db, shape, name).await);
    findings
}

async fn check_expiry(db: &Client, shape: &TableShape, name: &str) -> Option<Finding> {
    let wanted = shape.ttl?;
    let remedy = format!(
        "aws dynamodb update-time-to-live --table-name {name} --time-to-live-specification \
         Enabled=true,AttributeName={wanted}"
    );
    let described = match db.describe_time_to_live().table_name(name).send().await {
        Ok(described) => described,
        Err(error) => {
            return Some(Finding::warning(
                CHECK,
                format!("the expiry of {name} cannot be looked at: {}", with_causes(&error)),
                "attach the stack's AdministratorPolicy to whoever runs this",
            ));
        }
    };
    let expiry = described.time_to_live_description();
    let is_on = expiry
        .and_then(|expiry| expiry.time_to_live_status())
        .is_some_and(|status| matches!(status, TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
    let attribute = expiry.and_then(|expiry| expiry.attribute_name());
    if is_on && attribute == Some(wanted) {
        return None;
    }
    let found = if is_on {
        format!("{name} expires its items by {}, not by {wanted}", attribute.unwrap_or("nothing"))
    } else {
        format!("{name} does not expire its items: it grows for ever")
    };
    Some(Finding::broken(CHECK, found, remedy))
}

fn keys_of(table: &TableDescription) -> Vec<&str> {
    table.key_schema().iter().map(KeySchemaElement::attribute_name).collect()
}

fn unreachable(error: &dyn std::error::Error, code: Option<&str>, name: &str, place: &str) -> Finding {
    match code {
        Some("ResourceNotFoundException") => Finding::broken(
            CHECK,
            format!("there is no table {name} in {place}"),
            "if the account, the region and the prefix are the right ones (--profile, --region, --prefix), deploy the \
             stack; if it was deleted, restore it from a backup or a point in time under this name",
        ),
        Some(code) => Finding::broken(
            CHECK,
            format!("{name} in {place}: {code}: {}", with_causes(error)),
            "check the credentials, and attach the stack's AdministratorPolicy to whoever runs this",
        ),
        None => Finding::broken(
            CHECK,
            format!("{name} in {place}: DynamoDB is out of reach: {}", with_causes(error)),
            "check the region, AWS_ENDPOINT_URL_DYNAMODB and the network; health.aws.amazon.com says whether it is AWS",
        ),
    }
}

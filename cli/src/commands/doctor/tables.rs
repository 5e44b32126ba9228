//! The tables: each exists, has the right key, expires its items if it must, and is protected from
//! loss.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    IndexStatus, KeySchemaElement, PointInTimeRecoveryStatus, TableDescription, TableStatus, TimeToLiveStatus,
};
use countersign_issuer::config::StoreConfig;
use countersign_issuer::store::{TableShape, table_shapes};
use countersign_verify::with_causes;

use super::finding::Finding;

const CHECK: &str = "tables";

/// Checks every table of the prefix.
pub(super) async fn check(db: &Client, config: &StoreConfig) -> Vec<Finding> {
    let at = config.aws.endpoint.as_ref().map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
    let place = format!("{}{at}", config.aws.region);
    let mut findings = Vec::new();
    for shape in table_shapes() {
        let name = format!("{}{}", config.table_prefix, shape.name);
        findings.extend(check_table(db, shape, &name, &place, config.aws.endpoint.is_none()).await);
    }
    if findings.is_empty() {
        let (count, prefix) = (table_shapes().len(), &config.table_prefix);
        findings.push(Finding::ok(CHECK, format!("all {count} with the prefix {prefix} in {place}")));
    }
    findings
}

async fn check_table(db: &Client, shape: &TableShape, name: &str, place: &str, is_aws: bool) -> Vec<Finding> {
    let described = match db.describe_table().table_name(name).send().await {
        Ok(described) => described,
        Err(error) => return vec![not_described(&error, error.code(), name, place)],
    };
    let mut findings = Vec::new();
    let Some(table) = described.table() else {
        return vec![Finding::broken(CHECK, format!("DynamoDB does not describe {name}"), "try again")];
    };
    if table.table_status() != Some(&TableStatus::Active) {
        let status = table.table_status().map_or("unknown", TableStatus::as_str);
        findings.push(Finding::warning(
            CHECK,
            format!("{name} is {status}"),
            "wait until the table is ACTIVE; DynamoDB's console shows what delays it",
        ));
    }
    if key_attributes(table) != shape.keys() {
        findings.push(Finding::broken(
            CHECK,
            format!("{name} has the key {:?}, but the issuer needs {:?}", key_attributes(table), shape.keys()),
            "this table does not belong to an issuer: choose another --prefix, or create the table again as in \
             template.yaml",
        ));
    }
    findings.extend(check_index(table, shape, name));
    findings.extend(check_expiry(db, shape, name).await);
    // A local store has neither.
    if is_aws {
        findings.extend(check_protection(db, table, name).await);
    }
    findings
}

/// Checks the two protections against the loss of a table's items.
async fn check_protection(db: &Client, table: &TableDescription, name: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if table.deletion_protection_enabled() != Some(true) {
        findings.push(Finding::warning(
            CHECK,
            format!("{name} is not protected from deletion"),
            "deploy the stack again with DeletionProtection=on",
        ));
    }
    let described = match db.describe_continuous_backups().table_name(name).send().await {
        Ok(described) => described,
        Err(error) => {
            findings.push(Finding::warning(
                CHECK,
                format!("the point-in-time recovery of {name} cannot be checked: {}", with_causes(&error)),
                "attach the stack's ReaderPolicy to the user or role that runs this",
            ));
            return findings;
        }
    };
    let recovery = described
        .continuous_backups_description()
        .and_then(|backups| backups.point_in_time_recovery_description())
        .and_then(|recovery| recovery.point_in_time_recovery_status());
    if recovery != Some(&PointInTimeRecoveryStatus::Enabled) {
        findings.push(Finding::warning(
            CHECK,
            format!("{name} has no point-in-time recovery"),
            format!(
                "aws dynamodb update-continuous-backups --table-name {name} \
                 --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
            ),
        ));
    }
    findings
}

fn check_index(table: &TableDescription, shape: &TableShape, name: &str) -> Option<Finding> {
    let wanted = shape.index?;
    let index = table.global_secondary_indexes().iter().find(|index| index.index_name() == Some(wanted.name));
    match index.and_then(|index| index.index_status()) {
        Some(IndexStatus::Active) => None,
        Some(status) => Some(Finding::warning(
            CHECK,
            format!("the index {} of {name} is {status}", wanted.name),
            "wait until the index is ACTIVE; until then /oauth/introspect answers 500 for users' tokens",
        )),
        None => Some(Finding::broken(
            CHECK,
            format!("{name} has no index {}: /oauth/introspect cannot find the user of a token", wanted.name),
            "deploy the stack again: its template makes the index",
        )),
    }
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
                format!("the expiry of {name} cannot be checked: {}", with_causes(&error)),
                "attach the stack's ReaderPolicy to the user or role that runs this",
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
        format!("{name} expires its items by {}, not by {wanted}", attribute.unwrap_or("no attribute"))
    } else {
        format!("{name} does not expire its items: it grows without a limit")
    };
    Some(Finding::broken(CHECK, found, remedy))
}

fn key_attributes(table: &TableDescription) -> Vec<&str> {
    table.key_schema().iter().map(KeySchemaElement::attribute_name).collect()
}

/// Reports a table that DynamoDB did not describe. Without a code, DynamoDB gave no answer.
fn not_described(error: &dyn std::error::Error, code: Option<&str>, name: &str, place: &str) -> Finding {
    match code {
        Some("ResourceNotFoundException") => Finding::broken(
            CHECK,
            format!("there is no table {name} in {place}"),
            "check the account, the region and the prefix (--profile, --region, --prefix), then deploy the stack; if \
             the table was deleted, restore it under this name from a backup or a point in time",
        ),
        Some(code) => Finding::broken(
            CHECK,
            format!("{name} in {place}: {code}: {}", with_causes(error)),
            "check the credentials, and attach the stack's ReaderPolicy to the user or role that runs this",
        ),
        None => Finding::broken(
            CHECK,
            format!("{name} in {place}: DynamoDB is out of reach: {}", with_causes(error)),
            "check the region, AWS_ENDPOINT_URL_DYNAMODB and the network; health.aws.amazon.com shows outages of AWS",
        ),
    }
}

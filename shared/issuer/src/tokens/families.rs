//! The `refresh-families` table: where each family stands, moved by conditional writes alone.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use countersign_verify::Timestamp;

use crate::store::table::{REFRESH_FAMILIES, StoreError, number, numeric};
use crate::tokens::refresh::RefreshClaims;

/// For this long after a refresh its answer may be asked for again: the first one may have got lost.
const GRACE: Duration = Duration::from_secs(10);

/// A record outlives the family's tokens by a day: then their own expiry has long refused them.
const KEPT_AFTER_EXPIRY_SECONDS: u64 = 24 * 60 * 60;

/// Fixed by the family's first use: no later token of it lives longer than the first.
fn kept_until(token: &RefreshClaims) -> u64 {
    token.exp.saturating_add(KEPT_AFTER_EXPIRY_SECONDS)
}

/// What came of using a refresh token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// The family moved on.
    Advanced,
    /// It had just moved on to this token's successor: the same answer again.
    Repeated,
    /// It had just moved on further: a slow retry, which gets nothing and harms nothing.
    LateRetry,
    /// The family has been revoked.
    Revoked,
    /// A used token came back: two hold it, and one of them stole it. The family is now revoked.
    Reused,
    /// There is no record where there must be one. None was created.
    Unknown,
}

/// Where a family stands.
#[derive(Debug, Clone, Copy)]
struct Standing {
    generation: u64,
    rotated_at: Timestamp,
    revoked: bool,
}

impl Standing {
    fn read(item: &HashMap<String, AttributeValue>) -> Result<Self, StoreError> {
        let generation = number(item, "generation").ok_or_else(|| StoreError::Corrupt {
            operation: "read refresh family",
            detail: "no number generation".into(),
        })?;
        Ok(Self {
            generation,
            // A family that was revoked before its first refresh has not rotated.
            rotated_at: Timestamp::from_millis(number(item, "rotated_at").unwrap_or(0)),
            revoked: item.contains_key("revoked_at"),
        })
    }
}

/// Reads and writes the families.
#[derive(Debug, Clone)]
pub(crate) struct Families {
    db: Client,
    name: String,
}

impl Families {
    pub(crate) fn new(db: Client, prefix: &str) -> Self {
        Self { db, name: format!("{prefix}{REFRESH_FAMILIES}") }
    }

    /// Uses a refresh token: one conditional write, and no read. Of any number of simultaneous uses one moves the
    /// family on; the others learn from the refused condition where it stands.
    pub(crate) async fn advance(&self, used: &RefreshClaims, now: Timestamp) -> Result<Advance, StoreError> {
        const OPERATION: &str = "advance refresh family";
        let mut request = self
            .db
            .update_item()
            .table_name(&self.name)
            .key("family", AttributeValue::S(used.family.clone()))
            .update_expression(
                "SET #generation = :next, #rotated_at = :now, #expires = if_not_exists(#expires, :expires)",
            )
            .expression_attribute_names("#generation", "generation")
            .expression_attribute_names("#rotated_at", "rotated_at")
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_values(":next", numeric(used.next_generation()))
            .expression_attribute_values(":now", numeric(now.millis()))
            .expression_attribute_values(":expires", numeric(kept_until(used)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        request = if used.generation == 0 {
            request.condition_expression("attribute_not_exists(#generation)")
        } else {
            request
                .condition_expression("#generation = :used AND attribute_not_exists(#revoked_at)")
                .expression_attribute_names("#revoked_at", "revoked_at")
                .expression_attribute_values(":used", numeric(used.generation))
        };
        let refused = match request.send().await {
            Ok(_) => return Ok(Advance::Advanced),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => refused.item().cloned(),
                _ => return Err(StoreError::from_sdk(OPERATION, error)),
            },
        };
        let Some(item) = refused.filter(|item| !item.is_empty()) else {
            return Ok(Advance::Unknown);
        };
        let standing = Standing::read(&item)?;
        if standing.revoked {
            return Ok(Advance::Revoked);
        }
        // A difference below zero, from clocks that differ, counts as zero: `since` saturates.
        if now.since(standing.rotated_at) <= GRACE && standing.generation > used.generation {
            let is_successor = standing.generation == used.next_generation();
            return Ok(if is_successor { Advance::Repeated } else { Advance::LateRetry });
        }
        self.revoke(used, now).await?;
        Ok(Advance::Reused)
    }

    /// Ends a family. Works before its first refresh too, by creating the record that the refresh will meet.
    pub(crate) async fn revoke(&self, token: &RefreshClaims, now: Timestamp) -> Result<(), StoreError> {
        self.db
            .update_item()
            .table_name(&self.name)
            .key("family", AttributeValue::S(token.family.clone()))
            .update_expression(
                "SET #revoked_at = if_not_exists(#revoked_at, :now), \
                 #generation = if_not_exists(#generation, :generation), #expires = if_not_exists(#expires, :expires)",
            )
            .expression_attribute_names("#revoked_at", "revoked_at")
            .expression_attribute_names("#generation", "generation")
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_values(":now", numeric(now.millis()))
            .expression_attribute_values(":generation", numeric(token.generation))
            .expression_attribute_values(":expires", numeric(kept_until(token)))
            .send()
            .await
            .map_err(|error| StoreError::from_sdk("revoke refresh family", error))?;
        Ok(())
    }

    /// Whether `token` is the one that its family stands at.
    pub(crate) async fn is_current(&self, token: &RefreshClaims) -> Result<bool, StoreError> {
        let request = self
            .db
            .get_item()
            .table_name(&self.name)
            .key("family", AttributeValue::S(token.family.clone()))
            .consistent_read(true);
        let answer =
            request.send().await.map_err(|error| StoreError::from_sdk("get refresh family", error))?;
        match answer.item {
            Some(item) => {
                let standing = Standing::read(&item)?;
                Ok(!standing.revoked && standing.generation == token.generation)
            }
            None => Ok(token.generation == 0),
        }
    }
}

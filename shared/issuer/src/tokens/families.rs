//! Refresh token families: the `refresh-families` table, changed by conditional writes only.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use countersign_verify::Timestamp;

use crate::store::table::{REFRESH_FAMILIES, StoreError, number, numeric};
use crate::tokens::refresh::RefreshClaims;

/// The grace period after a refresh in which it may be repeated, because its answer may have been lost.
const GRACE: Duration = Duration::from_secs(10);

/// A record is kept for a day after the family's tokens have expired.
const KEPT_AFTER_EXPIRY_SECONDS: u64 = 24 * 60 * 60;

/// Set by the family's first use: no later token lives longer than the first.
fn kept_until(token: &RefreshClaims) -> u64 {
    token.exp.saturating_add(KEPT_AFTER_EXPIRY_SECONDS)
}

/// The result of using a refresh token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// The family advanced to the token's successor.
    Advanced,
    /// It had advanced to the successor within the grace period: an idempotent retry, which gets tokens again.
    Repeated,
    /// It had advanced further within the grace period: a late retry, which gets nothing and harms nothing.
    LateRetry,
    /// The family has been revoked.
    Revoked,
    /// A used token came back: two parties hold it, and one of them stole it. The family is revoked now.
    Reused,
    /// The family has no record although it must have one. None was created.
    Unknown,
}

/// The state of a family.
#[derive(Debug, Clone, Copy)]
struct FamilyState {
    generation: u64,
    rotated_at: Timestamp,
    revoked: bool,
}

impl FamilyState {
    fn read(item: &HashMap<String, AttributeValue>) -> Result<Self, StoreError> {
        let generation = number(item, "generation").ok_or_else(|| StoreError::Corrupt {
            operation: "read refresh family",
            detail: "no number generation".into(),
        })?;
        Ok(Self {
            generation,
            // A family that was revoked before its first refresh has no rotation.
            rotated_at: Timestamp::from_millis(number(item, "rotated_at").unwrap_or(0)),
            revoked: item.contains_key("revoked_at"),
        })
    }
}

/// The `refresh-families` table.
#[derive(Debug, Clone)]
pub(crate) struct Families {
    db: Client,
    name: String,
}

impl Families {
    pub(crate) fn new(db: Client, prefix: &str) -> Self {
        Self { db, name: format!("{prefix}{REFRESH_FAMILIES}") }
    }

    /// Uses a refresh token: one conditional write, and no read. Of any number of simultaneous uses one advances the
    /// family; the others learn its state from the failed condition.
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
        let state = FamilyState::read(&item)?;
        if state.revoked {
            return Ok(Advance::Revoked);
        }
        // A negative difference, from clocks that differ, counts as zero: `since` saturates.
        if now.since(state.rotated_at) <= GRACE && state.generation > used.generation {
            let is_successor = state.generation == used.next_generation();
            return Ok(if is_successor { Advance::Repeated } else { Advance::LateRetry });
        }
        self.revoke(used, now).await?;
        Ok(Advance::Reused)
    }

    /// Revokes a family. Before its first refresh this creates the record, which the refresh will then meet.
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

    /// Reports whether `token` is the latest of its family, and the family is not revoked.
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
                let state = FamilyState::read(&item)?;
                Ok(!state.revoked && state.generation == token.generation)
            }
            None => Ok(token.generation == 0),
        }
    }
}

//! The holder of an access token: the client, and the user or operator, whom it speaks for.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use countersign_verify::Claims;

use crate::records::{Client, Principal, PrincipalKey};
use crate::store::cache::Cache;
use crate::store::table::PRINCIPALS_BY_ID;
use crate::store::{StoreError, Table};

/// Looks up the records of those whom an access token speaks for.
#[derive(Debug)]
pub(super) struct Holders {
    clients: Arc<Cache<Client>>,
    operators: Arc<Cache<Principal>>,
    principals: Table<Principal>,
}

impl Holders {
    pub(super) fn new(
        clients: Arc<Cache<Client>>,
        operators: Arc<Cache<Principal>>,
        principals: Table<Principal>,
    ) -> Self {
        Self { clients, operators, principals }
    }

    /// Reports whether the client of a verified token, and its user or operator, exist and are
    /// enabled. A change takes effect within a minute, as everywhere.
    pub(super) async fn are_enabled(&self, claims: &Claims) -> Result<bool, StoreError> {
        if !self.clients.get(&claims.client_id).await?.is_some_and(|client| client.enabled) {
            return Ok(false);
        }
        let speaks_for_itself = claims.sub == claims.client_id;
        match &claims.operator {
            Some(username) => {
                let key = PrincipalKey::Operator { username: username.clone() };
                let operator = self.operators.get(&key.to_string()).await?;
                // Another operator may have the username by now.
                let is_same = |operator: &Principal| speaks_for_itself || operator.id == claims.sub;
                Ok(operator.is_some_and(|operator| operator.enabled && is_same(&operator)))
            }
            None if speaks_for_itself => Ok(true),
            None => self.is_user_enabled(&claims.sub).await,
        }
    }

    async fn is_user_enabled(&self, id: &str) -> Result<bool, StoreError> {
        let found = self.principals.find_in_index(PRINCIPALS_BY_ID, id).await?;
        let enabled = Some(&AttributeValue::Bool(true));
        // An id is never given twice; if one was, both records would have to be enabled.
        Ok(!found.is_empty() && found.iter().all(|item| item.get(PRINCIPALS_BY_ID.included) == enabled))
    }
}

//! The store that a command administers, with the clock and the randomness that writing to it
//! needs.

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_issuer::config::StoreConfig;
use countersign_issuer::random::Random;
use countersign_issuer::store::{Record, Table, dynamodb};
use countersign_issuer::tokens::{ClientRules, IssuerUrl};
use countersign_verify::Clock;

use crate::announcement::Announcement;

/// The issuer that a command administers.
pub(crate) struct Context {
    db: DynamoDb,
    prefix: String,
    client_rules: ClientRules,
    pub(crate) announcement: Announcement,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

impl Context {
    /// Opens no connection yet. The issuer's URL is not needed for administration; without it one
    /// rule for clients is not checked.
    pub(crate) fn new(config: &StoreConfig, issuer: Option<IssuerUrl>, announcement: Announcement) -> Self {
        Self {
            db: dynamodb(&config.aws),
            prefix: config.table_prefix.clone(),
            announcement,
            client_rules: ClientRules::new(config.schedule.settings().max_lifetimes, issuer),
            clock: Clock::system(),
            random: Random::system(),
        }
    }

    /// The rules for a client.
    pub(crate) fn client_rules(&self) -> &ClientRules {
        &self.client_rules
    }

    /// The table of one kind of record.
    pub(crate) fn table<R: Record>(&self) -> Table<R> {
        Table::new(self.db.clone(), &self.prefix)
    }
}

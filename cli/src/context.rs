//! The store that a command administers, with the clock and the randomness that writing to it needs.

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_issuer::config::StoreConfig;
use countersign_issuer::random::Random;
use countersign_issuer::records::Lifetimes;
use countersign_issuer::store::{Record, Table, dynamodb};
use countersign_verify::Clock;

/// The issuer that a command administers.
pub(crate) struct Context {
    db: DynamoDb,
    prefix: String,
    limits: Lifetimes,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

impl Context {
    /// Opens no connection yet.
    pub(crate) fn new(config: StoreConfig) -> Self {
        Self {
            db: dynamodb(&config.aws),
            prefix: config.table_prefix,
            limits: config.schedule.settings().max_lifetimes,
            clock: Clock::system(),
            random: Random::system(),
        }
    }

    /// The longest token lifetimes that a client may have.
    pub(crate) fn limits(&self) -> Lifetimes {
        self.limits
    }

    /// The table of one kind of record.
    pub(crate) fn table<R: Record>(&self) -> Table<R> {
        Table::new(self.db.clone(), &self.prefix)
    }
}

//! The Countersign token issuer: from a request at `/oauth/token` to a signed token, over DynamoDB.
//!
//! The way of a request: [`endpoints`] reads it, `authenticate` finds the client, `grants` decides what it gets,
//! `mint` signs the answer.

pub mod audit;
pub mod authn;
pub mod config;
pub mod context;
pub mod credentials;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod http;
pub mod keys;
pub mod random;
pub mod records;
pub mod store;

mod audit_events;
mod authorizer;
mod grants;
mod request;
mod tokens;

pub use authn::ThrottleLimits;
pub use authorizer::{Answer, Authorizer, AuthorizerConfig, AuthorizerError, AuthorizerSetupError};
pub use config::{AuthenticationConfig, Config, IssuerUrl, StoreConfig};
pub use context::SourceAddress;
pub use credentials::*;
pub use random::{Random, RandomError};
pub use records::*;
pub use store::*;

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_verify::Clock;

use authn::client::ClientAuthenticator;
use keys::{KeyEnvelope, KeyTable, RingCache, RotationSchedule, Signer};
use store::cache::Cache;
use store::circuit_breaker::CircuitBreaker;
use tokens::families::Families;

/// Everything that a request for a token needs. One for a process.
#[derive(Debug)]
pub struct Issuer {
    url: IssuerUrl,
    limits: Lifetimes,
    authentication: ClientAuthenticator,
    principals: Table<Principal>,
    /// Operators on whose behalf clients act. Whoever logs in or refreshes is read anew from `principals`.
    operators: Cache<Principal>,
    families: Families,
    signer: Signer,
    clock: Clock,
    random: Random,
}

impl Issuer {
    /// An issuer over the tables of `config`. Nothing is read yet.
    pub fn new(config: &Config, db: &DynamoDb, envelope: KeyEnvelope, clock: Clock, random: Random) -> Self {
        let prefix = &config.store.table_prefix;
        let breaker = CircuitBreaker::new(clock.clone());
        Self {
            url: config.issuer.clone(),
            limits: config.store.schedule.settings().max_lifetimes,
            authentication: ClientAuthenticator::new(
                db,
                prefix,
                &config.authentication,
                clock.clone(),
                random.clone(),
                breaker.for_table(),
            ),
            principals: Table::new(db.clone(), prefix),
            operators: Cache::new(
                Table::new(db.clone(), prefix),
                config.authentication.max_stale,
                clock.clone(),
                breaker.for_table(),
            ),
            families: Families::new(db.clone(), prefix),
            signer: Signer::beside(
                breaker,
                KeyTable::new(db.clone(), prefix),
                envelope,
                config.store.schedule,
                clock.clone(),
            ),
            clock,
            random,
        }
    }
}

impl Issuer {
    /// Opens the key that signs now, so that whatever stands in the way shows before the first request.
    pub async fn ready(&self) -> Result<(), keys::KeyError> {
        self.signer.signing_key().await.map(|_| ())
    }
}

/// Everything that publishing the key set and the metadata needs: no way to a private key.
#[derive(Debug)]
pub struct Publisher {
    url: IssuerUrl,
    schedule: RotationSchedule,
    ring: RingCache,
    clock: Clock,
}

impl Publisher {
    /// A publisher over the signing-keys table of `config`. Nothing is read yet.
    pub fn new(config: &Config, db: &DynamoDb, clock: Clock) -> Self {
        let table = KeyTable::new(db.clone(), &config.store.table_prefix);
        let schedule = config.store.schedule;
        let ring = RingCache::new(table, schedule, clock.clone(), CircuitBreaker::new(clock.clone()));
        Self { url: config.issuer.clone(), schedule, ring, clock }
    }
}

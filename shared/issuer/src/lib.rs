//! The Countersign token issuer: from a request at `/oauth/token` to a signed token, over DynamoDB.
//!
//! The way of a request: [`endpoints`] reads it, `authenticate` finds the client, `grants` decides what it gets,
//! `mint` signs the answer.

pub mod config;
pub mod endpoints;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod keys;
#[cfg(feature = "lambda")]
pub mod lambda;

mod audit;
mod authenticate;
mod authorizer;
mod aws;
mod brand;
mod cache;
mod client;
mod entropy;
mod error;
mod form;
mod grants;
mod guesses;
mod mint;
mod outage;
mod password;
mod principal;
mod refresh;
mod remembered;
mod rules;
mod scope;
mod secret;
mod slow_hashes;
mod spring;
mod store;

pub use authorizer::{Answer, Authorizer, AuthorizerConfig, AuthorizerError, AuthorizerSetupError};
pub use aws::{HttpsClient, dynamodb};
pub use brand::ANY_BRAND;
pub use client::{Client, GrantType, MAX_SECRETS};
pub use config::{AuthenticationConfig, Config, IssuerUrl, StoreConfig};
pub use entropy::{Entropy, EntropyError};
pub use guesses::{GuessLimits, SourceAddress};
pub use mint::AccessTokenType;
pub use password::PasswordError;
pub use principal::{InvalidUsername, Principal, PrincipalKey, username};
pub use secret::{ClientSecret, SECRET_NOTICE, Secret};
pub use spring::{LegacyHash, SpringHash, SpringValue, SpringValueRefused};
pub use store::{Record, StoreError, Table, TableShape, WriteError, create_tables, table_shapes};

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_verify::Clock;

use authenticate::Authentication;
use cache::Cache;
use keys::{KeyRing, KeyTable, Lifetimes, Signer, Timers, Wrapping};
use outage::Outage;
use refresh::Families;

/// Everything that a request for a token needs. One for a process.
#[derive(Debug)]
pub struct Issuer {
    url: IssuerUrl,
    limits: Lifetimes,
    authentication: Authentication,
    principals: Table<Principal>,
    /// Operators on whose behalf clients act. Whoever logs in or refreshes is read anew from `principals`.
    operators: Cache<Principal>,
    families: Families,
    signer: Signer,
    clock: Clock,
    entropy: Entropy,
}

impl Issuer {
    /// An issuer over the tables of `config`. Nothing is read yet.
    pub fn new(config: &Config, db: &DynamoDb, wrapping: Wrapping, clock: Clock, entropy: Entropy) -> Self {
        let prefix = &config.store.table_prefix;
        let outage = Outage::new(clock.clone());
        Self {
            url: config.issuer.clone(),
            limits: config.store.timers.settings().longest,
            authentication: Authentication::new(
                db,
                prefix,
                &config.authentication,
                clock.clone(),
                entropy.clone(),
                outage.of_another_table(),
            ),
            principals: Table::new(db.clone(), prefix),
            operators: Cache::new(
                Table::new(db.clone(), prefix),
                config.authentication.max_stale,
                clock.clone(),
                outage.of_another_table(),
            ),
            families: Families::new(db.clone(), prefix),
            signer: Signer::beside(
                outage,
                KeyTable::new(db.clone(), prefix),
                wrapping,
                config.store.timers,
                clock.clone(),
            ),
            clock,
            entropy,
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
    timers: Timers,
    ring: KeyRing,
    clock: Clock,
}

impl Publisher {
    /// A publisher over the signing-keys table of `config`. Nothing is read yet.
    pub fn new(config: &Config, db: &DynamoDb, clock: Clock) -> Self {
        let table = KeyTable::new(db.clone(), &config.store.table_prefix);
        let timers = config.store.timers;
        let ring = KeyRing::new(table, timers, clock.clone(), Outage::new(clock.clone()));
        Self { url: config.issuer.clone(), timers, ring, clock }
    }
}

//! The composition root: what an issuer and a publisher are made of.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_verify::{Clock, Timestamp};

use crate::audit::AuditLog;
use crate::authn::client::{AuthenticatedClient, ClientAuthenticator};
use crate::authn::hashing_pool::HashingPool;
use crate::authn::throttle::LoginThrottle;
use crate::config::{AuthenticationConfig, Config};
use crate::context::{RequestContext, SourceAddress};
use crate::grants::{Grants, PasswordLogin};
use crate::keys::{KeyEnvelope, KeyError, KeyTable, RingCache, Signer};
use crate::random::Random;
use crate::records::Client;
use crate::request::credentials::PresentedCredentials;
use crate::request::error::OAuthError;
use crate::store::Table;
use crate::store::cache::Cache;
use crate::store::circuit_breaker::CircuitBreaker;
use crate::tokens::IssuerUrl;
use crate::tokens::access::AccessTokens;
use crate::tokens::families::Families;
use crate::tokens::refresh::RefreshTokens;

/// Issues, revokes and introspects tokens. One for a process.
#[derive(Debug)]
pub struct Issuer {
    authenticator: ClientAuthenticator,
    grants: Grants,
    audit: AuditLog,
    clock: Clock,
}

impl Issuer {
    /// An issuer over the tables of `config`. Reads nothing yet.
    pub fn new(
        config: &Config,
        db: &DynamoDb,
        envelope: KeyEnvelope,
        clock: Clock,
        random: Random,
        audit: AuditLog,
    ) -> Self {
        let prefix = &config.store.table_prefix;
        let schedule = config.store.schedule;
        let limits = schedule.settings().max_lifetimes;
        let breaker = CircuitBreaker::new(clock.clone());
        let Authenticating { authenticator, clients, throttle, hashing } = Authenticating::new(
            &config.authentication,
            db,
            prefix,
            breaker.for_table(),
            &clock,
            &random,
            &audit,
        );
        let operators = Cache::new(
            Table::new(db.clone(), prefix),
            config.authentication.max_stale,
            clock.clone(),
            breaker.for_table(),
            audit.clone(),
        );
        let signer = Signer::with_breaker(
            breaker,
            KeyTable::new(db.clone(), prefix),
            envelope,
            schedule,
            clock.clone(),
            audit.clone(),
        );
        let access_tokens = AccessTokens::new(config.issuer.clone(), limits, random.clone());
        let families = Families::new(db.clone(), prefix);
        let refresh_tokens =
            RefreshTokens::new(config.issuer.clone(), limits, families, random, clock.clone());
        let principals = Table::new(db.clone(), prefix);
        let login = PasswordLogin::new(principals.clone(), throttle, hashing);
        let grants =
            Grants::new(clients, operators, principals, login, signer, access_tokens, refresh_tokens);
        Self { authenticator, grants, audit, clock }
    }

    /// Opens the key that signs now, so that an obstacle shows before the first request.
    pub async fn ready(&self) -> Result<(), KeyError> {
        self.grants.ready(self.clock.now()).await
    }

    /// The context of a request that arrives now.
    pub(crate) fn context(&self, source: Option<SourceAddress>) -> RequestContext {
        RequestContext::new(self.clock.now(), source)
    }

    pub(crate) async fn authenticate(
        &self,
        presented: &PresentedCredentials,
        cx: &mut RequestContext,
    ) -> Result<AuthenticatedClient, OAuthError> {
        self.authenticator.authenticate(presented, cx).await
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    pub(crate) fn audit(&self) -> &AuditLog {
        &self.audit
    }
}

/// Client authentication, and what logins share with it.
pub(crate) struct Authenticating {
    pub(crate) authenticator: ClientAuthenticator,
    pub(crate) clients: Arc<Cache<Client>>,
    pub(crate) throttle: Arc<LoginThrottle>,
    pub(crate) hashing: Arc<HashingPool>,
}

impl Authenticating {
    pub(crate) fn new(
        config: &AuthenticationConfig,
        db: &DynamoDb,
        prefix: &str,
        breaker: CircuitBreaker,
        clock: &Clock,
        random: &Random,
        audit: &AuditLog,
    ) -> Self {
        let clients = Cache::new(
            Table::new(db.clone(), prefix),
            config.max_stale,
            clock.clone(),
            breaker,
            audit.clone(),
        );
        let clients = Arc::new(clients);
        let throttle =
            Arc::new(LoginThrottle::new(db.clone(), prefix, config.throttle, clock.clone(), random.clone()));
        let hashing = Arc::new(HashingPool::new());
        let authenticator = ClientAuthenticator::new(
            Arc::clone(&clients),
            Arc::clone(&throttle),
            Arc::clone(&hashing),
            random,
        );
        Self { authenticator, clients, throttle, hashing }
    }
}

/// Publishes the JWKS and the metadata, and has no access to a private key. One for a process.
#[derive(Debug)]
pub struct Publisher {
    url: IssuerUrl,
    jwks_max_age: Duration,
    ring: RingCache,
    audit: AuditLog,
    clock: Clock,
}

impl Publisher {
    /// A publisher over the signing-keys table of `config`. Reads nothing yet.
    pub fn new(config: &Config, db: &DynamoDb, clock: Clock, audit: AuditLog) -> Self {
        let table = KeyTable::new(db.clone(), &config.store.table_prefix);
        let schedule = config.store.schedule;
        let breaker = CircuitBreaker::new(clock.clone());
        let ring = RingCache::new(table, schedule, clock.clone(), breaker, audit.clone());
        let jwks_max_age = schedule.settings().jwks_max_age;
        Self { url: config.issuer.clone(), jwks_max_age, ring, audit, clock }
    }

    pub(crate) fn url(&self) -> &IssuerUrl {
        &self.url
    }

    pub(crate) fn jwks_max_age(&self) -> Duration {
        self.jwks_max_age
    }

    pub(crate) fn ring(&self) -> &RingCache {
        &self.ring
    }

    pub(crate) fn audit(&self) -> &AuditLog {
        &self.audit
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

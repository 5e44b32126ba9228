//! The authorizer: says to API Gateway whether a caller may send a request, by the policy. Bearer tokens are verified
//! with the published half of the ring; HTTP Basic goes through the token endpoint's own client authentication.
//!
//! No HTTP endpoint: a REST API answers 401 only where the function fails with exactly `Unauthorized`, and either kind of
//! API answers 500 where it fails otherwise.

mod answer;
mod cacheable;
pub(crate) mod event;

pub use answer::Answer;

use std::borrow::Cow;
use std::net::IpAddr;

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_verify::policy::{Policy, PolicyError};
use countersign_verify::{BuildError, Claims, Clock, JwkSet, TokenError, Verifier};
use tracing::Instrument;

use crate::audit::AuditLog;
use crate::authn::client::{ClientAuthenticator, PresentedCredentials};
use crate::grants::authorize_for;
use crate::keys::{KeyTable, RingCache};
use crate::request::error::OAuthError;
use crate::store::circuit_breaker::CircuitBreaker;
use crate::{AuthenticationConfig, IssuerUrl, Random, SourceAddress, StoreConfig, audit_events as audit};

use answer::{PolicyDocument, context};
use event::{Api, Event};

/// What the authorizer needs to know.
#[derive(Debug, Clone)]
pub struct AuthorizerConfig {
    /// The `iss` that tokens must have. `COUNTERSIGN_ISSUER`.
    pub issuer: IssuerUrl,
    /// The API's own name, the `aud` that tokens must have. `COUNTERSIGN_AUDIENCE`.
    pub audience: String,
    /// Whether API Gateway keeps answers: they then tell everything that the caller may do.
    /// `COUNTERSIGN_AUTHORIZER_CACHING`, `on` or `off`; off unless set.
    pub caching: bool,
    /// Where the records are.
    pub store: StoreConfig,
    /// How clients are known and guesses slowed down.
    pub authentication: AuthenticationConfig,
}

/// Judges requests. One for a process.
#[derive(Debug)]
pub struct Authorizer {
    issuer: IssuerUrl,
    audience: String,
    caching: bool,
    policy: Policy,
    ring: RingCache,
    verifier: Verifier,
    authentication: ClientAuthenticator,
    clock: Clock,
    random: Random,
}

/// Why an authorizer cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizerSetupError {
    /// The policy does not load.
    #[error("the policy: {0}")]
    Policy(#[from] PolicyError),
    /// The policy cannot be answered for API Gateway to keep.
    #[error("the policy: {0}")]
    NotCacheable(String),
    /// The verifier cannot be built.
    #[error(transparent)]
    Verifier(#[from] BuildError),
}

/// Why there is no answer: the function fails with this.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizerError {
    /// REST APIs answer 401 where the function fails with this very word, and 500 otherwise.
    #[error("Unauthorized")]
    Unauthorized,
    /// The event is not one of an authorizer's.
    #[error("not an authorizer's event: {0}")]
    NotAnAuthorizerEvent(String),
    /// The keys or the client cannot be read, or the answer cannot be given. The detail is in the log.
    #[error("temporarily unavailable")]
    Unavailable,
}

/// Why a caller is not known.
#[derive(Debug, thiserror::Error)]
enum NotIdentified {
    #[error("no Authorization header, or more than one")]
    NoCredentials,
    #[error("token refused: {0}")]
    Token(TokenError),
    #[error("Basic refused: {0}")]
    Basic(OAuthError),
    /// A client that Basic cannot speak for.
    #[error("the client needs a token: {0}")]
    NeedsToken(OAuthError),
    /// No answer about it may be kept.
    #[error("slowed down: {0}")]
    SlowedDown(OAuthError),
    #[error("{0}")]
    Fault(String),
}

/// Reads an event as [`Authorizer::authorize`] does, and says what was read.
#[cfg(fuzzing)]
pub fn read_event(event: serde_json::Value) -> Result<String, AuthorizerError> {
    Event::read(event).map(|event| format!("{event:?}"))
}

impl Authorizer {
    /// An authorizer over the tables of `config`, deciding by the policy in `policy`, a TOML text. Nothing is read yet.
    pub fn new(
        config: &AuthorizerConfig,
        policy: &str,
        db: &DynamoDb,
        clock: Clock,
        random: Random,
    ) -> Result<Self, AuthorizerSetupError> {
        let policy = Policy::from_toml(policy)?;
        if config.caching {
            cacheable::check(&policy).map_err(AuthorizerSetupError::NotCacheable)?;
        }
        let prefix = &config.store.table_prefix;
        let keys = KeyTable::new(db.clone(), prefix);
        let breaker = CircuitBreaker::new(clock.clone());
        let verifier = Verifier::builder(config.issuer.as_str())
            .audience(&config.audience)
            .accept_typ_jwt()
            // Those of the moment are handed over with every token.
            .keys(JwkSet::default())
            .clock(clock.clone())
            .build()?;
        Ok(Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            caching: config.caching,
            policy,
            ring: RingCache::new(
                keys,
                config.store.schedule,
                clock.clone(),
                breaker.for_table(),
                AuditLog::tracing(),
            ),
            verifier,
            authentication: ClientAuthenticator::new(
                db,
                prefix,
                &config.authentication,
                clock.clone(),
                random.clone(),
                breaker,
            ),
            clock,
            random,
        })
    }

    /// Answers one of API Gateway's events: HTTP API payload 2.0, REST API `TOKEN` or `REQUEST`.
    pub async fn authorize(&self, event: serde_json::Value) -> Result<Answer, AuthorizerError> {
        let event = Event::read(event)?;
        self.judge(&event).instrument(audit::request()).await
    }

    async fn judge(&self, event: &Event) -> Result<Answer, AuthorizerError> {
        match self.identify(event).await {
            Ok(caller) => self.answer(event, &caller),
            Err(NotIdentified::Fault(detail)) => {
                audit::authorizer_failed(&detail);
                Err(AuthorizerError::Unavailable)
            }
            Err(refusal) => {
                let told = match refusal {
                    NotIdentified::SlowedDown(_) => audit::CALLER_SLOWED_DOWN,
                    _ => audit::CALLER_REFUSED,
                };
                audit::caller_refused(told, None, &event.method, &event.path, &refusal);
                match (event.api, refusal) {
                    (_, NotIdentified::SlowedDown(_)) => Err(AuthorizerError::Unavailable),
                    (Api::Http, _) | (_, NotIdentified::NeedsToken(_)) => Ok(self.refusal(event)),
                    (Api::Rest, _) => Err(AuthorizerError::Unauthorized),
                }
            }
        }
    }

    /// Who calls, as a token would say it.
    async fn identify(&self, event: &Event) -> Result<Claims, NotIdentified> {
        let [authorization] = event.authorization.as_slice() else {
            return Err(NotIdentified::NoCredentials);
        };
        let (scheme, credentials) = authorization.split_once(' ').unwrap_or((authorization, ""));
        if scheme.eq_ignore_ascii_case("Bearer") {
            let ring = self.ring.current().await.map_err(|error| NotIdentified::Fault(error.to_string()))?;
            let keys = ring.published(self.clock.now());
            let verified = self.verifier.verify_with(credentials.trim_matches(' '), &keys);
            return verified.map(|verified| Claims::clone(&verified)).map_err(NotIdentified::Token);
        }
        if scheme.eq_ignore_ascii_case("Basic") {
            return self.identify_client(authorization, event.address).await;
        }
        Err(NotIdentified::NoCredentials)
    }

    /// A client, with the claims of the token that it would get for this API without saying more.
    async fn identify_client(
        &self,
        authorization: &str,
        address: Option<IpAddr>,
    ) -> Result<Claims, NotIdentified> {
        let from = address.map(SourceAddress);
        let presented = PresentedCredentials::basic(authorization, from).map_err(NotIdentified::Basic)?;
        let client = self.authentication.authenticate(&presented).await.map_err(|error| match error {
            OAuthError::Unavailable(detail) | OAuthError::Defect(detail) => NotIdentified::Fault(detail),
            OAuthError::TooManyFailures { .. } => NotIdentified::SlowedDown(error),
            refused => NotIdentified::Basic(refused),
        })?;
        audit::authenticated(&client);
        audit::caller_authenticated(&client);
        let granted = authorize_for(&client, &self.audience).map_err(NotIdentified::NeedsToken)?;
        let now = self.clock.now().seconds();
        Ok(Claims {
            iss: self.issuer.as_str().to_owned(),
            sub: granted.sub.into_owned(),
            aud: granted.audience.into_owned(),
            // For this request alone.
            exp: now,
            iat: now,
            jti: self.random.id().map_err(|error| NotIdentified::Fault(error.to_string()))?,
            client_id: client.client_id.clone(),
            scope: granted.scope.into_member(),
            roles: granted.roles.into_owned(),
            operator: granted.operator.map(Cow::into_owned),
            brand_key: granted.brand_key.map(Cow::into_owned),
        })
    }

    fn answer(&self, event: &Event, caller: &Claims) -> Result<Answer, AuthorizerError> {
        let decision = self.policy.decide(&event.method, &event.path, caller);
        if let Err(refusal) = &decision {
            audit::caller_refused(audit::CALLER_REFUSED, Some(caller), &event.method, &event.path, refusal);
        }
        if self.caching {
            let document = cacheable::document(&self.policy, caller, &event.arn.stage).map_err(|detail| {
                audit::authorizer_failed(&detail);
                AuthorizerError::Unavailable
            })?;
            return Ok(policy_answer(caller, document, event.api));
        }
        let is_authorized = decision.is_ok();
        Ok(match event.api {
            Api::Http if is_authorized => {
                Answer::Simple { is_authorized, context: context(caller, event.api) }
            }
            // `*` and `?` of a request's path would be wildcards in the answer.
            Api::Rest if is_authorized && !event.arn.whole.contains(['*', '?']) => {
                policy_answer(caller, PolicyDocument::new(vec![event.arn.whole.clone()], vec![]), event.api)
            }
            _ => self.refusal(event),
        })
    }

    /// 403.
    fn refusal(&self, event: &Event) -> Answer {
        let context = serde_json::Map::new();
        if event.api == Api::Http && !self.caching {
            return Answer::Simple { is_authorized: false, context };
        }
        let everything = vec![format!("{}/*", event.arn.stage)];
        let policy_document = PolicyDocument::new(vec![], everything);
        Answer::Policy { principal_id: "nobody".into(), policy_document, context }
    }
}

fn policy_answer(caller: &Claims, policy_document: PolicyDocument, api: Api) -> Answer {
    Answer::Policy { principal_id: caller.sub.clone(), policy_document, context: context(caller, api) }
}

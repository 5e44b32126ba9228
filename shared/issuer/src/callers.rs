//! The callers of an API, for the authorizer: the one door through which it enters the issuer.

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_verify::{BuildError, Claims, Clock, JwkSet, TokenError, Verifier};

use crate::audit::{AuditLog, Event};
use crate::authn::client::ClientAuthenticator;
use crate::config::Config;
use crate::context::{RequestContext, SourceAddress};
use crate::grants::without_operator;
use crate::issuer::Authenticating;
use crate::keys::{KeyTable, Ring, RingCache};
use crate::random::Random;
use crate::request::credentials::PresentedCredentials;
use crate::request::error::OAuthError;
use crate::request::token_request::TokenRequest;
use crate::store::circuit_breaker::CircuitBreaker;
use crate::tokens::IssuerUrl;

/// The reason why a caller is not known. `Display` is for the log.
#[derive(Debug, thiserror::Error)]
pub enum NotIdentified {
    /// There are no usable credentials.
    #[error("no Authorization header, or more than one")]
    NoCredentials,
    /// The Bearer token does not verify.
    #[error("token refused: {0}")]
    Token(TokenError),
    /// HTTP Basic without the caller's address: all callers would share one count of failed guesses,
    /// and a stranger could lock the others out.
    #[error(
        "HTTP Basic is limited by the caller's address, and the event has none: \
         use an authorizer of type REQUEST"
    )]
    NoAddress,
    /// The client's id and secret are refused.
    #[error("Basic refused: {0}")]
    Basic(String),
    /// The client is known, but HTTP Basic cannot express what it must name.
    #[error("the client needs a token: {0}")]
    NeedsToken(String),
    /// Too many failed guesses came before; API Gateway must not cache this answer.
    #[error("slowed down: {0}")]
    SlowedDown(String),
    /// The keys or the client cannot be read.
    #[error("{0}")]
    Unavailable(String),
}

/// Identifies the callers of one API.
#[derive(Debug)]
pub struct Callers {
    issuer: IssuerUrl,
    audience: String,
    ring: RingCache,
    verifier: Verifier,
    authenticator: ClientAuthenticator,
    clock: Clock,
    random: Random,
    audit: AuditLog,
}

impl Callers {
    /// The callers of the API `audience`, over the tables of `config`. Reads nothing yet.
    pub fn new(
        config: &Config,
        audience: &str,
        db: &DynamoDb,
        clock: Clock,
        random: Random,
        audit: AuditLog,
    ) -> Result<Self, BuildError> {
        let prefix = &config.store.table_prefix;
        let breaker = CircuitBreaker::new(clock.clone());
        let verifier = Verifier::builder(config.issuer.as_str())
            .audience(audience)
            .accept_typ_jwt()
            // The keys of the ring are passed with every token.
            .keys(JwkSet::default())
            .build()?;
        let keys = KeyTable::new(db.clone(), prefix);
        let ring =
            RingCache::new(keys, config.store.schedule, clock.clone(), breaker.for_table(), audit.clone());
        let Authenticating { authenticator, .. } =
            Authenticating::new(&config.authentication, db, prefix, breaker, &clock, &random, &audit);
        let (issuer, audience) = (config.issuer.clone(), audience.to_owned());
        Ok(Self { issuer, audience, ring, verifier, authenticator, clock, random, audit })
    }

    /// The audit log.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// The context of a request that arrives now.
    pub fn context(&self, source: Option<SourceAddress>) -> RequestContext {
        RequestContext::new(self.clock.now(), source)
    }

    /// Identifies a caller by its Authorization header, and returns the claims of its token. For HTTP Basic, which
    /// needs the caller's address, these are the claims of the token that the client would get for this API.
    pub async fn identify(
        &self,
        authorization: &str,
        cx: &mut RequestContext,
    ) -> Result<Claims, NotIdentified> {
        let (scheme, credentials) = authorization.split_once(' ').unwrap_or((authorization, ""));
        if scheme.eq_ignore_ascii_case("Bearer") {
            return self.verify(credentials.trim_matches(' '), cx).await;
        }
        if scheme.eq_ignore_ascii_case("Basic") {
            return match cx.source {
                Some(_) => self.authenticate(authorization, cx).await,
                None => Err(NotIdentified::NoAddress),
            };
        }
        Err(NotIdentified::NoCredentials)
    }

    async fn verify(&self, token: &str, cx: &RequestContext) -> Result<Claims, NotIdentified> {
        let verify = |ring: &Ring| self.verifier.verify_at(token, &ring.published(cx.now), cx.now);
        let verified = self.ring.verify_against_ring(verify).await;
        let (_, verified) = verified.map_err(|error| NotIdentified::Unavailable(error.to_string()))?;
        verified.map(|verified| Claims::clone(&verified)).map_err(NotIdentified::Token)
    }

    async fn authenticate(
        &self,
        authorization: &str,
        cx: &mut RequestContext,
    ) -> Result<Claims, NotIdentified> {
        let basic = |error: OAuthError| NotIdentified::Basic(error.to_string());
        let presented = PresentedCredentials::from_basic(authorization).map_err(basic)?;
        let client = self.authenticator.authenticate(&presented, cx).await.map_err(|error| match error {
            OAuthError::Unavailable(detail) | OAuthError::Defect(detail) => {
                NotIdentified::Unavailable(detail)
            }
            OAuthError::TooManyFailures { .. } => NotIdentified::SlowedDown(error.to_string()),
            refused => basic(refused),
        })?;
        cx.audit.event = Event::CallerAuthenticated;
        self.audit.write(&cx.audit);
        let granted = without_operator(&client, &TokenRequest::for_resource(&self.audience), cx)
            .map_err(|error| NotIdentified::NeedsToken(error.to_string()))?;
        let jti = self.random.id().map_err(|error| NotIdentified::Unavailable(error.to_string()))?;
        // They are valid for this request only.
        let now = cx.now.seconds();
        Ok(granted.into_claims(&self.issuer, &client, jti, now, now))
    }
}

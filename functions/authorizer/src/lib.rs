//! The authorizer: decides by a policy whether a caller may send a request to an API behind API
//! Gateway. It verifies Bearer tokens against the published half of the ring; HTTP Basic uses the
//! token endpoint's client authentication.
//!
//! An error is one of its answers: a REST API answers 401 only where the function fails with
//! exactly `Unauthorized`, and both kinds of API answer 500 where it fails with anything else.

mod config;
mod event;
mod iam_policy;
mod response;

pub use config::AuthorizerConfig;
pub use iam_policy::PolicyDocument;
pub use response::AuthorizerResponse;

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_issuer::audit::{self, AuditLog};
use countersign_issuer::callers::{Callers, NotIdentified};
use countersign_issuer::context::{RequestContext, SourceAddress};
use countersign_issuer::random::Random;
use countersign_verify::policy::{Policy, PolicyError};
use countersign_verify::{BuildError, Claims, Clock};
use serde_json::{Map, Value};

use event::{Api, Event};

/// Authorizes requests. One for a process.
#[derive(Debug)]
pub struct Authorizer {
    callers: Callers,
    policy: Policy,
    caching: bool,
}

/// The reason why an authorizer cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizerSetupError {
    /// The policy does not load.
    #[error("the policy: {0}")]
    Policy(#[from] PolicyError),
    /// An IAM policy cannot express the policy, so API Gateway cannot cache responses.
    #[error("the policy: {0}")]
    NotCacheable(String),
    /// The verifier cannot be built.
    #[error(transparent)]
    Verifier(#[from] BuildError),
}

/// The reason why there is no response. The function fails with it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizerError {
    /// REST APIs answer 401 where the function fails with exactly this word, and 500 otherwise.
    #[error("Unauthorized")]
    Unauthorized,
    /// The event is not an authorizer's.
    #[error("not an authorizer's event: {0}")]
    NotAnAuthorizerEvent(String),
    /// The keys or the client cannot be read, or the response cannot be built. The detail is in the
    /// log.
    #[error("temporarily unavailable")]
    Unavailable,
}

/// Parses an event as [`Authorizer::authorize`] does, and returns it for the fuzz target.
#[cfg(fuzzing)]
pub fn parse_event(event: Value) -> Result<String, AuthorizerError> {
    Event::parse(event).map(|event| format!("{event:?}"))
}

impl Authorizer {
    /// An authorizer over the tables of `config`, with the policy in `policy`, a TOML text. Reads
    /// no table yet.
    pub fn new(
        config: &AuthorizerConfig,
        policy: &str,
        db: &DynamoDb,
        clock: Clock,
        random: Random,
        audit: AuditLog,
    ) -> Result<Self, AuthorizerSetupError> {
        let policy = Policy::from_toml(policy)?;
        if config.caching {
            iam_policy::check(&policy).map_err(AuthorizerSetupError::NotCacheable)?;
        }
        let callers = Callers::new(&config.issuer, &config.audience, db, clock, random, audit)?;
        Ok(Self { callers, policy, caching: config.caching })
    }

    /// Answers an event of API Gateway: HTTP API payload 2.0, REST API `TOKEN` or `REQUEST`.
    pub async fn authorize(&self, event: Value) -> Result<AuthorizerResponse, AuthorizerError> {
        let event = Event::parse(event)?;
        let mut cx = self.callers.context(event.source.map(SourceAddress));
        let identified = match event.authorization.as_slice() {
            [authorization] => self.callers.identify(authorization, &mut cx).await,
            _ => Err(NotIdentified::NoCredentials),
        };
        match identified {
            Ok(caller) => self.decide(&event, &caller, &mut cx),
            Err(NotIdentified::Unavailable(reason)) => Err(self.fail(reason, &mut cx)),
            Err(refusal) => {
                let outcome = match refusal {
                    NotIdentified::SlowedDown(_) => audit::Event::CallerSlowedDown,
                    _ => audit::Event::CallerRefused,
                };
                self.log_refusal(outcome, &event, refusal.to_string(), &mut cx);
                match (event.api, refusal) {
                    // Not a response: API Gateway must not cache this one.
                    (_, NotIdentified::SlowedDown(_)) => Err(AuthorizerError::Unavailable),
                    (Api::Http, _) | (_, NotIdentified::NeedsToken(_)) => Ok(self.deny(&event)),
                    (Api::Rest, _) => Err(AuthorizerError::Unauthorized),
                }
            }
        }
    }

    /// Applies the policy to a caller with these claims.
    fn decide(
        &self,
        event: &Event,
        caller: &Claims,
        cx: &mut RequestContext,
    ) -> Result<AuthorizerResponse, AuthorizerError> {
        let decision = self.policy.decide(&event.method, &event.path, caller);
        if let Err(refusal) = &decision {
            cx.audit.sub = Some(caller.sub.clone());
            cx.audit.client_id = Some(caller.client_id.clone());
            cx.audit.jti = Some(caller.jti.clone());
            self.log_refusal(audit::Event::CallerRefused, event, refusal.to_string(), cx);
        }
        if self.caching {
            let document = iam_policy::for_caller(&self.policy, caller, &event.arn.stage);
            let document = document.map_err(|reason| self.fail(reason, cx))?;
            return Ok(AuthorizerResponse::policy(caller, document, event.api));
        }
        Ok(match event.api {
            Api::Http if decision.is_ok() => AuthorizerResponse::simple(caller),
            // `*` and `?` of the request's path would be wildcards in the response.
            Api::Rest if decision.is_ok() && !event.arn.whole.contains(['*', '?']) => {
                let document = PolicyDocument::new(vec![event.arn.whole.clone()], vec![]);
                AuthorizerResponse::policy(caller, document, event.api)
            }
            _ => self.deny(event),
        })
    }

    /// The response that makes API Gateway answer 403.
    fn deny(&self, event: &Event) -> AuthorizerResponse {
        let context = Map::new();
        if event.api == Api::Http && !self.caching {
            return AuthorizerResponse::Simple { is_authorized: false, context };
        }
        let policy_document = PolicyDocument::new(vec![], vec![format!("{}/*", event.arn.stage)]);
        AuthorizerResponse::Policy { principal_id: "nobody".into(), policy_document, context }
    }

    /// Writes the audit record of a caller who is not let through.
    fn log_refusal(&self, outcome: audit::Event, event: &Event, reason: String, cx: &mut RequestContext) {
        cx.audit.event = outcome;
        cx.audit.method = Some(audit::bounded(&event.method));
        cx.audit.path = Some(audit::bounded(&event.path));
        cx.audit.reason = Some(reason);
        self.callers.audit().write(&cx.audit);
    }

    /// Writes the audit record of a failure.
    fn fail(&self, reason: String, cx: &mut RequestContext) -> AuthorizerError {
        cx.audit.event = audit::Event::Failed;
        cx.audit.endpoint = Some("authorizer");
        cx.audit.reason = Some(reason);
        self.callers.audit().write(&cx.audit);
        AuthorizerError::Unavailable
    }
}

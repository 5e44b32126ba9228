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

use std::time::Duration;

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_issuer::audit::{self, AuditLog};
use countersign_issuer::callers::{Callers, NotIdentified};
use countersign_issuer::context::{RequestContext, SourceAddress};
use countersign_issuer::random::Random;
use countersign_verify::policy::{Policy, PolicyError};
use countersign_verify::{BuildError, Claims, Clock, log_text};
use serde_json::Value;

use event::{Api, Event};

/// The longest time for an answer. API Gateway waits 10 s for it, the start of a process included.
const TIME_LIMIT: Duration = Duration::from_secs(9);

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
    /// The keys or the client cannot be read in time, or the response cannot be built. The detail is
    /// in the log.
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

    /// Answers an event of API Gateway within `time_left`: HTTP API payload 2.0, REST API `TOKEN` or
    /// `REQUEST`.
    pub async fn authorize(
        &self,
        event: Value,
        time_left: Duration,
    ) -> Result<AuthorizerResponse, AuthorizerError> {
        let event = Event::parse(event)?;
        let mut cx = self.callers.context(event.source.map(SourceAddress));
        let limit = time_left.min(TIME_LIMIT);
        match tokio::time::timeout(limit, self.answer(&event, &mut cx)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.fail("no answer in time".into(), &mut cx)),
        }
    }

    async fn answer(
        &self,
        event: &Event,
        cx: &mut RequestContext,
    ) -> Result<AuthorizerResponse, AuthorizerError> {
        let path = match &event.path {
            Ok(path) => path,
            Err(reason) => {
                self.log_refusal(audit::Event::CallerRefused, event, reason.to_string(), cx);
                // A cached response must be right for the caller's other routes too.
                let can_deny = !self.caching;
                return can_deny.then(|| deny(event)).ok_or(AuthorizerError::Unavailable);
            }
        };
        let identified = match event.authorization.as_slice() {
            [authorization] => self.callers.identify(authorization, cx).await,
            _ => Err(NotIdentified::NoCredentials),
        };
        match identified {
            Ok(caller) => self.apply_policy(event, path, &caller, cx),
            Err(NotIdentified::Unavailable(reason)) => Err(self.fail(reason, cx)),
            Err(refusal) => {
                let outcome = match refusal {
                    NotIdentified::SlowedDown(_) => audit::Event::CallerSlowedDown,
                    _ => audit::Event::CallerRefused,
                };
                self.log_refusal(outcome, event, refusal.to_string(), cx);
                match (event.api, refusal) {
                    // Not a response: API Gateway must not cache this one.
                    (_, NotIdentified::SlowedDown(_)) => Err(AuthorizerError::Unavailable),
                    (Api::Http, _) | (_, NotIdentified::NeedsToken(_)) => Ok(deny(event)),
                    (Api::Rest, _) => Err(AuthorizerError::Unauthorized),
                }
            }
        }
    }

    /// Applies the policy to a caller with these claims. Writes one audit record, or none: the
    /// response is built before a refusal is logged, because building it can fail.
    fn apply_policy(
        &self,
        event: &Event,
        path: &str,
        caller: &Claims,
        cx: &mut RequestContext,
    ) -> Result<AuthorizerResponse, AuthorizerError> {
        let decision = self.policy.decide(&event.method, path, caller);
        let mut refusal = decision.err().map(|refusal| refusal.to_string());
        let response = if self.caching {
            iam_policy::for_caller(&self.policy, caller, &event.arn.stage)
                .map(|document| AuthorizerResponse::new(caller, document, event.api))
        } else if event.arn.whole.contains(['*', '?']) {
            refusal.get_or_insert_with(|| "'*' and '?' would be wildcards in the response".into());
            Ok(deny(event))
        } else if refusal.is_some() {
            Ok(deny(event))
        } else {
            // This one route: if API Gateway caches the response all the same, the others are closed.
            let document = PolicyDocument::new(vec![event.arn.whole.clone()], vec![]);
            Ok(AuthorizerResponse::new(caller, document, event.api))
        };
        if refusal.is_some() || response.is_err() {
            cx.audit.sub = Some(caller.sub.clone());
            cx.audit.client_id = Some(caller.client_id.clone());
            cx.audit.jti = Some(caller.jti.clone());
        }
        let response = response.map_err(|reason| self.fail(reason, cx))?;
        if let Some(reason) = refusal {
            self.log_refusal(audit::Event::CallerRefused, event, reason, cx);
        }
        Ok(response)
    }

    /// Writes the audit record of a caller who is not let through.
    fn log_refusal(&self, outcome: audit::Event, event: &Event, reason: String, cx: &mut RequestContext) {
        cx.audit.event = outcome;
        cx.audit.method = Some(log_text(&event.method));
        cx.audit.path = Some(log_text(&event.sent_path));
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

fn deny(event: &Event) -> AuthorizerResponse {
    AuthorizerResponse::deny(&event.arn.stage)
}

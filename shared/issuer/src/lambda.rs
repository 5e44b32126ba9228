//! Running an endpoint as a Lambda function: the environment, the log, the event loop.

mod event;
mod line;
mod log;
mod metrics;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_verify::{Clock, Timestamp};
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use serde::de::IgnoredAny;
use tracing::{Instrument, Span};

use self::event::{Answer, Api, Asked};
use crate::audit::AuditLog;
use crate::http::{self, Request, Response};
use crate::keys::{Rotator, install_crypto_provider};
use crate::{Authorizer, AuthorizerConfig, Config, Issuer, Publisher, Random, StoreConfig, dynamodb};

pub use self::event::{NotAnEvent, request};
pub use self::log::subscriber;
pub use lambda_runtime::Error;

/// Kept of an invocation's time for the answer: a function that runs out of time is killed without one, and started
/// anew with cold caches.
const ANSWERING: Duration = Duration::from_millis(200);

/// The issuer that the environment describes.
pub fn issuer() -> Result<Issuer, Error> {
    install_crypto_provider()?;
    log::start(Clock::system(), variable);
    let (config, envelope) = Config::with_envelope_from_lookup(variable)?;
    let envelope = envelope.into_envelope(&config.store.aws);
    let db = dynamodb(&config.store.aws);
    Ok(Issuer::new(&config, &db, envelope, Clock::system(), Random::system()))
}

/// The publisher that the environment describes.
pub fn publisher() -> Result<Publisher, Error> {
    log::start(Clock::system(), variable);
    let config = Config::from_lookup(variable)?;
    let db = dynamodb(&config.store.aws);
    Ok(Publisher::new(&config, &db, Clock::system()))
}

/// The rotator that the environment describes.
pub fn rotator() -> Result<Rotator, Error> {
    log::start(Clock::system(), variable);
    let (config, envelope) = StoreConfig::with_envelope_from_lookup(variable)?;
    let envelope = envelope.into_envelope(&config.aws);
    let db = dynamodb(&config.aws);
    Ok(Rotator::new(
        &db,
        &config.table_prefix,
        config.schedule,
        envelope,
        Clock::system(),
        Random::system(),
        AuditLog::tracing(),
    ))
}

/// The authorizer that the environment describes, deciding by the policy in `policy`.
pub fn authorizer(policy: &str) -> Result<Authorizer, Error> {
    log::start(Clock::system(), variable);
    let config = AuthorizerConfig::from_lookup(variable)?;
    let db = dynamodb(&config.store.aws);
    Ok(Authorizer::new(&config, policy, &db, Clock::system(), Random::system())?)
}

/// Answers API Gateway's questions until the runtime ends the process. No HTTP endpoint: an error is one of the answers.
pub async fn serve_authorizer(authorizer: &Authorizer) -> Result<(), Error> {
    let invocations = &Invocations::new();
    Runtime::new(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let span = invocations.span(&event.context.request_id);
        // Boxed for the same reason as an endpoint's answer.
        let answered = Box::pin(authorizer.authorize(event.payload));
        async move { answered.await.map_err(Error::from) }.instrument(span)
    }))
    .run()
    .await
}

/// Runs a rotation for every event, whatever it says, until the runtime ends the process. No HTTP endpoint: a run
/// that fails fails loudly, so that the schedule tries again and the alarm rings.
pub async fn serve_rotation(rotator: &Rotator) -> Result<(), Error> {
    let invocations = &Invocations::new();
    Runtime::new(service_fn(move |event: LambdaEvent<IgnoredAny>| {
        rotate(rotator).instrument(invocations.span(&event.context.request_id))
    }))
    .run()
    .await
}

async fn rotate(rotator: &Rotator) -> Result<serde_json::Value, Error> {
    match rotator.rotate().await {
        Ok(rotation) => {
            let created: Vec<&str> = rotation.created.iter().map(|key| key.jwk.kid()).collect();
            let key_age = rotation.key_age.as_secs();
            let (added, removed) = (created.len(), rotation.deleted.len());
            tracing::info!(target: "audit", event = "rotation", key_age, created = added, deleted = removed);
            Ok(serde_json::json!({ "created": created, "deleted": rotation.deleted }))
        }
        Err(error) => {
            tracing::error!(target: "audit", event = "failed", endpoint = "rotate", error = "rotation_failed", reason = %error);
            Err(Error::from(error))
        }
    }
}

/// Answers API Gateway's events through `answer` until the runtime ends the process.
pub async fn serve<A, F>(answer: A) -> Result<(), Error>
where
    A: Fn(Request) -> F + Send + Sync,
    F: Future<Output = Response> + Send,
{
    let answer = &answer;
    let invocations = &Invocations::new();
    // Not by `lambda_runtime::run`, which adds a span of its own.
    Runtime::new(service_fn(move |event: LambdaEvent<Asked>| {
        let left = time_left(event.context.deadline, Clock::system().now());
        let span = invocations.span(&event.context.request_id);
        // Boxed: the compiler's own recursion ends before the future's layout does.
        let answered = Box::pin(async move {
            let Asked(request) = event.payload;
            let api = request.extensions().get().copied().unwrap_or(Api::Http);
            let answered = tokio::time::timeout(left, answer(request)).await;
            let response = answered.unwrap_or_else(|_| http::out_of_time());
            Ok::<_, Error>(Answer { response, api })
        });
        answered.instrument(span)
    }))
    .run()
    .await
}

/// What every line of an invocation says beside its own.
struct Invocations {
    clock: Clock,
    is_first: AtomicBool,
}

impl Invocations {
    fn new() -> Self {
        Self { clock: Clock::system(), is_first: AtomicBool::new(true) }
    }

    /// `started` becomes the duration of each line.
    fn span(&self, request_id: &str) -> Span {
        let cold_start = self.is_first.swap(false, Ordering::Relaxed);
        tracing::error_span!(
            target: "audit", "invocation", request_id, cold_start, started = self.clock.now().millis()
        )
    }
}

/// How long an answer may take when the invocation ends at `deadline`, in milliseconds since the epoch.
fn time_left(deadline: u64, now: Timestamp) -> Duration {
    match Timestamp::from_millis(deadline).since(now) {
        // Emulators give no deadline, or one that has passed.
        Duration::ZERO => Duration::MAX,
        left => left.saturating_sub(ANSWERING),
    }
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "start-up is where the environment is read")]
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_due_before_the_invocation_ends() {
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(time_left(1_003_000, now), Duration::from_millis(2800));
        assert_eq!(time_left(1_000_100, now), Duration::ZERO);
        assert_eq!(time_left(600_000, now), Duration::MAX);
    }
}

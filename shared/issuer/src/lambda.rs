//! Running an endpoint as a Lambda function: the environment, the log, the event loop.

use std::time::Duration;

use countersign_verify::{Clock, Timestamp};
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::RequestContext;
use lambda_http::{Body, RequestExt, service_fn};
use serde::de::IgnoredAny;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::endpoints::{self, Request, Response};
use crate::keys::Rotator;
use crate::{Config, Entropy, Issuer, Publisher, SourceAddress, StoreConfig, dynamodb};

pub use lambda_http::Error;

/// Kept of an invocation's time for the answer: a function that runs out of time is killed without one, and started
/// anew with cold caches.
const ANSWERING: Duration = Duration::from_millis(200);

/// The issuer that the environment describes.
pub fn issuer() -> Result<Issuer, Error> {
    log_json();
    let (config, wrapping) = Config::with_wrapping_from_lookup(variable)?;
    let wrapping = wrapping.into_wrapping(&config.store.aws)?;
    let db = dynamodb(&config.store.aws)?;
    Ok(Issuer::new(&config, &db, wrapping, Clock::system(), Entropy::system()))
}

/// The publisher that the environment describes.
pub fn publisher() -> Result<Publisher, Error> {
    log_json();
    let config = Config::from_lookup(variable)?;
    let db = dynamodb(&config.store.aws)?;
    Ok(Publisher::new(&config, &db, Clock::system()))
}

/// The rotator that the environment describes.
pub fn rotator() -> Result<Rotator, Error> {
    log_json();
    let (config, wrapping) = StoreConfig::with_wrapping_from_lookup(variable)?;
    let wrapping = wrapping.into_wrapping(&config.aws)?;
    let db = dynamodb(&config.aws)?;
    Ok(Rotator::new(&config, &db, wrapping, Clock::system(), Entropy::system()))
}

/// Runs a rotation for every event, whatever it says, until the runtime ends the process. No HTTP endpoint: a run
/// that fails fails loudly, so that the schedule tries again and the alarm rings.
pub async fn serve_rotation(rotator: &Rotator) -> Result<(), Error> {
    lambda_runtime::run(service_fn(move |_event: LambdaEvent<IgnoredAny>| async move {
        match rotator.rotate().await {
            Ok(rotation) => Ok(serde_json::json!({
                "created": rotation.created.iter().map(|key| key.jwk.kid()).collect::<Vec<_>>(),
                "deleted": rotation.deleted,
            })),
            Err(error) => {
                tracing::error!(target: "audit", event = "failed", endpoint = "rotate", reason = %error);
                Err(Error::from(error))
            }
        }
    }))
    .await
}

/// Answers API Gateway's events through `answer` until the runtime ends the process.
pub async fn serve<A, F>(answer: A) -> Result<(), Error>
where
    A: Fn(Request) -> F + Send + Sync,
    F: Future<Output = Response> + Send,
{
    let answer = &answer;
    lambda_http::run(service_fn(move |event: lambda_http::Request| async move {
        let deadline = event.lambda_context_ref().map_or(0, |context| context.deadline);
        let left = time_left(deadline, Clock::system().now());
        let answered = tokio::time::timeout(left, answer(request(event))).await;
        Ok::<_, Error>(answered.unwrap_or_else(|_| endpoints::out_of_time()))
    }))
    .await
}

/// How long an answer may take when the invocation ends at `deadline`, in milliseconds since the epoch.
fn time_left(deadline: u64, now: Timestamp) -> Duration {
    match Timestamp::from_millis(deadline).since(now) {
        // Emulators give no deadline, or one that has passed.
        Duration::ZERO => Duration::MAX,
        left => left.saturating_sub(ANSWERING),
    }
}

/// An event as an endpoint takes it, with the address that API Gateway saw.
pub fn request(event: lambda_http::Request) -> Request {
    let address = match event.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
        Some(RequestContext::ApiGatewayV1(context)) => context.identity.source_ip.as_deref(),
        _ => None,
    };
    let address = address.and_then(|address| address.parse().ok()).map(SourceAddress);
    let mut request = event.map(into_bytes);
    if let Some(address) = address {
        request.extensions_mut().insert(address);
    }
    request
}

/// The body of an event: text from sam local, base64 (already decoded) from API Gateway, binary from cargo lambda.
fn into_bytes(body: Body) -> Vec<u8> {
    match body {
        Body::Text(text) => text.into_bytes(),
        Body::Binary(bytes) => bytes,
        // `Empty`, and whatever is added to a non-exhaustive enum: nothing to read.
        _ => Vec::new(),
    }
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "start-up is where the environment is read")]
    std::env::var(name).ok()
}

/// JSON lines on standard output, which Lambda hands to CloudWatch. `RUST_LOG` says how much; `info` unless set.
fn log_json() {
    let wanted = variable("RUST_LOG").filter(|value| !value.is_empty());
    let filter = wanted.as_deref().map(str::parse::<Targets>);
    let is_wrong = matches!(filter, Some(Err(_)));
    let filter =
        filter.and_then(Result::ok).unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
    // Fails only where a subscriber is set already, which then logs.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
    if is_wrong {
        tracing::warn!("RUST_LOG is not understood; logging at info");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_one_that_api_gateway_saw() {
        let v2 = include_str!("../../../events/token-password.json")
            .replace(r#""x-forwarded-for": "203.0.113.7""#, r#""x-forwarded-for": "198.51.100.1""#);
        let rest = r#"{"resource": "/oauth/token", "path": "/oauth/token", "httpMethod": "POST",
            "headers": {"X-Forwarded-For": "198.51.100.1"}, "multiValueHeaders": {"X-Forwarded-For": ["198.51.100.1"]},
            "queryStringParameters": null, "multiValueQueryStringParameters": null, "pathParameters": null,
            "stageVariables": null, "body": "a=b", "isBase64Encoded": false,
            "requestContext": {"httpMethod": "POST", "path": "/prod/oauth/token", "stage": "prod",
                "identity": {"sourceIp": "203.0.113.7"}}}"#;
        for event in [v2.as_str(), rest] {
            let request = request(lambda_http::request::from_str(event).unwrap());
            let address = request.extensions().get::<SourceAddress>();
            assert_eq!(address, Some(&SourceAddress("203.0.113.7".parse().unwrap())), "{event}");
        }
    }

    #[test]
    fn an_answer_is_due_before_the_invocation_ends() {
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(time_left(1_003_000, now), Duration::from_millis(2800));
        assert_eq!(time_left(1_000_100, now), Duration::ZERO);
        assert_eq!(time_left(600_000, now), Duration::MAX);
    }
}

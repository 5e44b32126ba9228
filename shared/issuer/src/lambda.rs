//! Running an endpoint as a Lambda function: the environment, the log, the event loop.

mod line;
mod log;
mod metrics;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_verify::{Clock, Timestamp};
use http::header::HOST;
use http::{HeaderMap, Uri};
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::tower::ServiceExt;
use lambda_http::{Adapter, Body, RequestExt, service_fn};
use serde::de::IgnoredAny;
use tracing::{Instrument, Span};

use crate::endpoints::{self, Request, Response};
use crate::keys::Rotator;
use crate::{
    Authorizer, AuthorizerConfig, Config, Entropy, Issuer, Publisher, SourceAddress, StoreConfig, dynamodb,
};

pub use lambda_http::Error;
pub use log::subscriber;

/// Kept of an invocation's time for the answer: a function that runs out of time is killed without one, and started
/// anew with cold caches.
const ANSWERING: Duration = Duration::from_millis(200);

/// The issuer that the environment describes.
pub fn issuer() -> Result<Issuer, Error> {
    log::start(Clock::system(), variable);
    let (config, wrapping) = Config::with_wrapping_from_lookup(variable)?;
    let wrapping = wrapping.into_wrapping(&config.store.aws);
    let db = dynamodb(&config.store.aws);
    Ok(Issuer::new(&config, &db, wrapping, Clock::system(), Entropy::system()))
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
    let (config, wrapping) = StoreConfig::with_wrapping_from_lookup(variable)?;
    let wrapping = wrapping.into_wrapping(&config.aws);
    let db = dynamodb(&config.aws);
    Ok(Rotator::new(&config, &db, wrapping, Clock::system(), Entropy::system()))
}

/// The authorizer that the environment describes, deciding by the policy in `policy`.
pub fn authorizer(policy: &str) -> Result<Authorizer, Error> {
    log::start(Clock::system(), variable);
    let config = AuthorizerConfig::from_lookup(variable)?;
    let db = dynamodb(&config.store.aws);
    Ok(Authorizer::new(&config, policy, &db, Clock::system(), Entropy::system())?)
}

/// Answers API Gateway's questions until the runtime ends the process. No HTTP endpoint: an error is one of the answers.
pub async fn serve_authorizer(authorizer: &Authorizer) -> Result<(), Error> {
    let invocations = &Invocations::new();
    lambda_runtime::run(service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let span = invocations.span(&event.context.request_id);
        // Boxed: the compiler's own recursion ends before the future's layout does.
        let answered = Box::pin(authorizer.authorize(event.payload));
        async move { answered.await.map_err(Error::from) }.instrument(span)
    }))
    .await
}

/// Runs a rotation for every event, whatever it says, until the runtime ends the process. No HTTP endpoint: a run
/// that fails fails loudly, so that the schedule tries again and the alarm rings.
pub async fn serve_rotation(rotator: &Rotator) -> Result<(), Error> {
    let invocations = &Invocations::new();
    lambda_runtime::run(service_fn(move |event: LambdaEvent<IgnoredAny>| {
        rotate(rotator).instrument(invocations.span(&event.context.request_id))
    }))
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
    let adapter = Adapter::from(service_fn(move |event: lambda_http::Request| {
        let context = event.lambda_context_ref();
        let left = time_left(context.map_or(0, |context| context.deadline), Clock::system().now());
        let span = invocations.span(context.map_or("", |context| &context.request_id));
        let answered = async move {
            let answered = tokio::time::timeout(left, answer(request(event))).await;
            Ok::<_, Error>(answered.unwrap_or_else(|_| endpoints::out_of_time()))
        };
        answered.instrument(span)
    }));
    lambda_runtime::run(adapter.map_request(decodable)).await
}

/// `lambda_http` panics on a body that claims to be base64 and is not, and on whatever makes no URI. Neither gets there:
/// nobody looks at the authority; an odd path leads nowhere; and in place of a body or a query that cannot be read stands a
/// body that no form is, which the endpoints refuse.
pub(crate) fn decodable(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    match &mut event.payload {
        LambdaRequest::ApiGatewayV1(request) => {
            request.request_context.domain_name = None;
            let queries =
                [&mut request.multi_value_query_string_parameters, &mut request.query_string_parameters];
            let is_uri = queries.iter().all(|query| is_uri(&format!("/?{}", query.to_query_string())));
            if !is_uri {
                drop(queries.map(std::mem::take));
            }
            let head = (&mut request.headers, &mut request.request_context.stage, &mut request.path);
            make_decodable(head, is_uri, (&mut request.body, &mut request.is_base64_encoded));
        }
        LambdaRequest::ApiGatewayV2(request) => {
            request.request_context.domain_name = None;
            let query = request.raw_query_string.get_or_insert_default();
            let is_uri = is_uri(&format!("/?{query}"));
            if !is_uri {
                query.clear();
            }
            let head = (&mut request.headers, &mut request.request_context.stage, &mut request.raw_path);
            make_decodable(head, is_uri, (&mut request.body, &mut request.is_base64_encoded));
        }
        _ => {}
    }
    event
}

fn make_decodable(
    (headers, stage, path): (&mut HeaderMap, &mut Option<String>, &mut Option<String>),
    is_query_decodable: bool,
    (body, is_base64): (&mut Option<String>, &mut bool),
) {
    headers.remove(HOST);
    for part in [stage, path] {
        // A stage has no slash before it.
        let path = part.as_deref().map(|part| format!("/{}", part.trim_start_matches('/')));
        if path.is_some_and(|path| !is_uri(&path)) {
            *part = None;
        }
    }
    if let Some(path) = path.as_mut().filter(|path| !path.starts_with('/')) {
        path.clear();
    }
    let is_decodable = !*is_base64 || body.as_ref().is_none_or(|body| BASE64.decode(body).is_ok());
    if !is_decodable || !is_query_decodable {
        *is_base64 = false;
        *body = Some("%".to_owned());
    }
}

fn is_uri(text: &str) -> bool {
    text.parse::<Uri>().is_ok()
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

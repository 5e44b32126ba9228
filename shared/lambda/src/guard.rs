//! Reads API Gateway's events with `lambda_http`, and answers 400 to an event that it cannot read.
//!
//! A header value that is not visible ASCII fails the whole event there, and odd hosts, paths and queries, false base64 and
//! too many headers make it panic. Without this guard each of them would be a failed invocation.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use countersign_issuer::audit::{AuditLog, Event, Record};
use countersign_issuer::context::SourceAddress;
use countersign_issuer::http::{Request, Response, out_of_time};
use countersign_verify::{Clock, Timestamp};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, PRAGMA};
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{Adapter, Context, LambdaEvent, RequestExt, Service, service_fn};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Reserved of an invocation's time for the answer: Lambda kills a function that runs out of time, and starts it anew
/// with cold caches.
const TIME_TO_ANSWER: Duration = Duration::from_millis(200);

/// Answers events of HTTP APIs (payload 2.0) and REST APIs (payload 1.0) with the responses of an endpoint.
#[derive(Debug)]
pub struct Guard<E> {
    endpoint: E,
    clock: Clock,
    audit: AuditLog,
}

/// The answer to an event, as API Gateway reads it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer<R> {
    Converted(R),
    Unreadable(Value),
}

impl<E, F> Guard<E>
where
    E: Fn(Request) -> F + Sync,
    F: Future<Output = Response> + Send,
{
    /// A guard before `endpoint`.
    pub fn new(endpoint: E, clock: Clock, audit: AuditLog) -> Self {
        Self { endpoint, clock, audit }
    }

    /// Answers one event. Never fails and never panics, whatever the event is.
    pub async fn respond(&self, event: &str, context: Context) -> impl Serialize + use<E, F> {
        let time_left = time_left(context.deadline, self.clock.now());
        let service = service_fn(move |request| async move {
            let response = match endpoint_request(request) {
                Some(request) => self.call_endpoint(request, time_left).await,
                None => self.unreadable(),
            };
            Ok::<_, Infallible>(response)
        });
        // The endpoint runs when the call is awaited: only reading the event can panic here.
        let call = catch_unwind(AssertUnwindSafe(|| {
            let mut event = serde_json::from_str::<LambdaRequest>(event).ok()?;
            if has_fragment(&event) {
                return None;
            }
            keep_repeated_headers(&mut event);
            Some(Adapter::from(service).call(LambdaEvent::new(event, context)))
        }));
        match call {
            Ok(Some(call)) => {
                let Ok(response) = call.await;
                Answer::Converted(response)
            }
            Ok(None) | Err(_) => Answer::Unreadable(for_any_api(&self.unreadable())),
        }
    }

    /// The endpoint's response; another one if it panics or runs out of time.
    async fn call_endpoint(&self, request: Request, time_left: Duration) -> Response {
        let response = AssertUnwindSafe((self.endpoint)(request)).catch_unwind();
        match tokio::time::timeout(time_left, response).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => {
                let error = "server_error";
                self.log(Event::Failed, error, "defect: a panic");
                let description = "the server failed; the operator of this server can see why";
                error_response(StatusCode::INTERNAL_SERVER_ERROR, error, description)
            }
            Err(_) => out_of_time(&self.audit),
        }
    }

    fn unreadable(&self) -> Response {
        let (error, description) = ("invalid_request", "the event cannot be read");
        self.log(Event::Refused, error, description);
        error_response(StatusCode::BAD_REQUEST, error, description)
    }

    fn log(&self, event: Event, error: &'static str, reason: &str) {
        let (endpoint, error, reason) = (Some("any"), Some(error), Some(reason.to_owned()));
        self.audit.write(&Record { endpoint, error, reason, ..Record::new(event) });
    }
}

/// The time that the endpoint may take when the invocation ends at `deadline`, in milliseconds since 1970.
fn time_left(deadline: u64, now: Timestamp) -> Duration {
    match Timestamp::from_millis(deadline).since(now) {
        // Emulators give no deadline, or one that has passed.
        Duration::ZERO => Duration::MAX,
        left => left.saturating_sub(TIME_TO_ANSWER),
    }
}

/// Drops the single-valued headers of a REST API's event if it has the multi-valued ones too: `lambda_http` would replace a
/// repeated header by its last value.
fn keep_repeated_headers(event: &mut LambdaRequest) {
    if let LambdaRequest::ApiGatewayV1(event) = event
        && !event.multi_value_headers.is_empty()
    {
        event.headers = HeaderMap::new();
    }
}

/// A fragment would hide the query, or a part of it, from the endpoint.
fn has_fragment(event: &LambdaRequest) -> bool {
    let (path, query) = match event {
        LambdaRequest::ApiGatewayV1(event) => (event.path.as_deref(), None),
        LambdaRequest::ApiGatewayV2(event) => (event.raw_path.as_deref(), event.raw_query_string.as_deref()),
        _ => (None, None),
    };
    path.is_some_and(|path| path.contains('#')) || query.is_some_and(|query| query.contains('#'))
}

/// The request for the endpoint; none if its path is not one of a URI.
fn endpoint_request(request: lambda_http::Request) -> Option<Request> {
    let source = source_address(&request);
    // The path as it came in: that of the URI has its dot segments resolved.
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path_and_query = PathAndQuery::try_from(format!("{}{query}", request.raw_http_path())).ok()?;

    let (parts, body) = request.into_parts();
    let mut request = Request::new(body.to_vec());
    *request.method_mut() = parts.method;
    *request.uri_mut() = Uri::from(path_and_query);
    *request.headers_mut() = parts.headers;
    if let Some(source) = source {
        request.extensions_mut().insert(source);
    }
    Some(request)
}

/// The address that API Gateway saw; never one that a header names.
fn source_address(request: &lambda_http::Request) -> Option<SourceAddress> {
    let address = match request.request_context_ref()? {
        RequestContext::ApiGatewayV1(context) => context.identity.source_ip.as_deref(),
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.as_deref(),
        _ => None,
    };
    address?.parse().ok().map(SourceAddress)
}

/// JSON that no cache may store, as the endpoints answer errors (RFC 6749 section 5.2).
fn error_response(status: StatusCode, error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description });
    let mut response = Response::new(body.to_string());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// The members that HTTP APIs and REST APIs both know: which one an unreadable event came from is not known.
fn for_any_api(response: &Response) -> Value {
    let headers = response.headers().iter();
    let headers: Map<String, Value> =
        headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into()))).collect();
    let status = response.status().as_u16();
    json!({ "statusCode": status, "headers": headers, "body": response.body(), "isBase64Encoded": false })
}

//! Reads API Gateway's events with `lambda_http`, and answers 400 to an event that it cannot read.
//!
//! A control character in a header fails the whole event there, and odd hosts, paths and queries,
//! false base64 and too many headers make it panic. Without this guard each of them would be a
//! failed invocation.

use std::borrow::Cow;
use std::cell::Cell;
use std::convert::Infallible;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use countersign_issuer::audit::AuditLog;
use countersign_issuer::context::SourceAddress;
use countersign_issuer::http::{
    BodyTooLarge, MAX_BODY_BYTES, Request, Response, out_of_time, panicked, unreadable,
};
use countersign_verify::{Clock, Timestamp};
use futures_util::FutureExt;
use http::Uri;
use http::header::{HOST, HeaderMap};
use http::uri::PathAndQuery;
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{Adapter, Context, LambdaEvent, RequestExt, Service, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Reserved of an invocation's time for the answer: Lambda kills a function that runs out of time,
/// and starts it anew with cold caches.
const TIME_TO_ANSWER: Duration = Duration::from_millis(200);

/// Answers events of HTTP APIs (payload 2.0) and REST APIs (payload 1.0) with the responses of an
/// endpoint.
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
        // The endpoint runs when the call is awaited: only reading the event can panic here.
        let call = without_panic(|| {
            let mut event = parse(event)?;
            let path_and_query = take_path_and_query(&mut event)?;
            let too_large = drop_large_body(&mut event);
            let service = service_fn(move |request| {
                let mut request = endpoint_request(request, path_and_query.clone());
                if let Some(too_large) = too_large {
                    request.extensions_mut().insert(too_large);
                }
                async move { Ok::<_, Infallible>(self.call_endpoint(request, time_left).await) }
            });
            Some(Adapter::from(service).call(LambdaEvent::new(event, context)))
        });
        match call {
            Some(call) => {
                let Ok(response) = call.await;
                Answer::Converted(response)
            }
            None => Answer::Unreadable(for_any_api(&unreadable(&self.audit))),
        }
    }

    /// The endpoint's response; another one if it panics or runs out of time. The invocation does
    /// not fail then: an alarm counts the line of the panic instead.
    async fn call_endpoint(&self, request: Request, time_left: Duration) -> Response {
        let response = AssertUnwindSafe(async { (self.endpoint)(request).await }).catch_unwind();
        match tokio::time::timeout(time_left, response).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => panicked(&self.audit),
            Err(_) => out_of_time(&self.audit),
        }
    }
}

thread_local! {
    static IS_READING: Cell<bool> = const { Cell::new(false) };
}

/// Reports whether this thread is reading an event. A panic means no defect then.
pub(crate) fn is_reading() -> bool {
    IS_READING.get()
}

/// Reads with `read`; none if it panics.
fn without_panic<T>(read: impl FnOnce() -> Option<T>) -> Option<T> {
    IS_READING.set(true);
    let read = catch_unwind(AssertUnwindSafe(read));
    IS_READING.set(false);
    read.ok().flatten()
}

/// Parses an event by its payload version. `LambdaRequest` would parse every event of an HTTP API
/// as one of a REST API first, and fail at its end.
fn parse(event: &str) -> Option<LambdaRequest> {
    #[derive(Deserialize)]
    struct Versioned<'a> {
        #[serde(borrow)]
        version: Option<Cow<'a, str>>,
    }
    let Versioned { version } = serde_json::from_str(event).ok()?;
    if version.as_deref() == Some("2.0") {
        serde_json::from_str(event).map(LambdaRequest::ApiGatewayV2).ok()
    } else {
        serde_json::from_str(event).map(LambdaRequest::ApiGatewayV1).ok()
    }
}

/// The time that an answer may take when the invocation ends at `deadline`, in milliseconds
/// since 1970.
pub(crate) fn time_left(deadline: u64, now: Timestamp) -> Duration {
    match Timestamp::from_millis(deadline).since(now) {
        // Emulators give no deadline, or one that has passed.
        Duration::ZERO => Duration::MAX,
        left => left.saturating_sub(TIME_TO_ANSWER),
    }
}

/// Takes the path and the query out of an event, as they came in; none if they are not those of a
/// URI. `lambda_http` would build a URL from them and from two headers: it resolves dot segments,
/// and an odd host would move the query.
fn take_path_and_query(event: &mut LambdaRequest) -> Option<PathAndQuery> {
    let (path, query) = match event {
        LambdaRequest::ApiGatewayV1(event) => {
            // `lambda_http` would replace a repeated header by its last value.
            if !event.multi_value_headers.is_empty() {
                event.headers = HeaderMap::new();
            }
            drop_url_headers(&mut event.headers);
            drop_url_headers(&mut event.multi_value_headers);
            let single = mem::take(&mut event.query_string_parameters);
            let multiple = mem::take(&mut event.multi_value_query_string_parameters);
            let query = if multiple.is_empty() { single } else { multiple };
            (event.path.take(), query.to_query_string())
        }
        LambdaRequest::ApiGatewayV2(event) => {
            drop_url_headers(&mut event.headers);
            (event.raw_path.take(), event.raw_query_string.take().unwrap_or_default())
        }
        _ => return None,
    };
    let mut text = path.unwrap_or_default();
    if !query.is_empty() {
        text.push('?');
        text.push_str(&query);
    }
    // A fragment would hide the query, or a part of it, from the endpoint.
    if text.contains('#') { None } else { PathAndQuery::try_from(text).ok() }
}

/// Drops a body that is too long before it is decoded.
fn drop_large_body(event: &mut LambdaRequest) -> Option<BodyTooLarge> {
    // In base64, which is the longer one of the two forms.
    const MAX_ENCODED_BYTES: usize = MAX_BODY_BYTES.div_ceil(3) * 4;
    let body = match event {
        LambdaRequest::ApiGatewayV1(event) => &mut event.body,
        LambdaRequest::ApiGatewayV2(event) => &mut event.body,
        _ => return None,
    };
    body.take_if(|body| body.len() > MAX_ENCODED_BYTES).map(|_| BodyTooLarge)
}

fn drop_url_headers(headers: &mut HeaderMap) {
    headers.remove(HOST);
    headers.remove("x-forwarded-proto");
}

/// The request for the endpoint.
fn endpoint_request(request: lambda_http::Request, path_and_query: PathAndQuery) -> Request {
    let source = source_address(&request);
    let (parts, body) = request.into_parts();
    let mut request = Request::new(body.to_vec());
    *request.method_mut() = parts.method;
    *request.uri_mut() = Uri::from(path_and_query);
    *request.headers_mut() = parts.headers;
    if let Some(source) = source {
        request.extensions_mut().insert(source);
    }
    request
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

/// The members that HTTP APIs and REST APIs both know: which one an unreadable event came from is
/// not known.
fn for_any_api(response: &Response) -> Value {
    let headers = response.headers().iter();
    let headers: Map<String, Value> =
        headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into()))).collect();
    let status = response.status().as_u16();
    json!({ "statusCode": status, "headers": headers, "body": response.body(), "isBase64Encoded": false })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use countersign_issuer::audit::{Event, Record};
    use countersign_issuer::http::not_found;

    use super::*;

    const HTTP_API: &str = include_str!("../../../events/token-password.json");

    /// An event of a REST API for `POST /oauth/token`.
    fn rest_api() -> Value {
        json!({
            "resource": "/oauth/token",
            "path": "/oauth/token",
            "httpMethod": "POST",
            "headers": { "Authorization": "Basic Yg==", "X-Forwarded-For": "198.51.100.1" },
            "multiValueHeaders": {
                "Authorization": ["Basic YQ==", "Basic Yg=="],
                "X-Forwarded-For": ["198.51.100.1"],
            },
            "queryStringParameters": { "scope": "a", "é": "b" },
            "multiValueQueryStringParameters": { "scope": ["a"], "é": ["b"] },
            "pathParameters": null,
            "stageVariables": null,
            "body": "a=b",
            "isBase64Encoded": false,
            "requestContext": {
                "httpMethod": "POST",
                "path": "/prod/oauth/token",
                "stage": "prod",
                "domainName": "abc123.execute-api.eu-central-1.amazonaws.com",
                "identity": { "sourceIp": "203.0.113.7" },
            },
        })
    }

    fn http_api() -> Value {
        serde_json::from_str(HTTP_API).unwrap()
    }

    /// The event with another value at a place of it.
    fn changed(mut event: Value, place: &str, value: impl Into<Value>) -> Value {
        *event.pointer_mut(place).unwrap() = value.into();
        event
    }

    /// The answer to an event, and the audit records. `endpoint` serves it.
    async fn respond<F>(
        event: &str,
        context: Context,
        endpoint: impl Fn(Request) -> F + Sync,
    ) -> (Value, Vec<Record>)
    where
        F: Future<Output = Response> + Send,
    {
        let records = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&records);
        let audit = AuditLog::new(move |record| sink.lock().unwrap().push(record.clone()));
        let guard = Guard::new(endpoint, Clock::new(|| Timestamp::from_millis(0)), audit);
        let answer = serde_json::to_value(guard.respond(event, context).await).unwrap();
        drop(guard);
        (answer, Arc::into_inner(records).unwrap().into_inner().unwrap())
    }

    /// The request that an event becomes, if it can be read.
    async fn request(event: &Value) -> Option<Request> {
        let requests = Mutex::new(Vec::new());
        let endpoint = async |request| {
            requests.lock().unwrap().push(request);
            Response::default()
        };
        let (answer, records) = respond(&event.to_string(), Context::default(), endpoint).await;
        let request = requests.into_inner().unwrap().pop();
        if request.is_none() {
            assert_unreadable(&answer, &records);
        }
        request
    }

    /// Checks an answer's error and headers, which are those of every other error, and its audit
    /// record.
    fn assert_unreadable(answer: &Value, records: &[Record]) {
        let body = r#"{"error":"invalid_request","error_description":"the event cannot be read"}"#;
        assert_eq!((&answer["statusCode"], &answer["body"]), (&400.into(), &body.into()));
        let mut headers = answer["headers"].as_object().unwrap().clone();
        // A REST API's answer has them as lists if the event could be parsed.
        for (name, values) in answer["multiValueHeaders"].as_object().into_iter().flatten() {
            headers.insert(name.clone(), values[0].clone());
        }
        assert_eq!(Value::Object(headers), for_any_api(&not_found())["headers"]);
        let [record] = records else { panic!("{records:?}") };
        assert_eq!((record.event, record.error), (Event::Refused, Some("invalid_request")));
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_not_decoded() {
        for event in [http_api(), rest_api()] {
            // A last character that is no base64 shows whether the body was decoded.
            for (length, is_read) in [(16 * 1024, true), (1024 * 1024, false)] {
                let body = format!("{}!", "A".repeat(length));
                let event = changed(event.clone(), "/isBase64Encoded", true);
                let request = request(&changed(event, "/body", body)).await;
                assert_eq!(request.is_none(), is_read, "decoded, and not base64");
                if let Some(request) = request {
                    assert!(request.body().is_empty());
                    assert!(request.extensions().get::<BodyTooLarge>().is_some());
                }
            }
        }
    }

    #[tokio::test]
    async fn the_source_address_is_the_one_that_api_gateway_saw() {
        let forwarded = "198.51.100.1";
        let rest = rest_api();
        for event in [
            changed(http_api(), "/headers/x-forwarded-for", forwarded),
            changed(rest.clone(), "/multiValueHeaders", Value::Null),
            changed(rest.clone(), "/multiValueHeaders", json!({})),
            rest,
        ] {
            let request = request(&event).await.unwrap();
            assert_eq!(request.headers()["x-forwarded-for"], forwarded);
            let source = request.extensions().get::<SourceAddress>();
            assert_eq!(source, Some(&SourceAddress("203.0.113.7".parse().unwrap())), "{event}");
        }
    }

    #[tokio::test]
    async fn repeated_headers_and_the_query_of_a_rest_api_reach_the_endpoint() {
        let request = request(&rest_api()).await.unwrap();
        let values: Vec<_> = request.headers().get_all("authorization").iter().collect();
        assert_eq!(values, ["Basic YQ==", "Basic Yg=="]);
        let mut query: Vec<&str> = request.uri().query().unwrap().split('&').collect();
        query.sort_unstable();
        assert_eq!((request.uri().path(), query), ("/oauth/token", vec!["%C3%A9=b", "scope=a"]));
        assert_eq!(request.body(), b"a=b");
    }

    #[tokio::test]
    async fn the_path_and_the_query_arrive_as_they_were_sent() {
        for (path, query) in [
            ("/oauth/token", ""),
            ("/prod/oauth/token", "client_secret=a&x=%2B"),
            ("/oauth/x/../token", "a=b?c"),
            ("/oauth/%74oken", ""),
            ("//oauth//token/", ""),
        ] {
            let event = changed(changed(http_api(), "/rawPath", path), "/rawQueryString", query);
            let request = request(&event).await.unwrap();
            assert_eq!((request.uri().path(), request.uri().query().unwrap_or_default()), (path, query));
        }
    }

    #[tokio::test]
    async fn no_host_changes_the_path_or_the_query() {
        let http = changed(changed(http_api(), "/rawPath", "/oauth/token"), "/rawQueryString", "a=b");
        let long = "a".repeat(70_000);
        let odd =
            ["", "a`b", "a b", "[::1", ":99999999", "a#b", "a?b=", "a/b", "u@a", "a\\b", "\u{e9}", &long];
        for odd in odd {
            for name in ["host", "x-forwarded-proto"] {
                let mut http = http.clone();
                http["headers"][name] = odd.into();
                let mut rest = rest_api();
                rest["multiValueHeaders"][name] = json!([odd]);
                for (event, query) in [(http, "a=b"), (rest, "scope=a")] {
                    let request = request(&event).await.unwrap();
                    assert_eq!(request.uri().path(), "/oauth/token", "{name}: {odd:.99}");
                    assert!(request.uri().query().unwrap().contains(query), "{name}: {odd:.99}");
                    assert_eq!(request.headers().get(name), None);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_header_may_hold_any_text() {
        let event = changed(http_api(), "/headers/user-agent", "\u{e9}\t\u{2028}");
        let request = request(&event).await.unwrap();
        assert_eq!(request.headers()["user-agent"].as_bytes(), "\u{e9}\t\u{2028}".as_bytes());
    }

    #[tokio::test]
    async fn text_and_base64_become_the_same_body() {
        let text = request(&http_api()).await.unwrap();
        let event = serde_json::from_str(include_str!("../../../events/token-password-base64.json")).unwrap();
        let base64 = request(&event).await.unwrap();
        assert!(text.body().starts_with(b"grant_type=password&"));
        assert_eq!(text.body(), base64.body());
    }

    #[tokio::test]
    async fn an_event_that_cannot_be_read_is_answered_400() {
        let (http, rest) = (http_api(), rest_api());
        let many: Map<String, Value> = (0..40_000).map(|n| (format!("h{n}"), "a".into())).collect();
        let long = "a".repeat(70_000);
        let mut events = Vec::new();
        for odd in ["a\nb", "\0", "\u{7f}"] {
            events.push(changed(http.clone(), "/headers/user-agent", odd));
            events.push(changed(rest.clone(), "/multiValueHeaders/X-Forwarded-For", json!([odd])));
        }
        for odd in ["a b", "a=\0", "#client_secret=a", "a=b#c", &long] {
            events.push(changed(http.clone(), "/rawQueryString", odd));
        }
        for odd in [":99999999", "/`", "/a b", "/oauth/token#", &format!("/{long}")] {
            events.push(changed(http.clone(), "/rawPath", odd));
            events.push(changed(rest.clone(), "/path", odd));
        }
        for event in
            [changed(http.clone(), "/isBase64Encoded", true), changed(rest.clone(), "/isBase64Encoded", true)]
        {
            events.push(changed(event.clone(), "/body", "%"));
            events.push(changed(event.clone(), "/body", "grant_type=client_credentials"));
            events.push(changed(event, "/body", "e30"));
        }
        events.push(changed(http.clone(), "/requestContext/http/method", "P OST"));
        events.push(changed(rest.clone(), "/httpMethod", "P OST"));
        events.push(changed(http, "/headers", many.clone()));
        events.push(changed(rest, "/multiValueHeaders", many));
        for odd in
            [json!(null), json!({}), json!([]), json!([1]), json!("text"), json!({ "requestContext": {} })]
        {
            events.push(odd);
        }
        for event in events {
            assert!(request(&event).await.is_none(), "{:.2000}", event.to_string());
        }
        let endpoint = async |_| unreachable!("it cannot be read");
        for event in ["", "{", "\u{feff}{}"] {
            let (answer, records) = respond(event, Context::default(), endpoint).await;
            assert_unreadable(&answer, &records);
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_500_and_logged() {
        let at_once = |_: Request| -> std::future::Ready<Response> { panic!("the password is hunter2") };
        let later = async |_: Request| -> Response {
            tokio::task::yield_now().await;
            panic!("the password is hunter2")
        };
        for event in [http_api().to_string(), rest_api().to_string()] {
            for (answer, records) in [
                respond(&event, Context::default(), at_once).await,
                respond(&event, Context::default(), later).await,
            ] {
                assert_eq!(answer["statusCode"], 500);
                assert!(
                    answer["body"].as_str().unwrap().starts_with(r#"{"error":"server_error""#),
                    "{answer}"
                );
                let [record] = records.as_slice() else { panic!("{records:?}") };
                assert_eq!((record.event, record.error), (Event::Failed, Some("server_error")));
                assert!(!format!("{answer} {record:?}").contains("hunter2"));
            }
        }
    }

    #[tokio::test]
    async fn an_endpoint_that_takes_too_long_is_answered_for() {
        let mut context = Context::default();
        context.deadline = 201;
        let endpoint = async |_: Request| std::future::pending().await;
        let (answer, records) = respond(HTTP_API, context, endpoint).await;
        assert_eq!(answer["statusCode"], 503);
        assert_eq!(
            records[0].reason.as_deref(),
            Some("temporarily unavailable: the invocation's time is up")
        );
    }

    #[test]
    fn the_response_is_due_before_the_invocation_ends() {
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(time_left(1_003_000, now), Duration::from_millis(2800));
        assert_eq!(time_left(1_000_100, now), Duration::ZERO);
        assert_eq!(time_left(600_000, now), Duration::MAX);
    }

    #[tokio::test]
    async fn each_kind_of_api_gets_the_members_that_it_knows() {
        let endpoint = async |_: Request| not_found();
        let (http, _) = respond(HTTP_API, Context::default(), endpoint).await;
        let (rest, _) = respond(&rest_api().to_string(), Context::default(), endpoint).await;
        for answer in [&http, &rest] {
            assert_eq!((&answer["statusCode"], &answer["isBase64Encoded"]), (&404.into(), &false.into()));
            assert!(answer["body"].as_str().unwrap().contains("invalid_request"), "{answer}");
        }
        assert_eq!(http["headers"]["cache-control"], "no-store");
        assert_eq!(rest["multiValueHeaders"]["cache-control"], json!(["no-store"]));
        // cargo lambda wants `cookies` from an HTTP API; a REST API rejects members that it does
        // not know.
        assert_eq!((&http["cookies"], rest.get("cookies")), (&json!([]), None));
    }
}

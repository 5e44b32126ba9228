//! The authorizer function: events of API Gateway go through the code that the binary runs, and its
//! responses are read as API Gateway reads them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authorizer::{Authorizer, AuthorizerConfig, AuthorizerSetupError};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use countersign_issuer::audit::{AuditLog, Event, Record};
use countersign_issuer::random::Random;
use countersign_issuer::records::ClaimName;
use countersign_issuer::store::dynamodb;
use countersign_tests::in_process::{InProcess, Post, SERVICE_SECRET, clock_of_tokio};
use countersign_tests::store::Fault;
use countersign_tests::{ALICE, CLIENT_CREDENTIALS, TestClock, TestIssuer};
use countersign_verify::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

const POLICY: &str = include_str!("../../functions/authorizer/policy.toml");
const SHAPES: [&str; 3] = ["authorizer-http", "authorizer-rest-request", "authorizer-rest-token"];

fn authorizer(issuer: &TestIssuer, caching: &str, policy: &str) -> Result<Authorizer, AuthorizerSetupError> {
    authorizer_with(issuer, caching, policy, issuer.clock.clock(), AuditLog::tracing())
}

/// An authorizer, and the audit records that it writes.
fn with_records(issuer: &TestIssuer, caching: &str, policy: &str) -> (Authorizer, Arc<Mutex<Vec<Record>>>) {
    let records = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&records);
    let audit = AuditLog::new(move |record| written.lock().unwrap().push(record.clone()));
    (authorizer_with(issuer, caching, policy, issuer.clock.clock(), audit).unwrap(), records)
}

fn authorizer_with(
    issuer: &TestIssuer,
    caching: &str,
    policy: &str,
    clock: Clock,
    audit: AuditLog,
) -> Result<Authorizer, AuthorizerSetupError> {
    let lookup = |name: &str| match name {
        "COUNTERSIGN_AUTHORIZER_CACHING" => Some(caching.to_owned()),
        _ => issuer.variable(name),
    };
    let config = AuthorizerConfig::from_lookup(lookup).unwrap();
    let db = dynamodb(&config.issuer.store.aws);
    Authorizer::new(&config, policy, &db, clock, Random::system(), audit)
}

/// Reads an event file and puts this request into it.
fn event(shape: &str, method: &str, path: &str, authorization: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../events/{shape}.json"));
    let text = fs::read_to_string(file).unwrap().replace("Bearer ACCESS_TOKEN", authorization);
    let text = text.replace("GET", method).replace("/api/calls", path);
    serde_json::from_str(&text).unwrap()
}

/// The status with which API Gateway answers a request to `arn` after this outcome of the
/// authorizer.
fn status(outcome: &Result<Value, String>, arn: &str) -> u16 {
    match outcome {
        Err(message) if message == "Unauthorized" => 401,
        Err(_) => 500,
        Ok(answer) if is_allowed(&answer["policyDocument"], arn) => 200,
        Ok(_) => 403,
    }
}

/// Evaluates a policy as IAM does: an explicit denial wins, and what no statement allows is denied.
fn is_allowed(document: &Value, arn: &str) -> bool {
    assert_eq!(document["Version"], "2012-10-17");
    let effects: Vec<&str> = document["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|statement| {
            assert_eq!(statement["Action"], "execute-api:Invoke");
            let mut resources = statement["Resource"].as_array().unwrap().iter();
            resources.any(|pattern| glob(pattern.as_str().unwrap().as_bytes(), arn.as_bytes()))
        })
        .map(|statement| statement["Effect"].as_str().unwrap())
        .collect();
    effects.contains(&"Allow") && !effects.contains(&"Deny")
}

/// Matches a pattern of IAM: `*` stands for any text, slashes included, and `?` for any one
/// character.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        ([b'?', rest @ ..], [_, text @ ..]) => glob(rest, text),
        ([one, rest @ ..], [other, text @ ..]) => one == other && glob(rest, text),
        _ => false,
    }
}

async fn ask(authorizer: &Authorizer, event: &Value) -> Result<Value, String> {
    let answer = authorizer.authorize(event.clone(), Duration::MAX).await;
    answer.map(|answer| serde_json::to_value(answer).unwrap()).map_err(|error| error.to_string())
}

fn arn(event: &Value) -> &str {
    event["routeArn"].as_str().or(event["methodArn"].as_str()).unwrap()
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{id}:{secret}")))
}

/// Authorization headers with the tokens of three kinds of caller.
struct Callers {
    service: String,
    voice: String,
    alice: String,
}

impl Callers {
    async fn log_in(issuer: &TestIssuer) -> Self {
        let bearer = async |client: &str, form: &[(&str, &str)], more: &[(&str, &str)]| {
            format!("Bearer {}", issuer.token(client, form, more).await.access_token())
        };
        Self {
            service: bearer("demo-service", CLIENT_CREDENTIALS, &[("brandKey", "acme")]).await,
            voice: bearer("demo-voice", CLIENT_CREDENTIALS, &[]).await,
            alice: bearer("demo-app", ALICE, &[]).await,
        }
    }
}

#[tokio::test]
async fn the_policy_decides_every_shape_of_event_with_caching_and_without() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    let voice = basic("demo-voice", "demo-voice-secret");
    let brands = basic("demo-service", "demo-service-secret");
    let wrong = basic("demo-voice", "wrong");
    for caching in ["off", "on"] {
        let authorizer = authorizer(&issuer, caching, POLICY).unwrap();
        for (method, path, caller, expected) in [
            ("GET", "/api/calls", &callers.voice, 200),
            ("GET", "/api/calls", &callers.service, 403),
            ("POST", "/api/calls", &callers.voice, 200),
            ("POST", "/api/calls", &callers.alice, 403),
            ("GET", "/api/brands/acme/reports", &callers.service, 200),
            ("GET", "/api/brands/globex/reports", &callers.service, 403),
            ("DELETE", "/api/subscribers/17", &callers.alice, 200),
            ("DELETE", "/api/subscribers/17", &callers.voice, 403),
            ("DELETE", "/api/subscribers/17/invoices", &callers.alice, 403),
            ("DELETE", "/api/subscribers/..%2Fbrands", &callers.alice, 403),
            ("DELETE", "/api/subscribers/17;x", &callers.alice, 403),
            ("GET", "/api/unheard-of", &callers.voice, 403),
            ("GET", "/api/calls", &voice, 200),
            ("GET", "/api/reports", &voice, 403),
            // The client has several brands, and HTTP Basic cannot name one.
            ("GET", "/api/reports", &brands, 403),
            ("GET", "/api/calls", &wrong, 401),
            ("GET", "/api/calls", &"Bearer garbage".to_owned(), 401),
            ("GET", "/api/calls", &"Bearer".to_owned(), 401),
            ("GET", "/api/calls", &"Digest x".to_owned(), 401),
            ("GET", "/api/calls", &format!("{voice},{voice}"), 401),
        ] {
            for shape in SHAPES {
                let event = event(shape, method, path, caller);
                let outcome = ask(&authorizer, &event).await;
                // An HTTP API answers 403 to everything that its authorizer refuses, never 401.
                let is_http = shape == "authorizer-http";
                let expected = match shape {
                    _ if is_http && expected == 401 => 403,
                    // Its event has no address by which guesses could be limited.
                    "authorizer-rest-token" if caller.starts_with("Basic") => 401,
                    _ => expected,
                };
                let what = format!("{shape}, caching {caching}: {method} {path} {caller}: {outcome:?}");
                assert_eq!(status(&outcome, arn(&event)), expected, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_response_that_is_cached_against_the_advice_opens_no_other_route() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    let authorizer = authorizer(&issuer, "off", POLICY).unwrap();
    let requests = [
        ("GET", "/api/whoami"),
        ("GET", "/api/reports"),
        ("GET", "/api/brands/acme/reports"),
        ("GET", "/api/brands/globex/reports"),
        ("GET", "/api/calls"),
        ("POST", "/api/calls"),
        ("DELETE", "/api/subscribers/17"),
        ("DELETE", "/api/subscribers/18"),
    ];
    for shape in SHAPES {
        for caller in [&callers.service, &callers.voice, &callers.alice] {
            for (method, path) in requests {
                let cached = ask(&authorizer, &event(shape, method, path, caller)).await;
                let members = cached.as_ref().unwrap().as_object().unwrap();
                let names: BTreeSet<&str> = members.keys().map(String::as_str).collect();
                let policy = BTreeSet::from(["context", "policyDocument", "principalId"]);
                assert_eq!(names, policy, "{shape}: never a simple answer");
                for (other_method, other_path) in requests {
                    let other = event(shape, other_method, other_path, caller);
                    let is_same = (method, path) == (other_method, other_path);
                    let what = format!("{shape}: {method} {path}, then {other_method} {other_path}");
                    assert!(is_same || status(&cached, arn(&other)) == 403, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn basic_without_the_callers_address_is_refused_with_the_remedy() {
    let issuer = TestIssuer::start().await;
    let voice = basic("demo-voice", "demo-voice-secret");
    let mut test_console = event("authorizer-rest-request", "GET", "/api/calls", &voice);
    test_console["requestContext"]["identity"]["sourceIp"] = "test-invoke-source-ip".into();
    for without_address in [event("authorizer-rest-token", "GET", "/api/calls", &voice), test_console] {
        let (authorizer, records) = with_records(&issuer, "off", POLICY);
        for _ in 0..25 {
            assert_eq!(ask(&authorizer, &without_address).await, Err("Unauthorized".into()));
        }
        let records = records.lock().unwrap();
        assert!(records.iter().all(|record| record.event == Event::CallerRefused));
        let reason = records[0].reason.as_deref().unwrap();
        assert!(reason.contains("use an authorizer of type REQUEST"), "{reason}");
    }
    assert_eq!(issuer.count("attempts").await, 0, "no guess was counted");
    let request = event("authorizer-rest-request", "GET", "/api/calls", &voice);
    let authorizer = authorizer(&issuer, "off", POLICY).unwrap();
    assert_eq!(status(&ask(&authorizer, &request).await, arn(&request)), 200);
}

#[tokio::test]
async fn each_decision_is_one_record_with_its_own_members() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    let request = event("authorizer-http", "GET", "/api/nothing", &callers.voice);
    let (authorizer, records) = with_records(&issuer, "off", POLICY);
    assert_eq!(status(&ask(&authorizer, &request).await, arn(&request)), 403);
    let refused = records.lock().unwrap().drain(..).collect::<Vec<_>>();
    let [refused] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!((refused.event, refused.path.as_deref()), (Event::CallerRefused, Some("/api/nothing")));
    assert_eq!(refused.client_id.as_deref(), Some("demo-voice"));

    // The caller's ARNs are too many for a response.
    let rule = |n: usize| format!("[[rule]]\nmethods = [\"GET\"]\npath = \"/{}/{n}\"\n", "long".repeat(50));
    let policy: String = (0..50).map(rule).collect();
    let (authorizer, records) = with_records(&issuer, "on", &policy);
    assert_eq!(ask(&authorizer, &request).await, Err("temporarily unavailable".into()));
    let failed = records.lock().unwrap().drain(..).collect::<Vec<_>>();
    let [failed] = failed.as_slice() else { panic!("{failed:?}") };
    assert_eq!((failed.event, failed.endpoint), (Event::Failed, Some("authorizer")));
    assert_eq!((failed.path.as_deref(), failed.method.as_deref()), (None, None), "it is no refusal");
    assert_eq!(failed.client_id.as_deref(), Some("demo-voice"));
}

#[tokio::test]
async fn the_path_of_a_refused_caller_is_logged_cut_and_escaped_and_without_its_query() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    let (authorizer, records) = with_records(&issuer, "off", POLICY);
    let long = format!("/api/{}", "a".repeat(5000));
    for (sent, logged) in [
        ("/api/nothing?access_token=eyJhbGciOi", "/api/nothing".to_owned()),
        ("/api/\u{1b}[2J\r\n\u{202e}", r"/api/\u{1b}[2J\r\n\u{202e}".to_owned()),
        (&long, format!("{}…", &long[..128])),
    ] {
        let mut request = event("authorizer-http", "GET", "/api/calls", &callers.voice);
        request["rawPath"] = sent.into();
        request["routeKey"] = "$default".into();
        assert_eq!(status(&ask(&authorizer, &request).await, arn(&request)), 403, "{sent}");
        let record = records.lock().unwrap().pop().unwrap();
        assert_eq!(record.path, Some(logged));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_in_time_however_slow_the_store_is() {
    let clock = clock_of_tokio();
    let world = InProcess::start(&clock, &[]).await;
    let token = Post::new("/oauth/token", "service", SERVICE_SECRET, CLIENT_CREDENTIALS);
    let token = token.to(&world.issuer).await.access_token();
    let payload = token.split_once('.').unwrap().1;
    let header = BASE64URL.encode(r#"{"alg":"ES256","typ":"at+jwt","kid":"unknown"}"#);
    let unknown_key = format!("Bearer {header}.{payload}");
    // Two client ids may be meant, and each call to the store fails once and is slow then.
    let two_ids = basic("x%2Dy", "wrong");
    for (caller, time_left) in [
        (&two_ids, Duration::MAX),
        (&two_ids, Duration::from_secs(3)),
        (&unknown_key, Duration::MAX),
        (&unknown_key, Duration::from_secs(1)),
    ] {
        world.store.heal();
        let authorizer = world.authorizer("authorizer", POLICY, &clock);
        let warm = event("authorizer-http", "GET", "/api/calls", &format!("Bearer {token}"));
        authorizer.authorize(warm, time_left).await.unwrap();
        // By now the ring is read again before a token is refused.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut calls = 0;
        world.store.set_faults(move |_| {
            calls += 1;
            Some(if calls % 2 == 1 { Fault::Hang } else { Fault::SlowBody })
        });
        let started = Instant::now();
        let answer =
            authorizer.authorize(event("authorizer-http", "GET", "/api/calls", caller), time_left).await;
        let took = started.elapsed();
        assert_eq!(answer.unwrap_err().to_string(), "temporarily unavailable", "{caller} {time_left:?}");
        // API Gateway waits for ten seconds.
        assert!(took <= time_left.min(Duration::from_millis(9500)), "{caller} {time_left:?}: {took:?}");
    }
}

#[tokio::test]
async fn a_request_is_decided_as_of_the_moment_when_it_came() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    let clock = TestClock::at(issuer.clock.now());
    // An hour, which is the life of a token, passes each time that the clock is read.
    let racing = Clock::new({
        let clock = clock.clone();
        move || {
            let now = clock.now();
            clock.advance(Duration::from_secs(3600));
            now
        }
    });
    let authorizer = authorizer_with(&issuer, "off", POLICY, racing, AuditLog::tracing()).unwrap();
    let request = event("authorizer-http", "GET", "/api/calls", &callers.voice);
    assert_eq!(status(&ask(&authorizer, &request).await, arn(&request)), 200);
    assert_eq!(status(&ask(&authorizer, &request).await, arn(&request)), 403, "the token has expired by now");
}

#[tokio::test]
async fn a_cached_response_neither_allows_nor_denies_another_route_or_brand() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    let authorizer = authorizer(&issuer, "on", POLICY).unwrap();
    let requests = [
        ("GET", "/api/whoami"),
        ("GET", "/api/reports"),
        ("POST", "/api/reports"),
        ("GET", "/api/brands/acme/reports"),
        ("GET", "/api/brands/globex/reports"),
        ("GET", "/api/brands/acme/reports/secret"),
        ("GET", "/api/brands/acme"),
        ("GET", "/api/calls"),
        ("POST", "/api/calls"),
        ("DELETE", "/api/subscribers/17"),
        ("DELETE", "/api/subscribers/17/invoices"),
        ("DELETE", "/api/subscribers/"),
        ("DELETE", "/api/subscribers/.."),
        ("DELETE", "/api/subscribers/."),
        ("GET", "/api/subscribers/17"),
        ("GET", "/api/unheard-of"),
    ];
    for caller in [&callers.service, &callers.voice, &callers.alice] {
        for shape in SHAPES {
            let mut answers = Vec::new();
            for (method, path) in requests {
                let event = event(shape, method, path, caller);
                let uncached = ask(&self::authorizer(&issuer, "off", POLICY).unwrap(), &event).await;
                let right = status(&uncached, arn(&event));
                answers.push((event.clone(), right, ask(&authorizer, &event).await));
            }
            // API Gateway may cache the response to any of the requests; it must be right for every
            // other.
            for (first, _, kept) in &answers {
                for (event, right, _) in &answers {
                    let what = format!("{} then {}", arn(first), arn(event));
                    assert_eq!(status(kept, arn(event)), *right, "{shape}: {what}: {kept:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn claims_reach_the_integration_in_the_types_that_each_api_allows() {
    let issuer = TestIssuer::start().await;
    let claim = ClaimName::parse("user_name").unwrap();
    issuer.change_client("demo-app", |client| client.username_claim = Some(claim)).await;
    let callers = Callers::log_in(&issuer).await;
    for caching in ["off", "on"] {
        let authorizer = authorizer(&issuer, caching, POLICY).unwrap();
        for shape in SHAPES {
            let answer = ask(&authorizer, &event(shape, "GET", "/api/whoami", &callers.alice)).await.unwrap();
            let context = answer["context"].as_object().unwrap();
            assert_eq!(
                (&context["operator"], &context["user_name"]),
                (&"alice.ops".into(), &"alice.ops".into())
            );
            assert_eq!(context["brandKey"], "acme");
            assert_eq!(context["iss"], issuer.url);
            if shape == "authorizer-http" {
                assert_eq!(context["roles"], json!(["care-agent", "billing"]));
            } else {
                assert_eq!(context["roles"], "care-agent billing");
                assert!(context.values().all(|value| value.is_string() || value.is_number()));
                assert_eq!(answer["principalId"], context["sub"]);
            }
        }
    }
}

#[tokio::test]
async fn an_event_of_another_shape_fails_with_the_reason() {
    let issuer = TestIssuer::start().await;
    let authorizer = authorizer(&issuer, "off", POLICY).unwrap();
    let mut payload_1 = event("authorizer-rest-request", "GET", "/api/calls", "Bearer x");
    payload_1["version"] = "1.0".into();
    let mut no_arn = event("authorizer-rest-token", "GET", "/api/calls", "Bearer x");
    no_arn["methodArn"] = "GET/api/calls".into();
    for (event, reason) in [
        (json!({}), "neither version 2.0 nor type REQUEST or TOKEN"),
        (json!([1]), "invalid"),
        (json!("text"), "invalid"),
        (json!(null), "invalid"),
        (json!({ "version": 2 }), "invalid"),
        (json!({ "version": "2.0" }), "missing or malformed"),
        (json!({ "type": "TOKEN", "authorizationToken": "Bearer x" }), "missing or malformed"),
        (payload_1, "set AuthorizerPayloadFormatVersion to 2.0"),
        (no_arn, "missing or malformed"),
    ] {
        let error = ask(&authorizer, &event).await.unwrap_err();
        assert!(error.contains(reason), "{event}: {error}");
    }
}

#[tokio::test]
async fn the_path_is_the_one_on_the_route_that_api_gateway_chose() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    // Every caller may read what is below `/prod`, and this one may not read the calls.
    let policy = format!("[[rule]]\nmethods = [\"GET\"]\npath = \"/prod/{{*rest}}\"\n{POLICY}");
    for (route, raw_path, parameters, arn_path, expected) in [
        ("ANY /{proxy+}", "/prod/api/calls", json!({ "proxy": "api/calls" }), "api/calls", 403),
        ("ANY /{proxy+}", "/prod/api/calls", json!({ "proxy": "api/calls" }), "elsewhere", 403),
        ("ANY /{proxy+}", "/prod/api/calls", json!({ "proxy": "prod/api/calls" }), "prod/api/calls", 200),
        ("ANY /prod/{proxy+}", "/prod/prod/x", json!({ "proxy": "x" }), "prod/x", 200),
        ("ANY /prod/{proxy+}", "/prod/x", json!({ "proxy": "x" }), "prod/x", 200),
        ("$default", "/prod/api/calls", Value::Null, "api/calls", 403),
        ("$default", "/prod/api/calls", Value::Null, "prod/api/calls", 200),
        // API Gateway says neither, or both.
        ("$default", "/prod/api/calls", Value::Null, "elsewhere", 403),
        ("ANY /{proxy+}", "/prod/api/calls", Value::Null, "elsewhere", 403),
        ("ANY /{proxy+}", "/prod/api/calls", json!({ "proxy": "api/calls" }), "prod/api/calls", 403),
        // The route is another one than the path.
        ("GET /prod/x", "/prod/api/calls", Value::Null, "prod/x", 403),
        ("GET /prod/{one}", "/prod/two/segments", Value::Null, "prod/two/segments", 403),
    ] {
        let mut request = event("authorizer-http", "GET", "/api/calls", &callers.service);
        request["requestContext"]["stage"] = "prod".into();
        request["routeKey"] = route.into();
        request["rawPath"] = raw_path.into();
        request["pathParameters"] = parameters;
        request["routeArn"] =
            format!("arn:aws:execute-api:eu-central-1:123456789012:a1b2/prod/GET/{arn_path}").into();
        let (authorizer, records) = with_records(&issuer, "off", &policy);
        let outcome = ask(&authorizer, &request).await;
        assert_eq!(status(&outcome, arn(&request)), expected, "{route} {raw_path} {arn_path}: {outcome:?}");
        assert_eq!(records.lock().unwrap().len(), usize::from(expected == 403));
        // A response that is right for this request only must not be cached.
        let (caching, _) = with_records(&issuer, "on", "[[rule]]\nmethods = [\"GET\"]\npath = \"/x\"");
        let is_unknown =
            records.lock().unwrap().iter().any(|record| record.reason.as_ref().unwrap().contains("route"));
        assert_eq!(ask(&caching, &request).await.is_err(), is_unknown);
    }
}

#[tokio::test]
async fn a_stage_is_not_part_of_the_path_and_a_repeated_header_is_refused() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    let authorizer = authorizer(&issuer, "off", POLICY).unwrap();
    for (stage, route, raw_path, expected) in [
        ("prod", "GET /api/calls", "/prod/api/calls", 200),
        ("prod", "GET /api/calls", "/api/calls", 200),
        ("api", "GET /api/calls", "/api/api/calls", 200),
        ("api", "GET /api/calls", "/api/calls", 200),
        ("$default", "$default", "/api/calls", 200),
        ("$default", "ANY /{proxy+}", "/api/calls", 200),
        ("$default", "$default", "/prod/api/calls", 403),
        ("prod", "$default", "/production/api/calls", 403),
    ] {
        let mut staged = event("authorizer-http", "GET", "/api/calls", &callers.voice);
        staged["routeKey"] = route.into();
        staged["rawPath"] = raw_path.into();
        staged["requestContext"]["stage"] = stage.into();
        let outcome = ask(&authorizer, &staged).await;
        assert_eq!(status(&outcome, arn(&staged)), expected, "{stage} {route} {raw_path}");
    }
    // An HTTP API decodes the path: `acme%2Freports`, one segment for its route, arrives as two.
    let mut decoded = event("authorizer-http", "GET", "/api/brands/acme/reports", &callers.service);
    decoded["routeKey"] = "GET /api/brands/{brandKey}".into();
    assert_eq!(status(&ask(&authorizer, &decoded).await, arn(&decoded)), 403);
    // Unreadable members that the decision does not need are ignored.
    let mut odd = event("authorizer-rest-request", "GET", "/api/calls", &callers.voice);
    odd["requestContext"]["identity"]["sourceIp"] = "test-invoke-source-ip".into();
    odd["multiValueHeaders"]["X-Empty"] = Value::Null;
    assert_eq!(status(&ask(&authorizer, &odd).await, arn(&odd)), 200);
    let mut repeated = event("authorizer-rest-request", "GET", "/api/calls", &callers.voice);
    repeated["multiValueHeaders"]["authorization"] = json!([callers.voice]);
    assert_eq!(ask(&authorizer, &repeated).await, Err("Unauthorized".into()));
}

#[tokio::test]
async fn a_response_to_a_path_with_wildcards_allows_no_other_path() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    for caching in ["off", "on"] {
        let authorizer = authorizer(&issuer, caching, POLICY).unwrap();
        for path in ["/api/subscribers/*", "/api/subscribers/?", "/api/*", "/*"] {
            for shape in SHAPES {
                let event = event(shape, "DELETE", path, &callers.alice);
                let outcome = ask(&authorizer, &event).await.unwrap();
                let deeper = arn(&event).replace(path, "/api/subscribers/17/invoices");
                if outcome["policyDocument"].is_object() {
                    assert!(!is_allowed(&outcome["policyDocument"], &deeper), "{shape} {path}: {outcome}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_policy_that_arns_cannot_express_is_refused_with_caching_and_accepted_without() {
    let issuer = TestIssuer::start().await;
    let rule = |path: &str, rest: &str| format!("[[rule]]\nmethods = [\"GET\"]\npath = \"{path}\"\n{rest}\n");
    for (paths, is_expressible) in [
        (["/users/{id}", "/users/{id}/orders"], false),
        (["/users/{id}", "/users/me"], false),
        (["/files/{*rest}", "/files/secret"], false),
        (["/{a}/x", "/y/{b}"], false),
        (["/a/{x}/{*rest}", "/b"], false),
        (["/users/{id}", "/orders/{id}"], true),
        (["/users", "/users/{id}"], true),
        // These paths are equal in the loosest interpretation, in which the policy refuses
        // ambiguous paths.
        (["/{tenant}/reports", "/Admin/Reports"], false),
        (["/a/{x}/", "/a/b"], false),
    ] {
        let policy = paths.map(|path| rule(path, "")).concat();
        let refused = authorizer(&issuer, "on", &policy).err().map(|error| error.to_string());
        assert_eq!(refused.is_none(), is_expressible, "{paths:?}: {refused:?}");
        let names_the_remedy = |error: &String| error.contains("line 1") && error.contains("caching off");
        assert!(refused.as_ref().is_none_or(names_the_remedy), "{refused:?}");
        assert!(authorizer(&issuer, "off", &policy).is_ok());
    }
    // The value of a claim fills no more than one segment, but may equal a segment of another rule.
    let bound = "equal = { brand = \"brandKey\" }";
    let own = rule("/brands/{brand}", bound);
    assert!(authorizer(&issuer, "on", &(own.clone() + &rule("/brands/{brand}/reports", bound))).is_ok());
    assert!(authorizer(&issuer, "on", &(own + &rule("/brands/all", ""))).is_err());
}

#[tokio::test]
async fn a_guess_that_comes_too_soon_gets_no_cacheable_response() {
    let issuer = TestIssuer::start().await;
    for caching in ["off", "on"] {
        let authorizer = authorizer(&issuer, caching, POLICY).unwrap();
        // Of 256 guesses the throttle may take one for a repetition, which is not counted.
        let mut outcome = Ok(());
        for n in 0..40 {
            let wrong = basic("demo-voice", &format!("{caching} {n}"));
            outcome =
                ask(&authorizer, &event("authorizer-http", "GET", "/api/calls", &wrong)).await.map(drop);
            if outcome.is_err() {
                break;
            }
        }
        assert_eq!(outcome, Err("temporarily unavailable".into()));
        let right = event("authorizer-http", "GET", "/api/calls", &basic("demo-voice", "demo-voice-secret"));
        assert_eq!(
            ask(&authorizer, &right).await,
            Err("temporarily unavailable".into()),
            "a chosen secret waits"
        );
    }
}

#[tokio::test]
async fn without_a_store_a_request_fails_and_is_not_refused() {
    let issuer = TestIssuer::start().await;
    let callers = Callers::log_in(&issuer).await;
    let authorizer = authorizer(&issuer, "off", POLICY).unwrap();
    issuer.dynamodb().delete_table().table_name("countersign-signing-keys").send().await.unwrap();
    for shape in SHAPES {
        let outcome = ask(&authorizer, &event(shape, "GET", "/api/calls", &callers.voice)).await;
        assert_eq!(outcome, Err("temporarily unavailable".into()));
    }
}

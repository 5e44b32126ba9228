//! The tower layer around an axum router, and HTTP Basic against a counted token endpoint.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_verify::policy::Policy;
use countersign_verify::tower::ProtectLayer;
use countersign_verify::{BuildError, Clock, JwkSet, Timestamp, Verified, Verifier, VerifierBuilder};
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::forge::{AUDIENCE, Forge, ISSUER, NOW, claims};

const POLICY: &str = r#"
[[rule]]
methods = ["GET"]
path = "/a"
scopes = ["a"]

[[rule]]
methods = ["GET"]
path = "/c"
scopes = ["b", "c"]
"#;

fn protected(layer: ProtectLayer) -> Router {
    let who = async |Extension(caller): Extension<Verified>| caller.sub.clone();
    Router::new().route("/a", get(who)).route("/c", get(who)).layer(layer)
}

async fn call(api: &Router, path: &str, authorization: &[&str]) -> Response<Body> {
    let mut request = Request::get(path);
    for value in authorization {
        request = request.header(AUTHORIZATION, *value);
    }
    api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

fn token(forge: &Forge) -> String {
    forge.sign(&forge.header().to_string(), &claims().to_string())
}

#[tokio::test]
async fn every_outcome_is_answered_as_rfc_6750_says_and_with_an_empty_body() {
    let forge = Forge::new();
    let policy = Policy::from_toml(POLICY).unwrap();
    let api = protected(ProtectLayer::new(forge.verifier().build().unwrap(), policy));
    let bearer = format!("Bearer {}", token(&forge));
    let refused = r#"Bearer error="insufficient_scope""#;
    for (path, authorization, status, challenge) in [
        ("/a", &[][..], 401, "Bearer"),
        ("/a", &["Basic c3ZjOng="], 401, "Bearer"),
        ("/a", &["Bearer"], 400, r#"Bearer error="invalid_request""#),
        ("/a", &["Bearer a", "Bearer b"], 400, r#"Bearer error="invalid_request""#),
        ("/a", &["Bearer a.b.c"], 401, r#"Bearer error="invalid_token""#),
        ("/c", &[&bearer], 403, r#"Bearer error="insufficient_scope", scope="b c""#),
        ("/nowhere", &[&bearer], 403, refused),
        ("/nowhere", &[], 401, "Bearer"),
        ("/%61", &[&bearer], 403, refused),
    ] {
        let answer = call(&api, path, authorization).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {authorization:?}");
        assert_eq!(answer.headers()[WWW_AUTHENTICATE], challenge);
        assert!(to_bytes(answer.into_body(), 1).await.unwrap().is_empty());
    }
    let answer = call(&api, "/a", &[&bearer]).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(to_bytes(answer.into_body(), 10).await.unwrap(), "svc");
}

#[tokio::test]
async fn without_keys_nobody_is_called_a_liar() {
    let forge = Forge::new();
    // A port on which nobody listens: it was given back.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let verifier = Verifier::builder(ISSUER).audience(AUDIENCE).jwks_url(format!("http://127.0.0.1:{port}/"));
    let policy = Policy::from_toml(POLICY).unwrap();
    let api = protected(ProtectLayer::new(verifier.build().unwrap(), policy));
    let answer = call(&api, "/a", &[&format!("Bearer {}", token(&forge))]).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()[RETRY_AFTER], "1");
    assert!(!answer.headers().contains_key(WWW_AUTHENTICATE));
}

/// A token endpoint that answers what it is told, and counts.
struct Exchange {
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<(StatusCode, String)>>,
    last: Arc<Mutex<Option<(HeaderMap, String)>>>,
    seconds: Arc<AtomicU64>,
    api: Router,
}

impl Exchange {
    async fn of(forge: &Forge) -> Self {
        let mut long = claims();
        long["exp"] = json!(NOW + 1000);
        let token = forge.sign(&forge.header().to_string(), &long.to_string());
        let good = json!({ "access_token": token, "token_type": "Bearer" }).to_string();
        let (asked, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        let answer = Arc::new(Mutex::new((StatusCode::OK, good)));
        let served = (Arc::clone(&asked), Arc::clone(&answer), Arc::clone(&last));
        let handler = post(async move |headers: HeaderMap, body: String| {
            served.0.fetch_add(1, Ordering::SeqCst);
            *served.2.lock().unwrap() = Some((headers, body));
            let (status, body) = served.1.lock().unwrap().clone();
            (status, [(RETRY_AFTER, "7")], body)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/oauth/token", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().route("/oauth/token", handler)).into_future());
        let seconds = Arc::new(AtomicU64::new(NOW));
        let now = Arc::clone(&seconds);
        let clock = Clock::new(move || Timestamp::from_seconds(now.load(Ordering::SeqCst)));
        let verifier = forge.verifier().clock(clock).build().unwrap();
        let policy = Policy::from_toml(POLICY).unwrap();
        let api = protected(ProtectLayer::with_basic(verifier, policy, &endpoint).unwrap());
        Self { asked, answer, last, seconds, api }
    }

    async fn call(&self, pair: &str) -> Response<Body> {
        call(&self.api, "/a", &[&format!("Basic {}", BASE64.encode(pair))]).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_pair_is_exchanged_once_in_a_minute_however_many_come_at_once() {
    let forge = Forge::new();
    let exchange = Arc::new(Exchange::of(&forge).await);
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let exchange = Arc::clone(&exchange);
            tokio::spawn(async move { exchange.call("svc:secret").await.status() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 200);
    }
    assert_eq!(exchange.asked(), 1);
    let (headers, body) = exchange.last.lock().unwrap().clone().unwrap();
    assert_eq!(headers[AUTHORIZATION], format!("Basic {}", BASE64.encode("svc:secret")));
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    let audience: String = AUDIENCE.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(body, format!("grant_type=client_credentials&resource={audience}"), "RFC 8707");

    assert_eq!(exchange.call("svc:other").await.status(), 200, "another pair is another exchange");
    assert_eq!(exchange.asked(), 2);
    exchange.seconds.fetch_add(59, Ordering::SeqCst);
    exchange.call("svc:secret").await;
    assert_eq!(exchange.asked(), 2);
    exchange.seconds.fetch_add(1, Ordering::SeqCst);
    exchange.call("svc:secret").await;
    assert_eq!(exchange.asked(), 3);
}

#[tokio::test]
async fn what_the_token_endpoint_says_reaches_the_caller_and_is_not_kept() {
    let forge = Forge::new();
    let exchange = Exchange::of(&forge).await;
    let good = exchange.answer.lock().unwrap().clone();
    let foreign = json!({ "access_token": token(&Forge::new()) }).to_string();
    for (status, body, expected, retry_after) in [
        (401, "{}", 401, None),
        (400, "{}", 403, None),
        (429, "{}", 429, Some("7")),
        (503, "{}", 503, Some("1")),
        (302, "{}", 503, Some("1")),
        (200, "<html>", 503, Some("1")),
        (200, &foreign, 503, Some("1")),
    ] {
        *exchange.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body.to_owned());
        let before = exchange.asked();
        for _ in 0..2 {
            // An issuer that could not be asked is left alone for a second.
            exchange.seconds.fetch_add(1, Ordering::SeqCst);
            let answer = exchange.call("svc:secret").await;
            assert_eq!(answer.status(), expected, "{status} {body}");
            assert_eq!(answer.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap()), retry_after);
            let challenges = answer.headers().get_all(WWW_AUTHENTICATE).iter().count();
            assert_eq!(
                challenges,
                match expected {
                    401 => 2,
                    403 => 1,
                    _ => 0,
                }
            );
        }
        assert_eq!(exchange.asked(), before + 2);
    }
    let last = exchange.asked();
    for _ in 0..5 {
        assert_eq!(exchange.call("svc:secret").await.status(), 503);
    }
    assert_eq!(exchange.asked(), last, "whoever waited for it does not each wait for another");
    exchange.seconds.fetch_add(1, Ordering::SeqCst);
    *exchange.answer.lock().unwrap() = good;
    assert_eq!(exchange.call("svc:secret").await.status(), 200);
    let joined = format!("Basic {0},Basic {0}", BASE64.encode("svc:secret"));
    assert_eq!(call(&exchange.api, "/a", &[&joined]).await.status(), 400, "two headers, joined on the way");
}

#[tokio::test]
async fn a_client_whose_tokens_are_of_another_type_is_told_to_use_one() {
    let forge = Forge::new();
    let exchange = Exchange::of(&forge).await;
    let mut header = forge.header();
    header["typ"] = json!("JWT");
    let token = forge.sign(&header.to_string(), &claims().to_string());
    exchange.answer.lock().unwrap().1 = json!({ "access_token": token }).to_string();
    assert_eq!(exchange.call("svc:secret").await.status(), 403);
}

#[tokio::test]
async fn guessed_pairs_do_not_fill_the_memory_nor_push_out_a_good_one() {
    let forge = Forge::new();
    let exchange = Exchange::of(&forge).await;
    assert_eq!(exchange.call("svc:secret").await.status(), 200);
    let good = exchange.answer.lock().unwrap().clone();
    *exchange.answer.lock().unwrap() = (StatusCode::UNAUTHORIZED, String::new());
    for guess in 0..1500 {
        assert_eq!(exchange.call(&format!("svc:{guess}")).await.status(), 401);
    }
    *exchange.answer.lock().unwrap() = good;
    let before = exchange.asked();
    assert_eq!(exchange.call("svc:secret").await.status(), 200);
    assert_eq!(exchange.asked(), before);
    assert_eq!(exchange.call("svc:new").await.status(), 200);
    assert_eq!(exchange.call("svc:new").await.status(), 200);
    assert_eq!(exchange.asked(), before + 1, "there is room again");
}

#[test]
fn credentials_travel_over_https_or_within_this_machine() {
    let verifier =
        || -> VerifierBuilder { Verifier::builder(ISSUER).audience(AUDIENCE).keys(JwkSet::default()) };
    for (url, is_taken) in [
        ("https://issuer.example.com/oauth/token", true),
        ("http://127.0.0.1:3000/oauth/token", true),
        ("http://issuer.example.com/oauth/token", false),
    ] {
        let policy = Policy::from_toml(POLICY).unwrap();
        let layer = ProtectLayer::with_basic(verifier().build().unwrap(), policy, url);
        assert_eq!(layer.is_ok(), is_taken);
        assert!(is_taken || matches!(layer, Err(BuildError::TokenEndpoint { .. })));
    }
}

//! The JWKS cache, with a server that counts its requests and a controlled clock.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::get;
use countersign_verify::{BuildError, Clock, JwkSet, Timestamp, TokenError, Verified, Verifier};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::closed_port;
use crate::forge::{self, AUDIENCE, Forge, ISSUER, NOW, claims};

/// The response of the server.
#[derive(Clone)]
struct JwksResponse {
    status: StatusCode,
    cache_control: &'static str,
    body: String,
}

/// A JWKS server that counts its requests, and a verifier that fetches from it.
struct JwksServer {
    requests: Arc<AtomicUsize>,
    response: Arc<Mutex<JwksResponse>>,
    /// A held response waits for this.
    release: Arc<Notify>,
    seconds: Arc<AtomicU64>,
    url: String,
    verifier: Verifier,
}

impl JwksServer {
    async fn start(forge: &Forge) -> Self {
        Self::start_with(forge, false).await
    }

    /// Starts a server that holds each response back until `release` is notified.
    async fn start_held(forge: &Forge) -> Self {
        Self::start_with(forge, true).await
    }

    async fn start_with(forge: &Forge, is_held: bool) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let response = Arc::new(Mutex::new(JwksResponse {
            status: StatusCode::OK,
            cache_control: "public, max-age=900",
            body: key_set(&[forge]),
        }));
        let release = Arc::new(Notify::new());
        let served = (Arc::clone(&requests), Arc::clone(&response), Arc::clone(&release));
        let handler = get(async move || -> Response {
            let (requests, response, release) = served;
            requests.fetch_add(1, Ordering::SeqCst);
            if is_held {
                release.notified().await;
            }
            let JwksResponse { status, cache_control, body } = response.lock().unwrap().clone();
            let headers = AppendHeaders([(CACHE_CONTROL, cache_control), (LOCATION, "/elsewhere")]);
            (status, headers, body).into_response()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().fallback(handler)).into_future());

        let seconds = Arc::new(AtomicU64::new(NOW));
        let now = Arc::clone(&seconds);
        let verifier = Verifier::builder(ISSUER)
            .audience(AUDIENCE)
            .jwks_url(&url)
            .clock(Clock::new(move || Timestamp::from_seconds(now.load(Ordering::SeqCst))))
            .build()
            .unwrap();
        Self { requests, response, release, seconds, url, verifier }
    }

    fn request_count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn change_response(&self, change: impl FnOnce(&mut JwksResponse)) {
        change(&mut self.response.lock().unwrap());
    }

    fn advance_clock(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        self.verifier.verify(token).await
    }
}

fn key_set(forges: &[&Forge]) -> String {
    let keys: Vec<_> = forges.iter().map(|forge| forge.jwk.clone()).collect();
    serde_json::to_string(&JwkSet::new(keys)).unwrap()
}

/// A token that outlives every test in this file.
fn token(forge: &Forge) -> String {
    let mut claims = claims();
    claims["exp"] = json!(NOW + 1_000_000);
    forge.sign(&forge.header().to_string(), &claims.to_string())
}

/// A token under a key that is not in the set.
fn token_with_unknown_kid(forge: &Forge, number: usize) -> String {
    let mut header = forge.header();
    header["kid"] = json!(format!("unknown-{number}"));
    forge.sign(&header.to_string(), &claims().to_string())
}

#[tokio::test]
async fn a_set_is_fetched_once_within_its_max_age() {
    let forge = Forge::new();
    let server = JwksServer::start(&forge).await;
    let token = token(&forge);
    for _ in 0..3 {
        assert!(server.verify(&token).await.is_ok());
    }
    server.advance_clock(899);
    assert!(server.verify(&token).await.is_ok());
    assert_eq!(server.request_count(), 1);
    server.advance_clock(1);
    assert!(server.verify(&token).await.is_ok());
    assert_eq!(server.request_count(), 2);
}

#[tokio::test]
async fn sixty_four_concurrent_callers_without_a_set_cause_one_fetch() {
    let forge = Forge::new();
    let server = Arc::new(JwksServer::start_held(&forge).await);
    let token = token(&forge);
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (server, token) = (Arc::clone(&server), token.clone());
            tokio::spawn(async move { server.verify(&token).await })
        })
        .collect();
    while server.request_count() == 0 {
        tokio::task::yield_now().await;
    }
    server.release.notify_one();
    for caller in callers {
        assert!(caller.await.unwrap().is_ok());
    }
    assert_eq!(server.request_count(), 1);
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_cancel_the_fetch() {
    let forge = Forge::new();
    let server = Arc::new(JwksServer::start_held(&forge).await);
    let token = token(&forge);
    let impatient = {
        let (server, token) = (Arc::clone(&server), token.clone());
        tokio::spawn(async move { server.verify(&token).await })
    };
    while server.request_count() == 0 {
        tokio::task::yield_now().await;
    }
    impatient.abort();
    server.release.notify_one();
    assert!(server.verify(&token).await.is_ok());
    assert_eq!(server.request_count(), 1);
}

#[tokio::test]
async fn a_thousand_unknown_kids_cause_one_fetch_per_cool_down() {
    let forge = Forge::new();
    let server = JwksServer::start(&forge).await;
    assert!(server.verify(&token(&forge)).await.is_ok());
    for round in 1..=3 {
        server.advance_clock(30);
        for number in 0..1000 {
            let rejected = server.verify(&token_with_unknown_kid(&forge, number)).await;
            assert_eq!(rejected.err(), Some(TokenError::UnknownKey));
        }
        assert_eq!(server.request_count(), 1 + round);
    }
}

#[tokio::test]
async fn a_url_in_a_token_is_never_requested() {
    let (forge, attacker) = (Forge::new(), Forge::new());
    let (server, elsewhere) = (JwksServer::start(&forge).await, JwksServer::start(&attacker).await);
    let mut rejections = 0;
    for (name, value) in [
        ("jku", json!(elsewhere.url)),
        ("x5u", json!(elsewhere.url)),
        ("kid", json!(elsewhere.url)),
        ("iss", json!(elsewhere.url)),
        ("jwk", json!({ "kty": "EC", "crv": "P-256", "jku": elsewhere.url, "x5u": elsewhere.url })),
    ] {
        for signer in [&forge, &attacker] {
            let header = forge::with(signer.header(), name, value.clone());
            for claimed in [claims(), forge::set(claims(), "iss", json!(elsewhere.url))] {
                let token = signer.sign(&header, &claimed.to_string());
                assert!(server.verify(&token).await.is_err(), "{name}");
                rejections += 1;
            }
        }
    }
    assert_eq!((rejections, elsewhere.request_count(), server.request_count()), (20, 0, 1));
}

#[tokio::test]
async fn a_newly_published_key_is_found() {
    let (forge, successor) = (Forge::new(), Forge::new());
    let server = JwksServer::start(&forge).await;
    assert!(server.verify(&token(&forge)).await.is_ok());
    server.change_response(|response| response.body = key_set(&[&forge, &successor]));
    assert_eq!(server.verify(&token(&successor)).await.err(), Some(TokenError::UnknownKey));
    server.advance_clock(30);
    assert!(server.verify(&token(&successor)).await.is_ok());
    assert_eq!(server.request_count(), 2);
}

#[tokio::test]
async fn the_last_good_set_is_used_for_a_day_while_the_issuer_is_unreachable() {
    let forge = Forge::new();
    let server = JwksServer::start(&forge).await;
    let token = token(&forge);
    assert!(server.verify(&token).await.is_ok());
    let bad: [(StatusCode, String); 5] = [
        (StatusCode::INTERNAL_SERVER_ERROR, key_set(&[&Forge::new()])),
        (StatusCode::FOUND, key_set(&[&Forge::new()])),
        (StatusCode::OK, "<html>".into()),
        (StatusCode::OK, r#"{"keys":[]}"#.into()),
        (StatusCode::OK, format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(1 << 20))),
    ];
    server.change_response(|response| response.status = StatusCode::BAD_GATEWAY);
    server.advance_clock(900);
    for _ in 0..10 {
        assert!(server.verify(&token).await.is_ok());
    }
    assert_eq!(server.request_count(), 2, "a failed fetch is not repeated immediately");
    for (status, body) in bad {
        server.change_response(|response| (response.status, response.body) = (status, body));
        let before = server.request_count();
        server.advance_clock(5);
        assert!(server.verify(&token).await.is_ok(), "{status}");
        assert_eq!(server.request_count(), before + 1);
    }
    server.advance_clock(86_400);
    assert_eq!(server.verify(&token).await.err(), Some(TokenError::KeysUnavailable));
    server
        .change_response(|response| (response.status, response.body) = (StatusCode::OK, key_set(&[&forge])));
    server.advance_clock(5);
    assert!(server.verify(&token).await.is_ok());
}

/// Runs a process that AWS Lambda freezes between its requests: nothing runs unless a request does.
/// The server has another runtime.
struct FrozenProcess {
    _servers: Runtime,
    server: JwksServer,
    runtime: Runtime,
}

impl FrozenProcess {
    fn start(forge: &Forge) -> Self {
        let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = servers.block_on(JwksServer::start(forge));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { _servers: servers, server, runtime }
    }

    fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        self.runtime.block_on(self.server.verify(token))
    }
}

#[test]
fn a_process_that_is_frozen_between_requests_learns_of_new_and_of_withdrawn_keys() {
    let (withdrawn, successor) = (Forge::new(), Forge::new());
    let process = FrozenProcess::start(&withdrawn);
    assert!(process.verify(&token(&withdrawn)).is_ok());

    // One fetch fails, and then the issuer is well again.
    process.server.change_response(|response| response.status = StatusCode::BAD_GATEWAY);
    process.server.advance_clock(900);
    assert!(process.verify(&token(&withdrawn)).is_ok());
    process.server.change_response(|response| {
        (response.status, response.body) = (StatusCode::OK, key_set(&[&successor]));
    });
    process.server.advance_clock(5);
    assert_eq!(process.verify(&token(&withdrawn)).err(), Some(TokenError::UnknownKey));
    assert!(process.verify(&token(&successor)).is_ok());
    assert_eq!(process.server.request_count(), 3);
}

#[test]
fn a_fetch_that_was_frozen_holds_up_no_later_request_for_long() {
    let (withdrawn, successor) = (Forge::new(), Forge::new());
    let process = FrozenProcess::start(&withdrawn);
    assert!(process.verify(&token(&withdrawn)).is_ok());
    process.server.advance_clock(900);
    process.server.change_response(|response| response.body = key_set(&[&successor]));
    // The caller hangs up at once, and the process is frozen while it fetches.
    process.runtime.block_on(async {
        let token = token(&withdrawn);
        let mut call = pin!(process.server.verify(&token));
        let polled_once = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        assert!(polled_once.is_pending());
    });
    process.server.advance_clock(2);
    assert!(process.verify(&token(&successor)).is_ok());
    assert_eq!(process.verify(&token(&withdrawn)).err(), Some(TokenError::UnknownKey));
}

#[tokio::test(start_paused = true)]
async fn with_a_set_at_hand_one_caller_waits_two_seconds_for_a_silent_issuer_and_the_others_do_not() {
    let forge = Forge::new();
    let server = Arc::new(JwksServer::start_held(&forge).await);
    server.release.notify_one();
    assert!(server.verify(&token(&forge)).await.is_ok());
    for round in 2..4 {
        server.advance_clock(900);
        let started = Instant::now();
        let call = |token: String| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.verify(&token).await })
        };
        let first = call(token(&forge));
        while server.request_count() < round {
            tokio::task::yield_now().await;
        }
        assert!(server.verify(&token(&forge)).await.is_ok());
        assert_eq!(started.elapsed(), Duration::ZERO, "the others use the set at hand");
        // Its key may be in the set that is on its way.
        let unknown = call(token_with_unknown_kid(&forge, 1));
        assert!(first.await.unwrap().is_ok());
        assert_eq!(unknown.await.unwrap().err(), Some(TokenError::UnknownKey));
        let waited = started.elapsed();
        assert!((Duration::from_secs(2)..Duration::from_secs(3)).contains(&waited), "{waited:?}");
        assert_eq!(server.request_count(), round);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_the_set_stale() {
    let forge = Forge::new();
    let server = JwksServer::start(&forge).await;
    assert!(server.verify(&token(&forge)).await.is_ok());
    server.seconds.fetch_sub(60, Ordering::SeqCst);
    assert!(server.verify(&token(&forge)).await.is_ok());
    assert_eq!(server.request_count(), 2);
}

#[tokio::test]
async fn a_set_that_forbids_caching_is_fresh_for_a_second_and_max_age_is_bounded() {
    for (cache_control, fresh_for) in [
        ("no-store", 1),
        ("max-age=0", 1),
        ("public, Max-Age=\"60\"", 60),
        ("max-age=99999999999", 86_400),
        ("max-age=x", 900),
        ("public", 900),
    ] {
        let forge = Forge::new();
        let server = JwksServer::start(&forge).await;
        server.change_response(|response| response.cache_control = cache_control);
        let token = token(&forge);
        assert!(server.verify(&token).await.is_ok());
        server.advance_clock(fresh_for - 1);
        assert!(server.verify(&token).await.is_ok());
        assert_eq!(server.request_count(), 1, "{cache_control}");
        server.advance_clock(1);
        assert!(server.verify(&token).await.is_ok());
        assert_eq!(server.request_count(), 2, "{cache_control}");
    }
}

#[tokio::test]
async fn a_token_is_not_called_invalid_if_no_key_set_was_ever_fetched() {
    let forge = Forge::new();
    let (_socket, address) = closed_port::bind();
    let verifier = Verifier::builder(ISSUER).audience(AUDIENCE).jwks_url(format!("http://{address}/"));
    let rejected = verifier.build().unwrap().verify(&token(&forge)).await;
    assert_eq!(rejected.err(), Some(TokenError::KeysUnavailable));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_responds_costs_five_seconds() {
    let forge = Forge::new();
    let server = JwksServer::start_held(&forge).await;
    let started = Instant::now();
    assert_eq!(server.verify(&token(&forge)).await.err(), Some(TokenError::KeysUnavailable));
    assert!(started.elapsed() <= Duration::from_secs(6));
}

#[test]
fn the_jwks_url_must_be_https_or_on_loopback() {
    for (url, is_accepted) in [
        ("https://issuer.example.com/jwks", true),
        ("http://localhost:3000/jwks", true),
        ("http://[::1]:3000/jwks", true),
        ("http://issuer.example.com/jwks", false),
        ("http://127.0.0.1.example.com/jwks", false),
        ("http://localhost@example.com/jwks", false),
        ("ftp://issuer.example.com/jwks", false),
        ("/jwks", false),
        ("", false),
    ] {
        let built = Verifier::builder(ISSUER).audience(AUDIENCE).jwks_url(url).build();
        assert_eq!(built.is_ok(), is_accepted, "{url}");
        assert!(is_accepted || matches!(built, Err(BuildError::JwksUrl { .. })), "{url}");
    }
    // The default URL is below the issuer's URL.
    assert!(Verifier::builder("http://issuer.example.com").audience(AUDIENCE).build().is_err());
    assert!(Verifier::builder("https://issuer.example.com").audience(AUDIENCE).build().is_ok());
}

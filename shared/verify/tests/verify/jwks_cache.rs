//! The fetched key set, against a counted server and a clock of the test's own.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::get;
use countersign_verify::{BuildError, Clock, JwkSet, Timestamp, TokenError, Verified, Verifier};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::forge::{self, AUDIENCE, Forge, ISSUER, NOW, claims};

/// What the server answers.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    cache_control: &'static str,
    body: String,
}

/// A key set's server that counts, and a verifier that asks it.
struct Published {
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Answer>>,
    /// Answers wait for this where `held` is set.
    release: Arc<Notify>,
    seconds: Arc<AtomicU64>,
    url: String,
    verifier: Verifier,
}

impl Published {
    async fn of(forge: &Forge) -> Self {
        Self::answering(forge, false).await
    }

    async fn answering(forge: &Forge, held: bool) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new(Answer {
            status: StatusCode::OK,
            cache_control: "public, max-age=900",
            body: key_set(&[forge]),
        }));
        let release = Arc::new(Notify::new());
        let served = (Arc::clone(&asked), Arc::clone(&answer), Arc::clone(&release));
        let handler = get(async move || -> Response {
            let (asked, answer, release) = served;
            asked.fetch_add(1, Ordering::SeqCst);
            if held {
                release.notified().await;
            }
            let Answer { status, cache_control, body } = answer.lock().unwrap().clone();
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
        Self { asked, answer, release, seconds, url, verifier }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn answers(&self, change: impl FnOnce(&mut Answer)) {
        change(&mut self.answer.lock().unwrap());
    }

    fn pass(&self, seconds: u64) {
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

/// A token that outlives every test here.
fn token(forge: &Forge) -> String {
    let mut claims = claims();
    claims["exp"] = json!(NOW + 1_000_000);
    forge.sign(&forge.header().to_string(), &claims.to_string())
}

/// A token under a key that nobody published.
fn unknown(forge: &Forge, number: usize) -> String {
    let mut header = forge.header();
    header["kid"] = json!(format!("unknown-{number}"));
    forge.sign(&header.to_string(), &claims().to_string())
}

#[tokio::test]
async fn a_set_is_asked_for_once_within_its_max_age() {
    let forge = Forge::new();
    let published = Published::of(&forge).await;
    let token = token(&forge);
    for _ in 0..3 {
        assert!(published.verify(&token).await.is_ok());
    }
    published.pass(899);
    assert!(published.verify(&token).await.is_ok());
    assert_eq!(published.asked(), 1);
    published.pass(1);
    assert!(published.verify(&token).await.is_ok());
    assert_eq!(published.asked(), 2);
}

#[tokio::test]
async fn sixty_four_at_once_with_no_set_cause_one_fetch() {
    let forge = Forge::new();
    let published = Arc::new(Published::answering(&forge, true).await);
    let token = token(&forge);
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (published, token) = (Arc::clone(&published), token.clone());
            tokio::spawn(async move { published.verify(&token).await })
        })
        .collect();
    while published.asked() == 0 {
        tokio::task::yield_now().await;
    }
    published.release.notify_one();
    for caller in callers {
        assert!(caller.await.unwrap().is_ok());
    }
    assert_eq!(published.asked(), 1);
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_take_the_fetch_along() {
    let forge = Forge::new();
    let published = Arc::new(Published::answering(&forge, true).await);
    let token = token(&forge);
    let impatient = {
        let (published, token) = (Arc::clone(&published), token.clone());
        tokio::spawn(async move { published.verify(&token).await })
    };
    while published.asked() == 0 {
        tokio::task::yield_now().await;
    }
    impatient.abort();
    published.release.notify_one();
    assert!(published.verify(&token).await.is_ok());
    assert_eq!(published.asked(), 1);
}

#[tokio::test]
async fn a_thousand_unknown_kids_cause_one_fetch_in_a_cool_down() {
    let forge = Forge::new();
    let published = Published::of(&forge).await;
    assert!(published.verify(&token(&forge)).await.is_ok());
    for round in 1..=3 {
        published.pass(30);
        for number in 0..1000 {
            let refused = published.verify(&unknown(&forge, number)).await;
            assert_eq!(refused.err(), Some(TokenError::UnknownKey));
        }
        assert_eq!(published.asked(), 1 + round);
    }
}

#[tokio::test]
async fn an_address_in_a_token_is_never_visited() {
    let (forge, stranger) = (Forge::new(), Forge::new());
    let (published, elsewhere) = (Published::of(&forge).await, Published::of(&stranger).await);
    let mut refusals = 0;
    for (name, value) in [
        ("jku", json!(elsewhere.url)),
        ("x5u", json!(elsewhere.url)),
        ("kid", json!(elsewhere.url)),
        ("iss", json!(elsewhere.url)),
        ("jwk", json!({ "kty": "EC", "crv": "P-256", "jku": elsewhere.url, "x5u": elsewhere.url })),
    ] {
        for signer in [&forge, &stranger] {
            let header = forge::with(signer.header(), name, value.clone());
            for claimed in [claims(), forge::set(claims(), "iss", json!(elsewhere.url))] {
                let token = signer.sign(&header, &claimed.to_string());
                assert!(published.verify(&token).await.is_err(), "{name}");
                refusals += 1;
            }
        }
    }
    assert_eq!((refusals, elsewhere.asked(), published.asked()), (20, 0, 1));
}

#[tokio::test]
async fn a_key_that_was_published_since_is_found() {
    let (forge, successor) = (Forge::new(), Forge::new());
    let published = Published::of(&forge).await;
    assert!(published.verify(&token(&forge)).await.is_ok());
    published.answers(|answer| answer.body = key_set(&[&forge, &successor]));
    assert_eq!(published.verify(&token(&successor)).await.err(), Some(TokenError::UnknownKey));
    published.pass(30);
    assert!(published.verify(&token(&successor)).await.is_ok());
    assert_eq!(published.asked(), 2);
}

#[tokio::test]
async fn the_last_good_set_is_kept_while_the_issuer_is_away_but_not_for_ever() {
    let forge = Forge::new();
    let published = Published::of(&forge).await;
    let token = token(&forge);
    assert!(published.verify(&token).await.is_ok());
    let bad: [(StatusCode, String); 5] = [
        (StatusCode::INTERNAL_SERVER_ERROR, key_set(&[&Forge::new()])),
        (StatusCode::FOUND, key_set(&[&Forge::new()])),
        (StatusCode::OK, "<html>".into()),
        (StatusCode::OK, r#"{"keys":[]}"#.into()),
        (StatusCode::OK, format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(1 << 20))),
    ];
    published.answers(|answer| answer.status = StatusCode::BAD_GATEWAY);
    published.pass(900);
    for _ in 0..10 {
        assert!(published.verify(&token).await.is_ok());
    }
    assert_eq!(published.asked(), 2, "a failed fetch is not repeated at once");
    for (status, body) in bad {
        published.answers(|answer| (answer.status, answer.body) = (status, body));
        let before = published.asked();
        // Nobody waits for an issuer that did not answer the last time, but it is asked.
        while published.asked() == before {
            published.pass(5);
            assert!(published.verify(&token).await.is_ok(), "{status}");
            tokio::task::yield_now().await;
        }
    }
    published.pass(86_400);
    assert_eq!(published.verify(&token).await.err(), Some(TokenError::KeysUnavailable));
    published.answers(|answer| (answer.status, answer.body) = (StatusCode::OK, key_set(&[&forge])));
    published.pass(5);
    assert!(published.verify(&token).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_a_set_stale() {
    let forge = Forge::new();
    let published = Published::of(&forge).await;
    assert!(published.verify(&token(&forge)).await.is_ok());
    published.seconds.fetch_sub(60, Ordering::SeqCst);
    assert!(published.verify(&token(&forge)).await.is_ok());
    assert_eq!(published.asked(), 2);
}

#[tokio::test]
async fn no_caching_still_means_no_fetch_for_every_token() {
    for (cache_control, fresh_for) in [
        ("no-store", 1),
        ("max-age=0", 1),
        ("public, Max-Age=\"60\"", 60),
        ("max-age=99999999999", 86_400),
        ("max-age=x", 900),
        ("public", 900),
    ] {
        let forge = Forge::new();
        let published = Published::of(&forge).await;
        published.answers(|answer| answer.cache_control = cache_control);
        let token = token(&forge);
        assert!(published.verify(&token).await.is_ok());
        published.pass(fresh_for - 1);
        assert!(published.verify(&token).await.is_ok());
        assert_eq!(published.asked(), 1, "{cache_control}");
        published.pass(1);
        assert!(published.verify(&token).await.is_ok());
        assert_eq!(published.asked(), 2, "{cache_control}");
    }
}

#[tokio::test]
async fn an_issuer_that_was_never_in_reach_is_no_reason_to_call_a_token_bad() {
    let forge = Forge::new();
    // A port on which nobody listens: it was given back.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let verifier = Verifier::builder(ISSUER).audience(AUDIENCE).jwks_url(format!("http://127.0.0.1:{port}/"));
    let refused = verifier.build().unwrap().verify(&token(&forge)).await;
    assert_eq!(refused.err(), Some(TokenError::KeysUnavailable));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_costs_five_seconds() {
    let forge = Forge::new();
    let published = Published::answering(&forge, true).await;
    let started = tokio::time::Instant::now();
    assert_eq!(published.verify(&token(&forge)).await.err(), Some(TokenError::KeysUnavailable));
    assert!(started.elapsed() <= Duration::from_secs(6));
}

#[test]
fn keys_travel_over_https_or_within_this_machine() {
    for (url, is_taken) in [
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
        assert_eq!(built.is_ok(), is_taken, "{url}");
        assert!(is_taken || matches!(built, Err(BuildError::JwksUrl { .. })), "{url}");
    }
    // The default is below the issuer's own URL.
    assert!(Verifier::builder("http://issuer.example.com").audience(AUDIENCE).build().is_err());
    assert!(Verifier::builder("https://issuer.example.com").audience(AUDIENCE).build().is_ok());
}

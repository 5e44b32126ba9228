//! The tower layer around an axum router, and HTTP Basic with a token endpoint that counts its
//! requests.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{Method, Response, StatusCode};
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
use tower_http::cors::CorsLayer;

use crate::closed_port;
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
    let show_subject = async |Extension(caller): Extension<Verified>| caller.sub.clone();
    Router::new().route("/a", get(show_subject)).route("/c", get(show_subject)).layer(layer)
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
async fn every_rejection_follows_rfc_6750_and_has_an_empty_body() {
    let forge = Forge::new();
    let policy = Policy::from_toml(POLICY).unwrap();
    let api = protected(ProtectLayer::new(forge.verifier().build().unwrap(), policy));
    let bearer = format!("Bearer {}", token(&forge));
    let forbidden = r#"Bearer error="insufficient_scope""#;
    for (path, authorization, status, challenge) in [
        ("/a", &[][..], 401, "Bearer"),
        ("/a", &["Basic c3ZjOng="], 401, "Bearer"),
        ("/a", &["Bearer"], 400, r#"Bearer error="invalid_request""#),
        ("/a", &["Bearer a", "Bearer b"], 400, r#"Bearer error="invalid_request""#),
        ("/a", &["Bearer a.b.c"], 401, r#"Bearer error="invalid_token""#),
        ("/c", &[&bearer], 403, r#"Bearer error="insufficient_scope", scope="b c""#),
        ("/nowhere", &[&bearer], 403, forbidden),
        ("/nowhere", &[], 401, "Bearer"),
        ("/%61", &[&bearer], 403, forbidden),
    ] {
        let response = call(&api, path, authorization).await;
        assert_eq!(response.status().as_u16(), status, "{path} {authorization:?}");
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge);
        assert!(to_bytes(response.into_body(), 1).await.unwrap().is_empty());
    }
    let response = call(&api, "/a", &[&bearer]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(to_bytes(response.into_body(), 10).await.unwrap(), "svc");
}

/// A browser asks without credentials whether it may call (the Fetch standard), and a page can read
/// a refusal only if that has the CORS headers too.
#[tokio::test]
async fn a_cors_layer_outside_answers_preflights_and_marks_refusals() {
    let forge = Forge::new();
    let policy = Policy::from_toml(POLICY).unwrap();
    let page = HeaderValue::from_static("https://app.example.com");
    let cors = || {
        CorsLayer::new()
            .allow_origin(page.clone())
            .allow_methods([Method::GET])
            .allow_headers([AUTHORIZATION])
    };
    let layer = ProtectLayer::new(forge.verifier().build().unwrap(), policy);
    let api = protected(layer.clone()).layer(cors());
    let send = async |api: &Router, method: Method, headers: &[(HeaderName, &str)]| {
        let mut request = Request::builder().method(method).uri("/a").header(ORIGIN, page.clone());
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let response = api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let allowed = response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).cloned();
        (response.status().as_u16(), allowed)
    };
    let preflight =
        [(ACCESS_CONTROL_REQUEST_METHOD, "GET"), (ACCESS_CONTROL_REQUEST_HEADERS, "authorization")];
    assert_eq!(send(&api, Method::OPTIONS, &preflight).await, (200, Some(page.clone())));
    assert_eq!(send(&api, Method::GET, &[]).await, (401, Some(page.clone())));
    let bearer = format!("Bearer {}", token(&forge));
    assert_eq!(send(&api, Method::GET, &[(AUTHORIZATION, &bearer)]).await, (200, Some(page.clone())));

    // Inside, it sees neither.
    let show_subject = async |Extension(caller): Extension<Verified>| caller.sub.clone();
    let inside = Router::new().route("/a", get(show_subject)).layer(cors()).layer(layer);
    assert_eq!(send(&inside, Method::OPTIONS, &preflight).await, (401, None));
    assert_eq!(send(&inside, Method::GET, &[]).await, (401, None));
}

#[tokio::test]
async fn a_token_is_not_called_invalid_while_the_keys_are_unavailable() {
    let forge = Forge::new();
    let (_socket, address) = closed_port::bind();
    let verifier = Verifier::builder(ISSUER).audience(AUDIENCE).jwks_url(format!("http://{address}/"));
    let policy = Policy::from_toml(POLICY).unwrap();
    let api = protected(ProtectLayer::new(verifier.build().unwrap(), policy));
    let response = call(&api, "/a", &[&format!("Bearer {}", token(&forge))]).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
}

/// A token endpoint that counts its requests and returns a given response, and an API that uses it.
struct TokenEndpoint {
    requests: Arc<AtomicUsize>,
    response: Arc<Mutex<(StatusCode, String)>>,
    last_request: Arc<Mutex<Option<(HeaderMap, String)>>>,
    seconds: Arc<AtomicU64>,
    api: Router,
}

impl TokenEndpoint {
    async fn start(forge: &Forge) -> Self {
        let mut long = claims();
        long["exp"] = json!(NOW + 1000);
        let token = forge.sign(&forge.header().to_string(), &long.to_string());
        let good = json!({ "access_token": token, "token_type": "Bearer" }).to_string();
        let (requests, last_request) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        let response = Arc::new(Mutex::new((StatusCode::OK, good)));
        let served = (Arc::clone(&requests), Arc::clone(&response), Arc::clone(&last_request));
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
        let layer = ProtectLayer::with_basic(verifier, policy, &endpoint).unwrap();
        let api = protected(
            layer.peer_address(|request| request.headers.get("x-peer")?.to_str().ok()?.parse().ok()),
        );
        Self { requests, response, last_request, seconds, api }
    }

    async fn call(&self, credentials: &str) -> Response<Body> {
        call(&self.api, "/a", &[&format!("Basic {}", BASE64.encode(credentials))]).await
    }

    /// Calls from a peer and returns the status.
    async fn call_from(&self, peer: &str, credentials: &str) -> u16 {
        let basic = format!("Basic {}", BASE64.encode(credentials));
        let request = Request::get("/a").header("x-peer", peer).header(AUTHORIZATION, basic);
        let response = self.api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        response.status().as_u16()
    }

    /// Lets the token endpoint answer with `status` from now on. Returns its answer until now.
    fn answer_with(&self, status: StatusCode) -> (StatusCode, String) {
        std::mem::replace(&mut *self.response.lock().unwrap(), (status, "{}".into()))
    }

    fn request_count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn credentials_are_exchanged_once_a_minute_even_for_concurrent_requests() {
    let forge = Forge::new();
    let endpoint = Arc::new(TokenEndpoint::start(&forge).await);
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let endpoint = Arc::clone(&endpoint);
            tokio::spawn(async move { endpoint.call("svc:secret").await.status() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 200);
    }
    assert_eq!(endpoint.request_count(), 1);
    let (headers, body) = endpoint.last_request.lock().unwrap().clone().unwrap();
    assert_eq!(headers[AUTHORIZATION], format!("Basic {}", BASE64.encode("svc:secret")));
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    let audience: String = AUDIENCE.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(body, format!("grant_type=client_credentials&resource={audience}"), "RFC 8707");

    assert_eq!(endpoint.call("svc:other").await.status(), 200, "other credentials cause another exchange");
    assert_eq!(endpoint.request_count(), 2);
    endpoint.seconds.fetch_add(59, Ordering::SeqCst);
    endpoint.call("svc:secret").await;
    assert_eq!(endpoint.request_count(), 2);
    endpoint.seconds.fetch_add(1, Ordering::SeqCst);
    endpoint.call("svc:secret").await;
    assert_eq!(endpoint.request_count(), 3);
}

#[tokio::test]
async fn errors_of_the_token_endpoint_reach_the_caller_and_are_not_cached() {
    let forge = Forge::new();
    let endpoint = TokenEndpoint::start(&forge).await;
    let good = endpoint.response.lock().unwrap().clone();
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
        *endpoint.response.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body.to_owned());
        let before = endpoint.request_count();
        for _ in 0..2 {
            // The result "unavailable" is cached for a second.
            endpoint.seconds.fetch_add(1, Ordering::SeqCst);
            let response = endpoint.call("svc:secret").await;
            assert_eq!(response.status(), expected, "{status} {body}");
            assert_eq!(response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap()), retry_after);
            let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter().count();
            assert_eq!(
                challenges,
                match expected {
                    401 => 2,
                    403 => 1,
                    _ => 0,
                }
            );
        }
        assert_eq!(endpoint.request_count(), before + 2);
    }
    let before = endpoint.request_count();
    for _ in 0..5 {
        assert_eq!(endpoint.call("svc:secret").await.status(), 503);
    }
    assert_eq!(endpoint.request_count(), before, "callers that waited do not each wait for another request");
    endpoint.seconds.fetch_add(1, Ordering::SeqCst);
    *endpoint.response.lock().unwrap() = good;
    assert_eq!(endpoint.call("svc:secret").await.status(), 200);
    let joined = format!("Basic {0},Basic {0}", BASE64.encode("svc:secret"));
    assert_eq!(call(&endpoint.api, "/a", &[&joined]).await.status(), 400, "two headers that a proxy joined");
}

#[tokio::test]
async fn a_client_with_tokens_of_another_type_must_send_a_token() {
    let forge = Forge::new();
    let endpoint = TokenEndpoint::start(&forge).await;
    let mut header = forge.header();
    header["typ"] = json!("JWT");
    let token = forge.sign(&header.to_string(), &claims().to_string());
    endpoint.response.lock().unwrap().1 = json!({ "access_token": token }).to_string();
    assert_eq!(endpoint.call("svc:secret").await.status(), 403);
}

#[tokio::test]
async fn guessed_credentials_neither_fill_the_cache_nor_evict_good_ones() {
    let forge = Forge::new();
    let endpoint = TokenEndpoint::start(&forge).await;
    assert_eq!(endpoint.call("svc:secret").await.status(), 200);
    let good = endpoint.answer_with(StatusCode::UNAUTHORIZED);
    for guess in 0..1500 {
        assert_eq!(endpoint.call(&format!("svc-{guess}:guess")).await.status(), 401);
    }
    *endpoint.response.lock().unwrap() = good;
    let before = endpoint.request_count();
    assert_eq!(endpoint.call("svc:secret").await.status(), 200);
    assert_eq!(endpoint.request_count(), before);
    assert_eq!(endpoint.call("svc:new").await.status(), 200);
    assert_eq!(endpoint.call("svc:new").await.status(), 200);
    assert_eq!(endpoint.request_count(), before + 1, "there is room again");
}

#[tokio::test]
async fn a_peer_that_guesses_is_held_back_and_holds_no_one_else_back() {
    let forge = Forge::new();
    let endpoint = TokenEndpoint::start(&forge).await;
    let good = endpoint.answer_with(StatusCode::UNAUTHORIZED);
    let guesses = async |peers: &[&str], count: usize| {
        let mut statuses = Vec::new();
        for guess in 0..count {
            statuses.push(endpoint.call_from(peers[guess % peers.len()], &format!("svc:{guess}")).await);
        }
        statuses
    };
    let statuses = guesses(&["203.0.113.7"], 24).await;
    assert_eq!(statuses, [[401; 5].as_slice(), &[429; 19]].concat());
    assert_eq!(endpoint.request_count(), 5, "the issuer is not asked about the others");
    let network = ["2001:db8:0:100::1", "2001:db8:0:1ff::1"];
    assert_eq!(guesses(&network, 7).await, [401, 401, 401, 401, 401, 429, 429], "an IPv6 /56 is one peer");

    *endpoint.response.lock().unwrap() = good;
    assert_eq!(endpoint.call_from("203.0.113.7", "svc:secret").await, 429, "a right pair is new here");
    assert_eq!(endpoint.call_from("198.51.100.1", "svc:secret").await, 200);
    assert_eq!(endpoint.call_from("203.0.113.7", "svc:secret").await, 200, "the issuer has accepted it");
    endpoint.seconds.fetch_add(225, Ordering::SeqCst);
    assert_eq!(endpoint.call_from("203.0.113.7", "svc:another").await, 200, "no peer is locked out for good");
}

#[tokio::test]
async fn a_right_pair_that_is_new_counts_as_no_failure() {
    let forge = Forge::new();
    let endpoint = TokenEndpoint::start(&forge).await;
    for status in [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::TOO_MANY_REQUESTS] {
        endpoint.response.lock().unwrap().0 = status;
        for pair in 0..30 {
            let answer = endpoint.call_from("203.0.113.7", &format!("svc:{status}-{pair}")).await;
            assert_eq!(answer, if status == StatusCode::BAD_REQUEST { 403 } else { status.as_u16() });
        }
        assert_eq!(endpoint.requests.swap(0, Ordering::SeqCst), 30);
    }
}

#[tokio::test]
async fn of_simultaneous_guesses_no_more_reach_the_issuer_than_one_peer_may_make() {
    let forge = Forge::new();
    let endpoint = Arc::new(TokenEndpoint::start(&forge).await);
    endpoint.answer_with(StatusCode::UNAUTHORIZED);
    let guesses: Vec<_> = (0..64)
        .map(|guess| {
            let endpoint = Arc::clone(&endpoint);
            tokio::spawn(async move { endpoint.call_from("203.0.113.7", &format!("svc:{guess}")).await })
        })
        .collect();
    for guess in guesses {
        assert!([401, 429].contains(&guess.await.unwrap()));
    }
    assert_eq!(endpoint.request_count(), 5);
}

#[tokio::test]
async fn guesses_from_many_peers_stay_below_the_issuers_threshold_and_hold_no_known_pair_back() {
    /// The failures of a client from one address after which the issuer throttles.
    const ISSUERS_THRESHOLD: usize = 20;
    let forge = Forge::new();
    let endpoint = TokenEndpoint::start(&forge).await;
    assert_eq!(endpoint.call_from("198.51.100.1", "svc:secret").await, 200);
    let good = endpoint.answer_with(StatusCode::UNAUTHORIZED);
    let before = endpoint.request_count();
    for second in 0..899 {
        endpoint.seconds.fetch_add(1, Ordering::SeqCst);
        // The same client in two spellings.
        for id in ["svc", "%73vc"] {
            let peer = format!("203.0.{}.{}", second / 256, second % 256);
            endpoint.call_from(&peer, &format!("{id}:{second}")).await;
        }
    }
    let guesses = endpoint.request_count() - before;
    assert!((15..ISSUERS_THRESHOLD).contains(&guesses), "{guesses} guesses in a quarter of an hour");

    *endpoint.response.lock().unwrap() = good;
    assert_eq!(endpoint.call_from("198.51.100.2", "svc:secret").await, 200, "a pair that was right before");
    assert_eq!(endpoint.call_from("198.51.100.2", "other:secret").await, 200, "another client");
    let generated = countersign_verify::generated_secret(&[7; 32]);
    assert_eq!(endpoint.call_from("198.51.100.2", &format!("svc:{generated}")).await, 200);
}

#[tokio::test]
async fn while_the_issuer_throttles_a_client_a_pair_that_it_accepted_works_until_the_token_ends() {
    let forge = Forge::new();
    let endpoint = TokenEndpoint::start(&forge).await;
    assert_eq!(endpoint.call("svc:secret").await.status(), 200);
    endpoint.answer_with(StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(endpoint.call("svc:another").await.status(), 429);
    endpoint.seconds.store(NOW + 999, Ordering::SeqCst);
    assert_eq!(endpoint.call("svc:secret").await.status(), 200);
    endpoint.seconds.store(NOW + 1000, Ordering::SeqCst);
    assert_eq!(endpoint.call("svc:secret").await.status(), 429, "the token has expired");
    endpoint.answer_with(StatusCode::UNAUTHORIZED);
    assert_eq!(endpoint.call("svc:secret").await.status(), 401, "the issuer has the last word");
}

#[tokio::test]
async fn credentials_that_the_issuer_could_not_read_are_not_sent_to_it() {
    let forge = Forge::new();
    let endpoint = TokenEndpoint::start(&forge).await;
    let latin_1 = BASE64.encode(b"svc:schl\xfcssel");
    for unreadable in ["", "!", "c3Zj", "/w==", &latin_1] {
        let response = call(&endpoint.api, "/a", &[&format!("Basic {unreadable}")]).await;
        assert_eq!(response.status(), 401, "{unreadable}");
        let challenges: Vec<_> = response.headers().get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!(
            challenges,
            ["Bearer", r#"Basic realm="countersign", charset="UTF-8""#],
            "RFC 7617 section 2.1"
        );
    }
    assert_eq!(endpoint.request_count(), 0);
}

#[test]
fn the_token_endpoint_must_be_https_or_on_loopback() {
    let verifier =
        || -> VerifierBuilder { Verifier::builder(ISSUER).audience(AUDIENCE).keys(JwkSet::default()) };
    for (url, is_accepted) in [
        ("https://issuer.example.com/oauth/token", true),
        ("http://127.0.0.1:3000/oauth/token", true),
        ("http://issuer.example.com/oauth/token", false),
    ] {
        let policy = Policy::from_toml(POLICY).unwrap();
        let layer = ProtectLayer::with_basic(verifier().build().unwrap(), policy, url);
        assert_eq!(layer.is_ok(), is_accepted);
        assert!(is_accepted || matches!(layer, Err(BuildError::TokenEndpoint { .. })));
    }
}

/// Otherwise a stranger at a slow issuer could use up what all callers of a client share there.
#[tokio::test(start_paused = true)]
async fn a_guess_without_an_answer_counts_because_the_issuer_may_have_counted_it() {
    let forge = Forge::new();
    // It accepts connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/oauth/token", listener.local_addr().unwrap());
    let policy = Policy::from_toml(POLICY).unwrap();
    let layer = ProtectLayer::with_basic(forge.verifier().build().unwrap(), policy, &endpoint).unwrap();
    let api = protected(layer.peer_address(|_| Some([192, 0, 2, 1].into())));
    let mut statuses = Vec::new();
    for n in 0..6 {
        let basic = format!("Basic {}", BASE64.encode(format!("svc:guess {n}")));
        statuses.push(call(&api, "/a", &[&basic]).await.status().as_u16());
    }
    assert_eq!(statuses, [503, 503, 503, 503, 503, 429]);
}

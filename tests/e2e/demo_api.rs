//! The protected demo API of `countersign dev`, which uses the tower layer and a policy like any
//! API.

use std::net::IpAddr;
use std::time::Duration;

use countersign_issuer::records::Client;
use countersign_tests::{ALICE, BASIC_CHALLENGE, CLIENT_CREDENTIALS, TestIssuer};
use reqwest::Method;

#[tokio::test]
async fn scope_role_and_brand_decide_who_may_call() {
    let issuer = TestIssuer::start().await;
    let service =
        issuer.token("demo-service", CLIENT_CREDENTIALS, &[("brandKey", "acme")]).await.access_token();
    let reader = [("brandKey", "acme"), ("scope", "reports:read")];
    let reader = issuer.token("demo-service", CLIENT_CREDENTIALS, &reader).await.access_token();
    let voice = issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await.access_token();
    let alice = issuer.token("demo-app", ALICE, &[]).await.access_token();

    for (method, path, token, status) in [
        (Method::GET, "/api/whoami", &alice, 200),
        (Method::GET, "/api/reports", &reader, 200),
        (Method::POST, "/api/reports", &service, 201),
        (Method::POST, "/api/reports", &reader, 403),
        (Method::GET, "/api/brands/acme/reports", &reader, 200),
        (Method::GET, "/api/brands/globex/reports", &reader, 403),
        (Method::GET, "/api/brands/ACME/reports", &reader, 403),
        (Method::GET, "/api/brands/acme%2F..%2Fglobex/reports", &reader, 403),
        (Method::GET, "/api/calls", &voice, 200),
        (Method::POST, "/api/calls", &voice, 201),
        (Method::GET, "/api/calls", &service, 403),
        (Method::POST, "/api/calls", &alice, 403),
        (Method::DELETE, "/api/subscribers/17", &alice, 200),
        (Method::DELETE, "/api/subscribers/17", &voice, 403),
    ] {
        let answer = issuer.call(method.clone(), path, token).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
    }
    let refused = issuer.call(Method::POST, "/api/reports", &reader).await;
    assert_eq!(
        refused.header("www-authenticate"),
        r#"Bearer error="insufficient_scope", scope="reports:write""#,
        "RFC 6750 section 3.1"
    );
}

#[tokio::test]
async fn a_challenge_is_bare_without_a_token_and_has_a_reason_with_a_bad_one() {
    let issuer = TestIssuer::start().await;
    let challenges = async |headers: &[(&str, &str)]| {
        let answer = issuer.get("/api/whoami", headers).await;
        (answer.status.as_u16(), answer.headers("www-authenticate"))
    };
    let basic = BASIC_CHALLENGE.to_owned();
    let bare = (401, vec!["Bearer".to_owned(), basic.clone()]);
    assert_eq!(challenges(&[]).await, bare);
    assert_eq!(challenges(&[("authorization", "Digest x")]).await, bare, "an unsupported scheme");
    let malformed = (400, vec![r#"Bearer error="invalid_request""#.to_owned()]);
    for headers in [
        &[("authorization", "Bearer")][..],
        &[("authorization", "Bearer  ")],
        &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
    ] {
        assert_eq!(challenges(headers).await, malformed);
    }
    let refused = (401, vec![r#"Bearer error="invalid_token""#.to_owned(), basic]);
    let token = issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await.access_token();
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    for bad in [&forged, "garbage", "two words"] {
        assert_eq!(challenges(&[("authorization", &format!("bearer {bad}"))]).await, refused, "{bad}");
    }
    let good = format!("Bearer {token}");
    assert_eq!(challenges(&[("authorization", &good)]).await, (200, vec![]));
    issuer.clock.advance(Duration::from_secs(3600));
    assert_eq!(challenges(&[("authorization", &good)]).await, refused, "expired");
}

#[tokio::test]
async fn a_client_may_call_with_its_id_and_secret() {
    let issuer = TestIssuer::start().await;
    let call = async |method: Method, path: &str, secret: &str| {
        issuer.call_with(method, path, "demo-voice", secret).await.status.as_u16()
    };
    let secret = "demo-voice-secret";
    assert_eq!(call(Method::GET, "/api/calls", secret).await, 200);
    assert_eq!(call(Method::POST, "/api/calls", secret).await, 201);
    assert_eq!(call(Method::GET, "/api/reports", secret).await, 403);
    let wrong = issuer.call_with(Method::GET, "/api/calls", "demo-voice", "wrong").await;
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.headers("www-authenticate"), ["Bearer", BASIC_CHALLENGE]);

    // The client has several brands, and HTTP Basic cannot name one.
    let service = issuer.call_with(Method::GET, "/api/reports", "demo-service", "demo-service-secret").await;
    assert_eq!(service.status, 403);
    assert!(
        service.header("www-authenticate").contains("request a token"),
        "the response contains the remedy"
    );
}

/// A caller of the demo API at this address.
fn caller_at(address: [u8; 4]) -> reqwest::Client {
    reqwest::Client::builder().no_proxy().local_address(IpAddr::from(address)).build().unwrap()
}

async fn call_from(caller: &reqwest::Client, issuer: &TestIssuer, id: &str, secret: &str) -> u16 {
    let request = caller.get(format!("{}/api/calls", issuer.url)).basic_auth(id, Some(secret));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_stranger_at_the_api_locks_out_no_caller_with_a_chosen_secret() {
    let issuer = TestIssuer::start().await;
    let stranger = caller_at([127, 0, 0, 66]);
    let mut statuses = Vec::new();
    for guess in 0..24 {
        statuses.push(call_from(&stranger, &issuer, "demo-voice", &format!("guess-{guess}")).await);
    }
    assert_eq!(statuses, [[401; 5].as_slice(), &[429; 19]].concat());
    let partner = caller_at([127, 0, 0, 77]);
    assert_eq!(call_from(&partner, &issuer, "demo-voice", "demo-voice-secret").await, 200);
    // A guess in the form of a generated secret is not held back, and counts nowhere.
    for guess in 0..30 {
        let generated = countersign_verify::generated_secret(&[guess; 32]);
        assert_eq!(call_from(&stranger, &issuer, "demo-voice", &generated).await, 401);
    }
    // At the issuer the API itself, at whose address the guesses arrived, gets a token too.
    issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await.ok();
}

#[tokio::test]
async fn strangers_at_many_addresses_lock_neither_the_api_nor_its_known_callers_out() {
    let issuer = TestIssuer::start().await;
    let partner = caller_at([127, 0, 0, 77]);
    assert_eq!(call_from(&partner, &issuer, "demo-voice", "demo-voice-secret").await, 200);
    let strangers: Vec<_> = (1..=20).map(|n| caller_at([127, 0, 1, n])).collect();
    for minute in 0..14 {
        issuer.clock.advance(Duration::from_secs(60));
        for (n, stranger) in strangers.iter().enumerate() {
            call_from(stranger, &issuer, "demo-voice", &format!("guess-{minute}-{n}")).await;
        }
        assert_eq!(call_from(&partner, &issuer, "demo-voice", "demo-voice-secret").await, 200, "{minute}");
    }
    // A process of the issuer that has never seen this secret: the threshold was not reached.
    let issuer = issuer.restart().await;
    issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await.ok();
}

#[tokio::test]
async fn a_verified_id_and_secret_are_accepted_for_a_minute_and_no_longer() {
    let issuer = TestIssuer::start().await;
    let call = async || {
        issuer.call_with(Method::GET, "/api/calls", "demo-voice", "demo-voice-secret").await.status.as_u16()
    };
    assert_eq!(call().await, 200);
    let clients = issuer.table::<Client>();
    let mut client = clients.get("demo-voice").await.unwrap().unwrap();
    client.enabled = false;
    clients.save(&mut client).await.unwrap();
    issuer.clock.advance(Duration::from_secs(59));
    assert_eq!(call().await, 200);
    issuer.clock.advance(Duration::from_secs(1));
    assert_eq!(call().await, 401);
}

//! The ways in which a client may authenticate, and those that are refused.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::random::Random;
use countersign_tests::in_process::{APP_SECRET, InProcess, Post};
use countersign_tests::log::Log;
use countersign_tests::{CLIENT_CREDENTIALS, TestIssuer, TestResponse, encode};
use serde_json::json;

async fn with_basic(issuer: &TestIssuer, scheme: &str, credentials: &str) -> TestResponse {
    let header = format!("{scheme} {}", BASE64.encode(credentials));
    issuer.send("/oauth/token", &[("authorization", &header)], encode(CLIENT_CREDENTIALS)).await
}

#[tokio::test]
async fn basic_is_accepted_raw_and_form_encoded_and_its_scheme_in_any_case() {
    let issuer = TestIssuer::start().await;
    let random = Random::system();
    let stored = |secret: &str| {
        let secret = Secret::from_string(secret.to_owned());
        ClientSecret::new(&secret, issuer.clock.now(), None, &random).unwrap()
    };
    with_basic(&issuer, "Basic", "demo-voice:demo-voice-secret").await.ok();
    with_basic(&issuer, "bAsIC", "demo%2Dvoice:demo%2Dvoice%2Dsecret").await.ok();
    // A secret for which the two interpretations differ is accepted in both.
    issuer.change_client("demo-voice", |client| client.secrets = vec![stored("a+b%41:c ü")]).await;
    with_basic(&issuer, "Basic", "demo-voice:a+b%41:c ü").await.ok();
    with_basic(&issuer, "Basic", "demo-voice:a%2Bb%2541%3Ac+%C3%BC").await.ok();
    with_basic(&issuer, "Basic", "demo-voice:a bA:c ü").await.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn every_failed_authentication_gets_the_same_response() {
    let issuer = TestIssuer::start().await;
    let wrong = with_basic(&issuer, "Basic", "demo-voice:wrong").await;
    wrong.assert_error(401, "invalid_client");
    for credentials in
        ["nobody:x", "demo-voice", ":", "demo-voice:", ":demo-voice-secret", "demo-voice:\u{0}", ""]
    {
        let answer = with_basic(&issuer, "Basic", credentials).await;
        answer.assert_error(401, "invalid_client");
        assert_eq!(answer.text, wrong.text, "{credentials:?}");
    }
    for header in [
        "Basic",
        "Basic !!!",
        "Bearer abc",
        "Basic ZGVtbw",
        "Negotiate",
        "Digest username=\"a\", realm=\"b\"",
    ] {
        let answer =
            issuer.send("/oauth/token", &[("authorization", header)], encode(CLIENT_CREDENTIALS)).await;
        assert_eq!(answer.text, wrong.text, "{header}");
        answer.assert_error(401, "invalid_client");
    }
    let long = format!("{}:x", "a".repeat(3000));
    with_basic(&issuer, "Basic", &long).await.assert_error(401, "invalid_client");
    for form in [
        &[("grant_type", "password"), ("username", "jane@example.com")][..],
        &[("grant_type", "no-such-grant")],
        &[("scope", "no-such-scope")],
        &[("client_id", "demo-voice")],
        &[("client_secret", "demo-voice-secret")],
        &[("client_id", "demo-voice"), ("client_secret", "")],
        &[],
    ] {
        let answer = issuer.send("/oauth/token", &[], encode(form)).await;
        answer.assert_error(401, "invalid_client");
        assert_eq!(answer.text, wrong.text, "{form:?}");
    }
    issuer.change_client("demo-voice", |client| client.enabled = false).await;
    let disabled = with_basic(&issuer, "Basic", "demo-voice:demo-voice-secret").await;
    assert_eq!((disabled.status, disabled.text), (wrong.status, wrong.text));
}

#[tokio::test]
async fn two_ways_of_authentication_at_once_are_refused() {
    let issuer = TestIssuer::start().await;
    let basic = format!("Basic {}", BASE64.encode("demo-voice:demo-voice-secret"));
    let send = async |headers: &[(&str, &str)], more: &[(&str, &str)]| {
        issuer.send("/oauth/token", headers, encode(&[CLIENT_CREDENTIALS, more].concat())).await
    };
    let one = [("authorization", basic.as_str())];
    send(&one, &[("client_id", "demo-voice")]).await.ok();
    send(&one, &[("client_id", "demo-app")]).await.assert_error(400, "invalid_request");
    send(&one, &[("client_secret", "demo-voice-secret")]).await.assert_error(400, "invalid_request");
    // The header has two interpretations, and the body names the wrong one.
    let encoded = format!("Basic {}", BASE64.encode("demo%2Dvoice:demo%2Dvoice%2Dsecret"));
    let headers = [("authorization", encoded.as_str())];
    send(&headers, &[("client_id", "demo-voice")]).await.ok();
    send(&headers, &[("client_id", "demo%2Dvoice")]).await.assert_error(401, "invalid_client");
    let both = [("client_id", "demo-voice"), ("client_secret", "demo-voice-secret")];
    send(&one, &both).await.assert_error(400, "invalid_request");
    send(&[one[0], one[0]], &[]).await.assert_error(400, "invalid_request");
    // An HTTP API joins repeated headers.
    let joined = format!("{basic},{basic}");
    send(&[("authorization", &joined)], &[]).await.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn a_generated_secret_works_until_it_expires_and_together_with_another() {
    let issuer = TestIssuer::start().await;
    let random = Random::system();
    let generated = Secret::generate(&random).unwrap();
    let end = issuer.clock.now().plus(Duration::from_secs(120));
    let second = ClientSecret::new(&generated, issuer.clock.now(), Some(end), &random).unwrap();
    issuer.change_client("demo-voice", |client| client.secrets.push(second)).await;

    let credentials = format!("demo-voice:{}", generated.expose());
    with_basic(&issuer, "Basic", &credentials).await.ok();
    with_basic(&issuer, "Basic", "demo-voice:demo-voice-secret").await.ok();
    issuer.clock.advance(Duration::from_secs(60));
    with_basic(&issuer, "Basic", &credentials).await.assert_error(401, "invalid_client");
    with_basic(&issuer, "Basic", "demo-voice:demo-voice-secret").await.ok();
}

#[tokio::test]
async fn a_broken_record_is_refused_like_a_wrong_secret_or_password_and_the_fault_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(lines);
    let (world, _) = InProcess::start_with_clock(&[]).await;
    for (table, key, name) in
        [("clients", "client_id", "broken"), ("principals", "principal", "user#acme#broken")]
    {
        world.store.put(&format!("countersign-{table}"), &json!({ key: { "S": name } }));
    }
    let form = [("grant_type", "client_credentials")];
    let guess = |id: &str| Post::new("/oauth/token", id, "a wrong secret", &form);
    let (broken, wrong) = (guess("broken").to(&world.issuer).await, guess("service").to(&world.issuer).await);
    broken.assert_error(401, "invalid_client");
    assert_eq!(broken.text, wrong.text);
    let log_in = |name: &str| {
        let form = [("grant_type", "password"), ("username", name), ("password", "a wrong password")];
        Post::new("/oauth/token", "app", APP_SECRET, &form)
    };
    let (broken, wrong) = (log_in("broken").to(&world.issuer).await, log_in("jane").to(&world.issuer).await);
    broken.assert_error(400, "invalid_grant");
    assert_eq!(broken.text, wrong.text);
    let log = log.text();
    for fault in ["\"broken\" in countersign-clients", "\"user#acme#broken\" in countersign-principals"] {
        let is_fault = |line: &&str| line.contains("ERROR") && line.replace('\\', "").contains(fault);
        assert_eq!(log.lines().filter(is_fault).count(), 1, "{fault}: {log}");
    }
}

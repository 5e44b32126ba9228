//! The log lines of the functions, which a test over HTTP cannot see.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use countersign_issuer::audit::AuditLog;
use countersign_issuer::random::Random;
use countersign_issuer::records::{Client, Principal, PrincipalKey};
use countersign_lambda::Logging;
use countersign_tests::in_process::{APP_SECRET, CHOSEN_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET};
use countersign_tests::log::Log;
use countersign_tests::store::Fault;
use countersign_tests::{START_SECONDS, TestClock, canaries};
use countersign_verify::{Clock, Timestamp};
use serde_json::{Value, json};

const CREDENTIALS: &[(&str, &str)] = &[("grant_type", "client_credentials")];

/// The audit log of a function, with metrics, and its lines.
fn audit_log() -> (AuditLog, Log) {
    let log = Log::default();
    let writer = log.clone();
    let lookup = |name: &str| (name == "COUNTERSIGN_METRICS").then(|| "on".to_owned());
    let audit = Logging::from_lookup(lookup).audit_log(Clock::system(), move || writer.clone());
    (audit, log)
}

/// An issuer that writes that log.
async fn start() -> (InProcess, TestClock, Log) {
    canaries::watch();
    let (audit, log) = audit_log();
    let clock = TestClock::at(Timestamp::from_seconds(START_SECONDS));
    (InProcess::start_with_audit(&clock.clock(), &[], audit).await, clock, log)
}

/// Every text in which a caller may send a client's secret in the wrong parameter.
fn disguises(id: &str, secret: &str) -> Vec<String> {
    let pair = format!("{id}:{secret}");
    let encode = |text: &str| text.bytes().fold(String::new(), |all, byte| format!("{all}%{byte:02X}"));
    vec![
        secret.to_owned(),
        pair.clone(),
        format!("https://{pair}@x.example.com"),
        format!("{}{secret}", "x".repeat(500)),
        encode(secret),
        BASE64.encode(&pair),
        format!("Basic {}", BASE64.encode(&pair)),
        format!("https://x.example.com/{}", BASE64.encode(&pair)),
        BASE64.encode(secret),
        URL_SAFE_NO_PAD.encode(format!("?{secret}")),
        encode(&BASE64.encode(&pair)),
    ]
}

fn lines(log: &Log, event: &str) -> Vec<Value> {
    let lines = log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    lines.into_iter().filter(|line| line["event"] == event).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stale_ring_is_logged_and_counted_like_a_stale_client() {
    let (world, clock, log) = start().await;
    let service = Post::new("/oauth/token", "service", SERVICE_SECRET, CREDENTIALS);
    service.to(&world.issuer).await.ok();
    world.store.fail_with(Fault::Throttled);
    clock.advance(Duration::from_secs(6 * 60));
    // The first request calls DynamoDB, the second one does not.
    for tried in [true, false] {
        let before = lines(&log, "served stale").len();
        service.to(&world.issuer).await.ok();
        let stale = lines(&log, "served stale").split_off(before);
        let tables: Vec<&str> = stale.iter().map(|line| line["table"].as_str().unwrap()).collect();
        assert_eq!(tables, ["clients", "signing-keys"], "{tried}");
        for line in stale {
            assert_eq!((&line["age_seconds"], &line["StaleClients"]), (&360.into(), &1.into()), "{line}");
            assert_eq!(line["reason"] != "a read failed a moment ago", tried, "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn if_basic_has_two_interpretations_a_refusal_names_that_of_the_rfc() {
    let (world, _, log) = start().await;
    let clients = world.table::<Client>();
    for name in ["x-y", "x%2Dy"] {
        let mut client = clients.get("service").await.unwrap().unwrap();
        client.client_id = name.into();
        clients.create(&client).await.unwrap();
    }
    let refused = Post::new("/oauth/token", "x%2Dy", "wrong", CREDENTIALS).to(&world.issuer).await;
    refused.assert_error(401, "invalid_client");
    assert_eq!(lines(&log, "refused")[0]["presented"], "x-y");
    // With the correct secret the same client is accepted.
    Post::new("/oauth/token", "x%2Dy", SERVICE_SECRET, CREDENTIALS).to(&world.issuer).await.ok();
    let issued = &lines(&log, "issued")[0];
    assert_eq!((&issued["client_id"], &issued["presented"]), (&"x-y".into(), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_waits_for_the_failures_of_others_is_counted_as_a_lock_out() {
    canaries::watch();
    let (audit, log) = audit_log();
    let clock = TestClock::at(Timestamp::from_seconds(START_SECONDS));
    let limits = [
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", "1"),
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT", "2"),
        ("COUNTERSIGN_MAX_LOGIN_FAILURES_PER_CLIENT_AND_ADDRESS", "1"),
    ];
    let world = InProcess::start_with_audit(&clock.clock(), &limits, audit).await;
    for (name, address) in [
        ("jane", "203.0.113.1"),
        // Waits for the failure at its own address.
        ("jane", "203.0.113.1"),
        // Waits for the failure of another name.
        ("joan", "203.0.113.1"),
        ("jane", "203.0.113.2"),
        // Waits for the failures at other addresses.
        ("jane", "203.0.113.3"),
    ] {
        let form = [("grant_type", "password"), ("username", name), ("password", "a wrong password")];
        Post::new("/oauth/token", "app", APP_SECRET, &form).from(address).to(&world.issuer).await;
    }
    let counted: Vec<_> = lines(&log, "slowed down")
        .iter()
        .map(|line| (line["counter"].as_str().unwrap().to_owned(), line["LockOuts"].as_u64()))
        .collect();
    let expected = [
        ("principal and address", None),
        ("logins by client and address", Some(1)),
        ("principal and client", Some(1)),
    ];
    assert_eq!(counted, expected.map(|(counter, count)| (counter.to_owned(), count)));
}

#[tokio::test]
async fn a_refusal_does_not_log_a_secret_of_its_own_request_that_stands_in_the_wrong_parameter() {
    let (world, _, log) = start().await;
    let login = [("grant_type", "password"), ("username", "jane"), ("password", PASSWORD)];
    let operator = [("grant_type", "operator_password"), ("username", "alice"), ("password", PASSWORD)];
    for (client, presented, form, secret) in [
        ("chosen", CHOSEN_SECRET, CREDENTIALS, CHOSEN_SECRET),
        ("app", APP_SECRET, &login, PASSWORD),
        ("app", APP_SECRET, &operator, PASSWORD),
    ] {
        for sent in disguises(client, secret) {
            for name in ["scope", "brandKey", "resource", "audience"] {
                let before = lines(&log, "refused").len();
                let form = [form, &[(name, sent.as_str())]].concat();
                let answer = Post::new("/oauth/token", client, presented, &form).to(&world.issuer).await;
                assert_eq!(answer.status, 400, "{}", answer.text);
                let [line] = &lines(&log, "refused")[before..] else { panic!("one line") };
                let found =
                    canaries::encodings(secret).into_iter().find(|one| line.to_string().contains(one));
                assert_eq!(found, None, "{name}={sent}: {line}");
                assert!(line.to_string().contains("(withheld"), "{name}={sent}: {line}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_was_asked_for_and_repeats_no_secret() {
    let (world, clock, log) = start().await;
    let random = Random::system();
    let bob = PrincipalKey::Operator { username: "bob".into() };
    let bob = Principal::new(&bob, "any passphrase", vec![], vec!["*".into()], clock.now(), &random).unwrap();
    world.table::<Principal>().create(&bob).await.unwrap();
    let refused = async |more: &[(&str, &str)]| {
        let before = lines(&log, "refused").len();
        let form = [CREDENTIALS, more].concat();
        let answer = Post::new("/oauth/token", "service", SERVICE_SECRET, &form).to(&world.issuer).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        for (_, value) in more {
            assert!(!answer.text.contains(value), "{}", answer.text);
        }
        let [line] = &lines(&log, "refused")[before..] else { panic!("one line") };
        line.clone()
    };
    for (form, member, logged) in [
        (&[("scope", "read delete")][..], "requested_scope", json!("read delete")),
        (&[("scope", "read  write")], "requested_scope", json!("read  write")),
        (&[("scope", "\u{202e}read")], "requested_scope", json!("\\u{202e}read")),
        (&[("brandKey", "initech")], "requested_brandKey", json!("initech")),
        (&[("brandKey", "no brand?")], "requested_brandKey", json!("no brand?")),
        (&[("scope", "none"), ("brandKey", "acme")], "requested_brandKey", json!("acme")),
        (
            &[("audience", "https://x.example.com?a=b#c")],
            "requested_resource",
            json!("https://x.example.com?a=b#c"),
        ),
        (&[("resource", "urn:a"), ("audience", "urn:b")], "requested_resource", json!("urn:a urn:b")),
        (&[("operator", "Bob")], "requested_operator", json!("bob")),
        // A name that is not on record may be a secret.
        (&[("operator", "hunter22")], "requested_operator", Value::Null),
        (&[("operator", "pass phrase")], "requested_operator", Value::Null),
    ] {
        let line = refused(form).await;
        assert_eq!((&line[member], &line["client_id"]), (&logged, &"service".into()), "{line}");
        if logged.is_null() {
            let name = form[0].1;
            assert!(!line.to_string().contains(name), "{line}");
            assert!(line["reason"].as_str().unwrap().contains("unknown"), "{line}");
        }
    }
    for secret in [SERVICE_SECRET, "csgr_abc.def", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"] {
        for name in ["scope", "brandKey", "resource"] {
            let line = refused(&[(name, secret)]).await;
            assert!(!line.to_string().contains(secret), "{line}");
        }
    }
    for url in
        ["https://app:c4nary@x.example.com", "urn:x https://c4nary@x.example.com/", "https:%2F%2Fc4nary:@x"]
    {
        let line = refused(&[("resource", url)]).await;
        assert!(!line.to_string().contains("c4nary"), "{line}");
    }
    let line = refused(&[("resource", "https://x.example.com/@team?mail=a@b")]).await;
    assert_eq!(line["requested_resource"], "https://x.example.com/@team?mail=a@b");
    let long = vec!["scope"; 2000].join("-");
    let line = refused(&[("scope", &long)]).await;
    assert_eq!(line["requested_scope"], format!("{}…", &long[..512]));

    // An operator that was removed, disabled or never served the brand is in the client's record.
    let key = PrincipalKey::Operator { username: "alice".into() };
    let mut alice = world.table::<Principal>().get(&key.to_string()).await.unwrap().unwrap();
    alice.disable(clock.now());
    world.table::<Principal>().save(&mut alice).await.unwrap();
    let line = refused(&[("operator", "alice")]).await;
    assert_eq!(line["requested_operator"], "alice");
    // A token that is issued needs none of this.
    Post::new("/oauth/token", "service", SERVICE_SECRET, &[CREDENTIALS[0], ("scope", "read")])
        .to(&world.issuer)
        .await
        .ok();
    let issued = lines(&log, "issued")[0].to_string();
    assert!(issued.contains("\"scope\":\"read\"") && !issued.contains("requested"), "{issued}");
}

//! The ways in which a client may authenticate, and those that are refused.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::random::Random;
use countersign_tests::in_process::{APP_SECRET, InProcess, Post};
use countersign_tests::log::Log;
use countersign_tests::store::Fault;
use countersign_tests::{BASIC_CHALLENGE, CLIENT_CREDENTIALS, TestIssuer, TestResponse, encode};
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
    for credentials in ["nobody:x", "demo-app:demo-voice-secret", "DEMO-VOICE:demo-voice-secret", "usr_1:x"] {
        let answer = with_basic(&issuer, "Basic", credentials).await;
        answer.assert_error(401, "invalid_client");
        assert_eq!(answer.text, wrong.text, "{credentials:?}");
    }
    issuer.change_client("demo-voice", |client| client.enabled = false).await;
    let disabled = with_basic(&issuer, "Basic", "demo-voice:demo-voice-secret").await;
    assert_eq!((disabled.status, disabled.text), (wrong.status, wrong.text));
}

/// A request whose credentials cannot be compared with a secret.
struct Unusable {
    authorization: Option<String>,
    body: String,
    /// A part of the text that says what is wrong.
    expected: &'static str,
    /// The client is found, where it is on record.
    names_the_client: bool,
}

/// Credentials of the client `id` that are missing or malformed.
fn unusable_credentials(id: &str) -> Vec<Unusable> {
    let basic = |pair: &[u8]| Some(format!("Basic {}", BASE64.encode(pair)));
    let pair = format!("{id}:their secret???");
    let encoded = BASE64.encode(&pair);
    let in_header = |authorization: Option<String>, expected, names_the_client| Unusable {
        authorization,
        body: encode(CLIENT_CREDENTIALS),
        expected,
        names_the_client,
    };
    let in_body = |form: &[(&str, &str)], expected, names_the_client| Unusable {
        authorization: None,
        body: encode(&[CLIENT_CREDENTIALS, form].concat()),
        expected,
        names_the_client,
    };
    let json = |body: String| Unusable {
        authorization: None,
        body,
        expected: "the body is not a form",
        names_the_client: false,
    };
    let unpadded = encoded.trim_end_matches('=');
    assert!(encoded.ends_with('=') && encoded.contains('/'), "{encoded}");
    vec![
        in_body(&[], "there are no client credentials", false),
        in_body(&[("client_id", ""), ("client_secret", "")], "there are no client credentials", false),
        in_body(&[("client_id", id)], "client_secret is missing", true),
        in_body(&[("client_id", id), ("client_secret", "")], "client_secret is missing", true),
        in_body(&[("client_secret", "their secret")], "client_id is missing", false),
        in_body(
            &[("client_id", id), ("client_secret", "their secret\n")],
            "client_secret ends with a line break",
            true,
        ),
        in_body(
            &[("client_id", id), ("client_secret", "their secret\r\n\n")],
            "client_secret ends with a line break",
            true,
        ),
        in_body(
            &[("client_id", id), ("client_secret", "their secret\u{7f}s")],
            "client_secret holds a control character",
            true,
        ),
        in_body(
            &[("client_id", &format!("{id}\n")), ("client_secret", "their secret")],
            "client_id ends with a line break",
            true,
        ),
        in_body(
            &[("client_id", "a\tb"), ("client_secret", "their secret")],
            "client_id holds a control character",
            false,
        ),
        json(format!(r#"{{"grant_type":"client_credentials","client_id":"{id}","client_secret":"s=&%"}}"#)),
        json(format!("\r\n[\n  {{ \"client_id\": \"{id}\" }}\n]")),
        json(format!("\u{feff}{{'client_id': '{id}'}}")),
        json(format!("<token><client_id>{id}</client_id></token>")),
        json(format!("--x\r\nContent-Disposition: form-data; name=client_id\r\n\r\n{id}\r\n--x--")),
        in_header(Some(format!("Basic {unpadded}")), "lack the padding", true),
        in_header(Some(format!("Basic {}", encoded.replace('/', "_"))), "are base64url", true),
        in_header(Some(format!("Basic {}", unpadded.replace('/', "_"))), "are base64url", true),
        in_header(Some(format!("Basic {pair}")), "are not encoded", true),
        in_header(Some("Basic !!!".into()), "are not base64", false),
        in_header(Some("Basic null".into()), "have no colon", false),
        in_header(Some("Basic nulL".into()), "have no colon", false),
        in_header(Some("Basic".into()), "nothing follows Basic", false),
        in_header(basic(format!("{pair}\n").as_bytes()), "end with a line break", true),
        in_header(basic(format!("{pair}\r\n").as_bytes()), "end with a line break", true),
        in_header(basic(format!("\u{feff}{pair}").as_bytes()), "begin with a byte order mark", true),
        in_header(basic(format!("{id}:a\u{0}b").as_bytes()), "hold a control character", true),
        in_header(basic(&[id.as_bytes(), b":schl\xfcssel"].concat()), "are not UTF-8", true),
        in_header(basic(id.as_bytes()), "have no colon", true),
        in_header(basic(format!("{id}:").as_bytes()), "have no secret", true),
        in_header(basic(b":their secret"), "have no client id", false),
        // What is too long costs no read.
        in_header(basic(format!("{id}:{}", "a".repeat(3073)).as_bytes()), "is too long", false),
        in_header(basic(b""), "nothing follows Basic", false),
        in_header(Some(format!("Bearer {encoded}")), "is not HTTP Basic", false),
        in_header(Some(format!("Digest username=\"{id}\"")), "is not HTTP Basic", false),
        in_header(Some(encoded.clone()), "is not HTTP Basic", false),
        Unusable {
            authorization: Some(format!("Bearer {encoded}")),
            body: encode(&[CLIENT_CREDENTIALS, &[("client_id", id)]].concat()),
            expected: "is not HTTP Basic",
            names_the_client: true,
        },
    ]
}

#[tokio::test]
async fn missing_and_malformed_credentials_say_what_is_wrong_and_nothing_about_a_client() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let issuer = TestIssuer::start().await;
    let _guard = tracing::subscriber::set_default(lines);
    let wrong = with_basic(&issuer, "Basic", "demo-voice:wrong").await.text;
    let mut texts: Vec<Vec<String>> = Vec::new();
    for (id, is_known) in [("demo-voice", true), ("c4nary", false)] {
        let mut of_this_client = Vec::new();
        for Unusable { authorization, body, expected, names_the_client } in unusable_credentials(id) {
            let before = log.text().len();
            let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
            headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
            let answer = issuer.send("/oauth/token", &headers, body.clone()).await;
            answer.assert_error(401, "invalid_client");
            assert!(answer.text.contains(expected), "{authorization:?} {body}: {}", answer.text);
            assert!(answer.text != wrong && !answer.text.contains(id), "{}", answer.text);
            let logged = log.text().split_off(before).replace('\\', "");
            let is_named = logged.contains(&format!("\"presented\":\"{id}\""));
            assert_eq!(is_named, is_known && names_the_client, "{authorization:?} {body}: {logged}");
            assert_eq!(logged.contains(id), is_named, "{logged}");
            assert_eq!(
                logged.contains("the client id is unknown"),
                !is_known && names_the_client,
                "{logged}"
            );
            assert!(logged.contains(expected) && !logged.contains("their secret"), "{logged}");
            of_this_client.push(answer.text);
        }
        texts.push(of_this_client);
    }
    assert_eq!(texts[0], texts[1], "the texts are the same for a client that exists and one that does not");
}

#[tokio::test]
async fn every_endpoint_says_what_is_wrong_with_the_credentials_and_a_body_in_json_gets_no_further() {
    let issuer = TestIssuer::start().await;
    let json = r#"{"grant_type":"refresh_token","refresh_token":"x","token":"y"}"#;
    for path in ["/oauth/token", "/oauth/refresh", "/oauth/revoke", "/oauth/introspect"] {
        let unencoded = [("authorization", "Basic demo-app:demo-app-sesame")];
        let answer = issuer.send(path, &unencoded, "token=x&refresh_token=x").await;
        answer.assert_error(401, "invalid_client");
        assert!(answer.text.contains("are not encoded"), "{path}: {}", answer.text);
        let basic = format!("Basic {}", BASE64.encode("demo-app:demo-app-secret"));
        let answer = issuer.send(path, &[("authorization", &basic)], json).await;
        answer.assert_error(400, "invalid_request");
        assert!(answer.text.contains("the body is not a form"), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_client_that_cannot_be_looked_up_is_still_told_what_is_wrong() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    world.store.fail_with(Fault::Reset);
    let answer = Post::new("/oauth/token", "service", "", CLIENT_CREDENTIALS).to(&world.issuer).await;
    answer.assert_error(401, "invalid_client");
    assert!(answer.text.contains("have no secret"), "{}", answer.text);
}

#[tokio::test]
async fn a_secret_outside_ascii_is_sent_in_utf_8_as_the_challenge_says() {
    let issuer = TestIssuer::start().await;
    let secret = Secret::from_string("größe-ñandú".to_owned());
    let stored = ClientSecret::new(&secret, issuer.clock.now(), None, &Random::system()).unwrap();
    issuer.change_client("demo-voice", |client| client.secrets = vec![stored]).await;
    let latin_1: Vec<u8> =
        "demo-voice:größe-ñandú".chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let send = async |pair: &[u8]| {
        let header = format!("Basic {}", BASE64.encode(pair));
        issuer.send("/oauth/token", &[("authorization", &header)], encode(CLIENT_CREDENTIALS)).await
    };
    let refused = send(&latin_1).await;
    refused.assert_error(401, "invalid_client");
    assert!(refused.text.contains("are not UTF-8"), "{}", refused.text);
    assert_eq!(refused.header("www-authenticate"), BASIC_CHALLENGE);
    send("demo-voice:größe-ñandú".as_bytes()).await.ok();
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

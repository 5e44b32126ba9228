//! A bad request is answered with its error. It writes nothing, and the response repeats nothing of
//! it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_tests::in_process::{APP_SECRET, InProcess, PASSWORD, Post};
use countersign_tests::{CLIENT_CREDENTIALS, JANE, TestIssuer, TestResponse, encode};
use reqwest::Method;

/// Part of every bad request, and of no response.
const CANARY: &str = "c4nary";

fn basic() -> String {
    format!("Basic {}", BASE64.encode("demo-app:demo-app-secret"))
}

async fn send(issuer: &TestIssuer, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> TestResponse {
    let authorization = basic();
    let headers = [&[("authorization", authorization.as_str())], headers].concat();
    let answer = issuer.send("/oauth/token", &headers, body).await;
    assert!(!answer.text.contains(CANARY), "{}", answer.text);
    answer
}

#[tokio::test]
async fn a_malformed_form_is_refused_and_never_repaired() {
    let issuer = TestIssuer::start().await;
    let bodies: &[&[u8]] = &[
        b"grant_type=password&username=%c4nary",
        b"grant_type=password&username=c4nary%",
        b"grant_type=password&username=c4nary%4",
        b"grant_type=password&username=c4nary%ff",
        b"grant_type=password&username=c4nary\xff",
        b"grant_type=password&username=c4nary%00",
        b"grant_type=password&username=c4nary%0d%0aSet-Cookie:x",
        b"grant_type=password&username=c4nary%7f",
        b"grant_type=password&username=c4nary%c2%85",
        b"grant_type=password&grant_type=password&username=c4nary",
        b"grant_type=password&username=&username=c4nary",
        b"grant_type=password&c4nary=1&c4nary=2",
        b"username=c4nary&password=c4nary",
        b"grant_type=&username=c4nary",
        b"grant_type=password&password=c4nary",
        b"grant_type=password&username=c4nary",
        b"grant_type=refresh_token",
        b"{\"grant_type\":\"password\",\"username\":\"c4nary\"}",
    ];
    for body in bodies {
        let answer = send(&issuer, &[], *body).await;
        answer.assert_error(400, "invalid_request");
    }
    let many: String = (0..100).map(|n| format!("{CANARY}{n}=1&")).collect();
    send(&issuer, &[], many).await.assert_error(400, "invalid_request");
    assert_eq!(issuer.count("refresh-families").await, 0);
}

#[tokio::test]
async fn a_malformed_parameter_is_named_if_it_is_a_known_one() {
    let issuer = TestIssuer::start().await;
    let long = format!("username=c4nary{}", "a".repeat(3072));
    for (body, problem) in [
        ("password=c4nary%0A", "password ends with a line break"),
        ("username=c4nary%0D%0A", "username ends with a line break"),
        ("password=c4%0Anary", "password holds a control character"),
        ("scope=c4nary%00", "scope holds a control character"),
        ("resource=c4nary%ff", "resource is not UTF-8"),
        ("brandKey=c4nary%4", "brandKey has broken percent-encoding"),
        ("operator=c4nary&operator=c4nary", "operator is repeated"),
        ("client_id=demo-app&client_id=demo-app", "client_id is repeated"),
        (long.as_str(), "username is too long"),
        // A line break at the end of the body.
        ("username=c4nary&grant_type=client_credentials\n", "grant_type ends with a line break"),
        ("grant_type=password&username=c4nary\r\n", "username ends with a line break"),
        // A name that is not known may be a secret.
        ("c4nary=x%0A", "a parameter ends with a line break"),
        ("c4nary=1&c4nary=2", "a parameter is repeated"),
        ("Password=c4nary%00", "a parameter holds a control character"),
        ("c4nary%00=x", "the name of a parameter holds a control character"),
        ("c4nary%ff=x", "the name of a parameter is not UTF-8"),
        ("\u{feff}grant_type=client_credentials", "the body begins with a byte order mark"),
        ("%EF%BB%BFgrant_type=password&username=c4nary", "the body begins with a byte order mark"),
    ] {
        let answer = send(&issuer, &[], body).await;
        answer.assert_error(400, "invalid_request");
        let answer = answer.json();
        let description = answer["error_description"].as_str().unwrap();
        assert!(description.starts_with(problem), "{body}: {description}");
    }
}

/// The media type has no parameters, and a form is UTF-8 whatever they say (RFC 6749 appendix B).
#[tokio::test]
async fn only_forms_are_accepted_and_the_parameters_of_their_content_type_are_ignored() {
    let issuer = TestIssuer::start().await;
    let form = encode(JANE);
    for accepted in [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-URLencoded",
        "application/x-www-form-urlencoded;charset=UTF-8",
        "application/x-www-form-urlencoded ; charset=\"utf-8\"",
        "application/x-www-form-urlencoded; charset=ISO-8859-1",
        "application/x-www-form-urlencoded; charset=windows-1252; q=1",
        "application/x-www-form-urlencoded; charset",
        "application/x-www-form-urlencoded; boundary=\"c4nary;\"",
        "application/x-www-form-urlencoded;",
    ] {
        let accepted = [("content-type", accepted)];
        send(&issuer, &accepted, form.clone()).await.ok();
        for path in ["/oauth/refresh", "/oauth/revoke", "/oauth/introspect"] {
            let authorization = basic();
            let headers = [accepted[0], ("authorization", authorization.as_str())];
            let answer = issuer.send(path, &headers, "token=c4nary&refresh_token=c4nary").await;
            assert!(!answer.text.contains("invalid_request"), "{path} {accepted:?}: {}", answer.text);
        }
    }
    let latin_1 = [("content-type", "application/x-www-form-urlencoded; charset=ISO-8859-1")];
    let answer = send(&issuer, &latin_1, "grant_type=password&username=J%E4ne").await;
    answer.assert_error(400, "invalid_request");
    assert!(answer.text.contains("not UTF-8"), "{}", answer.text);
    for refused in [
        "application/json",
        "multipart/form-data; boundary=c4nary",
        "application/x-www-form-urlencoded2",
        "application/x-www-form-urlencoded, application/x-www-form-urlencoded",
        "text/plain; charset=application/x-www-form-urlencoded",
        "text/plain",
        "",
    ] {
        let answer = send(&issuer, &[("content-type", refused)], form.clone()).await;
        answer.assert_error(400, "invalid_request");
    }
    let both = [("content-type", "application/x-www-form-urlencoded"), ("content-type", "application/json")];
    send(&issuer, &both, form).await.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_the_reason() {
    let issuer = TestIssuer::start().await;
    let authorization = basic();
    for path in ["/oauth/token", "/oauth/refresh", "/oauth/revoke", "/oauth/introspect"] {
        for coding in ["gzip", "deflate", "BR", "identity, zstd", "x-c4nary"] {
            let headers = [("authorization", authorization.as_str()), ("content-encoding", coding)];
            let answer = issuer.send(path, &headers, &b"\x1f\x8b\x08\x00c4nary"[..]).await;
            answer.assert_error(415, "invalid_request");
            assert!(answer.text.contains("send it without Content-Encoding"), "{}", answer.text);
            assert_eq!(answer.header("accept-encoding"), "identity", "RFC 9110 section 15.5.16");
        }
    }
    for none in ["identity", "Identity", ""] {
        send(&issuer, &[("content-encoding", none)], encode(JANE)).await.ok();
    }
}

#[tokio::test]
async fn parameters_in_the_query_are_refused() {
    let issuer = TestIssuer::start().await;
    let authorization = basic();
    let headers = [("authorization", authorization.as_str())];
    let refused = [
        "?grant_type=password",
        "?client_secret=c4nary",
        "?a=b&password=c4nary",
        "?%70assword=c4nary",
        "?refresh_token=c4nary",
        "?brandKey=acme",
        "?client_assertion=c4nary",
        "?audience=c4nary",
        "?c4nary%zz=1",
    ];
    for query in refused {
        let answer = issuer.send(&format!("/oauth/token{query}"), &headers, encode(JANE)).await;
        answer.assert_error(400, "invalid_request");
        assert!(!answer.text.contains(CANARY));
    }
    issuer.send("/oauth/token?trace=1", &headers, encode(JANE)).await.ok();
}

#[tokio::test]
async fn a_body_may_have_up_to_16_kib() {
    let issuer = TestIssuer::start().await;
    let form = encode(JANE);
    let padded = |length: usize| format!("{form}&x={}", "a".repeat(length - form.len() - 3));
    send(&issuer, &[], padded(16 * 1024)).await.ok();
    send(&issuer, &[], padded(16 * 1024 + 1)).await.assert_error(413, "invalid_request");
    send(&issuer, &[], padded(4 * 1024 * 1024)).await.assert_error(413, "invalid_request");
}

#[tokio::test]
async fn a_value_that_is_too_long_is_refused_before_anything_is_read_or_hashed() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    let long = "a".repeat(1025);
    for form in [
        &[("grant_type", "password"), ("username", "jane"), ("password", long.as_str())][..],
        &[("grant_type", "password"), ("username", long.as_str()), ("password", PASSWORD)],
        &[("grant_type", "client_credentials"), ("operator", long.as_str())],
        &[("grant_type", "client_credentials"), ("resource", long.as_str())],
        &[("grant_type", "client_credentials"), ("audience", long.as_str())],
        &[("grant_type", "refresh_token"), ("refresh_token", &"a".repeat(12 * 1024 + 1))],
    ] {
        let answer = Post::new("/oauth/token", "app", APP_SECRET, form).to(&world.issuer).await;
        answer.assert_error(400, "invalid_request");
    }
    let secret = Post::new("/oauth/token", "app", &"a".repeat(3073), JANE).to(&world.issuer).await;
    secret.assert_error(401, "invalid_client");
    assert!(world.store.take_calls().is_empty());
    // A parameter without a rule may be as long as the body allows.
    let longer = long.repeat(2);
    let form = [JANE, &[("password2", longer.as_str())]].concat();
    Post::new("/oauth/token", "app", APP_SECRET, &form)
        .to(&world.issuer)
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn other_methods_and_paths_get_an_oauth_error() {
    let issuer = TestIssuer::start().await;
    for path in ["/oauth/token", "/oauth/refresh", "/oauth/revoke", "/oauth/introspect"] {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let answer = issuer.request(method, path, &[], Vec::new()).await;
            answer.assert_error(405, "invalid_request");
            assert_eq!(answer.header("allow"), "POST");
        }
    }
    let keys = issuer.request(Method::POST, "/.well-known/jwks.json", &[], Vec::new()).await;
    keys.assert_error(405, "invalid_request");
    assert_eq!(keys.header("allow"), "GET, HEAD");
    issuer.get("/oauth/tokens", &[]).await.assert_error(404, "invalid_request");
}

#[tokio::test]
async fn garbage_and_foreign_refresh_tokens_are_refused_alike() {
    let issuer = TestIssuer::start().await;
    let stranger = TestIssuer::start().await;
    let access_token = issuer.token("demo-app", JANE, &[]).await.access_token();
    let own = issuer.log_in().await;
    let (header, payload) = (own.split('.').next().unwrap(), own.split('.').nth(1).unwrap());
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoicnQrand0Iiwia2lkIjoiYSJ9.{payload}.");
    let cut = &own[..own.len() - 1];
    let garbage = [
        CANARY.to_owned(),
        "a.b.c".to_owned(),
        "....".to_owned(),
        format!("{header}.{payload}."),
        format!("{own}."),
        format!("{own}A"),
        cut.to_owned(),
        unsigned,
        access_token,
        stranger.log_in().await,
        "é".repeat(2000),
        "A".repeat(12 * 1024),
    ];
    for token in &garbage {
        let answer = issuer.refresh(token).await;
        answer.assert_error(400, "invalid_grant");
        assert!(!answer.text.contains(CANARY));
    }
    assert_eq!(issuer.count("refresh-families").await, 0, "nothing was written");
    issuer.refresh(&own).await.ok();
}

#[tokio::test]
async fn an_api_refuses_a_refresh_token() {
    let issuer = TestIssuer::start().await;
    let refresh_token = issuer.log_in().await;
    let answer = issuer.call(Method::GET, "/api/whoami", &refresh_token).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), r#"Bearer error="invalid_token""#);
}

#[tokio::test]
async fn an_unreachable_store_is_503_with_a_time_to_wait() {
    let issuer = TestIssuer::start().await;
    issuer.server.dynamodb.stop().await;
    let request = reqwest::Client::new().post(format!("{}/oauth/token", issuer.url));
    let request = request.basic_auth("demo-app", Some("demo-app-secret")).form(CLIENT_CREDENTIALS);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["error"], "temporarily_unavailable");
    assert_eq!(body["error_description"], "try again in a moment");
}

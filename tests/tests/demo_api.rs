//! The protected demo API of `countersign dev`.

use countersign_tests::{ALICE, CLIENT_CREDENTIALS, TestIssuer};
use reqwest::Method;

#[tokio::test]
async fn callers_are_let_in_by_scope_and_role() {
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
async fn without_a_token_there_is_a_bare_challenge_and_with_a_bad_one_a_reason() {
    let issuer = TestIssuer::start().await;
    let bare = issuer.get("/api/whoami", &[]).await;
    assert_eq!((bare.status.as_u16(), bare.header("www-authenticate")), (401, "Bearer"));
    let token = issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await.access_token();
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let refused = async |bad: &str| {
        let answer = issuer.call(Method::GET, "/api/whoami", bad).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), r#"Bearer error="invalid_token""#);
    };
    refused(&forged).await;
    refused("garbage").await;
    assert_eq!(issuer.call(Method::GET, "/api/whoami", &token).await.status, 200);
    issuer.clock.advance(std::time::Duration::from_secs(3600));
    refused(&token).await;
}

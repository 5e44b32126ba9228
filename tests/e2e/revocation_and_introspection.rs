//! `/oauth/revoke` (RFC 7009) and `/oauth/introspect` (RFC 7662).

use std::time::Duration;

use countersign_tests::{CLIENT_CREDENTIALS, JANE, TestIssuer, TestResponse, jane};
use serde_json::json;

async fn introspect(issuer: &TestIssuer, client_id: &str, token: &str) -> serde_json::Value {
    issuer.post("/oauth/introspect", client_id, &[("token", token)]).await.ok()
}

async fn revoke(issuer: &TestIssuer, client_id: &str, token: &str) -> TestResponse {
    issuer.post("/oauth/revoke", client_id, &[("token", token), ("token_type_hint", "refresh_token")]).await
}

#[tokio::test]
async fn a_revoked_family_is_refused_before_and_after_its_first_refresh() {
    let issuer = TestIssuer::start().await;
    let unused = issuer.log_in().await;
    revoke(&issuer, "demo-app", &unused).await.ok();
    issuer.refresh(&unused).await.assert_error(400, "invalid_grant");

    let first = issuer.log_in().await;
    let second = issuer.refresh(&first).await.refresh_token();
    revoke(&issuer, "demo-app", &first).await.ok();
    issuer.refresh(&second).await.assert_error(400, "invalid_grant");
    revoke(&issuer, "demo-app", &first).await.ok();
}

#[tokio::test]
async fn tokens_that_cannot_be_revoked_are_an_error_or_ignored() {
    let issuer = TestIssuer::start().await;
    let access_token = issuer.token("demo-app", JANE, &[]).await.access_token();
    revoke(&issuer, "demo-app", &access_token).await.assert_error(400, "unsupported_token_type");
    revoke(&issuer, "demo-app", "garbage").await.ok();
    let missing = issuer.post("/oauth/revoke", "demo-app", &[]).await;
    missing.assert_error(400, "invalid_request");
    let foreign = issuer.log_in().await;
    revoke(&issuer, "demo-voice", &foreign).await.assert_error(400, "invalid_grant");
    assert_eq!(issuer.count("refresh-families").await, 0);
    issuer.refresh(&foreign).await.ok();
    let stranger = issuer.send("/oauth/revoke", &[], format!("token={foreign}")).await;
    stranger.assert_error(401, "invalid_client");
}

#[tokio::test]
async fn an_access_token_is_active_until_it_expires_for_its_client_and_its_audience() {
    let issuer = TestIssuer::start().await;
    let token = issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await.access_token();
    let own = introspect(&issuer, "demo-voice", &token).await;
    let claims = issuer.verify_token(&token).await;
    assert_eq!((&own["active"], &own["token_type"]), (&json!(true), &json!("Bearer")));
    for (name, value) in claims.as_object().unwrap() {
        assert_eq!(own[name], *value, "{name}");
    }
    assert_eq!(introspect(&issuer, "demo-app", &token).await["active"], true, "it has the same audience");
    issuer
        .change_client("demo-app", |client| {
            client.audiences = vec!["https://other.example.com".into()];
        })
        .await;
    assert_eq!(introspect(&issuer, "demo-app", &token).await, json!({ "active": false }));
    assert_eq!(introspect(&issuer, "demo-voice", "garbage").await, json!({ "active": false }));
    issuer.clock.advance(Duration::from_secs(3600));
    assert_eq!(introspect(&issuer, "demo-voice", &token).await, json!({ "active": false }));
}

#[tokio::test]
async fn a_refresh_token_is_active_while_it_can_be_used() {
    let issuer = TestIssuer::start().await;
    let is_active =
        async |client: &str, token: &str| introspect(&issuer, client, token).await["active"] == true;
    let first = issuer.log_in().await;
    assert!(is_active("demo-app", &first).await);
    assert!(!is_active("demo-voice", &first).await, "the token belongs to another client");
    assert_eq!(issuer.count("refresh-families").await, 0, "introspection changes nothing");
    let second = issuer.refresh(&first).await.refresh_token();
    assert!(!is_active("demo-app", &first).await);
    assert!(is_active("demo-app", &second).await);
    issuer.change_principal(&jane(), |user| user.enabled = false).await;
    assert!(!is_active("demo-app", &second).await);
    issuer.change_principal(&jane(), |user| user.enabled = true).await;
    let all = issuer
        .table::<countersign_issuer::records::Client>()
        .get("demo-app")
        .await
        .unwrap()
        .unwrap()
        .grant_types;
    issuer
        .change_client("demo-app", |client| client.grant_types.retain(|one| one.as_str() != "refresh_token"))
        .await;
    assert!(!is_active("demo-app", &second).await);
    issuer.change_client("demo-app", |client| client.grant_types = all).await;
    assert!(is_active("demo-app", &second).await);
    revoke(&issuer, "demo-app", &second).await.ok();
    assert!(!is_active("demo-app", &second).await);
}

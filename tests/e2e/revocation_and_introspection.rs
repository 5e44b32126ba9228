//! `/oauth/revoke` (RFC 7009) and `/oauth/introspect` (RFC 7662).

use std::time::Duration;

use countersign_issuer::records::Principal;
use countersign_tests::{ALICE, CLIENT_CREDENTIALS, JANE, TestIssuer, TestResponse, alice, jane};
use serde_json::json;

async fn introspect(issuer: &TestIssuer, client_id: &str, token: &str) -> serde_json::Value {
    issuer.post("/oauth/introspect", client_id, &[("token", token)]).await.ok()
}

async fn introspect_refresh_token(issuer: &TestIssuer, client_id: &str, token: &str) -> serde_json::Value {
    let form = [("token", token), ("token_type_hint", "refresh_token")];
    issuer.post("/oauth/introspect", client_id, &form).await.ok()
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
    assert_eq!(own["token_use"], "access_token");
    let hinted = introspect_refresh_token(&issuer, "demo-voice", &token).await;
    assert_eq!(hinted, own, "a wrong hint hides no access token (RFC 7662 section 2.1)");
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

/// An API that introspects with the login client's credentials must not take a refresh token for an
/// access token.
#[tokio::test]
async fn a_refresh_token_is_active_only_where_the_hint_names_it() {
    let issuer = TestIssuer::start().await;
    let token = issuer.log_in().await;
    for hint in [None, Some("access_token"), Some("Refresh_Token"), Some("")] {
        let mut form = vec![("token", token.as_str())];
        form.extend(hint.map(|hint| ("token_type_hint", hint)));
        let answer = issuer.post("/oauth/introspect", "demo-app", &form).await.ok();
        assert_eq!(answer, json!({ "active": false }), "{hint:?}");
    }
    let answer = introspect_refresh_token(&issuer, "demo-app", &token).await;
    assert_eq!((&answer["active"], &answer["token_use"]), (&json!(true), &json!("refresh_token")));
    assert_eq!(answer["iss"], *issuer.url);
    assert_eq!(answer["exp"], issuer.clock.now().seconds() + 30 * 24 * 3600);
    assert_eq!(answer.get("aud"), None);
}

#[tokio::test]
async fn a_refresh_token_is_active_while_it_can_be_used() {
    let issuer = TestIssuer::start().await;
    let is_active = async |client: &str, token: &str| {
        introspect_refresh_token(&issuer, client, token).await["active"] == true
    };
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

/// APIs that introspect learn within a minute that a client, a user or an operator was disabled.
#[tokio::test]
async fn an_access_token_is_inactive_once_its_client_user_or_operator_is_disabled_or_deleted() {
    let issuer = TestIssuer::start().await;
    let on_behalf = [("grant_type", "client_credentials"), ("operator", "alice.ops"), ("brandKey", "acme")];
    let user = issuer.token("demo-app", JANE, &[]).await.access_token();
    let operator = issuer.token("demo-app", ALICE, &[]).await.access_token();
    let client = issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await.access_token();
    let for_operator = issuer.token("demo-service", &on_behalf, &[]).await.access_token();
    let active = async || {
        let mut active = Vec::new();
        for token in [&user, &operator, &client, &for_operator] {
            active.push(introspect(&issuer, "demo-voice", token).await["active"] == true);
        }
        active
    };
    assert_eq!(active().await, [true, true, true, true]);
    issuer.change_principal(&jane(), |user| user.enabled = false).await;
    assert_eq!(active().await, [false, true, true, true]);
    issuer.change_principal(&jane(), |user| user.enabled = true).await;
    issuer.change_principal(&alice(), |operator| operator.enabled = false).await;
    assert_eq!(active().await, [true, false, true, false]);
    issuer.change_principal(&alice(), |operator| operator.enabled = true).await;
    issuer.change_client("demo-app", |client| client.enabled = false).await;
    assert_eq!(active().await, [false, false, true, true]);
    issuer.change_client("demo-app", |client| client.enabled = true).await;
    assert_eq!(active().await, [true, true, true, true]);

    // A name that is given again belongs to somebody else.
    for key in [jane(), alice()] {
        let mut successor = issuer.table::<Principal>().get(&key.to_string()).await.unwrap().unwrap();
        issuer.table::<Principal>().delete(&key.to_string()).await.unwrap();
        successor.id = format!("{}x", successor.id);
        issuer.table::<Principal>().create(&successor).await.unwrap();
    }
    issuer.let_caches_expire();
    assert_eq!(active().await, [false, false, true, true]);
}

//! The claim that carries the username, for APIs that log who called: off unless the client's record
//! names it.

use countersign_issuer::records::{ClaimName, Client};
use countersign_tests::{ALICE, CLIENT_CREDENTIALS, JANE, TestIssuer};
use serde_json::{Value, json};

async fn set_claim(issuer: &TestIssuer, client_id: &str, name: Option<&str>) {
    let name = name.map(|name| ClaimName::parse(name).unwrap());
    issuer.change_client(client_id, |client| client.username_claim = name).await;
}

async fn introspect(issuer: &TestIssuer, token: &str) -> Value {
    issuer.post("/oauth/introspect", "demo-app", &[("token", token)]).await.ok()
}

#[tokio::test]
async fn tokens_of_users_and_operators_carry_the_username_in_the_claim_that_the_client_names() {
    let issuer = TestIssuer::start().await;
    for (name, form, username) in [
        ("user_name", JANE, "jane@example.com"),
        ("https://acme.example.com/claims/login?v=1", JANE, "jane@example.com"),
        ("upn", ALICE, "alice.ops"),
    ] {
        let before = issuer.verify_token(&issuer.token("demo-app", form, &[]).await.access_token()).await;
        assert_eq!(before.get(name), None, "off by default");
        set_claim(&issuer, "demo-app", Some(name)).await;
        let answer = issuer.token("demo-app", form, &[]).await;
        let token = answer.access_token();
        let mut claims = issuer.verify_token(&token).await;
        assert_eq!(claims[name], username);
        assert_eq!(introspect(&issuer, &token).await[name], username);
        // It is the only difference.
        let claims = claims.as_object_mut().unwrap();
        claims.remove(name);
        let names = |claims: &serde_json::Map<String, Value>| claims.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(claims), names(before.as_object().unwrap()));
        assert_eq!(claims["sub"], before["sub"]);
        set_claim(&issuer, "demo-app", None).await;
    }
}

#[tokio::test]
async fn the_username_is_the_stored_one_however_it_was_typed() {
    let issuer = TestIssuer::start().await;
    set_claim(&issuer, "demo-app", Some("login")).await;
    let typed = [JANE[0], ("username", "JANE@Example.com"), JANE[2]];
    let token = issuer.token("demo-app", &typed, &[]).await.access_token();
    assert_eq!(issuer.verify_token(&token).await["login"], "jane@example.com");
}

#[tokio::test]
async fn a_refresh_uses_the_current_record_and_the_name_of_the_login() {
    let issuer = TestIssuer::start().await;
    let first = issuer.log_in().await;
    set_claim(&issuer, "demo-app", Some("preferred_username")).await;
    let second = issuer.refresh(&first).await;
    let claims = issuer.verify_token(&second.access_token()).await;
    assert_eq!(claims["preferred_username"], "jane@example.com", "the session began without the claim");
    set_claim(&issuer, "demo-app", Some("user_name")).await;
    let third = issuer.refresh(&second.refresh_token()).await;
    let claims = issuer.verify_token(&third.access_token()).await;
    assert_eq!((claims.get("preferred_username"), &claims["user_name"]), (None, &json!("jane@example.com")));
    set_claim(&issuer, "demo-app", None).await;
    let fourth = issuer.refresh(&third.refresh_token()).await;
    assert_eq!(issuer.verify_token(&fourth.access_token()).await.get("user_name"), None);
}

#[tokio::test]
async fn the_tokens_of_the_client_itself_have_no_username() {
    let issuer = TestIssuer::start().await;
    set_claim(&issuer, "demo-service", Some("user_name")).await;
    let on_behalf = [("operator", "alice.ops"), ("brandKey", "acme")];
    for form in [&on_behalf[..], &on_behalf[1..]] {
        let token = issuer.token("demo-service", CLIENT_CREDENTIALS, form).await.access_token();
        assert_eq!(issuer.verify_token(&token).await.get("user_name"), None, "{form:?}");
    }
}

/// A claim that is written twice is read differently by different parsers.
#[tokio::test]
async fn a_record_with_a_reserved_name_that_another_program_wrote_yields_no_token() {
    let issuer = TestIssuer::start().await;
    let table = issuer.table::<Client>();
    let client = table.get("demo-app").await.unwrap().unwrap();
    for name in ["sub", "Scope", "brandkey", "not a name"] {
        let update = issuer.dynamodb().update_item().table_name("countersign-clients");
        let update = update.key("client_id", aws_sdk_dynamodb::types::AttributeValue::S("demo-app".into()));
        let update = update.update_expression("SET username_claim = :name");
        let name = aws_sdk_dynamodb::types::AttributeValue::S(name.into());
        update.expression_attribute_values(":name", name).send().await.unwrap();
        issuer.let_caches_expire();
        issuer.token("demo-app", JANE, &[]).await.assert_error(401, "invalid_client");
    }
    assert_eq!(client.username_claim, None);
}

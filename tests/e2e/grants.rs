//! The four grants: the tokens that they return and the requests that they refuse.

use countersign_issuer::http;
use countersign_issuer::records::{AccessTokenType, GrantType, Principal, PrincipalKey};
use countersign_tests::in_process::InProcess;
use countersign_tests::{ALICE, AUDIENCE, CLIENT_CREDENTIALS, JANE, TestIssuer, alice, jane};
use serde_json::json;

#[tokio::test]
async fn a_client_gets_a_token_on_behalf_of_an_operator_and_a_brand() {
    let issuer = TestIssuer::start().await;
    let answer = issuer
        .token("demo-service", CLIENT_CREDENTIALS, &[("operator", "Alice.Ops"), ("brandKey", "acme")])
        .await;
    let response = answer.ok();
    let claims = issuer.verify_token(&answer.access_token()).await;
    let now = issuer.clock.now().seconds();

    assert_eq!(response["token_type"], "Bearer");
    assert_eq!(response["expires_in"], 3600);
    assert_eq!(response["scope"], "reports:read reports:write");
    assert_eq!(response.as_object().unwrap().len(), 4, "no refresh token: {response}");
    let jti = claims["jti"].as_str().unwrap();
    assert_eq!(jti.len(), 22);
    assert_eq!(
        claims,
        json!({
            "iss": issuer.url, "sub": "demo-service", "aud": AUDIENCE, "exp": now + 3600, "iat": now, "jti": jti,
            "client_id": "demo-service", "scope": "reports:read reports:write", "roles": ["reporting"],
            "operator": "alice.ops", "brandKey": "acme",
        })
    );
}

#[tokio::test]
async fn a_client_without_brands_gets_a_token_without_brand_and_operator() {
    let issuer = TestIssuer::start().await;
    let credentials = [("client_id", "demo-voice"), ("client_secret", "demo-voice-secret")];
    let body = countersign_tests::encode(&[&credentials[..], CLIENT_CREDENTIALS].concat());
    let claims = issuer.verify_token(&issuer.send("/oauth/token", &[], body).await.access_token()).await;
    assert_eq!(claims["roles"], json!(["voice-admin"]));
    assert_eq!((claims.get("operator"), claims.get("brandKey")), (None, None));
}

#[tokio::test]
async fn a_user_gets_a_token_with_a_stable_id_and_a_refresh_token() {
    let issuer = TestIssuer::start().await;
    let answer = issuer.token("demo-app", JANE, &[("brandKey", "acme")]).await;
    let claims = issuer.verify_token(&answer.access_token()).await;
    assert!(claims["sub"].as_str().unwrap().starts_with("usr_"));
    assert_eq!(claims["roles"], json!(["subscriber"]));
    assert_eq!((claims.get("operator"), &claims["brandKey"]), (None, &json!("acme")));

    let refresh = issuer.verify_refresh_token(&answer.refresh_token()).await;
    assert_eq!(refresh["exp"], issuer.clock.now().seconds() + 30 * 24 * 3600);
    let again = issuer.verify_token(&issuer.token("demo-app", JANE, &[]).await.access_token()).await;
    assert_eq!(again["sub"], claims["sub"]);
    assert_ne!(again["jti"], claims["jti"]);
}

#[tokio::test]
async fn an_operator_gets_a_token_with_their_username_as_operator() {
    let issuer = TestIssuer::start().await;
    let answer = issuer.token("demo-app", ALICE, &[("brandKey", "acme")]).await;
    let claims = issuer.verify_token(&answer.access_token()).await;
    assert!(claims["sub"].as_str().unwrap().starts_with("opr_"));
    assert_eq!(claims["roles"], json!(["care-agent", "billing"]));
    assert_eq!((&claims["operator"], &claims["brandKey"]), (&json!("alice.ops"), &json!("acme")));
    assert!(!answer.refresh_token().is_empty());
}

#[tokio::test]
async fn usernames_and_passwords_are_compared_by_rfc_8265() {
    let issuer = TestIssuer::start().await;
    let form = [
        ("grant_type", "password"),
        ("username", "JANE@Example.com"),
        // OpaqueString maps every space to U+0020.
        ("password", "correct\u{a0}horse\u{2003}battery staple"),
    ];
    issuer.token("demo-app", &form, &[]).await.ok();
}

#[tokio::test]
async fn every_failed_login_gets_the_same_response() {
    let issuer = TestIssuer::start().await;
    let attempt = async |grant: &str, username: &str, password: &str| {
        let form = [("grant_type", grant), ("username", username), ("password", password)];
        let answer = issuer.token("demo-app", &form, &[]).await;
        answer.assert_error(400, "invalid_grant");
        answer.text
    };
    let wrong_password = attempt("password", "jane@example.com", "wrong").await;
    assert_eq!(attempt("password", "nobody", "wrong").await, wrong_password);
    assert_eq!(attempt("password", "not a username", "wrong").await, wrong_password);
    assert_eq!(
        attempt("password", "alice.ops", "operator-passphrase").await,
        wrong_password,
        "alice is not a user"
    );
    assert_eq!(
        attempt("operator_password", "jane@example.com", "correct horse battery staple").await,
        wrong_password
    );

    issuer.change_principal(&jane(), |user| user.enabled = false).await;
    assert_eq!(attempt("password", "jane@example.com", "correct horse battery staple").await, wrong_password);
    issuer.change_principal(&alice(), |operator| operator.brands = vec!["globex".into()]).await;
    assert_eq!(attempt("operator_password", "alice.ops", "operator-passphrase").await, wrong_password);
}

#[tokio::test]
async fn users_are_unique_within_a_brand() {
    let issuer = TestIssuer::start().await;
    issuer.change_client("demo-app", |client| client.brands.push("globex".into())).await;
    issuer.token("demo-app", JANE, &[("brandKey", "globex")]).await.assert_error(400, "invalid_grant");
    let key = PrincipalKey::User { brand: "globex".into(), username: "jane@example.com".into() };
    let random = countersign_issuer::random::Random::system();
    let other =
        Principal::new(&key, "another passphrase", vec![], vec![], issuer.clock.now(), &random).unwrap();
    issuer.table::<Principal>().create(&other).await.unwrap();

    let form =
        [("grant_type", "password"), ("username", "jane@example.com"), ("password", "another passphrase")];
    let claims = issuer.token("demo-app", &form, &[("brandKey", "globex")]).await;
    assert_eq!(issuer.verify_token(&claims.access_token()).await["sub"], json!(other.id));
    issuer.token("demo-app", &form, &[("brandKey", "acme")]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn every_unavailable_operator_is_refused_alike() {
    let issuer = TestIssuer::start().await;
    let random = countersign_issuer::random::Random::system();
    let bob = PrincipalKey::Operator { username: "bob".into() };
    let record =
        Principal::new(&bob, "any passphrase", vec![], vec!["*".into()], issuer.clock.now(), &random)
            .unwrap();
    issuer.table::<Principal>().create(&record).await.unwrap();
    let attempt = async |operator: &str, brand: &str| {
        issuer.token("demo-service", CLIENT_CREDENTIALS, &[("operator", operator), ("brandKey", brand)]).await
    };

    attempt("alice.ops", "globex").await.ok();
    let outside_client = attempt("bob", "acme").await;
    outside_client.assert_error(400, "invalid_grant");
    let unknown = attempt("nobody", "acme").await;
    assert_eq!(unknown.text, outside_client.text);
    issuer.change_principal(&alice(), |operator| operator.brands = vec!["acme".into()]).await;
    assert_eq!(attempt("alice.ops", "globex").await.text, outside_client.text);
    issuer.change_principal(&alice(), |operator| operator.enabled = false).await;
    assert_eq!(attempt("alice.ops", "acme").await.text, outside_client.text);
    assert_eq!(attempt("not a username", "acme").await.text, outside_client.text);
    // No password is involved, so the text does not send a partner to change a good secret.
    let text = "the operator is unknown, disabled, or not one this client may act for";
    assert_eq!(outside_client.json()["error_description"], text);
    let login = [("grant_type", "operator_password"), ("username", "bob"), ("password", "wrong")];
    let login = issuer.token("demo-app", &login, &[("brandKey", "acme")]).await;
    assert_eq!(login.json()["error_description"], "the credentials or the refresh token are not valid");
}

#[tokio::test]
async fn without_a_brand_only_an_operator_of_all_brands_passes() {
    let issuer = TestIssuer::start().await;
    issuer
        .change_client("demo-voice", |client| {
            client.operators = vec!["alice.ops".into()];
            let more = [GrantType::OperatorPassword, GrantType::RefreshToken];
            client.grant_types.extend(more);
        })
        .await;
    let on_behalf =
        async || issuer.token("demo-voice", CLIENT_CREDENTIALS, &[("operator", "alice.ops")]).await;
    let log_in = async || issuer.token("demo-voice", ALICE, &[]).await;
    for brands in [&["acme"][..], &["acme", "globex"]] {
        let brands = brands.iter().map(|&brand| brand.into()).collect();
        issuer.change_principal(&alice(), |operator| operator.brands = brands).await;
        on_behalf().await.assert_error(400, "invalid_grant");
        log_in().await.assert_error(400, "invalid_grant");
    }
    issuer.change_principal(&alice(), |operator| operator.brands = vec!["*".into()]).await;
    let refresh_token = log_in().await.refresh_token();
    for answer in [on_behalf().await, log_in().await] {
        let claims = issuer.verify_token(&answer.access_token()).await;
        assert_eq!((claims.get("brandKey"), &claims["operator"]), (None, &json!("alice.ops")));
    }
    // A session without a brand ends when the operator no longer serves all of them.
    issuer.change_principal(&alice(), |operator| operator.brands = vec!["acme".into()]).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", &refresh_token)];
    issuer.token("demo-voice", &form, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_client_can_be_required_to_name_an_operator() {
    let issuer = TestIssuer::start().await;
    issuer.change_client("demo-service", |client| client.require_operator = true).await;
    let brand = ("brandKey", "acme");
    issuer.token("demo-service", CLIENT_CREDENTIALS, &[brand]).await.assert_error(400, "invalid_request");
    issuer.token("demo-service", CLIENT_CREDENTIALS, &[brand, ("operator", "alice.ops")]).await.ok();
}

#[tokio::test]
async fn the_brand_is_the_requested_one_or_the_only_one() {
    let issuer = TestIssuer::start().await;
    let brand_of = async |client: &str, form: &[(&str, &str)]| {
        let answer = issuer.token(client, CLIENT_CREDENTIALS, form).await;
        issuer.verify_token(&answer.access_token()).await["brandKey"].clone()
    };
    assert_eq!(brand_of("demo-service", &[("brandKey", "globex")]).await, "globex");
    let several = issuer.token("demo-service", CLIENT_CREDENTIALS, &[]).await;
    several.assert_error(400, "invalid_request");
    issuer
        .token("demo-service", CLIENT_CREDENTIALS, &[("brandKey", "evil")])
        .await
        .assert_error(400, "invalid_request");
    issuer
        .token("demo-voice", CLIENT_CREDENTIALS, &[("brandKey", "acme")])
        .await
        .assert_error(400, "invalid_request");

    issuer.change_client("demo-service", |client| client.brands = vec!["globex".into()]).await;
    assert_eq!(brand_of("demo-service", &[]).await, "globex");
    issuer.change_client("demo-service", |client| client.brands = vec!["*".into()]).await;
    assert_eq!(brand_of("demo-service", &[("brandKey", "anything")]).await, "anything");
    let unnamed = issuer.token("demo-service", CLIENT_CREDENTIALS, &[]).await;
    unnamed.assert_error(400, "invalid_request");
}

#[tokio::test]
async fn the_scope_is_the_requested_one_or_the_default_or_absent() {
    let issuer = TestIssuer::start().await;
    let ask = async |scope: &str| issuer.token("demo-voice", CLIENT_CREDENTIALS, &[("scope", scope)]).await;
    let narrowed = ask("calls:read calls:read").await;
    assert_eq!(narrowed.ok()["scope"], "calls:read");
    assert_eq!(issuer.verify_token(&narrowed.access_token()).await["scope"], "calls:read");
    assert_eq!(
        ask("").await.ok()["scope"],
        "calls:read calls:write",
        "an empty parameter counts as left out"
    );
    let many: String = (0..101).map(|n| format!("s{n} ")).collect();
    for (refused, text) in [
        ("calls:delete", "may ask for"),
        ("calls:read reports:read", "may ask for"),
        ("Calls:read", "may ask for"),
        ("calls:read,calls:write", "may ask for"),
        ("calls:read  calls:write", "a space too many"),
        ("calls:read ", "a space too many"),
        (" calls:write", "a space too many"),
        (" ", "a space too many"),
        ("\"", "a character that no scope may have"),
        ("calls:read\u{a0}calls:write", "a character that no scope may have"),
        (many.trim(), "more than 100 scopes"),
    ] {
        let answer = ask(refused).await;
        answer.assert_error(400, "invalid_scope");
        assert!(answer.text.contains(text), "{refused}: {}", answer.text);
    }

    issuer
        .change_client("demo-voice", |client| {
            client.default_scopes = Some(vec!["calls:read".into()]);
        })
        .await;
    assert_eq!(ask("").await.ok()["scope"], "calls:read");
    issuer
        .change_client("demo-voice", |client| {
            (client.scopes, client.default_scopes) = (vec![], None);
        })
        .await;
    let none = ask("").await;
    assert_eq!(none.ok().get("scope"), None);
    assert_eq!(issuer.verify_token(&none.access_token()).await.get("scope"), None);
    ask("calls:read").await.assert_error(400, "invalid_scope");
}

#[tokio::test]
async fn a_resource_selects_one_of_the_clients_audiences() {
    let issuer = TestIssuer::start().await;
    let other = "https://other.example.com/v1";
    issuer.change_client("demo-voice", |client| client.audiences.push(other.into())).await;
    let answer = issuer.token("demo-voice", CLIENT_CREDENTIALS, &[("resource", other)]).await;
    issuer.verify_token_as("at+jwt", other, &answer.access_token()).await;
    let default = issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await;
    issuer.verify_token_as("at+jwt", AUDIENCE, &default.access_token()).await;
    let foreign =
        issuer.token("demo-voice", CLIENT_CREDENTIALS, &[("resource", "https://evil.example.com")]).await;
    foreign.assert_error(400, "invalid_target");
}

/// Clients of Auth0 and Keycloak call the parameter `audience`.
#[tokio::test]
async fn audience_means_resource_and_a_token_is_for_one_of_them() {
    let issuer = TestIssuer::start().await;
    let (one, other) = (AUDIENCE, "https://other.example.com/v2");
    issuer.change_client("demo-voice", |client| client.audiences.push(other.into())).await;
    issuer.change_client("demo-app", |client| client.audiences.push(other.into())).await;
    let ask = async |form: &[(&str, &str)]| issuer.token("demo-voice", CLIENT_CREDENTIALS, form).await;
    for form in [&[("audience", other)][..], &[("audience", other), ("resource", other)]] {
        issuer.verify_token_as("at+jwt", other, &ask(form).await.access_token()).await;
    }
    for (form, text) in [
        (&[("audience", "https://evil.example.com")][..], "may name"),
        (&[("audience", one), ("resource", other)], "resource and audience differ"),
        (&[("resource", one), ("resource", other)], "name one"),
        (&[("resource", one), ("resource", one)], "name one"),
        (&[("audience", other), ("audience", one)], "name one"),
    ] {
        let answer = ask(form).await;
        answer.assert_error(400, "invalid_target");
        assert!(answer.text.contains(text), "{form:?}: {}", answer.text);
    }

    // A session keeps the API that it began with.
    let login = issuer.token("demo-app", JANE, &[("audience", other)]).await;
    issuer.verify_token_as("at+jwt", other, &login.access_token()).await;
    let refresh = login.refresh_token();
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    issuer.token("demo-app", &refresh, &[("audience", one)]).await.assert_error(400, "invalid_target");
    issuer.token("demo-app", &refresh, &[("audience", other)]).await.ok();
}

#[tokio::test]
async fn the_client_sets_lifetime_and_typ_within_the_global_limits() {
    let issuer = TestIssuer::start().await;
    issuer
        .change_client("demo-voice", |client| {
            client.typ = AccessTokenType::Jwt;
            client.access_ttl = 10 * 24 * 3600;
        })
        .await;
    let answer = issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await;
    let claims = issuer.verify_token_as("JWT", AUDIENCE, &answer.access_token()).await;
    let day = 24 * 3600;
    assert_eq!(answer.ok()["expires_in"], day, "the record was written under a higher limit");
    assert_eq!(claims["exp"], issuer.clock.now().seconds() + day);
}

#[tokio::test]
async fn a_client_may_use_only_the_grants_in_its_record() {
    let issuer = TestIssuer::start().await;
    issuer
        .token("demo-service", JANE, &[("brandKey", "acme")])
        .await
        .assert_error(400, "unauthorized_client");
    issuer.token("demo-app", CLIENT_CREDENTIALS, &[]).await.assert_error(400, "unauthorized_client");
    let unknown = issuer.token("demo-app", &[("grant_type", "authorization_code")], &[]).await;
    unknown.assert_error(400, "unsupported_grant_type");
    issuer
        .change_client("demo-app", |client| {
            client.grant_types.retain(|grant| grant.as_str() == "password");
        })
        .await;
    assert_eq!(issuer.token("demo-app", JANE, &[]).await.ok().get("refresh_token"), None);
}

#[tokio::test]
async fn the_future_of_a_request_has_no_room_for_dynamodb_calls_that_are_rare() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    let answering = http::token(&world.issuer, http::Request::default());
    assert!(size_of_val(&answering) < 4096, "{} bytes, each moved about four times", size_of_val(&answering));
}

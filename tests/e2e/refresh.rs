//! Refresh tokens: a retry after a lost response is answered again, a stolen token ends its family,
//! and each use is one write.

use std::time::Duration;

use countersign_issuer::config::Config;
use countersign_issuer::random::Random;
use countersign_issuer::records::{Client, GrantType, Principal};
use countersign_tests::in_process::{APP_SECRET, InProcess, PASSWORD, Post, clock_of_tokio, environment};
use countersign_tests::store::Fault;
use countersign_tests::token_verifier::Expected;
use countersign_tests::{ALICE, AUDIENCE, JANE, TestIssuer, alice, jane};
use countersign_verify::Timestamp;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn every_refresh_returns_a_successor_of_the_same_family_and_expiry() {
    let issuer = TestIssuer::start().await;
    let first = issuer.log_in().await;
    issuer.clock.advance(Duration::from_secs(3600));
    let answer = issuer.refresh(&first).await;
    let claims = issuer.verify_token(&answer.access_token()).await;
    assert_eq!(claims["iat"], issuer.clock.now().seconds());
    assert_eq!((&claims["roles"], &claims["brandKey"]), (&json!(["subscriber"]), &json!("acme")));

    let before = issuer.verify_refresh_token(&first).await;
    let after = issuer.verify_refresh_token(&answer.refresh_token()).await;
    for same in ["family", "exp", "scope", "brandKey", "sub", "auth_time"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!((&before["generation"], &after["generation"]), (&json!(0), &json!(1)));
    issuer.refresh(&answer.refresh_token()).await.ok();
}

#[tokio::test]
async fn a_login_writes_nothing_and_a_family_is_one_item_that_expires() {
    let issuer = TestIssuer::start().await;
    let first = issuer.log_in().await;
    assert_eq!(issuer.count("refresh-families").await, 0);
    let second = issuer.refresh(&first).await.refresh_token();
    issuer.refresh(&second).await.ok();
    assert_eq!(issuer.count("refresh-families").await, 1);

    let claims = issuer.verify_refresh_token(&first).await;
    let families = issuer.dynamodb().scan().table_name("countersign-refresh-families").send().await.unwrap();
    let expires = families.items()[0]["expires"].as_n().unwrap();
    assert_eq!(*expires, (claims["exp"].as_u64().unwrap() + 24 * 3600).to_string());
}

#[tokio::test]
async fn a_retry_after_a_lost_response_is_answered_again_within_10_seconds() {
    let issuer = TestIssuer::start().await;
    let first = issuer.log_in().await;
    let lost = issuer.refresh(&first).await.refresh_token();
    issuer.clock.advance(Duration::from_secs(10));
    let again = issuer.refresh(&first).await.refresh_token();
    for successor in [&lost, &again] {
        let claims = issuer.verify_refresh_token(successor).await;
        assert_eq!(claims["generation"], 1);
    }
    issuer.refresh(&again).await.ok();
}

#[tokio::test]
async fn reuse_after_10_seconds_revokes_the_family_for_thief_and_victim() {
    let issuer = TestIssuer::start().await;
    let stolen = issuer.log_in().await;
    let successor = issuer.refresh(&stolen).await.refresh_token();
    issuer.clock.advance(Duration::from_millis(10_001));
    issuer.refresh(&stolen).await.assert_error(400, "invalid_grant");
    issuer.refresh(&successor).await.assert_error(400, "invalid_grant");
    issuer.refresh(&stolen).await.assert_error(400, "invalid_grant");
    issuer.refresh(&issuer.log_in().await).await.ok();
}

#[tokio::test]
async fn a_slow_retry_of_an_older_token_is_refused_and_does_no_harm() {
    let issuer = TestIssuer::start().await;
    let first = issuer.log_in().await;
    let second = issuer.refresh(&first).await.refresh_token();
    let third = issuer.refresh(&second).await.refresh_token();
    issuer.refresh(&first).await.assert_error(400, "invalid_grant");
    issuer.refresh(&third).await.ok();
    issuer.clock.advance(Duration::from_secs(11));
    issuer.refresh(&first).await.assert_error(400, "invalid_grant");
    issuer.refresh(&third).await.assert_error(400, "invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_refreshes_all_get_the_same_successor() {
    let issuer = TestIssuer::start().await;
    for token in [issuer.log_in().await, issuer.refresh(&issuer.log_in().await).await.refresh_token()] {
        let used = issuer.verify_refresh_token(&token).await;
        let mut running = Vec::new();
        for _ in 0..64 {
            let request = reqwest::Client::new()
                .post(format!("{}/oauth/refresh", issuer.url))
                .basic_auth("demo-app", Some("demo-app-secret"))
                .form(&[("refresh_token", &token)]);
            running.push(tokio::spawn(request.send()));
        }
        let mut answers = Vec::new();
        for request in running {
            let answer = request.await.unwrap().unwrap();
            assert_eq!(answer.status(), 200);
            answers.push(answer.json::<serde_json::Value>().await.unwrap());
        }
        for answer in &answers {
            let successor = issuer.verify_refresh_token(answer["refresh_token"].as_str().unwrap()).await;
            assert_eq!(successor["family"], used["family"]);
            assert_eq!(successor["generation"].as_u64(), used["generation"].as_u64().map(|g| g + 1));
        }
    }
    assert_eq!(issuer.count("refresh-families").await, 2);
}

#[tokio::test]
async fn expiry_is_absolute_and_stands_in_the_token() {
    let issuer = TestIssuer::start().await;
    issuer.change_client("demo-app", |client| client.refresh_ttl = 100).await;
    let first = issuer.log_in().await;
    issuer.clock.advance(Duration::from_secs(60));
    let second = issuer.refresh(&first).await.refresh_token();
    issuer.clock.advance(Duration::from_secs(39));
    let third = issuer.refresh(&second).await.refresh_token();
    issuer.clock.advance(Duration::from_secs(1));
    issuer.refresh(&third).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_family_whose_record_is_missing_is_refused_and_not_created() {
    let issuer = TestIssuer::start().await;
    let second = issuer.refresh(&issuer.log_in().await).await.refresh_token();
    let claims = issuer.verify_refresh_token(&second).await;
    let family = aws_sdk_dynamodb::types::AttributeValue::S(claims["family"].as_str().unwrap().into());
    let table = "countersign-refresh-families";
    issuer.dynamodb().delete_item().table_name(table).key("family", family).send().await.unwrap();
    issuer.refresh(&second).await.assert_error(400, "invalid_grant");
    assert_eq!(issuer.count("refresh-families").await, 0);
}

#[tokio::test]
async fn a_refresh_may_narrow_the_access_token_and_the_successor_keeps_the_scope() {
    let issuer = TestIssuer::start().await;
    let narrowed = issuer.token("demo-app", JANE, &[("scope", "profile:read")]).await.refresh_token();
    let ask = async |token: &str, scope: &str| {
        issuer.post("/oauth/refresh", "demo-app", &[("refresh_token", token), ("scope", scope)]).await
    };
    ask(&narrowed, "profile:write").await.assert_error(400, "invalid_scope");
    assert_eq!(ask(&narrowed, "").await.ok()["scope"], "profile:read");

    let whole = issuer.log_in().await;
    let answer = ask(&whole, "profile:write").await;
    assert_eq!(answer.ok()["scope"], "profile:write");
    let answer = ask(&answer.refresh_token(), "").await;
    assert_eq!(answer.ok()["scope"], "profile:read profile:write");
    let successor = answer.refresh_token();

    issuer.change_client("demo-app", |client| client.scopes = vec!["profile:write".into()]).await;
    let answer = ask(&successor, "").await;
    assert_eq!(answer.ok()["scope"], "profile:write", "what the client may request now");
    ask(&answer.refresh_token(), "profile:read").await.assert_error(400, "invalid_scope");
}

#[tokio::test]
async fn a_refresh_token_is_bound_to_client_brand_and_audience() {
    let issuer = TestIssuer::start().await;
    let token = issuer.log_in().await;
    let ask = async |more: (&str, &str)| {
        issuer.post("/oauth/refresh", "demo-app", &[("refresh_token", &token), more]).await
    };
    ask(("brandKey", "globex")).await.assert_error(400, "invalid_grant");
    ask(("resource", "https://other.example.com")).await.assert_error(400, "invalid_target");
    ask(("grant_type", "password")).await.assert_error(400, "unsupported_grant_type");

    let mut other = issuer.table::<Client>().get("demo-app").await.unwrap().unwrap();
    other.client_id = "other-app".into();
    issuer.table().create(&other).await.unwrap();
    let form = [("client_id", "other-app"), ("client_secret", "demo-app-secret"), ("refresh_token", &token)];
    let foreign = issuer.send("/oauth/refresh", &[], countersign_tests::encode(&form)).await;
    foreign.assert_error(400, "invalid_grant");
    let missing = issuer.post("/oauth/refresh", "demo-app", &[]).await;
    missing.assert_error(400, "invalid_request");
    assert_eq!(issuer.count("refresh-families").await, 0, "a refused request writes nothing");
    ask(("brandKey", "acme")).await.ok();
}

#[tokio::test]
async fn a_new_client_of_the_same_name_is_another_client() {
    let issuer = TestIssuer::start().await;
    let token = issuer.log_in().await;
    let mut client = issuer.table::<Client>().get("demo-app").await.unwrap().unwrap();
    issuer.table::<Client>().delete("demo-app").await.unwrap();
    client.created = client.created.plus(Duration::from_millis(1));
    issuer.table().create(&client).await.unwrap();
    issuer.let_caches_expire();
    issuer.refresh(&token).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_refresh_returns_the_current_roles() {
    let issuer = TestIssuer::start().await;
    let token = issuer.token("demo-app", ALICE, &[]).await.refresh_token();
    issuer.change_principal(&alice(), |operator| operator.roles = vec!["auditor".into()]).await;
    let claims = issuer.verify_token(&issuer.refresh(&token).await.access_token()).await;
    assert_eq!((&claims["roles"], &claims["operator"]), (&json!(["auditor"]), &json!("alice.ops")));
}

#[tokio::test]
async fn every_change_that_ends_a_session_ends_its_refreshes() {
    let issuer = TestIssuer::start().await;
    let refused_after = async |change: Box<dyn FnOnce(&mut Principal)>| {
        let token = issuer.refresh(&issuer.log_in().await).await.refresh_token();
        let mut restored = issuer.table::<Principal>().get(&jane().to_string()).await.unwrap().unwrap();
        issuer.save_principal(&jane(), change).await;
        issuer.refresh(&token).await.assert_error(400, "invalid_grant");
        restored.version += 1;
        issuer.save_principal(&jane(), |user| *user = restored).await;
    };
    refused_after(Box::new(|user| user.enabled = false)).await;
    refused_after(Box::new(|user| user.id = "usr_somebody_else".into())).await;
    // Independent of the clock of the machine that changes the record.
    refused_after(Box::new(|user| user.end_sessions(Timestamp::from_seconds(1)))).await;
    let (random, now) = (Random::system(), issuer.clock.now());
    refused_after(Box::new(move |user| user.set_password("another one", now, &random).unwrap())).await;

    let token = issuer.log_in().await;
    issuer.change_client("demo-app", |client| client.brands = vec!["globex".into()]).await;
    issuer.refresh(&token).await.assert_error(400, "invalid_grant");
    issuer.change_client("demo-app", |client| client.brands = vec!["acme".into()]).await;
    let audiences = vec!["https://other.example.com".to_owned()];
    let before = issuer.table::<Client>().get("demo-app").await.unwrap().unwrap().audiences;
    issuer.change_client("demo-app", |client| client.audiences = audiences).await;
    issuer.refresh(&token).await.assert_error(400, "invalid_grant");
    issuer.change_client("demo-app", |client| client.audiences = before).await;
    issuer
        .change_client("demo-app", |client| {
            client.grant_types.retain(|grant| grant.as_str() != "password");
        })
        .await;
    issuer.refresh(&token).await.assert_error(400, "invalid_grant");
    issuer
        .change_client("demo-app", |client| {
            client.grant_types.retain(|grant| grant.as_str() != "refresh_token");
        })
        .await;
    issuer.refresh(&token).await.assert_error(400, "unauthorized_client");
    issuer.change_client("demo-app", |client| client.grant_types.push(GrantType::RefreshToken)).await;
    // A refused request has not used the token up.
    issuer.change_client("demo-app", |client| client.grant_types.push(GrantType::Password)).await;
    issuer.refresh(&token).await.ok();
}

#[tokio::test]
async fn families_and_keys_survive_a_restart() {
    let issuer = TestIssuer::start().await;
    let second = issuer.refresh(&issuer.log_in().await).await.refresh_token();
    let issuer = issuer.restart().await;
    let third = issuer.refresh(&second).await;
    issuer.verify_token(&third.access_token()).await;
    issuer.clock.advance(Duration::from_secs(11));
    issuer.refresh(&second).await.assert_error(400, "invalid_grant");
    issuer.refresh(&third.refresh_token()).await.assert_error(400, "invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_cannot_be_signed_does_not_use_the_token_up() {
    let world = InProcess::start(&clock_of_tokio(), &[]).await;
    let login = [("grant_type", "password"), ("username", "jane"), ("password", PASSWORD)];
    let token = Post::new("/oauth/token", "app", APP_SECRET, &login).to(&world.issuer).await.refresh_token();
    let cold = world.another_process(&clock_of_tokio(), Random::system());
    let refresh = Post::new("/oauth/refresh", "app", APP_SECRET, &[("refresh_token", &token)]);
    world.store.set_faults(|call| (call == "Decrypt").then_some(Fault::InternalError));
    refresh.to(&cold).await.assert_error(503, "temporarily_unavailable");
    assert_eq!(world.store.scan("countersign-refresh-families"), [] as [serde_json::Value; 0]);
    world.store.heal();
    refresh.to(&cold).await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_family_is_kept_for_as_long_as_its_first_token_lives() {
    let clock = clock_of_tokio();
    let (mut world, begun) = (InProcess::start(&clock, &[]).await, clock.now().seconds());
    let login = [("grant_type", "password"), ("username", "jane"), ("password", PASSWORD)];
    let first = Post::new("/oauth/token", "app", APP_SECRET, &login).to(&world.issuer).await.refresh_token();
    world.config = Config::from_lookup(environment(&[("COUNTERSIGN_MAX_REFRESH_TTL", "604800")])).unwrap();
    let lowered = world.another_process(&clock, Random::system());
    let refresh = |token: &str| Post::new("/oauth/refresh", "app", APP_SECRET, &[("refresh_token", token)]);
    let second = refresh(&first).to(&lowered).await.refresh_token();
    let third = refresh(&second).to(&lowered).await.refresh_token();
    Post::new("/oauth/revoke", "app", APP_SECRET, &[("token", &third)]).to(&lowered).await.ok();
    let expires = world.store.scan("countersign-refresh-families")[0]["expires"]["N"].clone();
    assert_eq!(expires, (begun + 31 * 24 * 3600).to_string());
}

/// Verifiers that look at neither `typ` nor `aud` are common. They take whatever a published key
/// signed as a JWS.
#[tokio::test]
async fn a_refresh_token_is_no_jwt_and_no_part_of_it_verifies_as_one() {
    let issuer = TestIssuer::start().await;
    let login = issuer.token("demo-app", JANE, &[]).await;
    let (refresh_token, access_token) = (login.refresh_token(), login.access_token());
    issuer.verify_refresh_token(&refresh_token).await;
    assert!(refresh_token.starts_with("csgr_"), "{refresh_token}");
    assert_eq!(refresh_token.split('.').count(), 2, "a JWT has three segments");

    // Its claims and its signature under the header of an access token, and the other way round.
    let segments: Vec<&str> = access_token.split('.').collect();
    let (claims, signature) = refresh_token["csgr_".len()..].split_once('.').unwrap();
    let jwks = issuer.get("/.well-known/jwks.json", &[]).await.text;
    for disguised in [
        format!("{}.{claims}.{signature}", segments[0]),
        format!("{}.{}.{signature}", segments[0], segments[1]),
        format!("csgr_{claims}.{signature}.{signature}"),
    ] {
        let expected =
            Expected { typ: "at+jwt", issuer: &issuer.url, audience: AUDIENCE, now: issuer.clock.now() };
        expected.verify(&jwks, &disguised).unwrap_err();
        assert_eq!(issuer.call(Method::GET, "/api/whoami", &disguised).await.status, 401);
    }
    for disguised in [
        format!("csgr_{}.{}", segments[1], segments[2]),
        format!("csgr_{claims}.{}", segments[2]),
        format!("csgr_{claims}"),
        format!("csgr_{claims}.{signature}."),
        format!("csgr_{claims}=.{signature}"),
        format!("csgr_.{signature}"),
        format!("{claims}.{signature}"),
        format!("CSGR_{claims}.{signature}"),
        access_token,
    ] {
        issuer.refresh(&disguised).await.assert_error(400, "invalid_grant");
    }
    issuer.refresh(&refresh_token).await.ok();
}

#[tokio::test]
async fn a_scope_that_shrank_to_nothing_is_refused_and_the_token_stays_usable() {
    let issuer = TestIssuer::start().await;
    let token = issuer.log_in().await;
    let before = issuer.table::<Client>().get("demo-app").await.unwrap().unwrap().scopes;
    issuer.change_client("demo-app", |client| client.scopes = vec!["profile:delete".into()]).await;
    issuer.refresh(&token).await.assert_error(400, "invalid_scope");
    issuer.change_client("demo-app", |client| client.scopes = vec![before[0].clone()]).await;
    assert_eq!(issuer.refresh(&token).await.ok()["scope"], *before[0]);
}

#[tokio::test]
async fn a_lowered_refresh_lifetime_binds_living_sessions() {
    let issuer = TestIssuer::start().await;
    let token = issuer.log_in().await;
    let expires = issuer.clock.now().seconds() + 30 * 24 * 3600;
    assert_eq!(introspected_exp(&issuer, &token).await, json!(expires));
    issuer.clock.advance(Duration::from_secs(3000));
    issuer.change_client("demo-app", |client| client.refresh_ttl = 3600).await;
    let lowered = json!(expires - 30 * 24 * 3600 + 3600);
    assert_eq!(introspected_exp(&issuer, &token).await, lowered);
    let successor = issuer.refresh(&token).await.refresh_token();
    assert_eq!(introspected_exp(&issuer, &successor).await, lowered, "it counts from the login");
    let idle = issuer.log_in().await;
    issuer.change_client("demo-app", |client| client.refresh_ttl = 60).await;
    issuer.refresh(&successor).await.assert_error(400, "invalid_grant");
    issuer.clock.advance(Duration::from_secs(60));
    issuer.refresh(&idle).await.assert_error(400, "invalid_grant");
    assert_eq!(issuer.count("refresh-families").await, 1, "a refused request writes nothing");
}

#[tokio::test]
async fn a_session_that_is_idle_for_longer_than_its_client_allows_ends() {
    let issuer = TestIssuer::start().await;
    issuer.change_client("demo-app", |client| client.refresh_idle = Some(600)).await;
    let mut token = issuer.log_in().await;
    for _ in 0..3 {
        issuer.clock.advance(Duration::from_secs(599));
        token = issuer.refresh(&token).await.refresh_token();
    }
    assert_eq!(introspected_exp(&issuer, &token).await, json!(issuer.clock.now().seconds() + 600));
    issuer.clock.advance(Duration::from_secs(600));
    assert_eq!(introspected_exp(&issuer, &token).await, json!(null), "not active");
    issuer.refresh(&token).await.assert_error(400, "invalid_grant");
    issuer.change_client("demo-app", |client| client.refresh_idle = None).await;
    issuer.refresh(&token).await.ok();
}

async fn introspected_exp(issuer: &TestIssuer, token: &str) -> serde_json::Value {
    let form = [("token", token), ("token_type_hint", "refresh_token")];
    issuer.post("/oauth/introspect", "demo-app", &form).await.ok()["exp"].clone()
}

/// The grace period is the difference of two processes' clocks, so their skew adds to it or takes
/// from it.
#[tokio::test]
async fn a_retry_is_answered_by_a_clock_that_is_behind_or_ahead_by_less_than_the_grace_period() {
    let issuer = TestIssuer::start().await;
    issuer.clock.advance(Duration::from_secs(60));
    for (skew_millis, is_answered) in [(9_000_i64, true), (10_001, false), (-9_000, true), (-60_000, true)] {
        let token = issuer.log_in().await;
        issuer.refresh(&token).await.ok();
        let by = Duration::from_millis(skew_millis.unsigned_abs());
        if skew_millis > 0 {
            issuer.clock.advance(by);
        } else {
            issuer.clock.rewind(by);
        }
        let retry = issuer.refresh(&token).await;
        assert_eq!(retry.status == 200, is_answered, "{skew_millis} ms: {}", retry.text);
        if skew_millis < 0 {
            issuer.clock.advance(by);
        }
    }
}

#[tokio::test]
async fn a_session_without_a_brand_ends_when_its_client_is_limited_to_brands() {
    let issuer = TestIssuer::start().await;
    issuer.change_principal(&alice(), |operator| operator.brands = vec!["*".into()]).await;
    let password_grant = |grant: &GrantType| *grant == GrantType::Password;
    issuer
        .change_client("demo-app", |client| {
            client.brands.clear();
            client.grant_types.retain(|grant| !password_grant(grant));
        })
        .await;
    let token = issuer.token("demo-app", ALICE, &[]).await.refresh_token();
    let token = issuer.refresh(&token).await.refresh_token();
    issuer.change_client("demo-app", |client| client.brands = vec!["acme".into()]).await;
    issuer.refresh(&token).await.assert_error(400, "invalid_grant");
}

//! The lifecycle of signing keys, in the store and in the published key set.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use countersign_issuer::keys::ChangeRefused;
use countersign_issuer::random::Random;
use countersign_tests::in_process::{APP_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET, clock_of_tokio};
use countersign_tests::store::Fault;
use countersign_tests::token_verifier::{unverified_kid, unverified_refresh_claims};
use countersign_tests::{CLIENT_CREDENTIALS, TestIssuer, TestResponse};
use serde_json::{Value, json};

const TABLE: &str = "countersign-signing-keys";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The time after which a copy of the ring is read again.
const RING_FRESHNESS: Duration = Duration::from_secs(5 * 60);

async fn token(issuer: &TestIssuer) -> TestResponse {
    issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await
}

/// Returns the `kid` of a new token, after verifying the token.
async fn signing_kid(issuer: &TestIssuer) -> String {
    let token = token(issuer).await.access_token();
    issuer.verify_token(&token).await;
    unverified_kid(&token)
}

async fn published(issuer: &TestIssuer) -> Vec<String> {
    let keys = issuer.get("/.well-known/jwks.json", &[]).await.json()["keys"].clone();
    keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The key of an item in the table.
fn item(seq: u64) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("ring".to_owned(), AttributeValue::S("issuer".into())),
        ("seq".to_owned(), AttributeValue::N(seq.to_string())),
    ])
}

async fn delete(issuer: &TestIssuer, seq: u64) {
    issuer.dynamodb().delete_item().table_name(TABLE).set_key(Some(item(seq))).send().await.unwrap();
}

/// Writes a changed copy of the first key's item under another number.
async fn put(issuer: &TestIssuer, seq: u64, change: impl FnOnce(&mut HashMap<String, AttributeValue>)) {
    let items = issuer.dynamodb().scan().table_name(TABLE).send().await.unwrap().items.unwrap();
    let mut item =
        items.into_iter().min_by_key(|item| item["seq"].as_n().unwrap().parse::<u64>().unwrap()).unwrap();
    item.insert("seq".into(), AttributeValue::N(seq.to_string()));
    change(&mut item);
    issuer.dynamodb().put_item().table_name(TABLE).set_item(Some(item)).send().await.unwrap();
}

#[tokio::test]
async fn a_successor_is_published_a_day_before_it_signs_and_a_predecessor_while_its_tokens_live() {
    let issuer = TestIssuer::start().await;
    let first = signing_kid(&issuer).await;
    let kids = published(&issuer).await;
    assert_eq!((kids.len(), &kids[0]), (2, &first), "the first rotation creates two keys");
    let second = kids[1].clone();

    issuer.clock.advance(29 * DAY + 23 * HOUR + 59 * MINUTE);
    assert_eq!(signing_kid(&issuer).await, first);
    let last_token = token(&issuer).await.access_token();
    issuer.clock.advance(MINUTE);
    assert_eq!(
        signing_kid(&issuer).await,
        second,
        "without a rotation, because a missed run must not be an outage"
    );
    let rotation = issuer.rotator().rotate().await.unwrap();
    assert_eq!(rotation.created.len(), 1);
    assert_eq!(rotation.created[0].activates_at, issuer.clock.now().plus(30 * DAY));
    assert!(issuer.rotator().rotate().await.unwrap().created.is_empty(), "a second run finds nothing to do");

    issuer.clock.advance(RING_FRESHNESS);
    assert_eq!(
        published(&issuer).await,
        [first.clone(), second.clone(), rotation.created[0].jwk.kid().to_owned()]
    );
    issuer.verify_token(&last_token).await;
    issuer.clock.advance(26 * HOUR);
    assert!(!published(&issuer).await.contains(&first), "all its tokens have expired");
}

#[tokio::test]
async fn refresh_tokens_work_after_their_key_leaves_the_key_set_until_its_record_is_deleted() {
    let issuer = TestIssuer::start().await;
    issuer.change_client("demo-app", |client| client.refresh_ttl = 90 * 24 * 3600).await;
    let first = published(&issuer).await[0].clone();
    let refresh_token = issuer.log_in().await;
    for _ in 0..2 {
        issuer.clock.advance(31 * DAY);
        issuer.rotator().rotate().await.unwrap();
    }
    assert!(!published(&issuer).await.contains(&first));
    let successor = issuer.refresh(&refresh_token).await;
    issuer.verify_token(&successor.access_token()).await;

    let stored = || async { issuer.rotator().ring().await.unwrap().lifecycles()[0].key.jwk.kid() == first };
    let is_wrapped = || async {
        let items = issuer.dynamodb().scan().table_name(TABLE).send().await.unwrap().items.unwrap();
        items.iter().find(|item| item["seq"].as_n().unwrap() == "1").unwrap().contains_key("wrapped")
    };
    assert!(stored().await && !is_wrapped().await, "its private key is erased, its public key is kept");
    issuer.clock.advance(70 * DAY);
    issuer.rotator().rotate().await.unwrap();
    assert!(!stored().await, "its last refresh token has expired");
}

#[tokio::test]
async fn simultaneous_rotations_create_one_key() {
    let issuer = TestIssuer::start().await;
    issuer.clock.advance(31 * DAY);
    let rotators = [issuer.rotator(), issuer.rotator(), issuer.rotator(), issuer.rotator()];
    let [a, b, c, d] = &rotators;
    let runs = tokio::join!(a.rotate(), b.rotate(), c.rotate(), d.rotate());
    let created = [runs.0, runs.1, runs.2, runs.3].map(|run| run.unwrap().created.len());
    assert_eq!(created.iter().sum::<usize>(), 1, "{created:?}");
    assert_eq!(issuer.count("signing-keys").await, 3);
}

#[tokio::test]
async fn a_rotation_can_be_forced_once_verifiers_know_the_successor() {
    let issuer = TestIssuer::start().await;
    let kids = published(&issuer).await;
    let refused = issuer.rotator().rotate_now().await.unwrap_err();
    assert!(matches!(refused, ChangeRefused::NotYetKnown { .. }), "{refused}");
    issuer.clock.advance(4 * HOUR);
    let before = token(&issuer).await.access_token();
    issuer.rotator().rotate_now().await.unwrap();
    issuer.clock.advance(RING_FRESHNESS);
    assert_eq!(signing_kid(&issuer).await, kids[1]);
    issuer.verify_token(&before).await;
}

#[tokio::test]
async fn a_withdrawn_key_is_neither_published_nor_trusted_and_its_successor_signs() {
    let issuer = TestIssuer::start().await;
    let kids = published(&issuer).await;
    let refresh_token = issuer.log_in().await;
    let young = issuer.rotator().withdraw(&kids[0], false).await.unwrap_err();
    assert!(matches!(young, ChangeRefused::NotYetKnown { .. }), "{young}");
    issuer.clock.advance(4 * HOUR);
    // A session that has moved to the next key still descends from the withdrawn key.
    issuer.rotator().rotate_now().await.unwrap();
    issuer.clock.advance(RING_FRESHNESS);
    let child = issuer.refresh(&refresh_token).await.refresh_token();
    issuer.rotator().withdraw(&kids[0], false).await.unwrap();
    issuer.clock.advance(RING_FRESHNESS);
    assert_eq!(signing_kid(&issuer).await, kids[1]);
    let now = published(&issuer).await;
    assert!(now.len() == 2 && now[0] == kids[1], "the next successor is announced: {now:?}");
    issuer.refresh(&refresh_token).await.assert_error(400, "invalid_grant");
    issuer.refresh(&child).await.assert_error(400, "invalid_grant");
    let later = issuer.log_in().await;
    issuer.refresh(&later).await.ok();
    let items = issuer.dynamodb().scan().table_name(TABLE).send().await.unwrap().items.unwrap();
    let withdrawn = items.iter().find(|item| item["seq"].as_n().unwrap() == "1").unwrap();
    assert!(!withdrawn.contains_key("wrapped"), "its private key is erased");
    let about = [("token", &*refresh_token), ("token_type_hint", "refresh_token")];
    let introspected = issuer.post("/oauth/introspect", "demo-app", &about).await;
    assert_eq!(introspected.ok()["active"], false);
    issuer.rotator().withdraw(&kids[0], true).await.expect("it may be repeated");
    assert_eq!(published(&issuer).await, now, "and then changes nothing");
    assert!(matches!(issuer.rotator().withdraw("nosuch", true).await, Err(ChangeRefused::NoSuchKey)));
}

/// The key that signs once a withdrawal is over is in no key set that contains the withdrawn one.
/// So a verifier that fetches the key set only for an unknown key fetches it then, and drops the
/// withdrawn key.
#[tokio::test]
async fn hours_after_a_withdrawal_a_key_signs_that_no_verifier_knows_beside_the_withdrawn_one() {
    let issuer = TestIssuer::start().await;
    let lead = 3 * HOUR + 2 * MINUTE + Duration::from_secs(5);
    for state in ["signing", "published", "announced"] {
        issuer.rotator().rotate().await.unwrap();
        issuer.clock.advance(4 * HOUR);
        let signing = signing_kid(&issuer).await;
        if state == "published" {
            issuer.rotator().rotate_now().await.unwrap();
            issuer.clock.advance(4 * HOUR);
        }
        let before = published(&issuer).await;
        let withdrawn = if state == "announced" { before.last().unwrap() } else { &signing };
        issuer.rotator().withdraw(withdrawn, false).await.unwrap();
        issuer.clock.advance(lead + RING_FRESHNESS);
        let kid = signing_kid(&issuer).await;
        assert!(!before.contains(&kid), "a {state} key was withdrawn");
        assert!(published(&issuer).await.contains(&kid));
    }
    // Once is enough: the key after that one signs for a whole period.
    let next = issuer.rotator().rotate().await.unwrap().created[0].clone();
    assert!(next.activates_at > issuer.clock.now().plus(29 * DAY));
}

/// Forges a refresh token after the model of jane's, as an attacker with the private key can: with
/// no keys in its history and a long life. The KMS of the tests does not hide private keys.
fn forge(world: &InProcess, seq: u64, model: &str) -> String {
    let keys = world.store.scan(TABLE);
    let key = keys.iter().find(|key| key["seq"]["N"].as_str() == Some(&seq.to_string())).unwrap();
    let wrapped = BASE64.decode(key["wrapped"]["B"].as_str().unwrap()).unwrap();
    let wrapped: Value = serde_json::from_slice(&wrapped).unwrap();
    let pkcs8 = BASE64.decode(wrapped["pkcs8"].as_str().unwrap()).unwrap();
    let private = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
    let mut claims = unverified_refresh_claims(model);
    for (name, value) in
        [("key", json!(seq)), ("keys", json!([])), ("family", json!("forged")), ("generation", json!(0))]
    {
        claims[name] = value;
    }
    for name in ["exp", "auth_time"] {
        claims[name] = json!(4_000_000_000_u64);
    }
    let claims = BASE64URL.encode(claims.to_string());
    let signed = format!("countersign refresh token {claims}");
    let signature = private.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("csgr_{claims}.{}", BASE64URL.encode(signature))
}

fn login() -> Post {
    let form = [("grant_type", "password"), ("username", "jane"), ("password", PASSWORD)];
    Post::new("/oauth/token", "app", APP_SECRET, &form)
}

fn refresh(token: &str) -> Post {
    Post::new("/oauth/refresh", "app", APP_SECRET, &[("refresh_token", token)])
}

#[tokio::test(start_paused = true)]
async fn descendants_of_a_forged_token_end_with_the_key_even_if_it_never_signed() {
    let world = InProcess::start(&clock_of_tokio(), &[]).await;
    let honest = login().to(&world.issuer).await.refresh_token();
    let child = refresh(&forge(&world, 2, &honest)).to(&world.issuer).await.refresh_token();
    let rotator = world.rotator("administrator", &clock_of_tokio());
    let announced = rotator.ring().await.unwrap().lifecycles()[1].key.jwk.kid().to_owned();
    assert_eq!(unverified_refresh_claims(&child)["key"], 1, "an honest key signed the successor");
    rotator.withdraw(&announced, false).await.unwrap();
    tokio::time::sleep(RING_FRESHNESS).await;
    refresh(&child).to(&world.issuer).await.assert_error(400, "invalid_grant");
    refresh(&honest).to(&world.issuer).await.ok();
}

#[tokio::test(start_paused = true)]
async fn descendants_of_a_forged_token_stay_refused_after_their_key_is_deleted() {
    let clock = clock_of_tokio();
    let world = InProcess::start(&clock, &[]).await;
    let rotator = world.rotator("administrator", &clock);
    let forged = forge(&world, 1, &login().to(&world.issuer).await.refresh_token());
    tokio::time::sleep(31 * DAY).await;
    rotator.rotate().await.unwrap();
    tokio::time::sleep(29 * DAY).await;
    let child = refresh(&forged).to(&world.issuer).await.refresh_token();
    let first = rotator.ring().await.unwrap().lifecycles()[0].key.clone();
    rotator.withdraw(first.jwk.kid(), false).await.unwrap();
    tokio::time::sleep(RING_FRESHNESS).await;
    refresh(&child).to(&world.issuer).await.assert_error(400, "invalid_grant");

    tokio::time::sleep(62 * DAY).await;
    rotator.rotate().await.unwrap();
    let ring = rotator.ring().await.unwrap();
    assert!(ring.lifecycles().iter().all(|lifecycle| lifecycle.key.seq != first.seq), "its item is deleted");
    refresh(&child).to(&world.issuer).await.assert_error(400, "invalid_grant");
    refresh(&login().to(&world.issuer).await.refresh_token()).to(&world.issuer).await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_process_accepts_tokens_under_a_key_that_it_has_not_read_yet() {
    let clock = clock_of_tokio();
    let world = InProcess::start(&clock, &[]).await;
    let with_old_copies = [(); 3].map(|()| world.another_process(&clock, Random::system()));
    let mut ended = String::new();
    for process in &with_old_copies {
        ended = login().to(process).await.refresh_token();
    }
    let rotator = world.rotator("administrator", &clock);
    for key in rotator.ring().await.unwrap().lifecycles() {
        rotator.withdraw(key.key.jwk.kid(), true).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let [refreshing, revoking, introspecting] = with_old_copies;
    let token =
        refresh(&login().to(&world.issuer).await.refresh_token()).to(&refreshing).await.refresh_token();
    let about = |path, token: &str| Post::new(path, "app", APP_SECRET, &[("token", token)]);
    let answer = refresh(&token).to(&world.issuer).await;
    about("/oauth/revoke", &answer.refresh_token()).to(&revoking).await.ok();
    let introspected = about("/oauth/introspect", &answer.access_token()).to(&introspecting).await;
    assert_eq!(introspected.ok()["active"], true);
    refresh(&answer.refresh_token()).to(&world.issuer).await.assert_error(400, "invalid_grant");

    // While the ring cannot be read, no token is refused, and the ring is not read again for a
    // moment.
    tokio::time::sleep(MINUTE).await;
    world.store.set_faults(|call| (call == "Query signing-keys").then_some(Fault::InternalError));
    for queries in [3, 0] {
        world.store.take_calls();
        refresh(&ended).to(&world.issuer).await.assert_error(503, "temporarily_unavailable");
        let calls = world.store.take_calls();
        assert_eq!(calls.iter().filter(|call| *call == "Query signing-keys").count(), queries);
    }
    world.store.heal();
    tokio::time::sleep(Duration::from_secs(5)).await;
    refresh(&ended).to(&world.issuer).await.assert_error(400, "invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn a_process_never_signs_with_a_key_that_was_withdrawn_before_it_was_decrypted() {
    let world = InProcess::start(&clock_of_tokio(), &[]).await;
    let cold = [(); 2].map(|()| world.another_process(&clock_of_tokio(), Random::system()));
    // This request reads the ring and decrypts no key.
    let introspection = Post::new("/oauth/introspect", "app", APP_SECRET, &[("token", "none")]);
    for process in &cold {
        introspection.to(process).await.ok();
    }
    let rotator = world.rotator("administrator", &clock_of_tokio());
    let withdrawn = rotator.ring().await.unwrap().lifecycles()[0].key.jwk.kid().to_owned();
    rotator.withdraw(&withdrawn, true).await.unwrap();

    let credentials = [("grant_type", "client_credentials")];
    let asked = Post::new("/oauth/token", "service", SERVICE_SECRET, &credentials);
    let token = asked.to(&cold[0]).await.access_token();
    assert_ne!(unverified_kid(&token), withdrawn);
    world.store.set_faults(|call| (call == "Query signing-keys").then_some(Fault::InternalError));
    asked.to(&cold[1]).await.assert_error(503, "temporarily_unavailable");
    world.store.heal();
    let token = asked.to(&cold[1]).await.access_token();
    assert_ne!(unverified_kid(&token), withdrawn);
}

#[tokio::test]
async fn with_force_a_key_is_withdrawn_even_if_verifiers_do_not_know_its_successor() {
    let issuer = TestIssuer::start().await;
    for _ in 0..2 {
        let kids = published(&issuer).await;
        issuer.rotator().withdraw(&kids[0], true).await.unwrap();
        issuer.clock.advance(RING_FRESHNESS);
        assert_eq!(signing_kid(&issuer).await, kids[1]);
    }
}

#[tokio::test]
async fn malformed_items_are_ignored_and_not_deleted() {
    let issuer = TestIssuer::start().await;
    let healthy = published(&issuer).await;
    let text = |text: &str| AttributeValue::S(text.into());
    let p384 = r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA","kid":"x"}"#;
    put(&issuer, 90, |item| drop(item.insert("jwk".into(), text("garbage")))).await;
    put(&issuer, 91, |item| drop(item.insert("jwk".into(), text(p384)))).await;
    put(&issuer, 92, |item| drop(item.insert("kid".into(), text("another")))).await;
    put(&issuer, 93, |item| drop(item.remove("activates_at"))).await;
    put(&issuer, 94, |item| drop(item.insert("withdrawn_at".into(), text("yesterday")))).await;
    let huge = || AttributeValue::N(u64::MAX.to_string());
    put(&issuer, 95, |item| drop(item.insert("longest_access".into(), huge()))).await;
    put(&issuer, 96, |item| drop(item.insert("activates_at".into(), huge()))).await;
    put(&issuer, 97, |_the_same_key_again| ()).await;

    issuer.clock.advance(31 * DAY);
    let created = issuer.rotator().rotate().await.unwrap().created;
    assert_eq!(created[0].seq, 98, "numbers that are in use are not assigned again");
    assert_eq!(signing_kid(&issuer).await, healthy[1]);
    assert_eq!(issuer.count("signing-keys").await, 11, "nothing is deleted");
}

#[tokio::test]
async fn if_two_keys_activate_at_the_same_time_the_later_one_signs() {
    let issuer = TestIssuer::start().await;
    let kids = published(&issuer).await;
    let now = AttributeValue::N(issuer.clock.now().millis().to_string());
    let update =
        issuer.dynamodb().update_item().table_name(TABLE).update_expression("SET activates_at = :now");
    update.set_key(Some(item(2))).expression_attribute_values(":now", now).send().await.unwrap();
    issuer.clock.advance(RING_FRESHNESS);
    assert_eq!(signing_kid(&issuer).await, kids[1]);
    assert!(published(&issuer).await.contains(&kids[0]));
}

#[tokio::test]
async fn a_ring_without_a_signing_key_is_503_until_a_rotation_repairs_it() {
    let issuer = TestIssuer::start().await;
    // Leaves only a key that signs in the future.
    let keys = issuer.rotator().ring().await.unwrap();
    let signing = keys.signing(issuer.clock.now()).unwrap().key.seq;
    delete(&issuer, signing).await;
    issuer.clock.advance(RING_FRESHNESS);
    token(&issuer).await.assert_error(503, "temporarily_unavailable");
    issuer.rotator().rotate().await.unwrap();
    token(&issuer).await.ok();

    // It also recovers after every key has been withdrawn, one after the other.
    for lifecycle in issuer.rotator().ring().await.unwrap().lifecycles() {
        issuer.rotator().withdraw(lifecycle.key.jwk.kid(), true).await.unwrap();
    }
    issuer.clock.advance(RING_FRESHNESS);
    token(&issuer).await.ok();
}

#[tokio::test]
async fn without_the_store_the_key_set_is_served_for_an_hour_and_no_longer() {
    let issuer = TestIssuer::start().await;
    let before = published(&issuer).await;
    let TestIssuer { url, clock, server, .. } = issuer;
    server.dynamodb.stop().await;
    let get = || async { reqwest::get(format!("{url}/.well-known/jwks.json")).await.unwrap() };
    clock.advance(59 * MINUTE);
    let kept: Value = get().await.json().await.unwrap();
    assert_eq!(kept["keys"].as_array().unwrap().len(), before.len());
    clock.advance(MINUTE);
    let refused = get().await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["cache-control"]),
        (503, &"no-store".parse().unwrap())
    );
}

#[tokio::test]
async fn an_empty_ring_publishes_nothing_that_may_be_cached() {
    let issuer = TestIssuer::start().await;
    for lifecycle in issuer.rotator().ring().await.unwrap().lifecycles() {
        delete(&issuer, lifecycle.key.seq).await;
    }
    issuer.clock.advance(RING_FRESHNESS);
    let answer = issuer.get("/.well-known/jwks.json", &[]).await;
    answer.assert_error(503, "temporarily_unavailable");
}

#[tokio::test]
async fn a_clock_that_jumps_back_and_forth_has_no_lasting_effect() {
    let issuer = TestIssuer::start().await;
    let kid = signing_kid(&issuer).await;
    issuer.clock.advance(10 * DAY);
    assert_eq!(signing_kid(&issuer).await, kid);
    issuer.clock.rewind(9 * DAY);
    issuer.rotator().rotate().await.unwrap();
    assert_eq!(signing_kid(&issuer).await, kid);
    assert_eq!(published(&issuer).await.len(), 2);
}

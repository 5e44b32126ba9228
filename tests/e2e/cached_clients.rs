//! Clients are read once a minute, and served from memory for a limited time when they cannot be
//! read.

use std::time::Duration;

use countersign_issuer::records::{Client, Principal, PrincipalKey};
use countersign_tests::in_process::{
    APP_SECRET, CHOSEN_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET, clock_of_tokio,
};
use countersign_tests::store::Fault;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

fn service() -> Post {
    Post::new("/oauth/token", "service", SERVICE_SECRET, &[("grant_type", "client_credentials")])
}

fn for_alice() -> Post {
    let form = [("grant_type", "client_credentials"), ("operator", "alice"), ("brandKey", "acme")];
    Post::new("/oauth/token", "service", SERVICE_SECRET, &form)
}

fn unknown() -> Post {
    Post::new("/oauth/token", "nobody", SERVICE_SECRET, &[("grant_type", "client_credentials")])
}

#[tokio::test(start_paused = true)]
async fn a_client_is_read_once_a_minute() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    for_alice().to(&world.issuer).await.ok();
    assert_eq!(reads(&world), ["clients", "principals"]);
    clock.advance(Duration::from_millis(59_999));
    for_alice().to(&world.issuer).await.ok();
    assert!(reads(&world).is_empty());
    clock.advance(Duration::from_millis(1));
    for_alice().to(&world.issuer).await.ok();
    assert_eq!(reads(&world), ["clients", "principals"]);
    // Setting the clock back does not make a copy fresh.
    clock.rewind(Duration::from_secs(30));
    for_alice().to(&world.issuer).await.ok();
    assert_eq!(reads(&world), ["clients", "principals"]);
}

/// The tables that were read, without the table of keys.
fn reads(world: &InProcess) -> Vec<String> {
    let calls = world.store.take_calls();
    let tables = calls.iter().filter_map(|call| call.strip_prefix("GetItem "));
    tables.filter(|table| *table != "signing-keys").map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn many_requests_at_once_cause_one_read() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    // Every response is slow, so that all requests run at once.
    world.store.fail_with(Fault::SlowBody);
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let issuer = world.issuer.clone();
            tokio::spawn(async move { service().to(&issuer).await })
        })
        .collect();
    for request in requests {
        request.await.unwrap().ok();
    }
    assert_eq!(reads(&world), ["clients"]);
}

#[tokio::test(start_paused = true)]
async fn disabling_takes_effect_within_60_seconds() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    for_alice().to(&world.issuer).await.ok();
    let operators = world.table::<Principal>();
    let key = PrincipalKey::Operator { username: "alice".into() };
    let mut alice = operators.get(&key.to_string()).await.unwrap().unwrap();
    alice.disable(clock.now());
    operators.save(&mut alice).await.unwrap();
    clock.advance(MINUTE);
    for_alice().to(&world.issuer).await.assert_error(400, "invalid_grant");

    let clients = world.table::<Client>();
    let mut client = clients.get("service").await.unwrap().unwrap();
    client.enabled = false;
    clients.save(&mut client).await.unwrap();
    clock.advance(MINUTE);
    service().to(&world.issuer).await.assert_error(401, "invalid_client");
}

#[tokio::test(start_paused = true)]
async fn while_dynamodb_is_unavailable_cached_clients_are_served_for_15_more_minutes() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    for_alice().to(&world.issuer).await.ok();
    world.store.fail_with(Fault::Hang);
    clock.advance(MINUTE);
    for_alice().to(&world.issuer).await.ok();
    assert!(!world.store.take_calls().is_empty(), "DynamoDB was called");
    for_alice().to(&world.issuer).await.ok();
    assert!(world.store.take_calls().is_empty(), "and then not for a moment");

    clock.advance(Duration::from_secs(15 * 60 - 1));
    for_alice().to(&world.issuer).await.ok();
    clock.advance(Duration::from_secs(1));
    for_alice().to(&world.issuer).await.assert_error(503, "temporarily_unavailable");
    world.store.heal();
    for_alice().to(&world.issuer).await.ok();
}

/// Starts an issuer whose copies of client, operator and keys have all expired, over a DynamoDB
/// that does not respond.
async fn with_expired_copies_and_a_silent_dynamodb() -> InProcess {
    let world = InProcess::start(&clock_of_tokio(), &[]).await;
    for_alice().to(&world.issuer).await.ok();
    world.store.fail_with(Fault::Hang);
    tokio::time::sleep(14 * MINUTE).await;
    world
}

#[tokio::test(start_paused = true)]
async fn when_dynamodb_is_silent_one_request_waits_for_it_and_the_next_ones_do_not() {
    let world = with_expired_copies_and_a_silent_dynamodb().await;
    let begun = Instant::now();
    for_alice().to(&world.issuer).await.ok();
    let waited = begun.elapsed();
    assert_eq!(waited.as_millis(), 2200, "2 s for the first table, 0.1 s for each of the two after it");
    world.store.take_calls();
    for_alice().to(&world.issuer).await.ok();
    assert_eq!((begun.elapsed(), world.store.take_calls().len()), (waited, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_request_opens_the_circuit_breaker() {
    let world = with_expired_copies_and_a_silent_dynamodb().await;
    let cancelled = tokio::time::timeout(Duration::from_millis(500), for_alice().to(&world.issuer)).await;
    assert!(cancelled.is_err());
    let begun = Instant::now();
    for_alice().to(&world.issuer).await.ok();
    assert_eq!(
        begun.elapsed().as_millis(),
        200,
        "for the two tables that the cancelled request had not reached"
    );
}

/// Starts an issuer that must decrypt a key for the first time, over a store that does not respond
/// to the calls for which `is_silent` is true.
async fn with_a_key_that_cannot_be_decrypted(is_silent: fn(&str) -> bool) -> InProcess {
    let world = InProcess::start(&clock_of_tokio(), &[]).await;
    // Refreshes the copies shortly before the successor starts to sign.
    tokio::time::sleep((30 * 24 * 60 - 14) * MINUTE).await;
    for_alice().to(&world.issuer).await.ok();
    world.store.set_faults(move |call| is_silent(call).then_some(Fault::Hang));
    tokio::time::sleep(14 * MINUTE).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_cannot_be_decrypted_makes_only_one_request_wait() {
    for (is_silent, timeout) in [
        ((|_| true) as fn(&str) -> bool, 2300),
        (|call| call == "GetItem signing-keys", 2000),
        (|call| call == "Decrypt", 2000),
    ] {
        let world = with_a_key_that_cannot_be_decrypted(is_silent).await;
        let begun = Instant::now();
        for_alice().to(&world.issuer).await.ok();
        assert_eq!(begun.elapsed().as_millis(), timeout);
        for_alice().to(&world.issuer).await.ok();
        assert_eq!(begun.elapsed().as_millis(), timeout, "the next request does not wait");
        world.store.heal();
        tokio::time::sleep(2 * MINUTE).await;
        let before = world.store.take_calls().len();
        for_alice().to(&world.issuer).await.ok();
        assert!(
            before > 0 && world.store.take_calls().contains(&"Decrypt".to_owned()),
            "decryption is tried again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cancelled_while_it_decrypts_a_key_opens_the_circuit_breaker() {
    let world = with_a_key_that_cannot_be_decrypted(|call| call == "Decrypt").await;
    let cancelled = tokio::time::timeout(Duration::from_millis(500), for_alice().to(&world.issuer)).await;
    assert!(cancelled.is_err());
    let begun = Instant::now();
    for_alice().to(&world.issuer).await.ok();
    assert_eq!(begun.elapsed().as_millis(), 0);
}

/// Reads of one table are throttled or get no response. A disabled record of another table must be
/// noticed all the same.
#[tokio::test(start_paused = true)]
async fn a_failing_table_does_not_hide_a_change_in_another_one() {
    for fault in [Fault::Throttled, Fault::Hang] {
        let clock = clock_of_tokio();
        let world = InProcess::start(&clock, &[]).await;
        for_alice().to(&world.issuer).await.ok();
        world.store.set_faults(move |call| (call == "GetItem clients").then_some(fault));
        tokio::time::sleep(MINUTE).await;
        for_alice().to(&world.issuer).await.ok();
        let operators = world.table::<Principal>();
        let key = PrincipalKey::Operator { username: "alice".into() };
        let mut alice = operators.get(&key.to_string()).await.unwrap().unwrap();
        alice.disable(clock.now());
        operators.save(&mut alice).await.unwrap();
        // One request a second, so that reading clients has always just failed.
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            for_alice().to(&world.issuer).await;
        }
        for_alice().to(&world.issuer).await.assert_error(400, "invalid_grant");
        service().to(&world.issuer).await.ok();
        world.store.take_calls();
        tokio::time::sleep(5 * MINUTE).await;
        service().to(&world.issuer).await.ok();
        let calls = world.store.take_calls();
        assert!(calls.iter().any(|call| call == "Query signing-keys"), "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_dynamodb_is_unavailable_everything_that_is_not_cached_is_503() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let login = Post::new(
        "/oauth/token",
        "app",
        APP_SECRET,
        &[("grant_type", "password"), ("username", "jane"), ("password", PASSWORD)],
    );
    let refresh_token = login.to(&world.issuer).await.refresh_token();
    unknown().to(&world.issuer).await.assert_error(401, "invalid_client");
    world.store.fail_with(Fault::Reset);
    let form = [("refresh_token", refresh_token.as_str())];
    let refresh = Post::new("/oauth/refresh", "app", APP_SECRET, &form);
    for request in [&login, &refresh, &service()] {
        let answer = request.to(&world.issuer).await;
        answer.assert_error(503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    clock.advance(MINUTE);
    unknown().to(&world.issuer).await.assert_error(503, "temporarily_unavailable");
}

#[tokio::test(start_paused = true)]
async fn serving_stale_clients_can_be_switched_off() {
    let (world, clock) = InProcess::start_with_clock(&[("COUNTERSIGN_MAX_STALE", "0")]).await;
    service().to(&world.issuer).await.ok();
    world.store.fail_with(Fault::InternalError);
    service().to(&world.issuer).await.ok();
    clock.advance(MINUTE);
    service().to(&world.issuer).await.assert_error(503, "temporarily_unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_client_is_never_served_from_memory_even_if_it_cannot_be_read() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    service().to(&world.issuer).await.ok();
    world.table::<Client>().delete("service").await.unwrap();
    clock.advance(MINUTE);
    service().to(&world.issuer).await.assert_error(401, "invalid_client");
    world.store.fail_with(Fault::Throttled);
    clock.advance(MINUTE);
    service().to(&world.issuer).await.assert_error(503, "temporarily_unavailable");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_client_is_looked_up_every_2_seconds_and_accepted_soon_after_its_creation() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    unknown().to(&world.issuer).await.assert_error(401, "invalid_client");
    unknown().to(&world.issuer).await.assert_error(401, "invalid_client");
    assert_eq!(reads(&world), ["clients"]);
    let clients = world.table::<Client>();
    let mut client = clients.get("service").await.unwrap().unwrap();
    client.client_id = "nobody".into();
    clients.create(&client).await.unwrap();
    clock.advance(Duration::from_secs(2));
    unknown().to(&world.issuer).await.ok();
}

#[tokio::test(start_paused = true)]
async fn no_client_is_refused_because_of_a_copy_that_is_2_seconds_old() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let with_new_secret =
        || Post::new("/oauth/token", "service", CHOSEN_SECRET, &[("grant_type", "client_credentials")]);
    service().to(&world.issuer).await.ok();
    let clients = world.table::<Client>();
    let mut client = clients.get("service").await.unwrap().unwrap();
    client.secrets = clients.get("chosen").await.unwrap().unwrap().secrets;
    clients.save(&mut client).await.unwrap();
    clock.advance(Duration::from_secs(2));
    with_new_secret().to(&world.issuer).await.ok();
    world.store.take_calls();
    service().to(&world.issuer).await.assert_error(401, "invalid_client");
    service().to(&world.issuer).await.assert_error(401, "invalid_client");
    assert_eq!(reads(&world), Vec::<String>::new(), "guesses cost a read every 2 seconds at most");
}

#[tokio::test(start_paused = true)]
async fn thousands_of_guessed_names_evict_no_client() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    service().to(&world.issuer).await.ok();
    for n in 0..1500 {
        let form = [("grant_type", "client_credentials")];
        Post::new("/oauth/token", &format!("guess-{n}"), "x", &form).to(&world.issuer).await;
    }
    world.store.take_calls();
    service().to(&world.issuer).await.ok();
    assert!(reads(&world).is_empty());
    // The oldest guess has left the cache: memory is bounded.
    Post::new("/oauth/token", "guess-0", "x", &[])
        .to(&world.issuer)
        .await
        .assert_error(401, "invalid_client");
    assert_eq!(reads(&world), ["clients"]);
}

/// A read that is cut off early, because another table has just failed, says nothing about the
/// store. A store that is slow after an outage must not pass for one that is still away.
#[tokio::test(start_paused = true)]
async fn after_an_outage_a_slow_store_is_read_again_and_a_disabled_client_is_noticed() {
    let world = with_expired_copies_and_a_silent_dynamodb().await;
    for_alice().to(&world.issuer).await.ok();
    world.store.fail_with(Fault::LateBody);
    let mut client = world.table::<Client>().get("service").await.unwrap().unwrap();
    client.enabled = false;
    world.table::<Client>().save(&mut client).await.unwrap();
    let ended = Instant::now();
    // Several times a second, as many callers do.
    let noticed = async {
        while for_alice().to(&world.issuer).await.status == 200 {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(10 * MINUTE, noticed).await.unwrap();
    assert!(ended.elapsed() < MINUTE, "noticed after {:?}", ended.elapsed());
    for_alice().to(&world.issuer).await.assert_error(401, "invalid_client");
}

/// A table that fails at once, because it is throttled, must not shorten the wait for another one
/// for as long as it is throttled.
#[tokio::test(start_paused = true)]
async fn a_table_that_fails_quickly_does_not_hide_a_change_in_a_slow_one() {
    let world = InProcess::start(&clock_of_tokio(), &[]).await;
    for_alice().to(&world.issuer).await.ok();
    world.store.set_faults(|call| match call.as_str() {
        "GetItem clients" => Some(Fault::Reset),
        _ => Some(Fault::LateBody),
    });
    let operators = world.table::<Principal>();
    let key = PrincipalKey::Operator { username: "alice".into() };
    let mut alice = operators.get(&key.to_string()).await.unwrap().unwrap();
    alice.disable(clock_of_tokio().now());
    operators.save(&mut alice).await.unwrap();
    let begun = Instant::now();
    let noticed = async {
        while for_alice().to(&world.issuer).await.status == 200 {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(10 * MINUTE, noticed).await.unwrap();
    assert!(begun.elapsed() < 2 * MINUTE, "noticed after {:?}", begun.elapsed());
    for_alice().to(&world.issuer).await.assert_error(400, "invalid_grant");
}

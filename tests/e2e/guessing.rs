//! The login throttle slows guesses down: before any hash, equally for names that do not exist, and
//! never for good.

use std::time::Duration;

use countersign_issuer::records::Principal;
use countersign_tests::in_process::{
    APP_SECRET, CHOSEN_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET, UNLIMITED,
};
use countersign_tests::{TestClock, TestResponse};

const ATTACKER: &str = "203.0.113.7";
const USER: &str = "198.51.100.1";

fn login(username: &str, password: &str) -> Post {
    let form = [("grant_type", "password"), ("username", username), ("password", password)];
    Post::new("/oauth/token", "app", APP_SECRET, &form)
}

fn client(client_id: &str, secret: &str) -> Post {
    Post::new("/oauth/token", client_id, secret, &[("grant_type", "client_credentials")])
}

async fn fail(world: &InProcess, post: &Post, times: usize) -> TestResponse {
    let mut last = None;
    for _ in 0..times {
        last = Some(post.to(&world.issuer).await);
    }
    last.unwrap()
}

#[track_caller]
fn assert_must_wait(answer: &TestResponse, seconds: u64) {
    answer.assert_error(429, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), seconds.to_string());
}

/// Makes guesses, each as soon as it is allowed, and returns the waits from `Retry-After`.
async fn waits(world: &InProcess, clock: &TestClock, post: &Post, throttle: usize) -> Vec<u64> {
    let mut waits = Vec::new();
    for _ in 0..throttle {
        let mut answer = post.to(&world.issuer).await;
        if answer.status == 429 {
            let seconds: u64 = answer.header("retry-after").parse().unwrap();
            waits.push(seconds);
            clock.advance(Duration::from_secs(seconds));
            answer = post.to(&world.issuer).await;
        }
        assert!(answer.status == 400 || answer.status == 401, "{}", answer.text);
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn after_10_failures_the_wait_doubles_up_to_a_minute_whether_or_not_the_name_exists() {
    for username in ["jane", "nobody", "not a username \u{200b}"] {
        let (world, clock) = InProcess::start_with_clock(&[]).await;
        let guess = login(username, "wrong").from(ATTACKER);
        fail(&world, &guess, 10).await.assert_error(400, "invalid_grant");
        assert_eq!(waits(&world, &clock, &guess, 9).await, [1, 2, 4, 8, 16, 32, 60, 60, 60], "{username}");
        let (first, again) = (guess.to(&world.issuer).await, guess.to(&world.issuer).await);
        assert_must_wait(&first, 60);
        assert_eq!(first.text, again.text);
        // A guess that comes too soon does not prolong the wait.
        clock.advance(Duration::from_millis(59_001));
        assert_must_wait(&guess.to(&world.issuer).await, 1);
        clock.advance(Duration::from_millis(999));
        guess.to(&world.issuer).await.assert_error(400, "invalid_grant");
        // Fifteen minutes after the first failure all failures are forgotten.
        clock.advance(Duration::from_secs(15 * 60));
        fail(&world, &guess, 10).await.assert_error(400, "invalid_grant");
        assert_must_wait(&guess.to(&world.issuer).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_at_one_address_block_no_login_from_another() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let guess = login("jane", "wrong").from(ATTACKER);
    fail(&world, &guess, 10).await;
    // Continues as fast as the waits allow.
    waits(&world, &clock, &guess, 12).await;
    login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();
    // At the address of the failures, correct credentials wait too.
    assert_must_wait(&login("jane", PASSWORD).from(ATTACKER).to(&world.issuer).await, 60);
    clock.advance(Duration::from_secs(60));
    login("jane", PASSWORD).from(ATTACKER).to(&world.issuer).await.ok();
    login("jane", PASSWORD).from(ATTACKER).to(&world.issuer).await.ok();
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_prefix_of_64_bits_counts_as_one_address() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    for n in 0..10 {
        let guess = login("jane", "wrong").from(&format!("2001:db8:1:2::{n}"));
        guess.to(&world.issuer).await.assert_error(400, "invalid_grant");
    }
    assert_must_wait(&login("jane", PASSWORD).from("2001:db8:1:2:f::").to(&world.issuer).await, 1);
    login("jane", PASSWORD).from("2001:db8:1:3::").to(&world.issuer).await.ok();
}

#[tokio::test(start_paused = true)]
async fn after_100_failures_from_any_address_a_name_is_slowed_down_everywhere() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    for n in 0..100 {
        let guess = login("jane", "wrong").from(&format!("203.0.113.{n}"));
        guess.to(&world.issuer).await.assert_error(400, "invalid_grant");
    }
    assert_must_wait(&login("jane", PASSWORD).from(USER).to(&world.issuer).await, 1);
    clock.advance(Duration::from_secs(1));
    login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();
    // An operator of that name, or a user of that name in another brand, is another principal.
    let form = [("grant_type", "operator_password"), ("username", "alice"), ("password", PASSWORD)];
    Post::new("/oauth/token", "app", APP_SECRET, &form).from(USER).to(&world.issuer).await.ok();
}

#[tokio::test(start_paused = true)]
async fn of_200_simultaneous_guesses_10_are_checked() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let crowd = async |post: Post| {
        let throttle: Vec<_> = (0..200)
            .map(|_| {
                let (issuer, post) = (world.issuer.clone(), post.clone());
                tokio::spawn(async move { post.to(&issuer).await.status.as_u16() })
            })
            .collect();
        let mut checked = 0;
        for guess in throttle {
            match guess.await.unwrap() {
                400 => checked += 1,
                status => assert_eq!(status, 429),
            }
        }
        checked
    };
    assert_eq!(crowd(login("jane", "wrong").from(ATTACKER)).await, 10);
    assert_eq!(crowd(login("jane", "wrong").from(ATTACKER)).await, 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(crowd(login("jane", "wrong").from(ATTACKER)).await, 1, "one of those that waited is checked");
}

#[tokio::test(start_paused = true)]
async fn a_correct_password_releases_its_reservation() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    for _ in 0..30 {
        login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();
    }
    fail(&world, &login("jane", "wrong").from(USER), 9).await.assert_error(400, "invalid_grant");
    login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();
    login("jane", "wrong").from(USER).to(&world.issuer).await.assert_error(400, "invalid_grant");
    assert_must_wait(&login("jane", PASSWORD).from(USER).to(&world.issuer).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_user_is_counted_like_a_wrong_password() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let users = world.table::<Principal>();
    let mut jane = users.get("user#acme#jane").await.unwrap().unwrap();
    jane.disable(clock.now());
    users.save(&mut jane).await.unwrap();
    let right = login("jane", PASSWORD).from(USER);
    fail(&world, &right, 10).await.assert_error(400, "invalid_grant");
    assert_must_wait(&right.to(&world.issuer).await, 1);
}

#[tokio::test(start_paused = true)]
async fn wrong_client_secrets_are_counted_by_client_and_address_whether_or_not_the_client_exists() {
    for client_id in ["service", "chosen", "nobody"] {
        let (world, clock) = InProcess::start_with_clock(&[]).await;
        let guess = client(client_id, "wrong").from(ATTACKER);
        fail(&world, &guess, 20).await.assert_error(401, "invalid_client");
        assert_eq!(waits(&world, &clock, &guess, 3).await, [1, 2, 4], "{client_id}");
        assert_must_wait(&guess.to(&world.issuer).await, 8);
        client(client_id, "wrong").from(USER).to(&world.issuer).await.assert_error(401, "invalid_client");
    }
}

#[tokio::test(start_paused = true)]
async fn a_correct_generated_secret_uses_no_counter_and_never_waits() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    fail(&world, &client("service", "wrong").from(ATTACKER), 21)
        .await
        .assert_error(429, "temporarily_unavailable");
    world.store.take_calls();
    client("service", SERVICE_SECRET).from(ATTACKER).to(&world.issuer).await.ok();
    let calls = world.store.take_calls();
    assert!(!calls.iter().any(|call| call.contains("attempts")), "{calls:?}");
    fail(&world, &client("chosen", "wrong").from(ATTACKER), 20).await;
    assert_must_wait(&client("chosen", CHOSEN_SECRET).from(ATTACKER).to(&world.issuer).await, 1);
    for _ in 0..25 {
        client("chosen", CHOSEN_SECRET).from(USER).to(&world.issuer).await.ok();
    }
}

#[tokio::test(start_paused = true)]
async fn a_raw_secret_counts_as_no_failure() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    // Interpreted as form-encoded, these credentials are wrong.
    let clients = world.table::<countersign_issuer::records::Client>();
    let mut raw = clients.get("chosen").await.unwrap().unwrap();
    raw.client_id = "raw%2Bid".into();
    clients.create(&raw).await.unwrap();
    for _ in 0..25 {
        client("raw%2Bid", CHOSEN_SECRET).from(USER).to(&world.issuer).await.ok();
    }
}

#[tokio::test(start_paused = true)]
async fn guesses_at_one_client_are_counted_together_however_its_id_is_encoded() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    let clients = world.table::<countersign_issuer::records::Client>();
    let mut plus = clients.get("chosen").await.unwrap().unwrap();
    plus.client_id = "a+b".into();
    clients.create(&plus).await.unwrap();
    for written in ["a+b", "a%2Bb"].repeat(10) {
        let answer = client(written, "wrong").from(ATTACKER).to(&world.issuer).await;
        answer.assert_error(401, "invalid_client");
    }
    for written in ["a+b", "a%2Bb", "%61%2bb"] {
        assert_must_wait(&client(written, CHOSEN_SECRET).from(ATTACKER).to(&world.issuer).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn thresholds_can_be_set_and_every_counter_can_be_switched_off() {
    let limits = [
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", "0"),
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL", "3"),
        ("COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS", "0"),
    ];
    let (world, _) = InProcess::start_with_clock(&limits).await;
    fail(&world, &login("jane", "wrong").from(USER), 3).await.assert_error(400, "invalid_grant");
    assert_must_wait(&login("jane", PASSWORD).from(USER).to(&world.issuer).await, 1);
    fail(&world, &client("chosen", "wrong").from(USER), 30).await.assert_error(401, "invalid_client");
}

#[tokio::test(start_paused = true)]
async fn requests_that_must_look_alike_make_the_same_calls() {
    let (world, clock) = InProcess::start_with_clock(&UNLIMITED).await;
    world.create_disabled_records(&clock.clock()).await;
    let wrong_generated = countersign_verify::generated_secret(&[7; 32]);
    let alike = [
        [
            client("nobody", &wrong_generated),
            client("service", &wrong_generated),
            client("retired", SERVICE_SECRET),
        ],
        [client("nobody", "wrong"), client("service", "wrong"), client("retired", "wrong")],
        [login("nobody", "wrong"), login("jane", "wrong"), login("joan", PASSWORD)],
    ];
    // Puts the client that sends the logins into the cache.
    login("jane", "wrong").to(&world.issuer).await.assert_error(400, "invalid_grant");
    for seconds in [0, 0, 1, 3, 59, 61] {
        clock.advance(Duration::from_secs(seconds));
        for (row, posts) in alike.iter().enumerate() {
            let mut calls = Vec::new();
            for post in posts {
                // Makes the calls that only the first request of a kind needs.
                Post::new("/oauth/revoke", "app", APP_SECRET, &[("token", "none")])
                    .to(&world.issuer)
                    .await
                    .ok();
                world.store.take_calls();
                post.to(&world.issuer).await;
                calls.push(world.store.take_calls());
            }
            assert!(calls.iter().all(|of_one| *of_one == calls[0]), "{seconds} s: {calls:?}");
            // A generated secret is not counted, and the copy of the client may be fresh.
            assert!(row == 0 || !calls[0].is_empty());
        }
    }
}

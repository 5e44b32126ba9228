//! The login throttle slows guesses down: before any hash, equally for names that do not exist, and
//! never for good.

use std::time::Duration;

use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::random::Random;
use countersign_issuer::records::{Client, Principal, PrincipalKey};
use countersign_tests::in_process::{
    APP_SECRET, CHOSEN_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET, UNLIMITED, clock_of_tokio,
    random_without_salts, wrong,
};
use countersign_tests::store::Fault;
use countersign_tests::{TestClock, TestResponse};
use serde_json::json;

const ATTACKER: &str = "203.0.113.7";
const USER: &str = "198.51.100.1";
fn login(username: &str, password: &str) -> Post {
    login_through("app", username, password)
}

/// A login through a client whose secret is that of `app`.
fn login_through(client_id: &str, username: &str, password: &str) -> Post {
    let form = [("grant_type", "password"), ("username", username), ("password", password)];
    Post::new("/oauth/token", client_id, APP_SECRET, &form)
}

fn client(client_id: &str, secret: &str) -> Post {
    Post::new("/oauth/token", client_id, secret, &[("grant_type", "client_credentials")])
}

/// Guesses, each of which is another one.
struct Guesses<F> {
    post: F,
    made: usize,
}

impl<F: Fn(&str) -> Post> Guesses<F> {
    /// Guesses that `post` presents as passwords or secrets.
    fn new(post: F) -> Self {
        Self { post, made: 0 }
    }

    fn next(&mut self) -> Post {
        self.made += 1;
        (self.post)(&wrong(self.made - 1))
    }

    async fn make(&mut self, world: &InProcess, times: usize) -> TestResponse {
        let mut last = None;
        for _ in 0..times {
            last = Some(self.next().to(&world.issuer).await);
        }
        last.unwrap()
    }

    /// Makes guesses, each as soon as it is allowed, and returns the waits from `Retry-After`.
    async fn waits(&mut self, world: &InProcess, clock: &TestClock, times: usize) -> Vec<u64> {
        let mut waits = Vec::new();
        for _ in 0..times {
            let post = self.next();
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
}

/// Guesses at a user's password from an address.
fn guesses(username: &str, address: &str) -> Guesses<impl Fn(&str) -> Post> {
    Guesses::new(move |password| login(username, password).from(address))
}

/// Guesses at a client's secret from an address.
fn guesses_at_client(client_id: &str, address: &str) -> Guesses<impl Fn(&str) -> Post> {
    Guesses::new(move |secret| client(client_id, secret).from(address))
}

/// Changes a copy of a client, and stores it under another id.
async fn create_client(world: &InProcess, client_id: &str, like: &str, change: impl FnOnce(&mut Client)) {
    let clients = world.table::<Client>();
    let mut client = clients.get(like).await.unwrap().unwrap();
    client.client_id = client_id.into();
    change(&mut client);
    clients.create(&client).await.unwrap();
}

async fn change_jane(world: &InProcess, change: impl FnOnce(&mut Principal)) {
    let users = world.table::<Principal>();
    let mut jane = users.get("user#acme#jane").await.unwrap().unwrap();
    change(&mut jane);
    users.save(&mut jane).await.unwrap();
}

#[track_caller]
fn assert_must_wait(answer: &TestResponse, seconds: u64) {
    answer.assert_error(429, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), seconds.to_string());
}

#[tokio::test(start_paused = true)]
async fn after_10_failures_the_wait_doubles_up_to_a_minute_whether_or_not_the_name_exists() {
    for username in ["jane", "nobody", "not a username \u{200b}"] {
        let (world, clock) = InProcess::start_with_clock(&[]).await;
        let mut guesses = guesses(username, ATTACKER);
        guesses.make(&world, 10).await.assert_error(400, "invalid_grant");
        assert_eq!(guesses.waits(&world, &clock, 9).await, [1, 2, 4, 8, 16, 32, 60, 60, 60], "{username}");
        let guess = guesses.next();
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
        guesses.make(&world, 10).await.assert_error(400, "invalid_grant");
        assert_must_wait(&guesses.next().to(&world.issuer).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_at_one_address_block_no_login_from_another() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let mut guesses = guesses("jane", ATTACKER);
    guesses.make(&world, 10).await;
    // Continues as fast as the waits allow.
    guesses.waits(&world, &clock, 12).await;
    login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();
    // At the address of the failures, correct credentials wait too.
    assert_must_wait(&login("jane", PASSWORD).from(ATTACKER).to(&world.issuer).await, 60);
    clock.advance(Duration::from_secs(60));
    login("jane", PASSWORD).from(ATTACKER).to(&world.issuer).await.ok();
    login("jane", PASSWORD).from(ATTACKER).to(&world.issuer).await.ok();
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_prefix_of_56_bits_counts_as_one_address() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    for n in 0..10 {
        let guess = login("jane", &wrong(n)).from(&format!("2001:db8:1:{n:x}::1"));
        guess.to(&world.issuer).await.assert_error(400, "invalid_grant");
    }
    assert_must_wait(&login("jane", PASSWORD).from("2001:db8:1:ff:f::").to(&world.issuer).await, 1);
    login("jane", PASSWORD).from("2001:db8:1:100::").to(&world.issuer).await.ok();
}

#[tokio::test(start_paused = true)]
async fn after_100_failures_through_a_client_a_name_is_slowed_down_there_and_nowhere_else() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    create_client(&world, "other-app", "app", |_| {}).await;
    for n in 0..100 {
        let guess = login("jane", &wrong(n)).from(&format!("203.0.113.{n}"));
        guess.to(&world.issuer).await.assert_error(400, "invalid_grant");
    }
    assert_must_wait(&login("jane", PASSWORD).from(USER).to(&world.issuer).await, 1);
    login_through("other-app", "jane", PASSWORD).from("198.51.100.2").to(&world.issuer).await.ok();
    clock.advance(Duration::from_secs(1));
    login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();
    // An operator of that name, or a user of that name in another brand, is another principal.
    let form = [("grant_type", "operator_password"), ("username", "alice"), ("password", PASSWORD)];
    Post::new("/oauth/token", "app", APP_SECRET, &form).from(USER).to(&world.issuer).await.ok();
}

/// Guesses from nine addresses through `app`, each address once a second, for `seconds`; calls
/// `each_second` in between. Returns how many guesses were checked.
async fn attack(
    world: &InProcess,
    clock: &TestClock,
    seconds: usize,
    mut each_second: impl AsyncFnMut(usize),
) -> usize {
    let mut checked = 0;
    for second in 0..seconds {
        for attacker in 0..9 {
            let guess = login("jane", &wrong(second)).from(&format!("203.0.113.{attacker}"));
            match guess.to(&world.issuer).await.status.as_u16() {
                400 => checked += 1,
                status => assert_eq!(status, 429),
            }
        }
        clock.advance(Duration::from_secs(1));
        each_second(second).await;
    }
    checked
}

#[tokio::test(start_paused = true)]
async fn an_attack_from_nine_addresses_keeps_nobody_out_of_a_known_network_or_another_client() {
    const HOME: &str = "198.51.100.1";
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    world.make_passwords_cheap().await;
    create_client(&world, "other-app", "app", |_| {}).await;
    for home in [HOME, "2001:db8:1:200::1"] {
        login("jane", PASSWORD).from(home).to(&world.issuer).await.ok();
    }
    let begun = attack(&world, &clock, 60, async |_| {}).await;
    assert!(begun > 100, "{begun} guesses were checked, too few to slow the name down");

    let mut strangers = [false; 10];
    attack(&world, &clock, 120, async |_| {
        // The first try succeeds, at any moment and through any client.
        for (client_id, home) in [("app", HOME), ("app", "2001:db8:1:2ff::9"), ("other-app", HOME)] {
            login_through(client_id, "jane", PASSWORD).from(home).to(&world.issuer).await.ok();
        }
        for (n, is_in) in strangers.iter_mut().enumerate().filter(|(_, is_in)| !**is_in) {
            let address = format!("198.51.100.{}", 100 + n);
            let answer = login_through("other-app", "jane", PASSWORD).from(&address).to(&world.issuer).await;
            *is_in = answer.status == 200;
        }
    })
    .await;
    assert_eq!(strangers, [true; 10], "within two minutes, through another client");
}

#[tokio::test(start_paused = true)]
async fn of_200_simultaneous_guesses_10_are_checked() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let crowd = async |first: usize| {
        let guesses: Vec<_> = (first..first + 200)
            .map(|n| {
                let (issuer, post) = (world.issuer.clone(), login("jane", &wrong(n)).from(ATTACKER));
                tokio::spawn(async move { post.to(&issuer).await.status.as_u16() })
            })
            .collect();
        let mut checked = 0;
        for guess in guesses {
            match guess.await.unwrap() {
                400 => checked += 1,
                status => assert_eq!(status, 429),
            }
        }
        checked
    };
    assert_eq!(crowd(0).await, 10);
    assert_eq!(crowd(200).await, 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(crowd(400).await, 1, "one of those that waited is checked");
}

#[tokio::test(start_paused = true)]
async fn a_correct_password_releases_its_reservation() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    for _ in 0..30 {
        login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();
    }
    let mut guesses = guesses("jane", USER);
    guesses.make(&world, 9).await.assert_error(400, "invalid_grant");
    login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();
    guesses.make(&world, 1).await.assert_error(400, "invalid_grant");
    assert_must_wait(&login("jane", PASSWORD).from(USER).to(&world.issuer).await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_password_of_a_disabled_user_is_counted_like_a_wrong_one() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let now = clock.now();
    change_jane(&world, |jane| jane.disable(now)).await;
    let mut guesses = guesses("jane", USER);
    guesses.make(&world, 9).await.assert_error(400, "invalid_grant");
    for _ in 0..2 {
        login("jane", PASSWORD).from(USER).to(&world.issuer).await.assert_error(400, "invalid_grant");
        clock.advance(Duration::from_secs(1));
    }
    guesses.make(&world, 1).await.assert_error(400, "invalid_grant");
    assert_must_wait(&login("jane", PASSWORD).from(USER).to(&world.issuer).await, 2);
}

#[tokio::test(start_paused = true)]
async fn wrong_client_secrets_are_counted_by_client_and_address_whether_or_not_the_client_exists() {
    for client_id in ["service", "chosen", "nobody"] {
        let (world, clock) = InProcess::start_with_clock(&[]).await;
        let mut guesses = guesses_at_client(client_id, ATTACKER);
        guesses.make(&world, 20).await.assert_error(401, "invalid_client");
        assert_eq!(guesses.waits(&world, &clock, 3).await, [1, 2, 4], "{client_id}");
        assert_must_wait(&guesses.next().to(&world.issuer).await, 8);
        client(client_id, "wrong").from(USER).to(&world.issuer).await.assert_error(401, "invalid_client");
    }
}

#[tokio::test(start_paused = true)]
async fn a_correct_generated_secret_uses_no_counter_and_never_waits() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    guesses_at_client("service", ATTACKER)
        .make(&world, 21)
        .await
        .assert_error(429, "temporarily_unavailable");
    world.store.take_calls();
    client("service", SERVICE_SECRET).from(ATTACKER).to(&world.issuer).await.ok();
    let calls = world.store.take_calls();
    assert!(!calls.iter().any(|call| call.contains("attempts")), "{calls:?}");
    guesses_at_client("chosen", ATTACKER).make(&world, 20).await;
    assert_must_wait(&client("chosen", CHOSEN_SECRET).from(ATTACKER).to(&world.issuer).await, 1);
    for _ in 0..25 {
        client("chosen", CHOSEN_SECRET).from(USER).to(&world.issuer).await.ok();
    }
}

#[tokio::test(start_paused = true)]
async fn a_raw_secret_counts_as_no_failure() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    // Interpreted as form-encoded, these credentials are wrong.
    let secret = Secret::from_string("not%20encoded".into());
    let secret = ClientSecret::new(&secret, clock.now(), None, &Random::system()).unwrap();
    create_client(&world, "raw%2Bid", "chosen", |client| client.secrets = vec![secret]).await;
    for _ in 0..25 {
        client("raw%2Bid", "not%20encoded").from(USER).to(&world.issuer).await.ok();
    }
}

#[tokio::test(start_paused = true)]
async fn guesses_at_one_client_are_counted_together_however_its_id_is_encoded() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    let right = "chosen-by-a-person";
    let secret = Secret::from_string(right.into());
    let secret = ClientSecret::new(&secret, clock.now(), None, &Random::system()).unwrap();
    create_client(&world, "a+b", "chosen", |client| client.secrets = vec![secret]).await;
    for (n, written) in ["a+b", "a%2Bb"].repeat(10).into_iter().enumerate() {
        let secret = wrong(n).replace(' ', "-");
        let answer = client(written, &secret).from(ATTACKER).to(&world.issuer).await;
        answer.assert_error(401, "invalid_client");
    }
    for written in ["a+b", "a%2Bb", "%61%2bb"] {
        assert_must_wait(&client(written, right).from(ATTACKER).to(&world.issuer).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn thresholds_can_be_set_and_every_counter_can_be_switched_off() {
    let limits = [
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", "0"),
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT", "3"),
        ("COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS", "0"),
    ];
    let (world, _) = InProcess::start_with_clock(&limits).await;
    guesses("jane", USER).make(&world, 3).await.assert_error(400, "invalid_grant");
    assert_must_wait(&login("jane", PASSWORD).from(USER).to(&world.issuer).await, 1);
    guesses_at_client("chosen", USER).make(&world, 30).await.assert_error(401, "invalid_client");
}

#[tokio::test(start_paused = true)]
async fn requests_that_must_look_alike_make_the_same_calls() {
    let (world, clock) = InProcess::start_with_clock(&UNLIMITED).await;
    world.create_disabled_records(&clock.clock()).await;
    let wrong_generated = countersign_verify::generated_secret(&[7; 32]);
    for (name, enabled) in [("bob", true), ("carol", false)] {
        let key = PrincipalKey::Operator { username: name.into() };
        let (now, random, brands) = (clock.now(), Random::system(), vec!["acme".into()]);
        let mut operator = Principal::without_password(&key, vec![], brands, now, &random).unwrap();
        operator.enabled = enabled;
        world.table::<Principal>().create(&operator).await.unwrap();
    }
    let on_behalf = |name: &str| {
        let form = [("grant_type", "client_credentials"), ("operator", name)];
        Post::new("/oauth/token", "service", SERVICE_SECRET, &form)
    };
    let alike = [
        // Missing secrets.
        [client("nobody", ""), client("service", ""), client("retired", "")],
        [
            client("nobody", &wrong_generated),
            client("service", &wrong_generated),
            client("retired", SERVICE_SECRET),
        ],
        [client("nobody", "wrong"), client("service", "wrong"), client("retired", "wrong")],
        [login("nobody", "wrong"), login("jane", "wrong"), login("joan", PASSWORD)],
        // Operators for whom the client may not act.
        [on_behalf("nobody"), on_behalf("bob"), on_behalf("carol")],
    ];
    // Puts the client that sends the logins into the cache.
    login("jane", "another").to(&world.issuer).await.assert_error(400, "invalid_grant");
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
            // Guesses at chosen secrets and passwords are counted. Elsewhere the copies may be fresh.
            assert!(!matches!(row, 2 | 3) || !calls[0].is_empty());
            assert!(seconds < 3 || row == 1 || !calls[0].is_empty(), "{row}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_is_known_for_30_days_after_the_last_login_and_until_the_sessions_end() {
    const HOME: &str = "198.51.100.1";
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    let limits = [("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT", "1")];
    let (world, clock) = InProcess::start_with_clock(&limits).await;
    world.make_passwords_cheap().await;
    // Each time, a failure elsewhere slows strangers down.
    let mut fail_elsewhere = guesses("jane", ATTACKER);
    let enter = || login("jane", PASSWORD).from(HOME);
    enter().to(&world.issuer).await.ok();
    for after in [days(29), days(29)] {
        clock.advance(after);
        fail_elsewhere.make(&world, 1).await.assert_error(400, "invalid_grant");
        enter().to(&world.issuer).await.ok();
    }
    // Failures at home do not prolong it.
    clock.advance(days(20));
    guesses("jane", HOME).make(&world, 2).await.assert_error(400, "invalid_grant");
    clock.advance(days(10));
    fail_elsewhere.make(&world, 1).await.assert_error(400, "invalid_grant");
    assert_must_wait(&enter().to(&world.issuer).await, 1);
    clock.advance(Duration::from_secs(1));
    enter().to(&world.issuer).await.ok();

    // Whoever knew the old password keeps no privilege.
    let now = clock.now();
    change_jane(&world, |jane| jane.end_sessions(now)).await;
    fail_elsewhere.make(&world, 1).await;
    assert_must_wait(&enter().to(&world.issuer).await, 2);
    clock.advance(Duration::from_secs(2));
    enter().to(&world.issuer).await.ok();
    fail_elsewhere.make(&world, 1).await;
    enter().to(&world.issuer).await.ok();
}

#[tokio::test(start_paused = true)]
async fn without_an_address_or_its_counter_no_network_is_known() {
    let strict = ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT", "1");
    let off = ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", "0");
    for (limits, address) in [(&[strict, off][..], Some(USER)), (&[strict], None)] {
        let (world, _) = InProcess::start_with_clock(limits).await;
        let at_home = |post: Post| address.iter().fold(post, |post, address| post.from(address));
        at_home(login("jane", PASSWORD)).to(&world.issuer).await.ok();
        guesses("jane", ATTACKER).make(&world, 1).await.assert_error(400, "invalid_grant");
        assert_must_wait(&at_home(login("jane", PASSWORD)).to(&world.issuer).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_costs_six_writes_from_a_new_network_and_two_from_a_known_one() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    // Puts the client and the key into memory.
    login("jane", PASSWORD).from(ATTACKER).to(&world.issuer).await.ok();
    world.store.take_calls();
    let calls = async |password: &str| {
        login("jane", password).from(USER).to(&world.issuer).await;
        world.store.take_calls()
    };
    let (write, read) = ("UpdateItem attempts", "GetItem principals");
    assert_eq!(calls("wrong elsewhere").await, [write, write, write, read, write]);
    assert_eq!(calls(PASSWORD).await, [write, write, write, read, write, write, write]);
    clock.advance(Duration::from_secs(30));
    assert_eq!(calls(PASSWORD).await, [write, read, write]);
    assert_eq!(calls("wrong at home").await, [write, read, write]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_or_secret_that_is_sent_again_is_counted_once() {
    let (world, clock) = InProcess::start_with_clock(&[]).await;
    // The second request goes to another process.
    let other = world.another_process(&clock.clock(), random_without_salts());
    for n in 0..10 {
        let guess = login("jane", &wrong(n)).from(USER);
        guess.to(&world.issuer).await.assert_error(400, "invalid_grant");
        if n < 9 {
            guess.to(&other).await.assert_error(400, "invalid_grant");
        }
    }
    // A repetition costs a hash, so it waits as any guess does, and makes no later wait longer.
    let last = login("jane", &wrong(9)).from(USER);
    assert_must_wait(&last.to(&world.issuer).await, 1);
    clock.advance(Duration::from_secs(1));
    last.to(&other).await.assert_error(400, "invalid_grant");
    assert_must_wait(&last.to(&world.issuer).await, 1);
    clock.advance(Duration::from_secs(1));
    login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();

    // As Go's x/oauth2 does: in the header, and then in the body.
    let form = [("grant_type", "client_credentials")];
    for n in 0..20 {
        client("chosen", &wrong(n)).from(USER).to(&world.issuer).await.assert_error(401, "invalid_client");
        let again = Post::with_credentials_in_body("/oauth/token", "chosen", &wrong(n), &form).from(USER);
        if n < 19 {
            again.to(&other).await.assert_error(401, "invalid_client");
        }
    }
    assert_must_wait(&client("chosen", CHOSEN_SECRET).from(USER).to(&world.issuer).await, 1);
}

/// With a digest that anybody can compute, an attacker would send pairs of guesses with the same byte, of
/// which every second one would be free.
#[tokio::test(start_paused = true)]
async fn guesses_with_the_same_unsalted_digest_are_all_counted() {
    let clock = clock_of_tokio();
    let world = InProcess::start(&clock, &[]).await;
    // With real salts: 24 guesses of which each has the same first byte of SHA-256.
    let issuer = world.another_process(&clock, Random::system());
    let first_byte =
        |guess: &String| ring::digest::digest(&ring::digest::SHA256, guess.as_bytes()).as_ref()[0];
    let alike = (0_u32..).map(|n| format!("guess {n}")).filter(|guess| first_byte(guess) == 0);
    let mut checked = 0;
    for guess in alike.take(24) {
        if login("jane", &guess).from(USER).to(&issuer).await.status == 400 {
            checked += 1;
        }
    }
    // One pair in 256 has the same salted byte: two among nine pairs are as good as impossible.
    assert!((10..=11).contains(&checked), "{checked}");
}

/// A library repeats a request once. Whoever sends the same guess for ever costs a hash each time.
#[tokio::test(start_paused = true)]
async fn a_wrong_password_or_secret_that_is_sent_for_ever_is_slowed_down() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    for (post, limit) in [(login("jane", "old password"), 10), (client("chosen", "old secret"), 20)] {
        let mut checked = 0;
        while post.clone().from(USER).to(&world.issuer).await.status != 429 {
            checked += 1;
            assert!(checked < 100);
        }
        assert_eq!(checked, 2 * limit - 1, "every second one is counted");
    }
}

#[tokio::test(start_paused = true)]
async fn one_password_for_many_names_is_slowed_down_by_client_and_address() {
    let limits = [("COUNTERSIGN_MAX_LOGIN_FAILURES_PER_CLIENT_AND_ADDRESS", "5")];
    let (world, clock) = InProcess::start_with_clock(&limits).await;
    create_client(&world, "other-app", "app", |_| {}).await;
    create_client(&world, "strict", "app", |client| client.max_login_failures = Some(2)).await;
    create_client(&world, "server", "app", |client| client.max_login_failures = Some(0)).await;
    login("jane", PASSWORD).from(ATTACKER).to(&world.issuer).await.ok();
    let spray = async |client_id: &str, times: usize| {
        for n in 0..times {
            let guess = login_through(client_id, &format!("{client_id}-{n}"), "Summer2026!").from(ATTACKER);
            guess.to(&world.issuer).await.assert_error(400, "invalid_grant");
        }
        login_through(client_id, &format!("{client_id}-{times}"), "Summer2026!")
            .from(ATTACKER)
            .to(&world.issuer)
            .await
    };
    assert_must_wait(&spray("app", 5).await, 1);
    assert_must_wait(&spray("strict", 2).await, 1);
    spray("server", 10).await.assert_error(400, "invalid_grant");
    // It hits strangers at this address and this client. A user who has logged in from there is none.
    let alice = [("grant_type", "operator_password"), ("username", "alice"), ("password", PASSWORD)];
    let alice = Post::new("/oauth/token", "app", APP_SECRET, &alice);
    assert_must_wait(&alice.clone().from(ATTACKER).to(&world.issuer).await, 1);
    alice.from(USER).to(&world.issuer).await.ok();
    login_through("other-app", "joan", "Summer2026!")
        .from(ATTACKER)
        .to(&world.issuer)
        .await
        .assert_error(400, "invalid_grant");
    login("jane", PASSWORD).from(ATTACKER).to(&world.issuer).await.ok();
    clock.advance(Duration::from_secs(1));
    login("joan", "Summer2026!").from(ATTACKER).to(&world.issuer).await.assert_error(400, "invalid_grant");
}

#[tokio::test(start_paused = true)]
async fn of_logins_through_one_client_from_one_address_300_may_fail() {
    let limits = &UNLIMITED[..2];
    assert!(limits.iter().all(|(name, _)| name.contains("PER_PRINCIPAL")));
    let (world, _) = InProcess::start_with_clock(limits).await;
    world.make_passwords_cheap().await;
    let mut guesses = guesses("jane", ATTACKER);
    guesses.make(&world, 300).await.assert_error(400, "invalid_grant");
    assert_must_wait(&guesses.next().to(&world.issuer).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_guess_in_the_form_of_a_generated_secret_costs_no_write() {
    let (world, _) = InProcess::start_with_clock(&[]).await;
    let wrong_generated = countersign_verify::generated_secret(&[7; 32]);
    for client_id in ["service", "chosen", "nobody", "not an id \u{200b}"] {
        for _ in 0..25 {
            let guess = client(client_id, &wrong_generated).from(ATTACKER);
            guess.to(&world.issuer).await.assert_error(401, "invalid_client");
        }
        let calls = world.store.take_calls();
        assert!(!calls.iter().any(|call| call.contains("attempts")), "{calls:?}");
    }
    // A generated secret that was mistyped has another checksum.
    let mistyped = wrong_generated.replacen("csgn_BwcH", "csgn_BwcI", 1);
    client("service", &mistyped).from(ATTACKER).to(&world.issuer).await.assert_error(401, "invalid_client");
    assert!(world.store.take_calls().contains(&"UpdateItem attempts".into()));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_while_the_store_is_slow_is_over() {
    let world = InProcess::start(&clock_of_tokio(), &[]).await;
    guesses("jane", USER).make(&world, 10).await.assert_error(400, "invalid_grant");
    // The first write gets no response, and is repeated after 1.5 s.
    let mut is_first = true;
    world.store.set_faults(move |call| {
        let fault = (is_first && call == "UpdateItem attempts").then_some(Fault::Hang);
        is_first &= fault.is_none();
        fault
    });
    login("jane", PASSWORD).from(USER).to(&world.issuer).await.ok();
}

/// How long it takes from `post` until the hashing pool is free again. With `cut_off`, the request is
/// dropped after that time.
async fn hashing_time(world: &InProcess, post: &Post, cut_off: Option<Duration>) -> Duration {
    let begun = tokio::time::Instant::now();
    match cut_off {
        Some(after) => drop(tokio::time::timeout(after, post.to(&world.issuer)).await),
        None => drop(post.to(&world.issuer).await),
    }
    // Waits for a place in the pool, and needs it for microseconds.
    login("jane", "any password").from(USER).to(&world.issuer).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_request_that_is_cut_off_begins_no_further_slow_hash() {
    let (world, _) = InProcess::start_with_clock(&UNLIMITED).await;
    world.make_passwords_cheap().await;
    let secret = |id: &str| -> ClientSecret {
        let hash = "{argon2}$argon2id$v=19$m=65536,t=2,p=1$ckRK2l4CKTjtUlNukJt7ww$xv8rYamjr+ymz1kMpktvnLucMg7qGsJ9/+UHI50/6eI";
        serde_json::from_value(json!({ "id": id, "hash": hash, "created": 1 })).unwrap()
    };
    create_client(&world, "slow", "chosen", |client| client.secrets = vec![secret("a")]).await;
    create_client(&world, "twice", "chosen", |client| client.secrets = vec![secret("a"), secret("b")]).await;
    let one = client("slow", "a wrong secret");
    // Two interpretations for two secrets, one of them in two forms: six hashes.
    let six = client("twice", "a%20wrong+A%CC%88");
    // On a busy machine a single measurement means little. One hash costs as much as one in some round;
    // what is left of four or more does so in none.
    let mut ratios = Vec::new();
    for _ in 0..6 {
        let took = hashing_time(&world, &one, None).await;
        let cut_off = hashing_time(&world, &six, Some(took / 4)).await;
        ratios.push(cut_off.as_secs_f64() / took.as_secs_f64());
    }
    assert!(ratios.iter().any(|ratio| *ratio < 2.0), "{ratios:?}");
}

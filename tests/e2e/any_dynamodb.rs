//! The conditional writes of every record, against the DynamoDB at `COUNTERSIGN_TEST_DYNAMODB` or
//! the embedded one. `tests/interop/dynamodb-local` runs this module against AWS's DynamoDB Local.

use std::time::Duration;

use countersign_dev::{EmbeddedDynamoDb, create_tables};
use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::Config;
use countersign_issuer::issuer::Issuer;
use countersign_issuer::keys::Rotator;
use countersign_issuer::random::Random;
use countersign_issuer::records::Client;
use countersign_issuer::store::{Table, WriteError, dynamodb};
use countersign_tests::in_process::{
    APP_SECRET, CHOSEN_SECRET, PASSWORD, Post, SERVICE_SECRET, create_records, environment,
    random_without_salts, wrong,
};
use countersign_tests::{TestClock, TestResponse, prepare_process};
use countersign_verify::Timestamp;

/// An issuer over new tables, and the embedded store that must live as long.
struct World {
    issuer: Issuer,
    clients: Table<Client>,
    clock: TestClock,
    _embedded: Option<EmbeddedDynamoDb>,
}

impl World {
    async fn start() -> Self {
        prepare_process();
        #[expect(clippy::disallowed_methods, reason = "the caller chooses the store to test")]
        let given = std::env::var("COUNTERSIGN_TEST_DYNAMODB").ok();
        let embedded = match given {
            Some(_) => None,
            None => Some(EmbeddedDynamoDb::start(0, None).await.unwrap()),
        };
        let endpoint = given.unwrap_or_else(|| embedded.as_ref().unwrap().endpoint());
        let prefix = format!("test-{}-", Random::system().id().unwrap());
        let more = [("AWS_ENDPOINT_URL_DYNAMODB", endpoint.as_str()), ("COUNTERSIGN_TABLE_PREFIX", &prefix)];
        let (config, envelope) = Config::with_envelope_from_lookup(environment(&more)).unwrap();
        let envelope = envelope.into_envelope(&config.store.aws);
        let db = dynamodb(&config.store.aws);
        create_tables(&db, &prefix).await.unwrap();
        create_tables(&db, &prefix).await.unwrap();
        // DynamoDB expires items by the real clock, so the test clock must not make them look old.
        let clock = TestClock::at(Timestamp::from_seconds(2_000_000_000));
        let random = random_without_salts();
        for _ in 0..2 {
            let rotator = Rotator::new(
                &db,
                &config.store.table_prefix,
                config.store.schedule,
                envelope.clone(),
                clock.clock(),
                random.clone(),
                AuditLog::tracing(),
            );
            rotator.rotate().await.unwrap();
        }
        create_records(&db, &prefix, clock.now()).await;
        let issuer = Issuer::new(&config, &db, envelope, clock.clock(), random, AuditLog::tracing());
        Self { issuer, clients: Table::new(db, &prefix), clock, _embedded: embedded }
    }

    async fn log_in(&self, username: &str, password: &str) -> TestResponse {
        let form = [("grant_type", "password"), ("username", username), ("password", password)];
        Post::new("/oauth/token", "app", APP_SECRET, &form).from("203.0.113.7").to(&self.issuer).await
    }

    async fn use_token(&self, path: &str, name: &str, token: &str) -> TestResponse {
        Post::new(path, "app", APP_SECRET, &[(name, token)]).to(&self.issuer).await
    }

    async fn refresh(&self, token: &str) -> TestResponse {
        self.use_token("/oauth/refresh", "refresh_token", token).await
    }
}

#[tokio::test]
async fn a_record_is_created_once_and_saved_only_if_it_is_unchanged_since_it_was_read() {
    let world = World::start().await;
    let mut one = world.clients.get("service").await.unwrap().unwrap();
    let mut other = one.clone();
    world.clients.create(&one).await.expect("the SDK may repeat a write, so the same item is no other one");
    other.name = "Another".into();
    assert!(matches!(world.clients.create(&other).await, Err(WriteError::Exists)));
    world.clients.save(&mut one).await.unwrap();
    assert!(matches!(world.clients.save(&mut other).await, Err(WriteError::Changed)));
    assert_eq!(world.clients.list().await.unwrap().len(), 3);
    assert!(world.clients.delete("service").await.unwrap());
    assert!(!world.clients.delete("service").await.unwrap());
    assert_eq!(world.clients.get("service").await.unwrap(), None);
}

#[tokio::test]
async fn a_family_advances_allows_a_retry_and_is_revoked() {
    let world = World::start().await;
    let credentials = [("grant_type", "client_credentials"), ("operator", "alice")];
    Post::new("/oauth/token", "service", SERVICE_SECRET, &credentials).to(&world.issuer).await.ok();
    let login = world.log_in("jane", PASSWORD).await;
    let by_index = world.use_token("/oauth/introspect", "token", &login.access_token()).await;
    assert_eq!(by_index.ok()["active"], true, "the index of the principals has the user");
    let first = login.refresh_token();
    let active = async |token: &str| {
        let form = [("token", token), ("token_type_hint", "refresh_token")];
        let answer = Post::new("/oauth/introspect", "app", APP_SECRET, &form).to(&world.issuer).await;
        answer.ok()["active"].as_bool().unwrap()
    };
    assert!(active(&first).await);
    let second = world.refresh(&first).await.refresh_token();
    world.refresh(&first).await.ok();
    assert!(!active(&first).await && active(&second).await);
    let third = world.refresh(&second).await.refresh_token();
    world.refresh(&first).await.assert_error(400, "invalid_grant");
    world.clock.advance(Duration::from_secs(11));
    world.refresh(&first).await.assert_error(400, "invalid_grant");
    world.refresh(&third).await.assert_error(400, "invalid_grant");

    let revoked = world.log_in("jane", PASSWORD).await.refresh_token();
    world.use_token("/oauth/revoke", "token", &revoked).await.ok();
    world.refresh(&revoked).await.assert_error(400, "invalid_grant");
    assert!(!active(&revoked).await);
}

#[tokio::test]
async fn guesses_are_counted_released_and_forgotten() {
    let world = World::start().await;
    // The second attempt with the same password is not counted.
    for username in ["jane", "nobody"] {
        for n in (0..9).flat_map(|n| [n, n]) {
            world.log_in(username, &wrong(n)).await.assert_error(400, "invalid_grant");
        }
    }
    world.log_in("jane", PASSWORD).await.ok();
    for username in ["jane", "nobody"] {
        world.log_in(username, &wrong(9)).await.assert_error(400, "invalid_grant");
        let mut waits = Vec::new();
        for n in 10..13 {
            let answer = world.log_in(username, &wrong(n)).await;
            answer.assert_error(429, "temporarily_unavailable");
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            waits.push(wait);
            world.clock.advance(Duration::from_secs(wait));
            world.log_in(username, &wrong(n)).await.assert_error(400, "invalid_grant");
        }
        assert_eq!(waits, [1, 2, 4]);
    }
    world.log_in("jane", PASSWORD).await.assert_error(429, "temporarily_unavailable");
    world.clock.advance(Duration::from_secs(15 * 60));
    world.log_in("jane", "wrong").await.assert_error(400, "invalid_grant");
    world.log_in("jane", PASSWORD).await.ok();
    let form = [("grant_type", "client_credentials")];
    Post::new("/oauth/token", "chosen", CHOSEN_SECRET, &form).to(&world.issuer).await.ok();
}

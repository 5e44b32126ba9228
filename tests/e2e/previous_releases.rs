//! Later versions on what earlier releases left: `tests/data/release-*`, each made by
//! scripts/record-release of that release. The issuer serves the recorded records over HTTP, and
//! today's verifiers read the recorded tokens. docs/upgrading.md has the promises.

use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_dev::{TIMEOUT, create_tables, router, serve};
use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::{Config, DEFAULT_TABLE_PREFIX};
use countersign_issuer::issuer::{Issuer, Publisher};
use countersign_issuer::random::Random;
use countersign_tests::store::FaultyStore;
use countersign_tests::token_verifier::Expected;
use countersign_tests::{AUDIENCE, TestClock, TestResponse, prepare_process};
use countersign_verify::policy::Policy;
use countersign_verify::{JwkSet, Timestamp, Verifier};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The folders of the fixtures.
fn releases() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let folders = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let releases: Vec<PathBuf> =
        folders.filter(|path| path.to_string_lossy().contains("/release-")).collect();
    assert!(!releases.is_empty());
    releases
}

/// The records and tokens that a release left, and an issuer of this version that serves it. A minute has passed since.
struct Left {
    folder: PathBuf,
    release: Value,
    address: String,
    clock: TestClock,
    http: reqwest::Client,
}

impl Left {
    async fn by(folder: PathBuf) -> Self {
        prepare_process();
        let release: Value = read_json(&folder.join("release.json"));
        let text = |name: &str| release[name].as_str().unwrap().to_owned();
        let variables = [
            ("COUNTERSIGN_ISSUER", text("issuer")),
            ("COUNTERSIGN_LOCAL_KEY", text("local_key")),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://store.test".to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let (config, envelope) = Config::with_envelope_from_lookup(lookup).unwrap();
        // In memory, and without a server that deletes expired items by the real clock.
        let store = FaultyStore::new();
        let db = store.client(&config.store.aws);
        create_tables(&db, DEFAULT_TABLE_PREFIX).await.unwrap();
        for file in std::fs::read_dir(folder.join("records")).unwrap() {
            let file = file.unwrap().path();
            let table = file.file_stem().unwrap().to_string_lossy();
            for item in read_json(&file).as_array().unwrap() {
                store.put(&format!("{DEFAULT_TABLE_PREFIX}{table}"), item);
            }
        }
        let clock = TestClock::at(Timestamp::from_seconds(release["made_at"].as_u64().unwrap() + 60));
        let envelope = envelope.into_envelope(&config.store.aws);
        let issuer =
            Issuer::new(&config, &db, envelope, clock.clock(), Random::system(), AuditLog::tracing());
        let publisher = Publisher::new(&config, &db, clock.clock(), AuditLog::tracing());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, router(issuer, publisher, TIMEOUT), TIMEOUT, std::future::pending()));
        Self { folder, release, address, clock, http: reqwest::Client::new() }
    }

    fn text(&self, pointer: &str) -> &str {
        self.release.pointer(pointer).unwrap().as_str().unwrap()
    }

    /// Sends a form as a recorded client.
    async fn post(&self, path: &str, client_id: &str, form: &[(&str, &str)]) -> TestResponse {
        let secret = self.text(&format!("/secrets/{client_id}"));
        let request = self.http.post(format!("{}{path}", self.address)).basic_auth(client_id, Some(secret));
        let response = request.form(form).send().await.unwrap();
        TestResponse::new(response.status(), response.headers().clone(), response.text().await.unwrap())
    }

    async fn refresh(&self, client_id: &str, token: &str) -> TestResponse {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post("/oauth/token", client_id, &form).await
    }

    async fn served_jwks(&self) -> String {
        let response = self.http.get(format!("{}/.well-known/jwks.json", self.address)).send();
        response.await.unwrap().text().await.unwrap()
    }

    /// Verifies an access token as an API does that has the key set which is served now.
    async fn verify(&self, typ: &str, audience: &str, token: &str) -> Value {
        let expected = Expected { typ, audience, issuer: self.text("/issuer"), now: self.clock.now() };
        expected.verify(&self.served_jwks().await, token).unwrap().into()
    }
}

fn read_json(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[tokio::test]
async fn access_tokens_of_earlier_releases_are_valid() {
    for folder in releases() {
        let left = Left::by(folder).await;
        let recorded_jwks = std::fs::read_to_string(left.folder.join("jwks.json")).unwrap();
        for (name, typ, audience) in [
            ("user", "at+jwt", AUDIENCE),
            ("operator", "at+jwt", AUDIENCE),
            ("service", "at+jwt", AUDIENCE),
            ("billing", "JWT", "https://bills.example.com"),
        ] {
            let token = left.text(&format!("/access_tokens/{name}"));
            let claims = left.verify(typ, audience, token).await;
            assert!(claims["scope"].as_str().is_some_and(|scope| !scope.is_empty()), "{name}: {claims}");
            for jwks in [&recorded_jwks, &left.served_jwks().await] {
                let builder = Verifier::builder(left.text("/issuer")).audience(audience).accept_typ_jwt();
                let keys = JwkSet::from_json(jwks).unwrap();
                let verifier = builder.keys(keys.clone()).build().unwrap();
                let verified = verifier.verify_at(token, &keys, left.clock.now()).unwrap();
                assert_eq!(verified.sub, claims["sub"], "{name}");
            }
        }
        let token = left.text("/access_tokens/user");
        let introspected = left.post("/oauth/introspect", "demo-app", &[("token", token)]).await.ok();
        assert_eq!(introspected["active"], true);
    }
}

#[tokio::test]
async fn a_policy_file_of_an_earlier_release_decides_as_before() {
    for folder in releases() {
        let left = Left::by(folder).await;
        let policy = std::fs::read_to_string(left.folder.join("policy.toml")).unwrap();
        let policy = Policy::from_toml(&policy).unwrap();
        let token = left.text("/access_tokens/service");
        let keys = JwkSet::from_json(&left.served_jwks().await).unwrap();
        let verifier = Verifier::builder(left.text("/issuer")).audience(AUDIENCE).keys(keys.clone());
        let caller = verifier.build().unwrap().verify_at(token, &keys, left.clock.now()).unwrap();
        let decide = |method: &str, path: &str| policy.decide(method, path, &caller).is_ok();
        assert!(decide("GET", "/api/reports") && decide("GET", "/api/brands/acme/reports"));
        assert!(!decide("GET", "/api/brands/globex/reports") && !decide("GET", "/api/calls"));
    }
}

#[tokio::test]
async fn sessions_of_earlier_releases_go_on_and_ended_ones_stay_ended() {
    for folder in releases() {
        let left = Left::by(folder).await;
        for (name, client_id) in [("new", "demo-app"), ("rotated", "fixture-app"), ("operator", "demo-app")] {
            let token = left.text(&format!("/refresh_tokens/{name}"));
            let refreshed = left.refresh(client_id, token).await;
            left.verify("at+jwt", AUDIENCE, &refreshed.access_token()).await;
            left.refresh(client_id, &refreshed.refresh_token()).await.ok();
        }
        left.refresh("demo-app", left.text("/refresh_tokens/revoked"))
            .await
            .assert_error(400, "invalid_grant");
        // Reuse of a token from before the upgrade is detected after it.
        left.clock.advance(Duration::from_secs(60));
        left.refresh("demo-app", left.text("/refresh_tokens/new")).await.assert_error(400, "invalid_grant");
    }
}

#[tokio::test]
async fn people_log_in_and_clients_get_tokens_with_records_of_earlier_releases() {
    for folder in releases() {
        let left = Left::by(folder).await;
        let password = left.text("/password");
        for (client_id, grant, username, password, brand) in [
            ("demo-app", "password", "jane@example.com", "correct horse battery staple", "acme"),
            ("fixture-app", "password", "josé", password, "globex"),
            // Imported, with the hash of Spring.
            ("demo-app", "password", "bob@example.com", "partner-secret-1", "acme"),
            ("demo-app", "operator_password", "alice.ops", "operator-passphrase", "acme"),
            ("demo-app", "operator_password", "everywhere", password, "acme"),
        ] {
            let form =
                [("grant_type", grant), ("username", username), ("password", password), ("brandKey", brand)];
            let answer = left.post("/oauth/token", client_id, &form).await;
            assert_eq!(answer.status, 200, "{username}: {}", answer.text);
            let claims = left.verify("at+jwt", AUDIENCE, &answer.access_token()).await;
            assert_eq!(claims["brandKey"], brand, "{username}");
            let named = (client_id == "fixture-app").then_some(username);
            assert_eq!(claims.get("user_name").and_then(Value::as_str), named, "{username}");
        }
        let gone = [("grant_type", "password"), ("username", "gone"), ("password", password)];
        let gone = [&gone[..], &[("brandKey", "globex")]].concat();
        left.post("/oauth/token", "fixture-app", &gone).await.assert_error(400, "invalid_grant");

        let operator = [("operator", "alice.ops"), ("brandKey", "acme")];
        for (client_id, typ, audience, more) in [
            ("demo-voice", "at+jwt", AUDIENCE, &[][..]),
            ("demo-service", "at+jwt", AUDIENCE, &operator),
            ("fixture-billing", "JWT", "https://bills.example.com", &operator),
            ("billing-batch", "at+jwt", AUDIENCE, &[]),
        ] {
            let form = [&[("grant_type", "client_credentials")][..], more].concat();
            let answer = left.post("/oauth/token", client_id, &form).await;
            assert_eq!(answer.status, 200, "{client_id}: {}", answer.text);
            let claims = left.verify(typ, audience, &answer.access_token()).await;
            assert_eq!(claims["sub"], json!(client_id));
        }
    }
}

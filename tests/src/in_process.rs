//! An issuer without sockets. Requests reach the endpoints in the form in which the function
//! binaries pass them on, and records come from a store that can be made to fail.

use std::sync::Arc;

use ::http::{HeaderName, Method};
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use authorizer::{Authorizer, AuthorizerConfig};
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_dev::create_tables;
use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::{Config, StoreConfig};
use countersign_issuer::context::SourceAddress;
use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::http::{self, Request, Response};
use countersign_issuer::issuer::{Issuer, Publisher};
use countersign_issuer::keys::{KeyEnvelope, KeyTable, Rotator, Signer, SigningKey, install_crypto_provider};
use countersign_issuer::random::Random;
use countersign_issuer::records::{Client, GrantType, Principal, PrincipalKey};
use countersign_issuer::store::Table;
use countersign_verify::{Clock, Timestamp};

use crate::store::FaultyStore;
use crate::{AUDIENCE, START_SECONDS, TestClock, TestResponse, encode, prepare_process};

/// The password of all users and operators.
pub const PASSWORD: &str = "correct horse";

/// A store with records, and an issuer over it.
#[derive(Debug)]
pub struct InProcess {
    /// The store below the issuer.
    pub store: FaultyStore,
    /// The issuer.
    pub issuer: Arc<Issuer>,
    /// The issuer's configuration.
    pub config: Config,
    audit: AuditLog,
}

impl InProcess {
    /// Starts an issuer with the records of [`create_records`], the variables of `more`, and
    /// `clock`.
    pub async fn start(clock: &Clock, more: &[(&str, &str)]) -> Self {
        prepare_process();
        Self::start_with_audit(clock, more, AuditLog::tracing()).await
    }

    /// Like [`start`](Self::start), but with `audit` as the audit log, and nothing searches the log
    /// for secrets.
    pub async fn start_with_audit(clock: &Clock, more: &[(&str, &str)], audit: AuditLog) -> Self {
        install_crypto_provider().unwrap();
        let config = Config::from_lookup(environment(more)).unwrap();
        let store = FaultyStore::new();
        let envelope = store.envelope(&config.store.aws);
        let db = store.client(&config.store.aws);
        create_tables(&db, &config.store.table_prefix).await.unwrap();
        let rotator = Rotator::new(
            &db,
            &config.store.table_prefix,
            config.store.schedule,
            envelope.clone(),
            clock.clone(),
            Random::system(),
            audit.clone(),
        );
        rotator.rotate().await.unwrap();
        let issuer =
            Issuer::new(&config, &db, envelope, clock.clone(), random_without_salts(), audit.clone());
        create_records(&db, &config.store.table_prefix, clock.now()).await;
        store.take_calls();
        Self { store, issuer: Arc::new(issuer), config, audit }
    }

    /// Like [`start`](Self::start), with a new test clock.
    pub async fn start_with_clock(more: &[(&str, &str)]) -> (Self, TestClock) {
        let clock = TestClock::at(Timestamp::from_seconds(START_SECONDS));
        (Self::start(&clock.clock(), more).await, clock)
    }

    /// Stores [`PASSWORD`] under a hash that costs microseconds, for tests that log in thousands of
    /// times.
    pub async fn make_passwords_cheap(&self) {
        let params = Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash: PasswordHash = argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"any salt").unwrap();
        for principal in ["user#acme#jane", "operator#alice"] {
            let db = self.store.without_faults().client(&self.config.store.aws);
            let update = db.update_item().table_name("countersign-principals");
            let update = update.key("principal", AttributeValue::S(principal.into()));
            let update = update.update_expression("SET password_hash = :hash");
            let update = update.expression_attribute_values(":hash", AttributeValue::S(hash.to_string()));
            update.send().await.unwrap();
        }
    }

    /// Creates a client `retired` and a user `joan`. Both are disabled and have valid secrets.
    pub async fn create_disabled_records(&self, clock: &Clock) {
        let clients = self.table::<Client>();
        let mut retired = clients.get("service").await.unwrap().unwrap();
        retired.client_id = "retired".into();
        retired.enabled = false;
        clients.create(&retired).await.unwrap();
        let joan = PrincipalKey::User { brand: "acme".into(), username: "joan".into() };
        let (now, random) = (clock.now(), Random::system());
        let mut joan = Principal::new(&joan, PASSWORD, vec![], vec![], now, &random).unwrap();
        joan.disable(now);
        self.table::<Principal>().create(&joan).await.unwrap();
    }

    /// Another process over the same store, simulated by an issuer with empty caches.
    pub fn another_process(&self, clock: &Clock, random: Random) -> Arc<Issuer> {
        self.issuer_over(&self.store.client(&self.config.store.aws), clock, random)
    }

    /// An issuer with empty caches over `db`.
    pub fn issuer_over(&self, db: &DynamoDb, clock: &Clock, random: Random) -> Arc<Issuer> {
        let audit = self.audit.clone();
        Arc::new(Issuer::new(&self.config, db, self.envelope(), clock.clone(), random, audit))
    }

    /// A new key envelope, which has a separate retry quota.
    fn envelope(&self) -> KeyEnvelope {
        self.store.envelope(&self.config.store.aws)
    }

    /// A rotator whose calls the network names after `caller`.
    pub fn rotator(&self, caller: &'static str, clock: &Clock) -> Rotator {
        let StoreConfig { aws, .. } = &self.config.store;
        let store = self.store.as_caller(caller);
        let (db, envelope) = (store.client(aws), store.envelope(aws));
        Rotator::new(
            &db,
            &self.config.store.table_prefix,
            self.config.store.schedule,
            envelope,
            clock.clone(),
            Random::system(),
            AuditLog::tracing(),
        )
    }

    /// An authorizer of the API [`AUDIENCE`] with `policy`, whose calls the network names after
    /// `caller`.
    pub fn authorizer(&self, caller: &'static str, policy: &str, clock: &Clock) -> Authorizer {
        let db = self.store.as_caller(caller).client(&self.config.store.aws);
        let (issuer, audience) = (self.config.clone(), AUDIENCE.to_owned());
        let config = AuthorizerConfig { issuer, audience, caching: false };
        let (clock, audit) = (clock.clone(), self.audit.clone());
        Authorizer::new(&config, policy, &db, clock, Random::system(), audit).unwrap()
    }

    /// A publisher of the key set.
    pub fn publisher(&self, clock: &Clock) -> Publisher {
        let db = self.store.client(&self.config.store.aws);
        Publisher::new(&self.config, &db, clock.clone(), self.audit.clone())
    }

    /// The key that signs at the time of `clock`.
    pub async fn signing_key(&self, clock: &Clock) -> Arc<SigningKey> {
        let StoreConfig { aws, table_prefix, schedule } = &self.config.store;
        let table = KeyTable::new(self.store.client(aws), table_prefix);
        let signer = Signer::new(table, self.envelope(), *schedule, clock.clone(), self.audit.clone());
        signer.signing_key(clock.now()).await.unwrap()
    }

    /// A table of the store, through the network.
    pub fn table<R: countersign_issuer::store::Record>(&self) -> Table<R> {
        Table::new(self.store.client(&self.config.store.aws), &self.config.store.table_prefix)
    }
}

/// A clock that follows tokio's clock: it pauses and advances with it.
pub fn clock_of_tokio() -> Clock {
    let begun = tokio::time::Instant::now();
    Clock::new(move || Timestamp::from_seconds(START_SECONDS).plus(begun.elapsed()))
}

/// Looks variables up in `more`, then in the defaults of the tests.
pub fn environment<'a>(more: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    const OWN: [(&str, &str); 6] = [
        ("COUNTERSIGN_ISSUER", "https://issuer.example.com"),
        ("COUNTERSIGN_LOCAL_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://store.test"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    |name| more.iter().chain(&OWN).find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

/// Creates the client `service` (client credentials, operator `alice`) and the client `app` (logins
/// and refreshes), both with generated secrets; the client `chosen` with a chosen secret; the user
/// `jane` of brand `acme` and the operator `alice`.
pub async fn create_records(db: &DynamoDb, prefix: &str, now: Timestamp) {
    let random = Random::system();
    for (id, secret, grants) in [
        ("service", SERVICE_SECRET, &[GrantType::ClientCredentials][..]),
        ("app", APP_SECRET, &[GrantType::Password, GrantType::OperatorPassword, GrantType::RefreshToken]),
        ("chosen", CHOSEN_SECRET, &[GrantType::ClientCredentials]),
    ] {
        let client = client(id, secret, grants, now);
        Table::new(db.clone(), prefix).create(&client).await.unwrap();
    }
    for key in [
        PrincipalKey::User { brand: "acme".into(), username: "jane".into() },
        PrincipalKey::Operator { username: "alice".into() },
    ] {
        let brands = vec!["acme".into()];
        let principal = Principal::new(&key, PASSWORD, vec![], brands, now, &random).unwrap();
        Table::new(db.clone(), prefix).create(&principal).await.unwrap();
    }
}

/// A client record that may use `grants` for the brand `acme`, on behalf of the operator `alice`.
fn client(id: &str, secret: &str, grants: &[GrantType], now: Timestamp) -> Client {
    let secret = Secret::from_string(secret.into());
    Client {
        secrets: vec![ClientSecret::new(&secret, now, None, &Random::system()).unwrap()],
        grant_types: grants.to_vec(),
        scopes: vec!["read".into()],
        brands: vec!["acme".into()],
        operators: vec!["alice".into()],
        audiences: vec![AUDIENCE.into()],
        ..Client::new(id, now)
    }
}

/// Randomness in which the throttle's salts of eight bytes are zero. The throttle takes one guess in 256 for a
/// repetition of the last one; with this, [`wrong`] knows which.
pub fn random_without_salts() -> Random {
    let system = Random::system();
    Random::new(move |bytes| {
        if bytes.len() == 8 {
            bytes.fill(0);
        } else {
            bytes.copy_from_slice(&system.bytes::<64>()?[..bytes.len()]);
        }
        Ok(())
    })
}

/// A wrong password or secret. The throttle takes none for a repetition of the one before it, and none of the first 25
/// for a repetition of another.
pub fn wrong(number: usize) -> String {
    format!("a wrong guess {number}")
}

/// With these settings guesses are counted and never slowed down.
pub const UNLIMITED: [(&str, &str); 4] = [
    ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", "1000000"),
    ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT", "1000000"),
    ("COUNTERSIGN_MAX_LOGIN_FAILURES_PER_CLIENT_AND_ADDRESS", "1000000"),
    ("COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS", "1000000"),
];

/// Generated once by `countersign client secret add`.
pub const SERVICE_SECRET: &str = "csgn_YGb9GOpgSyImkUIBLyd2KRPN03uX-H8pRMxyqews9z8lGmncK";
/// Generated once by `countersign client secret add`.
pub const APP_SECRET: &str = "csgn_OLWAHH6y_DFE8r-bMTfekzUHQRgJAsjZHudIe9AuUCgsPd7QQ";
/// Chosen by a person, and therefore hashed with argon2id.
pub const CHOSEN_SECRET: &str = "chosen by a person";

/// A form that is posted to an endpoint.
#[derive(Debug, Clone)]
pub struct Post {
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    from: Option<String>,
}

impl Post {
    /// A form with HTTP Basic authentication.
    pub fn new(path: &str, client_id: &str, secret: &str, form: &[(&str, &str)]) -> Self {
        let basic = BASE64.encode(format!("{client_id}:{secret}"));
        Self {
            path: path.into(),
            headers: vec![
                ("authorization".into(), format!("Basic {basic}")),
                ("content-type".into(), "application/x-www-form-urlencoded".into()),
            ],
            body: encode(form),
            from: None,
        }
    }

    /// Sends the client's credentials in the body.
    pub fn with_credentials_in_body(
        path: &str,
        client_id: &str,
        secret: &str,
        form: &[(&str, &str)],
    ) -> Self {
        let credentials = [("client_id", client_id), ("client_secret", secret)];
        let mut post = Self::new(path, client_id, secret, &[&credentials, form].concat());
        post.headers.retain(|(name, _)| name != "authorization");
        post
    }

    /// Sets the caller's address.
    #[must_use]
    pub fn from(self, address: &str) -> Self {
        Self { from: Some(address.into()), ..self }
    }

    /// The request in the form in which a function passes it on.
    pub fn request(&self) -> Request {
        let mut request = Request::new(self.body.clone().into_bytes());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().unwrap();
        for (name, value) in &self.headers {
            request
                .headers_mut()
                .insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        if let Some(from) = &self.from {
            request.extensions_mut().insert(SourceAddress(from.parse().unwrap()));
        }
        request
    }

    /// Sends the request to `issuer` and returns the response.
    pub async fn to(&self, issuer: &Issuer) -> TestResponse {
        let response = match self.path.as_str() {
            "/oauth/token" => http::token(issuer, self.request()).await,
            _ => http::refresh_function(issuer, self.request()).await,
        };
        response.into()
    }
}

impl From<Response> for TestResponse {
    fn from(response: Response) -> Self {
        let (parts, text) = response.into_parts();
        Self::new(parts.status, parts.headers, text)
    }
}

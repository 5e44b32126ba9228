//! Support for the tests: a running issuer with a test clock, an issuer without sockets over a
//! store that fails on demand, an independent verifier of tokens, and a search of the log for
//! secrets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot set itself up has failed"
)]

pub mod canaries;
pub mod dice;
pub mod in_process;
mod kms;
pub mod log;
pub mod store;
pub mod token_verifier;

use std::fmt::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_dev::{DevServer, Options, Surroundings, start_on};
use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::Config;
use countersign_issuer::config::DEFAULT_TABLE_PREFIX;
use countersign_issuer::keys::{KeyEnvelope, Rotator, install_crypto_provider};
use countersign_issuer::random::Random;
use countersign_issuer::records::{Client, Principal, PrincipalKey};
use countersign_issuer::store::{Record, Table, dynamodb};
use countersign_verify::{Clock, Timestamp};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use token_verifier::Expected;

/// The audience of the demo clients.
pub const AUDIENCE: &str = "https://api.example.com";
/// The demo user's password.
pub const JANE: &[(&str, &str)] = &[
    ("grant_type", "password"),
    ("username", "jane@example.com"),
    ("password", "correct horse battery staple"),
];
/// The demo operator's password.
pub const ALICE: &[(&str, &str)] =
    &[("grant_type", "operator_password"), ("username", "alice.ops"), ("password", "operator-passphrase")];
/// `client_credentials` and nothing else.
pub const CLIENT_CREDENTIALS: &[(&str, &str)] = &[("grant_type", "client_credentials")];

/// The challenge of every 401 to a client. `charset` is that of RFC 7617 section 2.1.
pub const BASIC_CHALLENGE: &str = r#"Basic realm="countersign", charset="UTF-8""#;

/// The time at which test clocks start: in 2033, so that nothing that uses the real clock takes a
/// record or a token for expired.
pub const START_SECONDS: u64 = 2_000_000_000;

/// Prepares the process for signing, as `main` does in a function, and lets the canaries watch its
/// log. [`TestIssuer`] and [`InProcess`](in_process::InProcess) call it.
pub fn prepare_process() {
    install_crypto_provider().unwrap();
    canaries::watch();
}

/// A clock that changes only when a test changes it.
#[derive(Debug, Clone)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.millis())))
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Moves the clock back, as if the next machine's clock were behind.
    pub fn rewind(&self, duration: Duration) {
        self.0.fetch_sub(u64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    /// A clock to pass to the code under test. It follows this one.
    pub fn clock(&self) -> Clock {
        let clock = self.clone();
        Clock::new(move || clock.now())
    }
}

/// A running local issuer with the demo records, one for each test.
#[derive(Debug)]
pub struct TestIssuer {
    /// The issuer's URL.
    pub url: String,
    /// The issuer's clock.
    pub clock: TestClock,
    /// The running server.
    pub server: DevServer,
    http: reqwest::Client,
    /// Listens from the first start on, so that a restart gets the same port.
    listener: TcpListener,
    folder: TempDir,
}

impl TestIssuer {
    /// Starts an issuer on free ports.
    pub async fn start() -> Self {
        Self::start_at(Timestamp::from_seconds(START_SECONDS)).await
    }

    /// Starts an issuer whose clock shows `now`.
    pub async fn start_at(now: Timestamp) -> Self {
        let clock = TestClock::at(now);
        let folder = TempDir::new().unwrap();
        Self::start_in(folder, clock, TcpListener::bind("127.0.0.1:0").unwrap()).await
    }

    /// Stops the issuer and starts it again on the same port and the same data.
    pub async fn restart(self) -> Self {
        self.server.stop().await;
        Self::start_in(self.folder, self.clock, self.listener).await
    }

    async fn start_in(folder: TempDir, clock: TestClock, listener: TcpListener) -> Self {
        prepare_process();
        let data_dir = Some(folder.path().to_owned());
        let options = Options { data_dir, ..Options::default() };
        let surroundings = Surroundings {
            clock: clock.clock(),
            random: Random::system(),
            audit: AuditLog::tracing(),
            variable: |_| None,
        };
        let server = start_on(listener.try_clone().unwrap(), &options, surroundings);
        let server = server.await.expect("the server starts");
        Self { url: server.url.clone(), clock, server, http: reqwest::Client::new(), listener, folder }
    }

    /// Returns a variable of the `env` file.
    pub fn variable(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(&self.server.environment).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    }

    /// Returns the configuration that the functions read from the `env` file.
    pub fn config(&self) -> (Config, KeyEnvelope) {
        let lookup = |name: &str| self.variable(name);
        let (config, envelope) = Config::with_envelope_from_lookup(lookup).unwrap();
        let envelope = envelope.into_envelope(&config.store.aws);
        (config, envelope)
    }

    /// A rotator of this issuer's keys, with this issuer's clock.
    pub fn rotator(&self) -> Rotator {
        let (config, envelope) = self.config();
        let db = dynamodb(&config.store.aws);
        Rotator::new(
            &db,
            &config.store.table_prefix,
            config.store.schedule,
            envelope,
            self.clock.clock(),
            Random::system(),
            AuditLog::tracing(),
        )
    }

    /// A table of the embedded store, to change records in.
    pub fn table<R: Record>(&self) -> Table<R> {
        Table::new(self.dynamodb(), DEFAULT_TABLE_PREFIX)
    }

    /// A client of the embedded store.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let (config, _) = self.config();
        dynamodb(&config.store.aws)
    }

    /// Counts the items of a table.
    pub async fn count(&self, table: &str) -> usize {
        let name = format!("{DEFAULT_TABLE_PREFIX}{table}");
        self.dynamodb().scan().table_name(name).send().await.unwrap().items().len()
    }

    /// Changes a client's record and lets the caches expire.
    pub async fn change_client(&self, client_id: &str, change: impl FnOnce(&mut Client)) {
        let table = self.table::<Client>();
        let mut client = table.get(client_id).await.unwrap().unwrap();
        change(&mut client);
        table.save(&mut client).await.unwrap();
        self.let_caches_expire();
    }

    /// Changes a principal's record and lets the caches expire.
    pub async fn change_principal(&self, key: &PrincipalKey, change: impl FnOnce(&mut Principal)) {
        self.save_principal(key, change).await;
        self.let_caches_expire();
    }

    /// Changes a principal's record; no time passes.
    pub async fn save_principal(&self, key: &PrincipalKey, change: impl FnOnce(&mut Principal)) {
        let table = self.table::<Principal>();
        let mut principal = table.get(&key.to_string()).await.unwrap().unwrap();
        change(&mut principal);
        table.save(&mut principal).await.unwrap();
    }

    /// Moves the clock forward by the time after which every cached record is read again.
    pub fn let_caches_expire(&self) {
        self.clock.advance(Duration::from_secs(60));
    }

    /// Sends a form as a demo client, with HTTP Basic.
    pub async fn post(&self, path: &str, client_id: &str, form: &[(&str, &str)]) -> TestResponse {
        let basic = BASE64.encode(format!("{client_id}:{client_id}-secret"));
        self.send(path, &[("authorization", &format!("Basic {basic}"))], encode(form)).await
    }

    /// Sends a token request as a demo client: `form` and `more`.
    pub async fn token(&self, client_id: &str, form: &[(&str, &str)], more: &[(&str, &str)]) -> TestResponse {
        self.post("/oauth/token", client_id, &[form, more].concat()).await
    }

    /// Sends a refresh as `demo-app`.
    pub async fn refresh(&self, refresh_token: &str) -> TestResponse {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.token("demo-app", &form, &[]).await
    }

    /// Logs the demo user in and returns the refresh token.
    pub async fn log_in(&self) -> String {
        self.token("demo-app", JANE, &[]).await.ok()["refresh_token"].as_str().unwrap().to_owned()
    }

    /// Sends a POST with exactly this body, as a form unless `headers` contain another content
    /// type.
    pub async fn send(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> TestResponse {
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        if headers.iter().any(|(name, _)| *name == "content-type") {
            all.clear();
        }
        all.extend_from_slice(headers);
        self.request(Method::POST, path, &all, body.into()).await
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> TestResponse {
        self.request(Method::GET, path, headers, Vec::new()).await
    }

    /// Calls the demo API with a token.
    pub async fn call(&self, method: Method, path: &str, token: &str) -> TestResponse {
        self.request(method, path, &[(AUTHORIZATION.as_str(), &format!("Bearer {token}"))], Vec::new()).await
    }

    /// Calls the demo API with a client's id and secret.
    pub async fn call_with(&self, method: Method, path: &str, id: &str, secret: &str) -> TestResponse {
        let basic = format!("Basic {}", BASE64.encode(format!("{id}:{secret}")));
        self.request(method, path, &[(AUTHORIZATION.as_str(), &basic)], Vec::new()).await
    }

    /// Sends any request.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> TestResponse {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        TestResponse::new(response.status(), response.headers().clone(), response.text().await.unwrap())
    }

    /// Verifies an access token for [`AUDIENCE`] under the published key set and returns its
    /// claims.
    pub async fn verify_token(&self, token: &str) -> Value {
        self.verify_token_as("at+jwt", AUDIENCE, token).await
    }

    /// Verifies a token of another type or audience, and returns its claims.
    pub async fn verify_token_as(&self, typ: &str, audience: &str, token: &str) -> Value {
        let expected = Expected { typ, audience, issuer: &self.url, now: self.clock.now() };
        let jwks = self.get("/.well-known/jwks.json", &[]).await.text;
        expected.verify(&jwks, token).expect("the token is valid").into()
    }

    /// Verifies a refresh token under the published key set and returns its claims.
    pub async fn verify_refresh_token(&self, token: &str) -> Value {
        let jwks = self.get("/.well-known/jwks.json", &[]).await.text;
        token_verifier::verify_refresh_token(&jwks, token).expect("the token is valid").into()
    }
}

/// Encodes a form as a browser does.
pub fn encode(form: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in form {
        let separator = if body.is_empty() { "" } else { "&" };
        write!(body, "{separator}{name}=").unwrap();
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => body.push(char::from(byte)),
                _ => write!(body, "%{byte:02X}").unwrap(),
            }
        }
    }
    body
}

/// A response, whose assertions check what every response of the issuer must have.
#[derive(Debug)]
pub struct TestResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl TestResponse {
    /// Wraps a response. An error is searched for secrets; a success may contain a token.
    pub fn new(status: StatusCode, headers: HeaderMap, text: String) -> Self {
        if status != StatusCode::OK {
            canaries::check("a refusal", &text);
        }
        Self { status, headers, text }
    }

    /// Returns a header's value, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns all values of a repeated header.
    pub fn headers(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    /// Parses the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic_on(self))
    }

    /// Asserts a success that no cache may store, and returns the body.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.assert_uncached_json();
        self.json()
    }

    /// Asserts a success and returns the access token.
    #[track_caller]
    pub fn access_token(&self) -> String {
        self.ok()["access_token"].as_str().unwrap().to_owned()
    }

    /// Asserts a success and returns the refresh token.
    #[track_caller]
    pub fn refresh_token(&self) -> String {
        self.ok()["refresh_token"].as_str().unwrap().to_owned()
    }

    /// Asserts an error in the form of RFC 6749 section 5.2 without any other member.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.json()["error"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        self.assert_uncached_json();
        let body = self.json();
        let members: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["error", "error_description"]);
        let description = body["error_description"].as_str().unwrap();
        assert!(
            description.bytes().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
            "{description}"
        );
        let challenge = if status == 401 { BASIC_CHALLENGE } else { "" };
        assert_eq!(self.header("www-authenticate"), challenge);
    }

    #[track_caller]
    fn assert_uncached_json(&self) {
        assert_eq!(self.header("content-type"), "application/json;charset=UTF-8");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("pragma"), "no-cache");
    }
}

#[expect(clippy::panic, reason = "a test's assertion")]
fn panic_on(answer: &TestResponse) -> Value {
    panic!("not JSON: {} {:?}", answer.status, answer.text)
}

/// The demo user's record.
pub fn jane() -> PrincipalKey {
    PrincipalKey::User { brand: "acme".into(), username: "jane@example.com".into() }
}

/// The demo operator's record.
pub fn alice() -> PrincipalKey {
    PrincipalKey::Operator { username: "alice.ops".into() }
}

//! Durability: every write that was answered 200 is still there after a SIGTERM under load, and
//! after the store was killed under load.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::Config;
use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::issuer::Issuer;
use countersign_issuer::random::Random;
use countersign_issuer::store::{Table, dynamodb};
use countersign_tests::in_process::{APP_SECRET, Post};
use countersign_tests::{JANE, canaries, prepare_process};
use countersign_verify::Clock;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::time::Instant;

/// A port of 127.0.0.1 that the operating system assigns to no other socket, so that a program can
/// be restarted on it. The socket is bound and never listens: Linux then lets one that asks for
/// this very port have it as well, because both set `SO_REUSEADDR`. Other systems do not, so there
/// the port is free between two starts.
struct ReservedPort {
    port: String,
    _socket: Option<TcpSocket>,
}

impl ReservedPort {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port().to_string();
        Self { port, _socket: cfg!(target_os = "linux").then_some(socket) }
    }
}

/// A `countersign dev` in a process, over the data in a folder.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path, port: &str, dynamodb_port: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["dev", "--port", port, "--dynamodb-port", dynamodb_port, "--data-dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || log.for_each(|line| canaries::check("the program's log", &line.unwrap())));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned));
        // Keeps reading, because the program would block on a full pipe.
        std::thread::spawn(move || lines.count());
        Self { child, url: listening.unwrap() }
    }

    fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Posts a form and returns status and body; `None` without a response.
async fn post(http: &reqwest::Client, url: &str, path: &str, form: &[(&str, &str)]) -> Option<(u16, Value)> {
    let request = http.post(format!("{url}{path}")).basic_auth("demo-app", Some("demo-app-secret"));
    let response = request.form(form).send().await.ok()?;
    Some((response.status().as_u16(), response.json().await.ok()?))
}

/// The last token that a client received, and whether it was revoked.
#[derive(Clone)]
struct Acknowledged {
    token: String,
    is_revoked: bool,
}

/// Refreshes until no response comes. With `revokes`, revokes the token after three refreshes.
async fn refresh_on(http: reqwest::Client, url: String, mut token: String, revokes: bool) -> Acknowledged {
    for turn in 0.. {
        if revokes && turn == 3 {
            let answer = post(&http, &url, "/oauth/revoke", &[("token", &token)]).await;
            return Acknowledged { token, is_revoked: answer.is_some_and(|(status, _)| status == 200) };
        }
        let Some((200, answer)) = post(&http, &url, "/oauth/refresh", &[("refresh_token", &token)]).await
        else {
            break;
        };
        answer["refresh_token"].as_str().unwrap().clone_into(&mut token);
    }
    Acknowledged { token, is_revoked: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_under_load_loses_no_acknowledged_write() {
    let folder = tempfile::TempDir::new().unwrap();
    let port = ReservedPort::new();
    let mut server = Server::start(folder.path(), &port.port, "0");
    let http = reqwest::Client::new();
    let form = [
        ("grant_type", "password"),
        ("username", "jane@example.com"),
        ("password", "correct horse battery staple"),
    ];
    let mut running = Vec::new();
    for n in 0..12 {
        let (_, login) = post(&http, &server.url, "/oauth/token", &form).await.unwrap();
        let token = login["refresh_token"].as_str().unwrap().to_owned();
        running.push(tokio::spawn(refresh_on(http.clone(), server.url.clone(), token, n % 3 == 0)));
    }
    // Lets load build up in the other process, which this one cannot observe.
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.terminate();
    let mut known = Vec::new();
    for one in running {
        known.push(one.await.unwrap());
    }

    let server = Server::start(folder.path(), &port.port, "0");
    assert!(known.iter().any(|one| one.is_revoked), "some tokens were revoked");
    for Acknowledged { token, is_revoked } in known {
        let (status, _) =
            post(&http, &server.url, "/oauth/refresh", &[("refresh_token", &token)]).await.unwrap();
        assert_eq!(status, if is_revoked { 400 } else { 200 });
    }
}

/// Counts of the events.
#[derive(Default)]
struct Counts {
    /// Refreshes and revocations that were answered 200.
    acknowledged: AtomicU64,
    /// Requests that failed because the store was down.
    unavailable: AtomicU64,
    /// Guesses at a password that were refused, and guesses with an unknown outcome.
    failures: AtomicU64,
    uncertain: AtomicU64,
    /// Tokens whose refresh was not repeated within the time for retries.
    too_late: AtomicU64,
}

/// Functions that keep running while their store is down.
struct Functions {
    issuers: [Issuer; 2],
    counts: Counts,
    is_over: AtomicBool,
}

impl Functions {
    /// Sends a request to one of two functions, in turn.
    async fn post(&self, turn: usize, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let request = Post::new(path, "demo-app", APP_SECRET, form).from("203.0.113.7");
        let answer = request.to(&self.issuers[turn % 2]).await;
        match answer.status.as_u16() {
            503 => self.counts.unavailable.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        (answer.status.as_u16(), answer.json())
    }

    /// Repeats a request until the store is back.
    async fn post_until_answered(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        for turn in 0.. {
            let (status, answer) = self.post(turn, path, form).await;
            if status != 503 {
                return (status, answer);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!()
    }

    async fn log_in(&self) -> String {
        let (status, answer) = self.post_until_answered("/oauth/token", JANE).await;
        assert_eq!(status, 200, "{answer}");
        answer["refresh_token"].as_str().unwrap().to_owned()
    }

    /// Refreshes one token after another, and revokes the family at every fortieth turn. A 200
    /// means that the write is stored. No other client has the successor, so its refresh can be
    /// refused for one reason only: the client repeated its request too late. Returns the last
    /// valid token, and one that was revoked.
    async fn refresh_on(self: Arc<Self>) -> (String, Option<String>) {
        let mut revoked = None;
        let mut token = self.log_in().await;
        let mut turn = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            turn += 1;
            if turn % 40 == 0 {
                let (status, answer) = self.post_until_answered("/oauth/revoke", &[("token", &token)]).await;
                assert_eq!(status, 200, "{answer}");
                self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
                revoked = Some(std::mem::replace(&mut token, self.log_in().await));
            }
            if let Some(revoked) = revoked.as_deref().filter(|_| turn % 10 == 0) {
                let refused = self.post_until_answered("/oauth/refresh", &[("refresh_token", revoked)]).await;
                assert_eq!(refused.0, 400, "a revocation was lost");
            }
            let begun = Instant::now();
            let form = [("refresh_token", token.as_str())];
            match self.post_until_answered("/oauth/refresh", &form).await {
                (200, answer) => {
                    self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
                    answer["refresh_token"].as_str().unwrap().clone_into(&mut token);
                }
                (status, answer) => {
                    let is_late = begun.elapsed() > Duration::from_secs(10);
                    assert!(status == 400 && is_late, "a refresh was lost: {status} {answer}");
                    self.counts.too_late.fetch_add(1, Ordering::Relaxed);
                    token = self.log_in().await;
                }
            }
        }
        (token, revoked)
    }

    /// Guesses at one operator's password after the other.
    async fn guess_on(self: Arc<Self>) {
        for turn in 0.. {
            let name = format!("operator-{turn}");
            let form = [("grant_type", "operator_password"), ("username", &name), ("password", "a guess")];
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            match self.post(turn, "/oauth/token", &form).await {
                (400, _) => self.counts.failures.fetch_add(1, Ordering::Relaxed),
                (503, _) => self.counts.uncertain.fetch_add(1, Ordering::Relaxed),
                (status, answer) => panic!("{status} {answer}"),
            };
        }
    }
}

/// Waits until other processes and tasks have made `is_so` true.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_store_under_load_loses_no_acknowledged_write() {
    prepare_process();
    let folder = tempfile::TempDir::new().unwrap();
    let (port, dynamodb_port) = (ReservedPort::new(), ReservedPort::new());
    let mut store = Server::start(folder.path(), &port.port, &dynamodb_port.port);
    let env = std::fs::read_to_string(folder.path().join("env")).unwrap();
    let lookup = |name: &str| {
        let is_limit = name.starts_with("COUNTERSIGN_MAX_") && name.contains("FAILURES");
        let unlimited = is_limit.then(|| "1000000".to_owned());
        let value = || env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        unlimited.or_else(|| value().map(str::to_owned))
    };
    let (config, _) = Config::with_envelope_from_lookup(lookup).unwrap();
    let db = dynamodb(&config.store.aws);
    // A generated secret puts the load on the store and not on argon2.
    let (clock, random) = (Clock::system(), Random::system());
    let clients = Table::<countersign_issuer::records::Client>::new(db.clone(), &config.store.table_prefix);
    let mut client = clients.get("demo-app").await.unwrap().unwrap();
    let secret = Secret::from_string(APP_SECRET.into());
    client.secrets = vec![ClientSecret::new(&secret, clock.now(), None, &random).unwrap()];
    clients.save(&mut client).await.unwrap();
    let issuers = [(); 2].map(|()| {
        let (config, envelope) = Config::with_envelope_from_lookup(lookup).unwrap();
        let envelope = envelope.into_envelope(&config.store.aws);
        let db = dynamodb(&config.store.aws);
        Issuer::new(&config, &db, envelope, clock.clone(), random.clone(), AuditLog::tracing())
    });
    let is_over = AtomicBool::new(false);
    let functions = Arc::new(Functions { issuers, counts: Counts::default(), is_over });
    let counts = &functions.counts;
    let clients: Vec<_> = (0..12).map(|_| tokio::spawn(Arc::clone(&functions).refresh_on())).collect();
    let guesser = tokio::spawn(Arc::clone(&functions).guess_on());

    for _ in 0..4 {
        let acknowledged = counts.acknowledged.load(Ordering::Relaxed) + 150;
        until("the load goes on", || counts.acknowledged.load(Ordering::Relaxed) >= acknowledged).await;
        store.child.kill().unwrap();
        store.child.wait().unwrap();
        let unavailable = counts.unavailable.load(Ordering::Relaxed);
        until("the functions notice that the store is down", || {
            counts.unavailable.load(Ordering::Relaxed) > unavailable
        })
        .await;
        let (folder, port, dynamodb_port) =
            (folder.path().to_owned(), port.port.clone(), dynamodb_port.port.clone());
        let starting = tokio::task::spawn_blocking(move || Server::start(&folder, &port, &dynamodb_port));
        store = starting.await.unwrap();
    }
    functions.is_over.store(true, Ordering::Relaxed);
    guesser.await.unwrap();
    let mut revoked = 0;
    for client in clients {
        let (good, bad) = client.await.unwrap();
        assert_eq!(functions.post_until_answered("/oauth/refresh", &[("refresh_token", &good)]).await.0, 200);
        if let Some(bad) = bad {
            revoked += 1;
            let refused = functions.post_until_answered("/oauth/refresh", &[("refresh_token", &bad)]).await;
            assert_eq!(refused.0, 400, "a revocation was lost");
        }
    }
    assert!(revoked > 0, "some tokens were revoked");
    let [failures, uncertain, too_late, acknowledged] =
        [&counts.failures, &counts.uncertain, &counts.too_late, &counts.acknowledged]
            .map(|count| count.load(Ordering::Relaxed));
    assert!(too_late < acknowledged / 10, "{too_late} of {acknowledged}");
    // The counter over all names has them all.
    let attempts = db.scan().table_name("countersign-attempts").into_paginator().items().send();
    let attempts = attempts.collect::<Result<Vec<_>, _>>().await.unwrap();
    let is_over_all_names = |item: &&HashMap<String, AttributeValue>| {
        item["attempt"].as_s().unwrap().starts_with("logins by client and address")
    };
    let counted: Vec<u64> = attempts
        .iter()
        .filter(is_over_all_names)
        .map(|item| item["failures"].as_n().unwrap().parse().unwrap())
        .collect();
    let is_true = |counted: &u64| (failures..=failures + uncertain).contains(counted);
    assert!(
        counted.len() == 1 && counted.iter().all(is_true),
        "{counted:?}: {failures} + {uncertain} at most"
    );
    #[expect(clippy::print_stdout, reason = "a figure for docs/reliability.md")]
    {
        println!("{acknowledged} acknowledged, {too_late} too late, {failures} + {uncertain} guesses");
    }
    drop(store);
}

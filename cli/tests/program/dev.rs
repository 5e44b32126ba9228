//! `countersign dev` as a process: its files, its addresses, and what its options and the variables
//! of the functions change.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_verify::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pipe;

/// A running `countersign dev` on free ports, in a folder that it has to itself.
struct Dev {
    child: Child,
    ready: Value,
    folder: TempDir,
    log: Option<JoinHandle<String>>,
}

fn command(folder: &TempDir, options: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(["--json", "dev", "--port", "0", "--dynamodb-port", "0"]).args(options);
    command.env_clear().envs(variables.iter().copied());
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Dev {
    fn start(options: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut child = command(&folder, options, variables).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = std::thread::spawn(move || log.map(|line| line.unwrap() + "\n").collect::<String>());
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut documents = serde_json::Deserializer::from_reader(stdout).into_iter();
        let Some(Ok(ready)) = documents.next() else { panic!("{}", log.join().unwrap()) };
        Self { child, ready, folder, log: Some(log) }
    }

    fn url(&self) -> &str {
        self.ready["url"].as_str().unwrap()
    }

    /// Returns the file that a member of the ready line names.
    fn file(&self, member: &str) -> PathBuf {
        self.folder.path().join(self.ready[member].as_str().unwrap())
    }

    fn environment(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.file("environment")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split_once('=').unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    async fn json(&self, path: &str) -> Value {
        reqwest::get(format!("{}{path}", self.url())).await.unwrap().json().await.unwrap()
    }

    async fn request_token(&self, client: &str, secret: &str) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("{}/oauth/token", self.url()));
        let request = request.basic_auth(client, Some(secret)).form(&[("grant_type", "client_credentials")]);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn token(&self) -> String {
        let (status, answer) = self.request_token("demo-voice", "demo-voice-secret").await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn call(&self, token: &str) -> u16 {
        let request = reqwest::Client::new().get(format!("{}/api/calls", self.url())).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    }

    /// Ends the program and returns its log.
    fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `countersign dev` where it cannot start.
fn refused(folder: &TempDir, options: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command(folder, options, variables).output().unwrap();
    assert!(stdout.is_empty());
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn claims(token: &str) -> Value {
    let payload = BASE64URL.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn warnings(log: &str) -> Vec<String> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let lines = lines.filter(|line| line["level"] == "WARN");
    lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn only_this_user_can_read_the_store_in_the_data_folder() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let store = || -> Vec<PathBuf> {
        let files = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.to_str().unwrap().contains("sqlite3")).collect()
    };
    let others = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o077;
    let options = ["--data-dir", data.to_str().unwrap()];
    let mut dev = Dev::start(&options, &[]);
    assert!(store().len() > 1 && store().iter().all(|path| others(path) == 0), "{:?}", store());
    // It ends without closing the store, so that the files beside it stay, as an older program left them.
    dev.child.kill().unwrap();
    dev.child.wait().unwrap();
    for path in store() {
        std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
    let _dev = Dev::start(&options, &[]);
    assert!(store().len() > 1 && store().iter().all(|path| others(path) == 0), "{:?}", store());
}

/// Addresses of this machine that are on the loopback interface and not 127.0.0.1.
const ALSO: [&str; 2] = ["127.0.0.2", "127.11.0.3"];

#[tokio::test]
async fn the_file_for_sam_local_is_the_env_file_with_the_store_as_containers_reach_it() {
    let dev = Dev::start(&["--dynamodb-listen", ALSO[0]], &[]);
    let file = dev.file("sam_local");
    assert!(file.ends_with(".countersign/sam-local.json"));
    let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&dev.file("environment"))), (0o600, 0o600));

    let store = dev.ready["dynamodb"].as_str().unwrap();
    let port = store.strip_prefix("http://127.0.0.1:").unwrap();
    let mut expected: Value =
        dev.environment().into_iter().map(|(name, value)| (name, json!(value))).collect();
    assert_eq!(expected["AWS_ENDPOINT_URL_DYNAMODB"], store);
    expected["AWS_ENDPOINT_URL_DYNAMODB"] = format!("http://host.docker.internal:{port}").into();
    let sam: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(sam, json!({ "Parameters": expected }));
    assert_eq!(sam["Parameters"]["COUNTERSIGN_KMS_KEY_ID"], "", "the template's value is that of a stack");

    for address in ["127.0.0.1", ALSO[0]] {
        let answer = reqwest::get(format!("http://{address}:{port}/")).await.unwrap();
        assert!(answer.text().await.unwrap().starts_with("healthy"), "{address}");
    }
    assert!(warnings(&dev.stop()).is_empty(), "the loopback interface is no reason for a warning");
}

#[tokio::test]
async fn the_variables_of_the_functions_apply_and_are_passed_on_to_them() {
    let set = [
        ("COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS", "3"),
        ("COUNTERSIGN_MAX_STALE", "77"),
        ("COUNTERSIGN_TABLE_PREFIX", "mine-"),
        ("COUNTERSIGN_MAX_ACCESS_TTL", "1800"),
    ];
    let more = [("COUNTERSIGN_METRICS", "on"), ("RUST_LOG", "error")];
    let dev = Dev::start(&[], &[&set[..], &more].concat());
    assert!(claims(&dev.token().await)["exp"].is_u64());
    let mut statuses = Vec::new();
    for guess in 0..5 {
        statuses.push(dev.request_token("demo-voice", &format!("guess-{guess}")).await.0);
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);

    let environment = dev.environment();
    for (name, value) in set {
        assert!(environment.contains(&(name.to_owned(), value.to_owned())), "{name}: {environment:?}");
    }
    let variables = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let listed = pipe::run(["client", "list"], variables, "");
    assert!(String::from_utf8(listed.stdout).unwrap().contains("demo-voice"));

    let log = dev.stop();
    let issued = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let issued = issued.filter(|line| line["event"] == "issued").collect::<Vec<_>>();
    assert_eq!(issued.len(), 1, "RUST_LOG silences no audit line: {log}");
    let document = &issued[0]["_aws"]["CloudWatchMetrics"][0];
    assert_eq!((&document["Namespace"], &issued[0]["Tokens"]), (&json!("mine-issuer"), &json!(1)));
}

#[tokio::test]
async fn the_variables_of_a_deployed_issuer_do_not_apply() {
    let dev = Dev::start(
        &[],
        &[
            ("COUNTERSIGN_ISSUER", "https://auth.example.com"),
            ("COUNTERSIGN_KMS_KEY_ID", "alias/production"),
            ("COUNTERSIGN_LOCAL_KEY", "not a key"),
            ("COUNTERSIGN_DEV_ROTATION_PERIOD", "20"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1"),
            ("AWS_CA_BUNDLE", "/does/not/exist"),
            ("AWS_SESSION_TOKEN", "of another account"),
        ],
    );
    assert_eq!(claims(&dev.token().await)["iss"], dev.url());
    assert!(!std::fs::read_to_string(dev.file("environment")).unwrap().contains("of another account"));
}

#[test]
fn a_wrong_variable_is_named_and_nothing_is_written() {
    for (name, value) in [
        ("COUNTERSIGN_MAX_STALE", "soon"),
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT", "-1"),
        ("COUNTERSIGN_TABLE_PREFIX", "two words"),
        ("COUNTERSIGN_MAX_ACCESS_TTL", "0"),
    ] {
        let folder = TempDir::new().unwrap();
        let (code, error) = refused(&folder, &["--data-dir", "data"], &[(name, value)]);
        assert_eq!(code, Some(1));
        assert!(error.contains("\"the environment is not complete: ") && error.contains(name), "{error}");
        let left: Vec<_> = std::fs::read_dir(folder.path().join("data")).unwrap().collect();
        assert_eq!(left.len(), 1, "only the lock is there: {left:?}");
    }
}

#[tokio::test]
async fn the_issuer_may_have_another_url_than_the_demo_api_reaches() {
    for issuer in ["http://issuer:3000", "https://auth.example.com/tenant"] {
        let dev = Dev::start(&["--issuer", issuer], &[]);
        assert_eq!(dev.ready["issuer"], issuer);
        let token = dev.token().await;
        assert_eq!(claims(&token)["iss"], issuer);
        assert_eq!(dev.json("/.well-known/oauth-authorization-server").await["issuer"], issuer);
        assert_eq!(dev.call(&token).await, 200);
    }
    let folder = TempDir::new().unwrap();
    let (code, error) = refused(&folder, &["--issuer", "http://auth.example.com"], &[]);
    assert_eq!(code, Some(2));
    assert!(error.contains("must be an https URL"), "{error}");
}

#[tokio::test]
async fn it_listens_beyond_loopback_only_when_told_to_and_then_warns() {
    let dev = Dev::start(&["--listen", ALSO[1]], &[]);
    let port = dev.url().rsplit_once(':').unwrap().1.to_owned();
    for address in ["127.0.0.1", ALSO[1]] {
        let answer = reqwest::get(format!("http://{address}:{port}/.well-known/jwks.json")).await;
        assert_eq!(answer.unwrap().status(), 200, "{address}");
    }
    assert!(reqwest::get(format!("http://{}:{port}/", ALSO[0])).await.is_err(), "not told to listen there");
    assert_eq!(dev.call(&dev.token().await).await, 200);
    assert!(warnings(&dev.stop()).is_empty());

    let dev = Dev::start(&["--listen", "0.0.0.0", "--dynamodb-listen", "0.0.0.0"], &[]);
    assert!(dev.url().starts_with("http://127.0.0.1:"));
    assert_eq!(claims(&dev.token().await)["iss"], dev.url());
    let warnings = warnings(&dev.stop());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("endpoints also listen on 0.0.0.0") && warnings[1].contains("store"));
}

#[test]
fn an_address_of_another_machine_is_refused_with_the_remedy() {
    // RFC 5737: no machine has this address.
    for flag in ["--listen", "--dynamodb-listen"] {
        let (code, error) = refused(&TempDir::new().unwrap(), &[flag, "192.0.2.1"], &[]);
        assert_eq!(code, Some(1));
        assert!(error.contains("192.0.2.1") && error.contains(flag), "{error}");
    }
}

#[tokio::test]
async fn a_seed_makes_the_same_keys_in_every_run() {
    let mut key_sets = Vec::new();
    for seed in ["integration tests", "integration tests", "", "other tests"] {
        let dev = Dev::start(&["--key-seed", seed], &[]);
        let token = dev.token().await;
        assert_eq!(dev.call(&token).await, 200);
        let keys = dev.json("/.well-known/jwks.json").await;
        assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "the key that signs, and its successor");
        assert_ne!(keys["keys"][0], keys["keys"][1]);
        key_sets.push(keys);
    }
    assert_eq!(key_sets[0], key_sets[1]);
    assert!(key_sets[1] != key_sets[2] && key_sets[2] != key_sets[3] && key_sets[1] != key_sets[3]);

    let (code, error) = refused(&TempDir::new().unwrap(), &["--key-seed", "x", "--data-dir", "data"], &[]);
    assert_eq!(code, Some(2));
    assert!(error.contains("--data-dir"), "{error}");
}

#[tokio::test]
async fn a_moved_clock_makes_tokens_of_another_time() {
    let now = Clock::system().now().seconds();
    for (offset, seconds) in [("-2h", -7200), ("-90m", -5400), ("1d", 86400)] {
        let dev = Dev::start(&["--clock-offset", offset], &[]);
        let token = dev.token().await;
        let issued = claims(&token)["iat"].as_u64().unwrap();
        let expected = now.checked_add_signed(seconds).unwrap();
        assert!((expected..expected + Duration::from_mins(5).as_secs()).contains(&issued), "{offset}");
        assert_eq!(dev.call(&token).await, 200, "the demo API has the same clock");
    }
    let (code, error) = refused(&TempDir::new().unwrap(), &["--clock-offset", "yesterday"], &[]);
    assert_eq!(code, Some(2));
    assert!(error.contains("such as -2h"), "{error}");
}

#[tokio::test]
async fn a_token_of_a_seeded_issuer_with_an_earlier_clock_is_refused_for_its_age_alone() {
    let seed = ["--key-seed", "tests", "--issuer", "http://issuer:3000"];
    let current = Dev::start(&seed, &[]);
    let earlier = Dev::start(&[&seed[..], &["--clock-offset", "-2h"]].concat(), &[]);
    let keys = current.folder.path().join("jwks.json");
    std::fs::write(&keys, current.json("/.well-known/jwks.json").await.to_string()).unwrap();
    let verify = |token: &str| {
        let arguments =
            ["token", "verify", "--issuer", "http://issuer:3000", "--audience", "https://api.example.com"];
        pipe::run(arguments.into_iter().chain(["--jwks", keys.to_str().unwrap()]), [], token)
    };
    assert!(verify(&current.token().await).status.success());
    let refused = verify(&earlier.token().await);
    assert!(!refused.status.success());
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("expired"), "{error}");
    assert_eq!(current.call(&earlier.token().await).await, 401);
}

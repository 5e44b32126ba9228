//! Writes whose answer is lost. The SDK repeats a write; if its answers stay lost, the person
//! repeats the command.

use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_tests::{TestIssuer, TestResponse, encode};
use countersign_verify::Clock;
use serde_json::Value;

use crate::proxy::{self, Fate};
use crate::shell::Shell;

const CREATE: &str = "client create billing --grant client_credentials --audience https://api.example.com";

/// The environment of a store that loses the first `count` answers to `operation`.
async fn losing(issuer: &TestIssuer, operation: &'static str, count: usize) -> [(&'static str, String); 1] {
    let lost = AtomicUsize::new(0);
    let fate = move |asked: &str| {
        let is_lost = asked == operation && lost.fetch_add(1, Ordering::SeqCst) < count;
        if is_lost { Fate::AnswerLost } else { Fate::Answered }
    };
    [("AWS_ENDPOINT_URL_DYNAMODB", proxy::start(&issuer.server.dynamodb.endpoint(), fate).await)]
}

fn run(issuer: &TestIssuer, environment: &[(&str, String)], line: &str, stdin: &str) -> Output {
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = Shell { issuer }.run_with(&environment, line, stdin);
    issuer.let_caches_expire();
    output
}

#[track_caller]
fn succeeded(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn failed(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

async fn token(issuer: &TestIssuer, secret: &Value) -> TestResponse {
    let secret = secret["client_secret"].as_str().unwrap();
    let form = [("client_id", "billing"), ("client_secret", secret), ("grant_type", "client_credentials")];
    issuer.send("/oauth/token", &[], encode(&form)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_the_sdk_repeats_is_reported_as_done() {
    let issuer = TestIssuer::start().await;
    let put = async || losing(&issuer, "PutItem countersign-clients", 1).await;
    let first = succeeded(&run(&issuer, &put().await, &format!("--json {CREATE}"), ""));
    token(&issuer, &first).await.ok();
    let second = succeeded(&run(&issuer, &put().await, "--json client secret add billing", ""));
    token(&issuer, &second).await.ok();
    token(&issuer, &first).await.ok();
    let updated = succeeded(&run(&issuer, &put().await, "--json client update billing --role auditor", ""));
    assert_eq!(updated["roles"][0], "auditor");
    succeeded(&run(&issuer, &put().await, "--json client disable billing", ""));
    token(&issuer, &first).await.assert_error(401, "invalid_client");
    let delete = losing(&issuer, "DeleteItem countersign-clients", 1).await;
    succeeded(&run(&issuer, &delete, "--json client delete billing --yes", ""));
    assert!(
        failed(run(&issuer, &[], "client delete billing --yes", "")).contains("there is no client billing")
    );

    let put = losing(&issuer, "PutItem countersign-principals", 1).await;
    let create = "--json user create bob --brand acme --password-stdin";
    succeeded(&run(&issuer, &put, create, "correct horse battery staple"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_create_finds_the_client_whose_secret_was_never_shown_and_offers_another() {
    let issuer = TestIssuer::start().await;
    let lost = losing(&issuer, "PutItem countersign-clients", usize::MAX).await;
    let error = failed(run(&issuer, &lost, CREATE, ""));
    assert!(error.contains("may be stored all the same: repeat the command"), "{error}");
    let error = failed(run(&issuer, &[], CREATE, ""));
    assert!(error.contains("client billing: it exists already"), "{error}");
    let offer = |start: &str| error.lines().find_map(|line| line.trim().strip_prefix(start)).unwrap();
    let (add, revoke) = (offer("countersign client secret add"), offer("countersign client secret revoke"));
    let secret = succeeded(&run(&issuer, &[], &format!("--json client secret add{add}"), ""));
    succeeded(&run(&issuer, &[], &format!("--json client secret revoke{revoke} --yes"), ""));
    token(&issuer, &secret).await.ok();
    let listed = succeeded(&run(&issuer, &[], "--json client secret list billing", ""));
    assert_eq!(listed.as_array().unwrap().len(), 1);

    // Another client of that name, or the same one after a change, is no repeat.
    for line in [CREATE, &format!("{CREATE} --role auditor")] {
        let error = failed(run(&issuer, &[], line, ""));
        assert!(error.contains("it exists already") && !error.contains("secret add"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_create_with_the_same_chosen_secret_succeeds() {
    let issuer = TestIssuer::start().await;
    let line = &format!("--json {CREATE} --secret-stdin");
    let lost = losing(&issuer, "PutItem countersign-clients", usize::MAX).await;
    failed(run(&issuer, &lost, line, "chosen elsewhere"));
    let again = succeeded(&run(&issuer, &[], line, "chosen elsewhere"));
    assert_eq!((&again["client_id"], &again["version"]), (&"billing".into(), &1.into()));
    let error = failed(run(&issuer, &[], line, "another secret"));
    assert!(error.contains("it exists already"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_secret_add_names_the_secret_that_was_never_shown() {
    let issuer = TestIssuer::start().await;
    let first = succeeded(&run(&issuer, &[], &format!("--json {CREATE}"), ""));
    let lost = losing(&issuer, "PutItem countersign-clients", usize::MAX).await;
    let error = failed(run(&issuer, &lost, "client secret add billing", ""));
    assert!(error.contains("may be stored all the same") && error.contains("secret list billing"), "{error}");
    let error = failed(run(&issuer, &[], "client secret add billing", ""));
    let listed = succeeded(&run(&issuer, &[], "--json client secret list billing", ""));
    let newest = listed[1]["id"].as_str().unwrap();
    assert!(error.contains(&format!("{newest} (created ")), "{error}");
    assert!(error.contains("the newest was never shown: revoke that one"), "{error}");
    succeeded(&run(&issuer, &[], &format!("--json client secret revoke billing {newest} --yes"), ""));
    let second = succeeded(&run(&issuer, &[], "--json client secret add billing", ""));
    token(&issuer, &first).await.ok();
    token(&issuer, &second).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_succeeds_although_the_next_key_cannot_be_made_and_may_be_repeated() {
    let issuer = TestIssuer::start_at(Clock::system().now()).await;
    let endpoint = issuer.server.dynamodb.endpoint();
    let states = || {
        let listed = succeeded(&run(&issuer, &[], "--json key list", ""));
        let states = listed.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap().to_owned());
        states.collect::<Vec<_>>()
    };
    let listed = succeeded(&run(&issuer, &[], "--json key list", ""));
    let kid = listed[0]["kid"].as_str().unwrap();
    let withdraw = format!("key withdraw {kid} --force --yes");

    let lost = losing(&issuer, "UpdateItem countersign-signing-keys", usize::MAX).await;
    let error = failed(run(&issuer, &lost, &withdraw, ""));
    assert!(error.contains("the key may be withdrawn all the same: repeat the command"), "{error}");

    let no_new_key = |asked: &str| {
        if asked == "PutItem countersign-signing-keys" { Fate::Lost } else { Fate::Answered }
    };
    let proxy = [("AWS_ENDPOINT_URL_DYNAMODB", proxy::start(&endpoint, no_new_key).await)];
    let output = run(&issuer, &proxy, &withdraw, "");
    let (shown, warning) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{warning}");
    assert!(shown.contains(&format!("withdrawn  {kid}")) && shown.contains("log in again"), "{shown}");
    assert!(warning.contains("the key is withdrawn, but the next key could not be made"), "{warning}");
    assert_eq!(states(), ["withdrawn", "signing"]);

    let output = run(&issuer, &[], &withdraw, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(states(), ["withdrawn", "signing", "announced"]);
}

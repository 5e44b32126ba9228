//! When a change takes effect, which tokens live on, and changes that change nothing.

use countersign_tests::{CLIENT_CREDENTIALS, TestIssuer, encode};
use countersign_verify::Clock;
use serde_json::{Value, json};

use crate::shell::Shell;

const CREATE: &str = "client create billing --grant client_credentials --audience https://api.example.com";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Seconds since 1970 of a time in JSON.
#[track_caller]
fn seconds(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}

fn now() -> i64 {
    i64::try_from(Clock::system().now().seconds()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_says_when_it_takes_effect_and_which_tokens_live_on() {
    let issuer = TestIssuer::start_at(Clock::system().now()).await;
    let shell = Shell { issuer: &issuer };
    shell.ok(&format!("{CREATE} --access-ttl 40min"), "");
    let shown = text(shell.run("client delete billing --yes", "").stdout);
    for part in [
        "Its requests are refused by ",
        "live on until they expire, 40 min after",
        "Refresh tokens are refused.",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let shown = text(shell.run("operator delete alice.ops --yes", "").stdout);
    assert!(shown.contains("Clients can act for the operator until "), "{shown}");
    shell.ok("user create bob --brand acme --password-stdin", "a passphrase");
    let shown = text(shell.run("user delete bob --brand acme --yes", "").stdout);
    assert!(shown.contains("Logins and refreshes are refused from now on."), "{shown}");
    assert!(shown.contains("live on until they expire"), "{shown}");

    let before = now();
    let client = shell.ok("client delete demo-service --yes", "");
    let user = shell.ok("user delete jane@example.com --brand acme --yes", "");
    let after = now();
    assert!((before + 60..=after + 60).contains(&seconds(&client["effective_by"])), "{client}");
    assert_eq!(seconds(&client["access_tokens_valid_until"]) - seconds(&client["effective_by"]), 3600);
    assert!((before..=after).contains(&seconds(&user["effective_by"])), "{user}");
    assert_eq!((&client["deleted"], &user["deleted"]), (&json!(true), &json!(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_secret_is_accepted_from_the_time_that_is_shown() {
    let issuer = TestIssuer::start_at(Clock::system().now()).await;
    let shell = Shell { issuer: &issuer };
    // The issuer's copy of the client's record is a moment old.
    issuer.token("demo-service", CLIENT_CREDENTIALS, &[("brandKey", "acme")]).await.ok();
    let before = now();
    let output = shell.run("--json client secret add demo-service", "");
    let added: Value = serde_json::from_slice(&output.stdout).unwrap();
    let usable_from = seconds(&added["usable_from"]);
    assert!((before + 2..=now() + 2).contains(&usable_from), "{added}");
    let request = || {
        let secret = added["client_secret"].as_str().unwrap();
        encode(&[
            ("client_id", "demo-service"),
            ("client_secret", secret),
            ("grant_type", "client_credentials"),
            ("brandKey", "acme"),
        ])
    };
    issuer.send("/oauth/token", &[], request()).await.assert_error(401, "invalid_client");
    issuer.clock.advance(std::time::Duration::from_secs(2));
    issuer.send("/oauth/token", &[], request()).await.ok();

    let shown = text(shell.run("client secret add demo-voice", "").stdout);
    assert!(shown.contains("usable_from") && shown.contains("a function that has just read"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_says_by_when_it_is_in_effect() {
    let issuer = TestIssuer::start_at(Clock::system().now()).await;
    let shell = Shell { issuer: &issuer };
    for (line, delay) in [
        ("client update demo-app --role auditor", 60),
        ("operator update alice.ops --add-role auditor", 60),
        ("user update jane@example.com --brand acme --add-role auditor", 0),
    ] {
        let before = now();
        let updated = shell.ok(line, "");
        let by = seconds(&updated["effective_by"]);
        assert!((before + delay..=now() + delay).contains(&by), "{line}: {updated}");
        assert_eq!(shell.ok(line, "").get("effective_by"), None, "nothing changes: {line}");
    }
    let shown = text(shell.run("operator update alice.ops --remove-role auditor", "").stdout);
    assert!(shown.contains("In effect from the next login or refresh on, and by "), "{shown}");
    assert!(shown.contains("for clients that act for the operator"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabling_what_is_disabled_writes_nothing_and_says_so() {
    let issuer = TestIssuer::start_at(Clock::system().now()).await;
    let shell = Shell { issuer: &issuer };
    for name in
        ["client CHANGE demo-app", "operator CHANGE alice.ops", "user CHANGE jane@example.com --brand acme"]
    {
        let line = |change: &str| name.replace("CHANGE", change);
        for (change, enabled, already) in
            [("disable", false, "It was disabled already"), ("enable", true, "It was enabled already")]
        {
            let changed = shell.ok(&line(change), "");
            assert_eq!(changed["changed"]["enabled"], json!({ "before": !enabled, "after": enabled }));
            let again = shell.ok(&line(change), "");
            assert_eq!((&again["changed"], &again["version"]), (&json!({}), &changed["version"]), "{again}");
            if !enabled {
                assert_eq!(again["effective_by"], changed["effective_by"], "{again}");
            }
            let output = shell.run(&line(change), "");
            let shown = text(output.stdout);
            assert!(shown.ends_with(&format!("{already}, and nothing was changed.\n")), "{shown}");
            assert_eq!(text(output.stderr), "");
        }
    }
}

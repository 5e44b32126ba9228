//! Failures with `--json`: one shape for every command, on standard error.

use std::collections::BTreeSet;
use std::process::Output;

use countersign_tests::TestIssuer;
use serde_json::{Value, json};

use crate::help::leaves;
use crate::pipe;
use crate::shell::Shell;

/// The error on the last line of standard error. Every line is JSON.
#[track_caller]
fn error_of(output: &Output) -> Value {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {text}")))
        .collect();
    let error = lines.last().unwrap_or_else(|| panic!("no error"))["error"].clone();
    let members: Vec<&String> = error.as_object().unwrap_or_else(|| panic!("{text}")).keys().collect();
    assert_eq!(members, ["code", "message", "remedy"], "{text}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
    error
}

#[test]
fn a_usage_error_of_every_command_is_json() {
    for command in leaves() {
        // Twice, because a kid may begin with a hyphen, and so takes the first one.
        let line = format!("{command} --json --no-such-option --no-such-option");
        let output = pipe::run(line.split(' '), [], "");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{line}");
        let error = error_of(&output);
        assert_eq!(error["code"], "usage", "{line}");
        assert!(error["message"].as_str().unwrap().contains("'--no-such-option'"), "{line}: {error}");
    }
    for line in
        ["--json", "--json client", "client create --json", "client update x --access-ttl 1.5s --json"]
    {
        let output = pipe::run(line.split(' '), [], "");
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert_eq!(error_of(&output)["code"], "usage", "{line}");
    }
    // An argument is no option.
    let output = pipe::run(["client", "show", "--no-such", "--", "--json"], [], "");
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_of_every_command_is_json() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let password = "correct horse battery staple";
    let lines = [
        ("client create x --grant client_credentials --audience a", "failed"),
        ("client list", "failed"),
        ("client show x", "failed"),
        ("client update x --name y", "failed"),
        ("client disable x", "failed"),
        ("client enable x", "failed"),
        ("client delete x --yes", "failed"),
        ("client export", "failed"),
        ("client import missing.json", "failed"),
        ("client import spring missing.csv", "failed"),
        ("client secret add x", "failed"),
        ("client secret list x", "failed"),
        ("client secret revoke x y --yes", "failed"),
        ("key list", "failed"),
        ("key rotate", "failed"),
        ("key withdraw x --yes", "failed"),
        ("doctor", "failed"),
        ("token inspect", "invalid"),
        ("token verify --jwks missing.json", "failed"),
        ("policy check missing.toml", "failed"),
        ("policy explain missing.toml GET / --token -", "failed"),
        ("man /dev/null/man1", "failed"),
    ];
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut check = |line: &str, code: &str| {
        let output = shell.run(&format!("{line} --json --prefix other-"), password);
        assert!(matches!(output.status.code(), Some(1 | 4)), "{line}: {}", output.status);
        assert_eq!(error_of(&output)["code"], code, "{line}");
        seen.extend(leaves_of(line));
    };
    for (line, code) in lines {
        check(line, code);
    }
    for (kind, brand) in [("user", " --brand acme"), ("operator", "")] {
        for command in ["show", "disable", "enable", "logout", "update"] {
            let more = if command == "update" { " --role x" } else { "" };
            check(&format!("{kind} {command} x{brand}{more}"), "failed");
        }
        check(&format!("{kind} create x --brand acme --password-stdin"), "failed");
        check(&format!("{kind} delete x{brand} --yes"), "failed");
        check(&format!("{kind} list"), "failed");
        check(&format!("{kind} export"), "failed");
        check(&format!("{kind} import missing.csv"), "failed");
    }
    // These cannot fail: one takes a shell and nothing else, the other runs until it is stopped.
    seen.extend(["completions".to_owned(), "dev".to_owned()]);
    assert_eq!(seen, leaves());
}

/// The command of a line: the longest one that it begins with.
fn leaves_of(line: &str) -> Option<String> {
    leaves_cached()
        .iter()
        .filter(|leaf| format!("{line} ").starts_with(&format!("{leaf} ")))
        .max_by_key(|leaf| leaf.len())
        .cloned()
}

fn leaves_cached() -> &'static BTreeSet<String> {
    static LEAVES: std::sync::OnceLock<BTreeSet<String>> = std::sync::OnceLock::new();
    LEAVES.get_or_init(leaves)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_has_a_code_and_its_remedy() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let failed =
        |line: &str, more: &[(&str, &str)]| error_of(&shell.run_with(more, &format!("--json {line}"), ""));
    let error = failed("client show demo-ap", &[]);
    assert_eq!(
        error,
        json!({
            "code": "not_found", "message": "there is no client demo-ap; see `countersign client list`",
            "remedy": "Did you mean demo-app?",
        })
    );
    let create = "client create demo-app --grant client_credentials --audience https://api.example.com";
    assert_eq!(failed(create, &[])["code"], "exists");
    assert_eq!(failed("client create y --grant client_credentials", &[])["code"], "invalid");
    let folder = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (policy, no_toml) = (file("policy.toml", "[[rule]]\npath = \"x\"\n"), file("no.toml", "rule = ["));
    let (no_json, empty) = (file("b.json", "not JSON"), file("empty.json", ""));
    for line in [
        format!("policy check {policy}"),
        format!("policy check {no_toml}"),
        format!("policy explain {policy} GET / --token -"),
        format!("client import {no_json}"),
        format!("operator import {empty}"),
        "user create bob --brand acme --password-stdin".to_owned(),
        "operator update alice.ops --password-stdin".to_owned(),
        "client secret add demo-app --secret-stdin".to_owned(),
        "operator show a/\u{7}".to_owned(),
    ] {
        assert_eq!(failed(&line, &[])["code"], "invalid", "{line}");
    }
    for line in [
        "client update demo-app",
        "user show nope",
        "user delete nope --brand acme,globex --yes",
        "user show nope --brand ",
        "operator show alice.ops --brand acme",
        "operator create bob --brand acme",
    ] {
        let output = shell.run(&format!("--json {line}"), "");
        assert_eq!((output.status.code(), &error_of(&output)["code"]), (Some(2), &json!("usage")), "{line}");
    }
    let nowhere = [("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")];
    let outage = failed("client list", &nowhere);
    assert_eq!(outage["code"], "unavailable");
    assert!(outage["remedy"].as_str().unwrap().contains("countersign doctor"), "{outage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_is_json_too() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let line = "--json client create x --grant client_credentials --audience urn:a --operator nobody.ops";
    let output = shell.run(line, "");
    assert!(output.status.success());
    let warning: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(warning, json!({ "warning": { "message": "there is no operator nobody.ops." } }));
}

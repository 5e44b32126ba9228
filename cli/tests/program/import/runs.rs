//! Runs of an import: repeated, interrupted, and what they report.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_tests::TestIssuer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BY_ITSELF, SECRET, actions, ask, import};
use crate::proxy::{self, Fate};
use crate::shell::Shell;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_import_replaces_what_the_first_wrote_and_keeps_changes_by_others() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let dump = folder.path().join("dump.csv");
    let write = |scope: &str| {
        let rows = "client_id,client_secret,scope,authorized_grant_types\n".to_owned()
            + &["one", "two", "three"]
                .map(|id| format!("{id},{{noop}}{SECRET},{scope},client_credentials\n"))
                .concat();
        std::fs::write(&dump, rows).unwrap();
    };
    let line =
        format!("client import spring {} --hash-plain --audience https://api.example.com", dump.display());
    write("a");
    assert_eq!(
        actions(&import(&shell, &line, 0), "clients"),
        ["one created", "two created", "three created"]
    );
    assert_eq!(
        actions(&import(&shell, &line, 0), "clients"),
        ["one unchanged", "two unchanged", "three unchanged"]
    );
    let secret = shell.ok("client secret list one", "");

    shell.ok("client update two --role changed", "");
    write("b");
    let report = import(&shell, &line, 4);
    assert_eq!(actions(&report, "clients"), ["one updated", "two refused", "three updated"]);
    assert_eq!(report["clients"][0]["differs"], json!(["scopes"]));
    assert!(
        report["clients"][1]["reasons"][0].as_str().unwrap().contains("differs in roles, scopes"),
        "{report}"
    );
    assert_eq!(shell.ok("client show two", "")["scopes"], json!(["a"]));
    assert_eq!(shell.ok("client secret list one", "")[0]["id"], secret[0]["id"], "the same secret");
    write("c");
    assert_eq!(
        actions(&import(&shell, &line, 4), "clients"),
        ["one updated", "two refused", "three updated"]
    );
    ask(&issuer, "one", SECRET, &BY_ITSELF[..1]).await.ok();

    let demo = dump.with_file_name("demo.csv");
    let rows =
        "client_id,client_secret,scope,authorized_grant_types\ndemo-app,{noop}x,a,client_credentials\n";
    std::fs::write(&demo, rows).unwrap();
    let line = format!("client import spring {} --hash-plain --audience a", demo.display());
    assert_eq!(actions(&import(&shell, &line, 4), "clients"), ["demo-app refused"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_ends_the_run_and_the_next_run_continues() {
    const CLIENTS: usize = 200;
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let dump = folder.path().join("dump.csv");
    let mut rows = "client_id,client_secret,scope,authorized_grant_types\n".to_owned();
    for number in 0..CLIENTS {
        let hash = "$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu";
        writeln!(rows, "c{number},{hash},a,client_credentials").unwrap();
    }
    std::fs::write(&dump, rows).unwrap();
    let line = format!("--json client import spring {} --audience a", dump.display());
    let left = AtomicUsize::new(CLIENTS / 2);
    let fate = move |_: &str| {
        let is_left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if is_left.is_ok() { Fate::Answered } else { Fate::Lost }
    };
    let proxy = proxy::start(&issuer.server.dynamodb.endpoint(), fate).await;
    let output = shell.run_with(&[("AWS_ENDPOINT_URL_DYNAMODB", &proxy)], &line, "");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("DynamoDB is out of reach")
            && error.contains("repeat the command to continue from here"),
        "{error}"
    );
    assert!(error.contains("stopped after") && error.contains("dump.csv:"), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdicts = &report["summary"]["verdicts"];
    assert!(verdicts["failed"].as_u64() > Some(0) && verdicts["refused"].is_null(), "{verdicts}");
    let written = issuer.count("clients").await - 3;
    assert!((1..CLIENTS).contains(&written), "{written}");

    let report = import(&shell, line.trim_start_matches("--json "), 0);
    assert_eq!(report["summary"]["actions"], json!({ "created": CLIENTS - written, "unchanged": written }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_reports_what_it_changes_and_what_is_lost() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let (old, new) = (folder.path().join("old.csv"), folder.path().join("new.json"));
    let rows =
        "client_id,scope,authorized_grant_types,client_secret\nboth,a,client_credentials,{noop}old secret\n";
    std::fs::write(&old, rows).unwrap();
    let row = |id: &str, lifetime: Value| {
        json!({
            "client_id": id, "client_secret": "{noop}new", "scopes": "a,openid",
            "authorization_grant_types": "client_credentials",
            "token_settings": { "settings.token.access-token-time-to-live": lifetime },
        })
        .to_string()
            + "\n"
    };
    let rows =
        [row("both", json!(0.5)), row("none", json!(["java.time.Duration", -1])), row("zero", json!("PT0S"))];
    std::fs::write(&new, rows.concat()).unwrap();
    let import = |file: &Path, options: &str| {
        let line = format!("client import spring {} --hash-plain --audience a {options}", file.display());
        let output = shell.run(line.trim_end(), "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(import(&old, "").0, Some(0));
    let (code, report) = import(&new, "");
    assert_eq!(code, Some(4), "{report}");
    assert!(report.contains("updated: access_ttl, default_scopes, refresh_ttl, scopes, secrets"), "{report}");
    assert!(report.contains("    scope openid: there are no ID tokens here"), "{report}");
    assert!(report.contains("1 updated") && report.contains("2 refused"), "{report}");
    assert!(report.contains("access-token-time-to-live: not greater than zero"), "{report}");
    assert_eq!(shell.ok("client show both", "")["access_ttl"], 1);

    std::fs::write(
        &old,
        "client_id,scope,authorized_grant_types,client_secret\ncut,a,client_credentials,{noop}par",
    )
    .unwrap();
    let (code, report) = import(&old, "--dry-run");
    assert_eq!(code, Some(3), "{report}");
    assert!(report.contains("the file does not end with a line end; it may be cut off"), "{report}");
}

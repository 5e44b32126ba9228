//! Imports of Spring's tables, of users, of operators and of exports, and the errors that a file
//! can contain.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::proxy::{self, Fate};
use crate::shell::Shell;
use countersign_tests::{TestIssuer, TestResponse, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// All secrets and passwords in `tests/data`, except Carol's and Cleo's.
const SECRET: &str = "partner-secret-1";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

fn spring(files: &[&str], options: &str) -> String {
    let files: Vec<String> = files.iter().map(|file| data(file).display().to_string()).collect();
    format!("client import spring {} {options}", files.join(" "))
}

fn details() -> String {
    spring(&["oauth_client_details.csv"], &format!("--mapping {}", data("mapping.toml").display()))
}

fn registered() -> String {
    let mapping = data("mapping-registered.toml");
    spring(&["oauth2_registered_client.json"], &format!("--mapping {}", mapping.display()))
}

/// Runs an import, asserts its exit code and returns its report.
fn import(shell: &Shell<'_>, line: &str, code: i32) -> Value {
    let output = shell.run(&format!("--json {line}"), "");
    assert_eq!(output.status.code(), Some(code), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The id and the action of every row.
fn actions(report: &Value, rows: &str) -> Vec<String> {
    let rows = report[rows].as_array().unwrap().iter();
    rows.map(|row| format!("{} {}", row["id"].as_str().unwrap(), row["action"].as_str().unwrap())).collect()
}

async fn ask(issuer: &TestIssuer, client_id: &str, secret: &str, form: &[(&str, &str)]) -> TestResponse {
    let client = [("client_id", client_id), ("client_secret", secret)];
    issuer.send("/oauth/token", &[], encode(&[&client[..], form].concat())).await
}

const BY_ITSELF: &[(&str, &str)] = &[("grant_type", "client_credentials"), ("brandKey", "acme")];
const LOG_IN: &[(&str, &str)] =
    &[("grant_type", "password"), ("username", "bob@example.com"), ("password", SECRET)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_tables_of_spring_are_imported_and_old_secrets_work() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let dry = import(&shell, &format!("{} --dry-run", details()), 4);
    assert_eq!(dry["summary"]["verdicts"], json!({ "ready": 3, "ready with a loss": 1, "refused": 3 }));
    assert_eq!(issuer.count("clients").await, 3, "a dry run writes nothing");
    assert_eq!(
        import(&shell, &format!("{} --dry-run", registered()), 4)["clients"][1]["verdict"],
        "ready with a loss"
    );

    import(&shell, &format!("{} --hash-plain --allow-legacy", details()), 4);
    import(&shell, &registered(), 4);
    let users = format!("user import {} --brand acme --allow-legacy", data("users.csv").display());
    import(&shell, &users, 0);
    import(&shell, &format!("operator import {}", data("operators.json").display()), 0);

    let issuer = issuer.restart().await;
    let shell = Shell { issuer: &issuer };
    for client in ["old-crm", "test-client", "reporting-job", "billing-batch"] {
        // Once with the slow hash and once from the cache of verified secrets.
        for _ in 0..2 {
            ask(&issuer, client, SECRET, BY_ITSELF).await.ok();
            ask(&issuer, client, "partner-secret-2", BY_ITSELF).await.assert_error(401, "invalid_client");
        }
    }
    // The clock shows 2033, and this secret expired in 2030.
    ask(&issuer, "call-recorder", SECRET, BY_ITSELF).await.assert_error(401, "invalid_client");
    let form = [("grant_type", "client_credentials"), ("operator", "alice.ops"), ("brandKey", "globex")];
    let answer = ask(&issuer, "billing-batch", SECRET, &form).await;
    assert_eq!(answer.ok()["expires_in"], 600);
    assert_eq!(answer.ok()["scope"], "reports:read reports:write");
    let claims = issuer.verify_token(&answer.access_token()).await;
    assert_eq!((&claims["roles"], &claims["operator"]), (&json!(["reporting"]), &json!("alice.ops")));

    let answer = ask(&issuer, "reporting-job", SECRET, BY_ITSELF).await;
    assert_eq!(
        (&answer.ok()["expires_in"], answer.ok().get("scope")),
        (&json!(300), None),
        "as Spring gives none"
    );

    let answer = ask(&issuer, "partner-app", SECRET, LOG_IN).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", &answer.refresh_token())];
    ask(&issuer, "partner-app", SECRET, &form).await.ok();
    // Some devices type a combining diaeresis. The hash is of the composed characters.
    for typed in ["pä55wörd €", "pa\u{308}55wo\u{308}rd €"] {
        let carol = [("grant_type", "password"), ("username", "carol@example.com"), ("password", typed)];
        ask(&issuer, "partner-app", SECRET, &carol).await.ok();
    }
    for (name, status) in [("dave@example.com", 200), ("erin@example.com", 400)] {
        let form = [("grant_type", "password"), ("username", name), ("password", SECRET)];
        assert_eq!(ask(&issuer, "partner-app", SECRET, &form).await.status, status, "{name}");
    }
    let form = [("grant_type", "operator_password"), ("username", "bert.ops"), ("password", SECRET)];
    ask(&issuer, "partner-app", SECRET, &form).await.ok();
    let form = [("grant_type", "operator_password"), ("username", "cleo.ops"), ("password", "pä55wörd €")];
    ask(&issuer, "partner-app", SECRET, &form).await.ok();

    let listed = shell.ok("client secret list old-crm", "");
    assert_eq!((&listed[0]["kind"], &listed[0]["last_used"]), (&json!("MD5"), &json!("unknown")));
    assert_eq!(shell.ok("client secret list call-recorder", "")[0]["expires"], "2030-01-01T00:00:00Z");
    shell.ok("client disable old-crm", "");
    ask(&issuer, "old-crm", SECRET, BY_ITSELF).await.assert_error(401, "invalid_client");
}

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
async fn every_error_in_a_row_is_reported_with_its_line_and_stops_no_other_row() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let dump = folder.path().join("dump.csv");
    let hash = "$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu";
    let long = "x".repeat(129);
    let mut rows =
        b"CLIENT_ID,CLIENT_SECRET,SCOPE,AUTHORIZED_GRANT_TYPES,ACCESS_TOKEN_VALIDITY,TENANT\n".to_vec();
    for row in [
        format!("good,{hash},a,client_credentials,60,t"),
        format!("good,{hash},a,client_credentials,60,t"),
        format!("two words,{hash},a,client_credentials,60,t"),
        format!("usr_x,{hash},a,client_credentials,60,t"),
        format!("{long},{hash},a,client_credentials,60,t"),
        format!("soon,{hash},a,client_credentials,soon,t"),
        format!("open,\"{hash},a,client_credentials,60,t"),
        "costly,$2a$31$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu,a,client_credentials,60,t"
            .into(),
        "plain,hunter2,a,client_credentials,60,t".into(),
        format!(",{hash},a,client_credentials,60,t"),
        format!("code,{hash},a,\"authorization_code,refresh_token\",60,t"),
        format!("last,{hash},a,client_credentials,9999999,t"),
    ] {
        rows.extend_from_slice(row.as_bytes());
        rows.push(b'\n');
    }
    rows.extend_from_slice(format!("k\u{f6}ln,{hash},a,client_credentials,60,t\n").as_bytes());
    rows.extend_from_slice(b"k\xF6ln,x,a,client_credentials,60,t\ncut,off");
    std::fs::write(&dump, rows).unwrap();
    let mixed = folder.path().join("mixed.json");
    std::fs::write(&mixed, r#"{"client_id":"m","scope":"a","token_settings":"{}"}"#).unwrap();
    let missing = folder.path().join("missing.csv");
    let line = format!(
        "client import spring {} {} {} --audience https://api.example.com",
        dump.display(),
        mixed.display(),
        missing.display()
    );
    let report = import(&shell, &line, 4);
    let rows = report["clients"].as_array().unwrap();
    for (at, word) in [
        (3, "given twice; the first is at"),
        (4, "client id: 1 to 128"),
        (5, "client id: 1 to 128"),
        (6, "client id: 1 to 128"),
        (7, "access_token_validity: not a number of seconds"),
        (8, "a quotation mark in the middle of a quoted value is not doubled"),
        (9, "client_secret bcrypt: too costly"),
        (10, "client_secret is plain text"),
        (11, "client_id: missing"),
        (12, "grant: none of its grants is served here"),
        (14, "client id: 1 to 128"),
        (15, "iconv -f ISO-8859-1 -t UTF-8"),
        (16, "2 columns where the heading has 6; the file may be cut off"),
    ] {
        let row = rows.iter().find(|row| row["line"] == at).unwrap();
        assert_eq!(row["verdict"], "refused", "{row}");
        assert!(row["reasons"].to_string().replace('\\', "").contains(word), "{word} in {row}");
        assert_eq!(row["file"], dump.display().to_string());
    }
    assert!(rows[15]["reasons"][0].as_str().unwrap().contains("columns of two tables"), "{}", rows[15]);
    assert!(rows[16]["reasons"][0].as_str().unwrap().contains("No such file"), "{}", rows[16]);
    assert_eq!(report["summary"]["actions"], json!({ "created": 2, "refused": 15 }));
    assert!(!report.to_string().contains("hunter2") && !report.to_string().contains(hash), "{report}");
    assert!(report["dropped"].to_string().contains("tenant"));
    assert_eq!(shell.ok("client show last", "")["access_ttl"], 86400, "with a reported loss");
    assert_eq!(issuer.count("clients").await, 3 + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_imported_into_another_stack() {
    let (from, to) = (TestIssuer::start().await, TestIssuer::start().await);
    let (from_shell, to_shell) = (Shell { issuer: &from }, Shell { issuer: &to });
    import(&from_shell, &format!("{} --allow-legacy", details()), 4);
    import(&from_shell, &format!("user import {} --brand acme", data("users.csv").display()), 4);
    let folder = TempDir::new().unwrap();
    for what in ["client", "user", "operator"] {
        let file = folder.path().join(what).display().to_string();
        let export = from_shell.run(&format!("{what} export --output {file}"), "");
        assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        assert!(from_shell.refused(&format!("{what} export --output {file}"), "").contains("File exists"));
        let report = import(&to_shell, &format!("{what} import {file}"), 4);
        // The other stack has its own demo records, which differ.
        let reasons = report.to_string();
        assert!(reasons.contains("left alone"), "{reasons}");
    }
    ask(&to, "partner-app", SECRET, LOG_IN).await.ok();
    ask(&to, "old-crm", SECRET, BY_ITSELF).await.ok();
    let show = |shell: &Shell<'_>| shell.ok("client show partner-app", "")["created"].clone();
    assert_eq!(show(&from_shell), show(&to_shell), "refresh tokens contain it");

    let refresh_token = ask(&to, "partner-app", SECRET, LOG_IN).await.refresh_token();
    let bob = folder.path().join("bob");
    let exported = std::fs::read_to_string(folder.path().join("user")).unwrap();
    let line = exported.lines().find(|line| line.contains("bob@example.com")).unwrap().trim_end_matches(',');
    for enabled in ["\"enabled\":false", "\"enabled\":true"] {
        std::fs::write(&bob, line.replace("\"enabled\":true", enabled)).unwrap();
        let report = import(&to_shell, &format!("user import {}", bob.display()), 0);
        assert_eq!(report["principals"][0]["action"], "updated", "{report}");
    }
    let form = [("grant_type", "refresh_token"), ("refresh_token", &refresh_token)];
    ask(&to, "partner-app", SECRET, &form).await.assert_error(400, "invalid_grant");
    ask(&to, "partner-app", SECRET, LOG_IN).await.ok();

    let hostile = folder.path().join("hostile");
    let exported = std::fs::read_to_string(folder.path().join("user")).unwrap();
    std::fs::write(
        &hostile,
        exported.replace("m=19456", "m=4194304").replace("user#acme#jane", "user#acme#Jane"),
    )
    .unwrap();
    let report = import(&to_shell, &format!("user import {}", hostile.display()), 4).to_string();
    assert!(
        report.contains("password_hash: has an unknown form or is too costly to verify")
            && report.contains("principal: not a key"),
        "{report}"
    );
    let report = import(&to_shell, &format!("operator import {}", folder.path().join("user").display()), 4);
    assert!(report.to_string().contains("not a key of this kind"));

    let exported = std::fs::read_to_string(folder.path().join("client")).unwrap();
    let line = exported.lines().find(|line| line.contains("\"partner-app\"")).unwrap().trim_end_matches(',');
    let mut client: Value = serde_json::from_str(line).unwrap();
    let mut second = client["secrets"][0].clone();
    second["created"] = json!(u64::MAX);
    client["secrets"].as_array_mut().unwrap().push(second);
    client["surprise"] = json!(1);
    std::fs::write(&hostile, client.to_string()).unwrap();
    let report = import(&to_shell, &format!("client import {}", hostile.display()), 4).to_string();
    for problem in ["secrets: an id is given twice", "beyond the year 9999", "surprise"] {
        assert!(report.contains(problem), "{problem} in {report}");
    }
    std::fs::write(&hostile, "[]").unwrap();
    let output = to_shell.run(&format!("client import {}", hostile.display()), "");
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no rows"));

    to_shell.ok("operator create all.ops --brand * --password-stdin", SECRET);
    let acme = String::from_utf8(to_shell.run("operator export --brand acme", "").stdout).unwrap();
    assert!(acme.contains("all.ops"), "{acme}");
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
async fn a_short_password_and_a_costly_hash_are_imported_with_a_loss_and_still_work() {
    /// Hashes of [`SECRET`] at costs that a login feels.
    const COSTLY: [&str; 2] = [
        "$2a$13$yGghe8cqE.M9h5n97xXFweRS.xx8j7J4rZKysan3yOuvGu75tNUTa",
        "{bcrypt}$2a$14$DgGsnxfdzyggAJuQzRI1DuOBW8TN6gHNuDtoOlDPXA.6O5J.88BKi",
    ];
    let (issuer, other) = (TestIssuer::start().await, TestIssuer::start().await);
    let (shell, other_shell) = (Shell { issuer: &issuer }, Shell { issuer: &other });
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file.csv");
    let rest = "$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu";
    // 64 MiB, as Spring's scrypt has by default, once and twice.
    let scrypt =
        |p: u8| format!("{{scrypt}}$10080{p}$c2FsdHNhbHQ=$MhOTem5TYzq4nyU+8yrORb56TZ+JDk4djWIO+97UF6s=");
    let argon2 = |passes: u8| {
        format!(
            "$argon2id$v=19$m=65536,t={passes},p=1$ckRK2l4CKTjtUlNukJt7ww$xv8rYamjr+ymz1kMpktvnLucMg7qGsJ9/+UHI50/6eI"
        )
    };
    let (short, costly) = ("shorter than 8 characters", "a quarter of a second");
    let rows = [
        ("{noop}7 chars".to_owned(), "ready with a loss", short),
        ("{noop}pässwörd".to_owned(), "ready", ""),
        (format!("$2a$12{rest}"), "ready", ""),
        (COSTLY[0].to_owned(), "ready with a loss", costly),
        (COSTLY[1].to_owned(), "ready with a loss", costly),
        (format!("$2a$15{rest}"), "refused", "too costly"),
        (scrypt(1), "ready", ""),
        (scrypt(2), "ready with a loss", costly),
        (argon2(8), "ready", ""),
        (argon2(9), "ready with a loss", costly),
    ];
    let mut users = String::from("username,password\n");
    let mut clients = String::from("client_id,scope,authorized_grant_types,client_secret\n");
    for (n, (value, ..)) in rows.iter().enumerate() {
        // argon2's parameters have commas.
        writeln!(users, "u{n},\"{value}\"").unwrap();
        writeln!(clients, "c{n},a,client_credentials,\"{value}\"").unwrap();
    }
    for (list, line, text) in [
        ("principals", "user import FILE --brand acme --hash-plain", users),
        ("clients", "client import spring FILE --audience a --hash-plain", clients),
    ] {
        std::fs::write(&file, text).unwrap();
        let line = line.replace("FILE", &file.display().to_string());
        for line in [format!("{line} --dry-run"), line] {
            let report = import(&shell, &line, 4);
            for ((_, verdict, why), row) in rows.iter().zip(report[list].as_array().unwrap()) {
                let notes = format!("{}{}", row["losses"], row["reasons"]);
                assert!(row["verdict"] == *verdict && notes.contains(why), "{why} in {row}");
                assert!(row["losses"].as_array().unwrap().is_empty() || *verdict != "ready", "{row}");
            }
        }
    }
    for (name, password) in [("u0", "7 chars"), ("u3", SECRET), ("u4", SECRET)] {
        let form = [("grant_type", "password"), ("username", name), ("password", password)];
        issuer.token("demo-app", &form, &[]).await.ok();
    }
    ask(&issuer, "c4", SECRET, &BY_ITSELF[..1]).await.ok();

    for (what, list) in [("user", "principals"), ("client", "clients")] {
        let file = folder.path().join(what).display().to_string();
        assert!(shell.run(&format!("{what} export --output {file}"), "").status.success());
        let report = import(&other_shell, &format!("{what} import {file} --dry-run"), 4);
        let row = |name: &str| {
            let rows = report[list].as_array().unwrap().iter();
            rows.clone().find(|row| row["id"].as_str().unwrap().ends_with(name)).unwrap()["verdict"].clone()
        };
        let initial = &what[..1];
        assert_eq!(row(&format!("{initial}2")), "ready");
        assert_eq!(row(&format!("{initial}3")), "ready with a loss");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_password_stops_no_other_row() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("users.csv");
    let long = "x".repeat(1100);
    std::fs::write(
        &file,
        format!("username,password\na1,{{noop}}fine\na2,{{noop}}{long}\na3,{{noop}}fine\na4,s3cret\ta\na5,{{noop}}\n"),
    )
    .unwrap();
    let line = format!("user import {} --brand acme --hash-plain", file.display());
    for line in [format!("{line} --dry-run"), line] {
        let report = import(&shell, &line, 4);
        assert_eq!(report["summary"]["actions"], json!({ "created": 2, "refused": 3 }), "{line} {report}");
        for (row, why) in [(1, "at most 1024 bytes"), (3, "no control characters"), (4, "is not empty")] {
            assert!(report["principals"][row]["reasons"][0].as_str().unwrap().contains(why), "{report}");
        }
        assert!(!report.to_string().contains(&long) && !report.to_string().contains("s3cret"), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_the_wrong_column_is_not_repeated() {
    const SECRET: &str = "s3cret";
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    let hash = "$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu";
    let import = |line: &str, content: String| {
        std::fs::write(&file, content).unwrap();
        let output = shell.run(&format!("{line} --dry-run").replace("FILE", &file.display().to_string()), "");
        assert_eq!(output.status.code(), Some(4), "{line}");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!text.contains(SECRET) && !text.contains(hash), "{text}");
        text
    };

    shell.ok("client create exported --grant client_credentials --audience a", "");
    let export = String::from_utf8(shell.run("client export", "").stdout).unwrap();
    let exported = export.lines().find(|line| line.contains("\"exported\"")).unwrap().trim_end_matches(',');
    let exported: Value = serde_json::from_str(exported).unwrap();
    for (pointer, value, expected) in [
        ("/secrets", json!(SECRET), "secrets is not a sequence"),
        ("/secrets/0", json!(SECRET), "secrets[0] is not struct ClientSecret"),
        (
            "/secrets/0/created",
            json!(format!("{SECRET}, expected {SECRET}, expected")),
            "secrets[0].created is not",
        ),
        ("/secrets/0/hash", json!([SECRET]), "secrets[0].hash is not a string"),
        ("/grant_types/0", json!(SECRET), "grant_types[0] is not one of `client_credentials`"),
        ("/enabled", json!(SECRET), "enabled is not a boolean"),
        ("/secrets/0", json!({ "id": "x", "hash": SECRET }), "secrets[0] missing field `created`"),
        ("/secrets/0/hash", json!(SECRET), "a hash has an unknown form or is too costly to verify"),
    ] {
        let mut spoilt = exported.clone();
        *spoilt.pointer_mut(pointer).unwrap() = value;
        let text = import("client import FILE", spoilt.to_string());
        assert!(text.contains(expected), "{expected} in {text}");
    }

    let rows = |heading: &str| format!("{heading}\nid,{hash},600,client_credentials\n");
    for (heading, expected) in [
        (
            "client_id,scope,access_token_validity,authorized_grant_types",
            "scope: contains a hash of client_secret",
        ),
        (
            "scope,client_id,access_token_validity,authorized_grant_types",
            "client_id: contains a hash of client_secret",
        ),
        (
            "client_id,access_token_validity,client_secret,scope",
            "access_token_validity: contains a hash of client_secret",
        ),
    ] {
        let text = import("client import spring FILE --audience a", rows(heading));
        assert!(text.contains(expected) && text.contains("file:2"), "{expected} in {text}");
    }
    let text =
        import("user import FILE --brand acme", format!("username,roles,old\nu,{{bcrypt}}{hash},{hash}\n"));
    assert!(text.contains("roles: contains a hash of password; are the columns mixed up?"), "{text}");
    for (row, expected) in [
        ("{MD4}s3cret,x,a,client_credentials", "client_id: contains a hash of client_secret"),
        ("{noop}s3cret,x,a,client_credentials", "client_id: contains a hash of client_secret"),
        ("{bcrypt}$2a$31$s3cret,x,a,client_credentials", "client_id: contains a hash of client_secret"),
        ("c,x,\"a,{bcrypt}$2a$31$s3cret\",client_credentials", "scope: contains a hash of client_secret"),
        ("c,x,a,{noop}s3cret", "authorized_grant_types: contains a hash of client_secret"),
        ("c,{s3cret}x,a,client_credentials", "client_secret an unknown {id}: hashes of this kind"),
        ("c,{ldap}x,a,client_credentials", "client_secret {ldap}: hashes of this kind"),
    ] {
        let rows = format!("client_id,client_secret,scope,authorized_grant_types\n{row}\n");
        let text = import("client import spring FILE --audience a", rows);
        assert!(text.contains(expected), "{expected} in {text}");
    }
    for (row, expected) in [
        ("{noop}s3cret,x,r", "username: contains a hash of password"),
        ("u,x,{MD5}s3cret", "roles: contains a hash of password"),
    ] {
        let text = import("user import FILE --brand acme", format!("username,password,roles\n{row}\n"));
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let text = import("user import FILE --brand acme", format!("bob,{SECRET},{SECRET}\n"));
    assert!(text.contains("the heading has the same name in columns 2 and 3"), "{text}");
    let headless = format!("one,{hash},{SECRET}\ntwo,{hash},{SECRET}\n");
    let text = import("client import spring FILE --audience a", headless);
    assert!(text.contains("client_id: missing") && text.contains("a CSV needs its heading"), "{text}");
    let row =
        format!("client_id,client_secret,access_token_validity,scope,old\nc,{hash},{SECRET},a,{hash}\n");
    assert!(import("client import spring FILE --audience a", row).contains("not a number of seconds"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_applies_only_where_the_dump_has_no_value() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let (dump, mapping) = (folder.path().join("dump.json"), folder.path().join("mapping.toml"));
    std::fs::write(
        &mapping,
        r#"
        [from]
        brands = "/ADDITIONAL_INFORMATION/brands"
        operators = "/additional_information/nowhere"
        name = "/additional_information/name"
        [roles]
        ROLE_ADMIN = ""
        ROLE_GONE = "gone"
        [default]
        brands = ["*"]
        roles = ["superuser"]
        audiences = ["https://api.example.com"]
        [client.typo]
        roles = []
        [client.silent]
        audiences = ["https://other.example.com"]
        "#,
    )
    .unwrap();
    let row = |id: &str, authorities: Value, additional: Value| {
        json!({
            "client_id": id, "client_secret": "{noop}x", "scope": "a", "authorized_grant_types": "client_credentials",
            "authorities": authorities, "additional_information": additional,
        })
        .to_string()
            + "\n"
    };
    let rows = [
        row("explicit", "ROLE_ADMIN".into(), json!({ "brands": [] })),
        row("silent", "".into(), json!("{}")),
        row("object", Value::Null, json!({ "brands": { "acme": true } })),
        row("number", Value::Null, json!("{\"brands\": 5}")),
        row("mixed", Value::Null, json!({ "brands": ["acme", 5] })),
        row("broken", Value::Null, json!("{\"brands\": [")),
        row("nameless", Value::Null, json!({ "name": ["n"] })),
    ];
    std::fs::write(&dump, rows.concat()).unwrap();
    let line =
        format!("client import spring {} --hash-plain --mapping {}", dump.display(), mapping.display());
    let report = import(&shell, &line, 4);
    let actions = actions(&report, "clients");
    assert_eq!(actions[..2], ["explicit created", "silent created"], "{report}");
    assert!(actions[2..].iter().all(|action| action.ends_with("refused")), "{report}");
    for (row, why) in [
        (2, "brands: neither text nor a list of texts"),
        (5, "additional_information: not JSON, but [from] name reads from it"),
        (6, "name: not text"),
    ] {
        assert_eq!(report["clients"][row]["reasons"][0], why);
    }
    let show = |id: &str| {
        let client = shell.ok(&format!("client show {id}"), "");
        (client["brands"].clone(), client["roles"].clone())
    };
    assert_eq!(show("explicit"), (json!([]), json!([])));
    assert_eq!(show("silent"), (json!(["*"]), json!(["superuser"])));
    assert_eq!(report["unmatched"], json!(["[client.typo]", "[from] operators", "[roles] ROLE_GONE"]));
    let text = String::from_utf8(shell.run(&line, "").stdout).unwrap();
    assert!(text.contains("    [client.typo]"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_split_as_spring_splits_them() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let (dump, mapping) = (folder.path().join("dump.json"), folder.path().join("mapping.toml"));
    let row = |id: &str, scopes: Value, authorities: &str| {
        json!({
            "client_id": id, "client_secret": "{noop}x", "scope": scopes, "authorities": authorities,
            "authorized_grant_types": "client_credentials",
        })
        .to_string()
            + "\n"
    };
    let rows = [
        row("spaced", json!("a, b"), "Not Admin,ROLE_X"),
        row("read-write", json!("read write"), ""),
        row("listed", json!(["org.read", "org.write"]), "ROLE_X , ROLE_Y"),
        row("typed", json!(["java.util.Collections$UnmodifiableSet", ["a", "b"]]), ""),
    ];
    std::fs::write(&dump, rows.concat()).unwrap();
    std::fs::write(&mapping, "[roles]\n\"Not Admin\" = \"not-admin\"\n").unwrap();
    let line = format!("client import spring {} --hash-plain --audience a", dump.display());
    let report = import(&shell, &line, 4);
    assert_eq!(
        actions(&report, "clients"),
        ["spaced refused", "read-write refused", "listed created", "typed created"]
    );
    let why = report["clients"][0]["reasons"][0].as_str().unwrap();
    assert!(
        why.contains("role \"Not Admin\"") && why.contains("a mapping file can rename it in [roles]"),
        "{why}"
    );
    import(&shell, &format!("{line} --mapping {}", mapping.display()), 4);
    let show = |id: &str| {
        let client = shell.ok(&format!("client show {id}"), "");
        (client["scopes"].clone(), client["roles"].clone())
    };
    assert_eq!(show("spaced"), (json!(["a", "b"]), json!(["not-admin", "ROLE_X"])));
    assert_eq!(show("listed"), (json!(["org.read", "org.write"]), json!(["ROLE_X", "ROLE_Y"])));
    assert_eq!(show("typed").0, json!(["a", "b"]));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_id_is_a_generated_one_that_no_other_record_has() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    let export = |what: &str| -> Vec<Value> {
        serde_json::from_slice(&shell.run(&format!("{what} export"), "").stdout).unwrap()
    };
    let (jane, alice) = (export("user")[0].clone(), export("operator")[0].clone());
    let row = |model: &Value, key: &str, id: &str| {
        let mut row = model.clone();
        row["principal"] = key.into();
        row["id"] = id.into();
        row
    };
    let fresh = "usr_AAAAAAAAAAAAAAAAAAAAAA";
    let long = format!("usr_{}", "x".repeat(5000));
    let try_import = |what: &str, rows: &[Value]| {
        std::fs::write(&file, json!(rows).to_string()).unwrap();
        let run = |more: &str| {
            let output = shell.run(&format!("--json {what} import {}{more}", file.display()), "");
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let (dry, real) = (run(" --dry-run"), run(""));
        assert_eq!(dry["principals"], real["principals"], "a dry run says what a run does");
        real["principals"].clone()
    };
    let (janes_id, alices_id) = (jane["id"].as_str().unwrap(), alice["id"].as_str().unwrap());
    for (id, why) in [
        ("demo-service", "id: not a generated one"),
        ("", "id: not a generated one"),
        (&long, "id: not a generated one"),
        ("usr_AAAAAAAAAAAAAAAAAAAAAB", "id: not a generated one"),
        ("usr_AAAAAAAAAAAAAAAAAAAAA=", "id: not a generated one"),
        (alices_id, "id: not a generated one"),
        (janes_id, "id: user#acme#jane@example.com has it"),
    ] {
        let report = try_import("user", &[row(&jane, "user#acme#mallory", id)]);
        assert_eq!(report[0]["action"], "refused", "{id}");
        assert!(report[0]["reasons"][0].as_str().unwrap().starts_with(why), "{report}");
    }
    let report = try_import("operator", &[row(&alice, "operator#mallory", janes_id)]);
    assert!(report[0]["reasons"][0].as_str().unwrap().starts_with("id: not a generated one"), "{report}");
    assert_eq!(issuer.count("principals").await, 2);

    let twice = [row(&jane, "user#acme#one", fresh), row(&jane, "user#acme#two", fresh)];
    let report = try_import("user", &twice);
    assert_eq!(report[0]["verdict"], "ready");
    let why = report[1]["reasons"][0].as_str().unwrap();
    assert!(why.starts_with("id: given twice; the first is at") && report[1]["action"] == "refused", "{why}");

    // A person who was deleted comes back as the same person.
    shell.ok("user delete jane@example.com --brand acme --yes", "");
    assert_eq!(try_import("user", std::slice::from_ref(&jane))[0]["verdict"], "ready");
    assert_eq!(shell.ok("user show jane@example.com --brand acme", "")["id"], jane["id"]);
}

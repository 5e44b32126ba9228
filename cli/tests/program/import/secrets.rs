//! Secrets and passwords: costly, short, unusable, or in the wrong column.

use std::fmt::Write;

use countersign_tests::TestIssuer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BY_ITSELF, SECRET, ask, import};
use crate::shell::Shell;

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
        ("principals", "user import FILE --brand acme --role r --hash-plain", users),
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
    let line = format!("user import {} --brand acme --role r --hash-plain", file.display());
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
    assert!(text.contains("the first line is no heading"), "{text}");
    let row =
        format!("client_id,client_secret,access_token_validity,scope,old\nc,{hash},{SECRET},a,{hash}\n");
    assert!(import("client import spring FILE --audience a", row).contains("not a number of seconds"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_in_disguise_and_a_mask_are_no_plain_text() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("client.json");
    let hash = "{bcrypt}$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu";
    let hex: String = hash.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash);
    let import_secret = |secret: &str, options: &str, code: i32| {
        let row = json!({
            "client_id": "c", "client_secret": secret, "scope": "a", "authorized_grant_types": "client_credentials",
        });
        std::fs::write(&file, row.to_string()).unwrap();
        let line = format!("client import spring {} --audience a {options}", file.display());
        import(&shell, &line, code)["clients"][0].clone()
    };
    for (secret, why) in [
        (format!("\"{hash}\""), "a hash in quotation marks"),
        (format!("b'{hash}'"), "a hash in quotation marks"),
        (hash.replace('{', "\\{").replace('}', "\\}"), "a hash in quotation marks"),
        (format!("bcrypt:{}", &hash[8..]), "a hash in quotation marks"),
        (format!("\\x{hex}"), "hexadecimal"),
        (format!("0x{}", hex.to_uppercase()), "hexadecimal"),
        (hex.clone(), "hexadecimal"),
        (base64.clone(), "base64"),
        (format!("base64:type15:{base64}"), "base64"),
        ("********".into(), "a mask"),
        ("<hidden>".into(), "a mask"),
        ("oracle.sql.CLOB@1".into(), "a mask"),
        (" s3cret-text".into(), "white space"),
    ] {
        for options in ["--dry-run", "--hash-plain --dry-run"] {
            let report = import_secret(&secret, options, 4);
            let reason = report["reasons"][0].as_str().unwrap();
            assert!(reason.contains(why) && !reason.contains("--hash-plain"), "{secret}: {reason}");
            assert!(!reason.contains("$2a$") && !reason.contains("s3cret"), "{reason}");
        }
    }
    for secret in [format!(" {hash}"), format!("\t{hash} \n"), hash.to_owned()] {
        let report = import_secret(&secret, "--hash-plain", 0);
        assert_eq!(report["verdict"], "ready", "{report}");
    }
    // All three were the same hash.
    assert_eq!(shell.ok("client show c", "")["version"], 1);
    let report = import_secret("{noop}********", "--hash-plain --dry-run", 0);
    assert_eq!(report["verdict"], "ready", "{report}");
}

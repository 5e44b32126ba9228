//! Errors in single rows.

use countersign_tests::TestIssuer;
use serde_json::json;
use tempfile::TempDir;

use super::import;
use crate::shell::Shell;

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
        format!("wide,{hash},a,client_credentials,60,t,more"),
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
    rows.extend_from_slice(b"cut,off");
    std::fs::write(&dump, rows).unwrap();
    let mixed = folder.path().join("mixed.json");
    std::fs::write(&mixed, r#"{"client_id":"m","scope":"a","token_settings":"{\"x\":1}"}"#).unwrap();
    let line = format!(
        "client import spring {} {} --audience https://api.example.com",
        dump.display(),
        mixed.display(),
    );
    let report = import(&shell, &line, 4);
    let rows = report["clients"].as_array().unwrap();
    for (at, word) in [
        (3, "given twice; the first is at"),
        (4, "client id: 1 to 128"),
        (5, "client id: 1 to 128"),
        (6, "client id: 1 to 128"),
        (7, "access_token_validity: not a number of seconds"),
        (8, "7 columns where the heading has 6"),
        (9, "client_secret bcrypt: too costly"),
        (10, "client_secret is plain text"),
        (11, "client_id: missing"),
        (12, "grant: none of its grants is served here"),
        (14, "client id: 1 to 128"),
        (15, "2 columns where the heading has 6; the file may be cut off"),
    ] {
        let row = rows.iter().find(|row| row["line"] == at).unwrap();
        assert_eq!(row["verdict"], "refused", "{row}");
        assert!(row["reasons"].to_string().replace('\\', "").contains(word), "{word} in {row}");
        assert_eq!(row["file"], dump.display().to_string());
    }
    assert!(rows[14]["reasons"][0].as_str().unwrap().contains("columns of two tables"), "{}", rows[14]);
    assert_eq!(report["summary"]["actions"], json!({ "created": 2, "refused": 13 }));
    assert!(!report.to_string().contains("hunter2") && !report.to_string().contains(hash), "{report}");
    assert!(report["dropped"].to_string().contains("tenant"));
    assert_eq!(shell.ok("client show last", "")["access_ttl"], 86400, "with a reported loss");
    assert_eq!(issuer.count("clients").await, 3 + 2);
}

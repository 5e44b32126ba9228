//! Errors in single rows.

use countersign_tests::TestIssuer;
use serde_json::json;
use tempfile::TempDir;

use super::import;
use super::values::{Fixture, HASH};
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

/// A table of one client, with the values separated by this character and a name.
fn table(separator: &str, name: &str, footer: &str) -> String {
    let rows = format!(
        "client_id,client_secret,scopes,authorization_grant_types,client_name\nc,{HASH},a,client_credentials,{name}\n{footer}"
    );
    rows.replace(',', separator)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backslashes_are_read_as_copy_means_them_or_refused() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for (content, name) in [
        (table("\t", "Köln\\\\Bonn\\nX", "\\.\n"), "Köln\\Bonn X"),
        (table("|", "Köln\\\\Bonn", "\\.\n"), "Köln\\Bonn"),
        (table("\t", "O\\'Neil \\\\ Co", ""), "O'Neil \\ Co"),
        (table("|", "Köln\\\\Bonn", "(1 row)\n"), "Köln\\\\Bonn"),
        (table("|", "Köln\\Bonn", ""), "Köln\\Bonn"),
    ] {
        let report = fixture.run(&fixture.write("table.txt", &content), "--audience a");
        assert_eq!(report["summary"]["rows"], 1, "{content}: {report}");
        assert_eq!(fixture.show("name"), name, "{content}: {report}");
    }
    for content in [table("|", "Köln\\\\Bonn", ""), table(";", "two\\nlines", "")] {
        let file = fixture.write("table.txt", &content);
        let error = fixture.error(&file);
        assert!(
            error.contains("cannot be told apart") && error.contains("Export the table as a CSV"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_below_a_table_and_other_line_ends_are_no_rows() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for footer in [
        "(1 row)\n\nTime: 0.512 ms\n",
        "Time: 1234.500 ms (00:01.235)\n",
        "\nElapsed: 00:00:00.01\n",
        "(1 Zeile)\n",
        "(1 ligne)\n",
        "SQL> spool off\n",
        "COPY 1\n",
        "\u{1a}",
        "1 row selected.\n\nElapsed: 00:00:00.02\n\nSQL> quit\n",
    ] {
        let report =
            fixture.run(&fixture.write("table.txt", table("|", "x", footer)), "--audience a --dry-run");
        assert_eq!(report["summary"]["rows"], 1, "{footer}: {report}");
        assert_ne!(report["clients"][0]["verdict"], "refused", "{footer}: {report}");
    }
    let report =
        fixture.run(&fixture.write("table.txt", table(",", "x", "").replace('\n', "\r")), "--audience a");
    assert_eq!(report["clients"][0]["line"], 2, "{report}");
    let heading =
        table(",", "x", "").replacen("client_id,client_secret", "app.client_id,app.client_secret", 1);
    let report = fixture.run(&fixture.write("table.txt", heading), "--audience a");
    assert_ne!(report["clients"][0]["verdict"], "refused", "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_no_text_for_people() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    let row = |id: &str, name: &str| {
        json!({
            "client_id": id, "client_secret": HASH, "scopes": "a", "authorization_grant_types": "client_credentials", "client_name": name,
            "client_settings": " ",
        })
        .to_string()
            .replace(',', ", ").replace(':', ": ").replace("{bcrypt}: ", "{bcrypt}:")
    };
    let names = ["Acme | Web", "Acme | App", "\" \""];
    let rows: Vec<String> =
        ["app-1", "app-2", "app-3"].into_iter().zip(names).map(|(id, name)| row(id, name)).collect();
    let report = fixture.run(&fixture.write("rows.json", rows.join("\n")), "--audience a");
    assert_eq!(report["summary"]["actions"], json!({ "created": 3 }), "{report}");
    assert_eq!(fixture.shell.ok("client show app-2", "")["name"], "Acme | App");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_nearly_a_table_is_refused_with_the_way_to_one() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    let wrapped = json!({ "count": 1, "rows": [{ "client_id": "c" }] }).to_string();
    for (content, why) in [
        (wrapped.as_bytes().to_vec(), "jq '.[\"rows\"]' FILE"),
        (
            b"{\"username\":\"kim\",\"enabled\":\"\x01\"}\n{\"username\":\"lee\",\"enabled\":\"\0\"}\n"
                .to_vec(),
            "enabled + 0",
        ),
        (b"[{\"username\":\"kim\",\"enabled\":\"\x01\"}]".to_vec(), "enabled + 0"),
        (format!("Timing is on.\n{}", table(",", "x", "")).into_bytes(), "sed -i 1,1d FILE"),
        (format!("SET\n\nClients\n{}", table("\t", "x", "")).into_bytes(), "sed -i 1,3d FILE"),
        (b"\x04\x22\x4D\x18\x80\xFF".to_vec(), "compressed with lz4"),
        (b"\x80\x03X\xFF".to_vec(), "a pickle"),
        (b"Obj\x01\xFF".to_vec(), "an Avro file"),
        (b"Rar!\x1A\x07\xFF".to_vec(), "a RAR archive"),
        (b"\x1F\x9D\x90\xFF".to_vec(), "compressed with compress"),
        (b"\x89PNG\r\n\x1A\n\xFF".to_vec(), "a picture"),
        (b"\0\x01\0\0Standard Jet DB\0".to_vec(), "an Access database"),
        (b"\xAC\xED\0\x05sr".to_vec(), "a serialized Java object"),
    ] {
        let file = fixture.write("file", &content);
        let error = fixture.error(&file);
        assert!(
            error.contains(why) && !error.contains("Latin-1") && !error.contains("UTF-16"),
            "{why}: {error}"
        );
    }
    for (near, column) in [("grant_types", "authorized_grant_types"), ("scopes", "scope")] {
        let mut row = super::values::details(&json!({ near: "client_credentials" }));
        row.as_object_mut().unwrap().remove(column);
        let report = fixture.convert(&row, "--audience a --dry-run");
        assert!(report["reasons"].to_string().contains(&format!("{near} AS {column}")), "{report}");
    }
}

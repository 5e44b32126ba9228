//! Files of databases and their tools, as they wrote them: `files/README.md` has the commands.

use std::collections::BTreeSet;
use std::path::PathBuf;

use countersign_tests::TestIssuer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{actions, import};
use crate::shell::Shell;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/program/import/files").join(folder);
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_dialect_gives_the_same_clients() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    for (number, file) in files("tables").iter().enumerate() {
        let line =
            format!("client import spring {} --audience a --time-zone America/New_York", file.display());
        let report = import(&shell, &line, 0);
        let action = if number == 0 { "created" } else { "unchanged" };
        let expected = ["reg", "multi", "nameless"].map(|id| format!("{id} {action}"));
        assert_eq!(actions(&report, "clients"), expected, "{}: {report}", file.display());
    }
    for (id, name) in
        [("reg", "São Paulo\\Zürich"), ("multi", "two lines and a tab \"q\""), ("nameless", "nameless")]
    {
        assert_eq!(shell.ok(&format!("client show {id}"), "")["name"], name);
    }
    // The table has 2029-12-31 19:00:00, in New York.
    assert_eq!(shell.ok("client secret list reg", "")[0]["expires"], "2030-01-01T00:00:00Z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_dialect_gives_the_same_json_in_a_value() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let mapping = folder.path().join("mapping.toml");
    let places =
        "[from]\nname = \"/additional_information/name\"\nbrands = \"/additional_information/brands\"\n";
    std::fs::write(&mapping, places).unwrap();
    // With `mysql --raw`, SQLite's tabs and psql -A, a backslash is one; elsewhere two are.
    for (number, file) in files("older-table").iter().enumerate() {
        let line =
            format!("client import spring {} --audience a --mapping {}", file.display(), mapping.display());
        let report = import(&shell, &line, 0);
        let action = if number == 0 { "created" } else { "unchanged" };
        let mut actions = actions(&report, "clients");
        actions.sort();
        let expected = ["empty", "plain", "tricky"].map(|id| format!("{id} {action}"));
        assert_eq!(actions, expected, "{}: {report}", file.display());
    }
    let tricky = shell.ok("client show tricky", "");
    assert_eq!((&tricky["name"], &tricky["brands"]), (&json!("São \"Paulo\" \\ Zürich"), &json!(["acme"])));
}

/// Imports files that are no tables, and returns the error.
fn refused(shell: &Shell<'_>, files: &[&PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let output = shell.run(&format!("--json client import spring {} --audience a", files.join(" ")), "");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    let error = error["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(output.status.code(), Some(4), "{files:?} {error}");
    assert!(output.stdout.is_empty(), "{files:?}");
    assert!(error.len() < 1000 && error.matches("Nothing was imported.").count() == 1, "{error}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_no_table_is_refused_once_with_the_command_for_a_table() {
    const COPY: &str = "\\copy oauth2_registered_client TO oauth2_registered_client.csv CSV HEADER";
    const BATCH: &str = "mysql -B -e \"SELECT * FROM oauth2_registered_client\" DATABASE";
    const SQLITE: &str = "sqlite3 -header -csv DATABASE \"SELECT * FROM ";
    const H2: &str = "CALL CSVWRITE('oauth2_registered_client.csv'";
    const RAW: &str = "mysql --raw -N -B -e";
    const ANY: &str = "PostgreSQL: psql -c";
    let known = [
        ("h2-script.sql", "H2's SCRIPT", H2),
        ("h2-shell.txt", "drawn for people", ANY),
        ("my-E.txt", "vertical output of mysql", "mysql -B -e"),
        ("my-H.html", "HTML output of mysql", "mysql -B -e"),
        ("my-X.xml", "XML output of mysql", BATCH),
        ("my-json-Braw.json", "JSON below a heading", RAW),
        ("my-json-NB.json", "escaped once more", RAW),
        ("my-jsonagg.json", "escaped once more", RAW),
        (
            "my-outfile-noesc.csv",
            "line 2: a quotation mark is not closed, or one inside a value is not doubled",
            "RFC 4180",
        ),
        ("my-outfile.txt", "the first line is no heading", ANY),
        ("my-t.txt", "drawn for people", ANY),
        ("mysqldump-compact.sql", "SQL for MySQL", BATCH),
        ("mysqldump.sql", "SQL by mysqldump", BATCH),
        ("mysqldump.xml", "XML by mysqldump", BATCH),
        ("pd-pg-default.json", "JSON by pandas", "orient=\"records\""),
        ("pd-pg-index.json", "JSON by pandas", "orient=\"records\""),
        ("pd-pg-split.json", "JSON by pandas", "orient=\"records\""),
        ("pd-pg-table.json", "JSON by pandas", "orient=\"records\""),
        ("pd-pg.xlsx", "Excel workbook (xlsx)", "CSV UTF-8"),
        ("pd-string.txt", "drawn for people", ANY),
        ("pd.html", "HTML by pandas", "to_csv"),
        ("pg-H.html", "HTML output of psql", "CSV HEADER"),
        ("pg-aligned-json.json", "psql's aligned output", "psql -At -c"),
        ("pg-box-unicode.txt", "drawn for people", ANY),
        ("pg-box.txt", "drawn for people", "psql -c"),
        ("pg-box2.txt", "drawn for people", ANY),
        ("pg-copy.bin", "COPY's binary format", "CSV HEADER"),
        ("pg-copy.txt", "the first line is no heading", ANY),
        ("pg-copyjson.csv", "JSON inside a CSV", "psql -At -c"),
        ("pg-copyjson.json", "escaped once more", "psql -At -c"),
        ("pg-csv.csv.gz", "compressed with gzip", "gunzip"),
        ("pg-rowtojson-box.txt", "drawn for people", "psql -c"),
        ("pg-x.txt", "psql's expanded output", "CSV HEADER"),
        ("pg-xA.txt", "one value a line", ANY),
        ("pg.xml", "XML", ANY),
        ("pg_dump-inserts.sql", "SQL by pg_dump", COPY),
        ("pg_dump.fc", "archive by pg_dump", "CSV HEADER"),
        ("pg_dump.sql", "SQL by pg_dump", COPY),
        ("pg_dump.tar", "archive by pg_dump", "CSV HEADER"),
        ("sqlite-ascii.txt", "mode of sqlite3", SQLITE),
        ("sqlite-box.txt", "drawn for people", ANY),
        ("sqlite-column.txt", "drawn for people", ANY),
        ("sqlite-dump.sql", "sqlite3's .dump", SQLITE),
        ("sqlite-html.txt", "HTML output of sqlite3", SQLITE),
        ("sqlite-insert.txt", "sqlite3's .mode insert", SQLITE),
        ("sqlite-line.txt", "one value a line", ANY),
        ("sqlite-markdown.txt", "drawn for people", ANY),
        ("sqlite-quote.txt", "mode of sqlite3", SQLITE),
        ("sqlite-tcl.txt", "mode of sqlite3", SQLITE),
        ("sqlite.db", "an SQLite database", SQLITE),
    ];
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let table = files("tables").swap_remove(0);
    let mut seen = BTreeSet::new();
    for file in files("no-tables") {
        let name = file.file_name().unwrap().to_str().unwrap();
        let (_, what, remedy) = known.iter().find(|(known, ..)| *known == name).expect(name);
        // A table before it is not imported either.
        let error = refused(&shell, &[&table, &file]);
        assert!(error.contains(what) && error.contains(remedy), "{name}: {error}");
        assert!(!error.contains("$2a$") && !error.contains("Latin-1"), "{name}: {error}");
        seen.insert(name.to_owned());
    }
    assert_eq!(seen.len(), known.len());
    assert_eq!(issuer.count("clients").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_of_other_tools_are_refused_once() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("export");
    let row =
        json!({ "client_id": "c", "client_secret": "{noop}s3cret", "authorized_grant_types": "password" });
    let upper = json!([{ "name": "CLIENT_ID", "type": "VARCHAR2" }]);
    for (content, what, remedy) in [
        ("sep=;\nclient_id;scope\nc;a\n".to_owned(), "a CSV for Excel", "sed -i 1d"),
        ("\u{feff}sep=,\r\nclient_id,scope\r\nc,a\r\n".to_owned(), "a CSV for Excel", "sed -i 1d"),
        ("#TYPE System.Data.DataRow\n\"client_id\"\n\"c\"\n".to_owned(), "PowerShell", "-NoTypeInformation"),
        (
            json!([
                { "type": "header", "version": "5.2.1", "comment": "Export to JSON plugin for PHPMyAdmin" },
                { "type": "database", "name": "spring" },
                { "type": "table", "name": "oauth_client_details", "database": "spring", "data": [row] },
            ])
            .to_string(),
            "JSON by phpMyAdmin",
            "as CSV",
        ),
        (
            json!({ "results": [{ "columns": upper, "items": [row] }] }).to_string(),
            "JSON by SQLcl",
            "set sqlformat csv",
        ),
        (json!([["c", "{noop}s3cret", "a"]]).to_string(), "a list of lists", "CSV HEADER"),
        ("client_id scope\n--------- -----\nc         a\n".to_owned(), "drawn for people", "CSV HEADER"),
        ("client_id,scope\n---------,-----\nc,a\n".to_owned(), "drawn for people", "CSV HEADER"),
        ("REM INSERTING into OAUTH_CLIENT_DETAILS\nSET DEFINE OFF;\n".to_owned(), "SQL for Oracle", "SQLcl"),
        (
            "insert into oauth_client_details values ('c');\n".to_owned(),
            "SQL statements",
            "oauth_client_details.csv CSV HEADER",
        ),
        (
            "COPY public.oauth_client_details (client_id) FROM stdin;\nc\n\\.\n".to_owned(),
            "SQL for PostgreSQL",
            "CSV HEADER",
        ),
        (
            "<?xml version=\"1.0\"?>\n<pma_xml_export version=\"1.0\">\n".to_owned(),
            "XML by phpMyAdmin",
            "as CSV",
        ),
        ("c\t{noop}s3cret\ta\tclient_credentials\n".to_owned(), "the first line is no heading", "CSV HEADER"),
        ("id,name\n1,c\n".to_owned(), "the first line is no heading", "CSV HEADER"),
        ("client_secret,scope\nx,a\n".to_owned(), "it has no column client_id", "AS client_id"),
    ] {
        std::fs::write(&file, content).unwrap();
        let error = refused(&shell, &[&file]);
        assert!(error.contains(what) && error.contains(remedy), "{what}, {remedy} in {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    for (start, what) in [
        (&b"\xFD7zXZ\0\0\x04"[..], "compressed with xz"),
        (b"\x28\xB5\x2F\xFD\x04\x58", "compressed with zstd"),
        (b"BZh91AY&SY", "compressed with bzip2"),
        (b"PK\x03\x04\x14\0\0\0dump.csv", "a zip archive"),
        (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an Excel workbook (xls)"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\xFF\xFEc\0l\0", "UTF-16"),
    ] {
        std::fs::write(&file, start).unwrap();
        let error = refused(&shell, &[&file]);
        assert!(error.contains(what) && !error.contains("Latin-1"), "{what} in {error}");
    }

    let missing = folder.path().join("missing.csv");
    let table = files("tables").swap_remove(0);
    for unreadable in [&missing, &folder.path().to_owned()] {
        let line = format!("client import spring {} {} --audience a", table.display(), unreadable.display());
        let error = shell.refused(&line, "");
        assert!(error.starts_with(&format!("error: {}: ", unreadable.display())), "{error}");
        assert!(!error.contains("refused") && error.lines().count() == 1, "{error}");
    }
    assert_eq!(issuer.count("clients").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_a_format_cannot_hold_breaks_its_row_alone() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let folder = TempDir::new().unwrap();
    let hash = "$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu";
    // `mysql --raw`, and psql -A with its count of rows.
    for (name, separator, end) in [("raw.tsv", "\t", ""), ("unaligned.txt", "|", "(3 rows)\n")] {
        let file = folder.path().join(name);
        let rows = format!(
            "client_id|client_secret|scopes|authorization_grant_types|client_name\n\
             one-{name}|{hash}|read|client_credentials|C:\\new\\{{\"q\"}}\n\
             two-{name}|{hash}|read|client_credentials|two\nlines\n\
             three-{name}|{hash}|read|client_credentials|3\n"
        );
        std::fs::write(&file, rows.replace('|', separator) + end).unwrap();
        let report = import(&shell, &format!("client import spring {} --audience a", file.display()), 4);
        let lines: Vec<&Value> =
            report["clients"].as_array().unwrap().iter().map(|row| &row["action"]).collect();
        assert_eq!(lines, ["created", "created", "refused", "created"], "{report}");
        let why = report["clients"][2]["reasons"][0].as_str().unwrap();
        assert!(why.contains("1 columns where the heading has 5; a value may contain a line end"), "{why}");
        assert_eq!(shell.ok(&format!("client show one-{name}"), "")["name"], "C:\\new\\{\"q\"}");
        assert_eq!(shell.ok(&format!("client show two-{name}"), "")["name"], "two");
    }
}

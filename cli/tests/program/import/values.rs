//! Values in the spellings of databases and tools: NULL, lists, times, durations and names.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use countersign_tests::TestIssuer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::import;
use crate::shell::Shell;

pub(super) const HASH: &str = "{bcrypt}$2a$04$kbLNl3XsDzOL.gTe5zavYOkyKFN1mYEzXZGBUu.9O.sQw5bKu2wMu";

/// A row of `oauth_client_details` with more columns, or with others.
pub(super) fn details(more: &Value) -> Value {
    row(
        json!({ "client_id": "c", "client_secret": HASH, "scope": "a", "authorized_grant_types": "client_credentials" }),
        more,
    )
}

/// A row of `oauth2_registered_client` with more columns, or with others.
pub(super) fn registered(more: &Value) -> Value {
    row(
        json!({
            "client_id": "c", "client_secret": HASH, "scopes": "a", "authorization_grant_types": "client_credentials",
            "token_settings": { "settings.token.access-token-time-to-live": 300 },
        }),
        more,
    )
}

fn row(mut row: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

pub(super) struct Fixture<'a> {
    pub(super) shell: Shell<'a>,
    folder: TempDir,
}

impl<'a> Fixture<'a> {
    pub(super) fn new(issuer: &'a TestIssuer) -> Self {
        Self { shell: Shell { issuer }, folder: TempDir::new().unwrap() }
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }

    /// Imports one row, and returns it in the report.
    pub(super) fn convert(&self, row: &Value, options: &str) -> Value {
        let file = self.write("row.json", row.to_string());
        self.run(&file, options)["clients"][0].clone()
    }

    pub(super) fn run(&self, file: &Path, options: &str) -> Value {
        let line = format!("--json client import spring {} {options}", file.display());
        let output = self.shell.run(line.trim_end(), "");
        let error = String::from_utf8_lossy(&output.stderr);
        self.shell.issuer.let_caches_expire();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {error}"))
    }

    /// Imports a file that is refused as a whole, and returns the error.
    pub(super) fn error(&self, file: &Path) -> String {
        let output = self.shell.run(&format!("client import spring {} --audience a", file.display()), "");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert!(error.contains("Nothing was imported."), "{error}");
        error
    }

    pub(super) fn show(&self, member: &str) -> Value {
        self.shell.ok("client show c", "")[member].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spelling_of_null_is_null() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    let nulls = [
        "null", "NULL", "[NULL]", "(null)", "<null>", "nan", "NaN", "None", "N/A", "-", "{}", "[]", "\\N",
        "<NA>", "#N/A", "nil",
    ];
    let mut rows = String::from(
        "client_id,client_secret,scope,authorized_grant_types,resource_ids,authorities,access_token_validity\n",
    );
    for (number, null) in nulls.iter().enumerate() {
        writeln!(rows, "n{number},{HASH},read,client_credentials,{null},{null},{null}").unwrap();
    }
    let file = fixture.write("nulls.csv", rows);
    let line = format!(
        "client import spring {} --brand acme --audience https://api.example.com --role support",
        file.display()
    );
    import(&fixture.shell, &line, 0);
    for (number, null) in nulls.iter().enumerate() {
        let client = fixture.shell.ok(&format!("client show n{number}"), "");
        let (audiences, roles) = (&client["audiences"], &client["roles"]);
        assert_eq!((audiences, roles), (&json!(["https://api.example.com"]), &json!(["support"])), "{null}");
        assert_eq!(client["access_ttl"], 43200, "{null}");
    }
    let file = fixture.write("nulls.csv", rows_without_key());
    let report = fixture.run(&file, "--audience a --dry-run");
    assert_eq!(report["clients"][0]["reasons"][0], "client_id: missing, or a spelling of NULL");
}

fn rows_without_key() -> String {
    format!("client_id,client_secret,scope,authorized_grant_types\nNULL,{HASH},a,client_credentials\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_in_brackets_or_with_another_separator_is_refused() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for (column, value, why) in [
        ("authorities", "{ROLE_USER,ROLE_ADMIN}", "string_agg"),
        ("authorities", "[A, B]", "string_agg"),
        ("authorities", "[\"A\"", "string_agg"),
        ("authorities", "[\"A\",\"B\"]", "string_agg"),
        ("authorities", "A;B", "separated by ';'"),
        ("authorities", "A|B", "separated by '|'"),
        ("authorities", "A,NULL", "a spelling of NULL"),
        ("authorities", "(A,B)", "string_agg"),
        ("scope", "[read", "string_agg"),
        ("scope", "read;write", "separated by ';'"),
        ("authorized_grant_types", "{client_credentials,password}", "string_agg"),
        ("resource_ids", "{https://a.example,https://b.example}", "string_agg"),
        ("resource_ids", "https://a.example;https://b.example", "separated by ';'"),
    ] {
        let report = fixture.convert(&details(&json!({ column: value })), "--audience a --dry-run");
        let reasons = report["reasons"].to_string();
        assert!(
            report["verdict"] == "refused" && reasons.contains(column) && reasons.contains(why),
            "{value}: {report}"
        );
    }
    // A name that the mapping file has is a name.
    let mapping = fixture
        .write("mapping.toml", "[scopes]\n\"read;write\" = \"read-write\"\n[roles]\n\"{A}\" = \"{A}\"\n");
    let more = json!({ "scope": "read;write", "authorities": "{A}" });
    let report = fixture.convert(&details(&more), &format!("--audience a --mapping {}", mapping.display()));
    assert_eq!(report["verdict"], "ready", "{report}");
    assert_eq!((fixture.show("scopes"), fixture.show("roles")), (json!(["read-write"]), json!(["{A}"])));

    let mut roles = String::new();
    for number in 0..200 {
        write!(roles, "ROLE_SUPPORT_{number:03},").unwrap();
    }
    for (length, is_refused) in [(1023, false), (1024, true)] {
        let more = json!({ "authorities": roles[..length] });
        let report = fixture.convert(&details(&more), "--audience a --dry-run");
        let is_named = report["reasons"].to_string().contains("group_concat_max_len");
        assert_eq!(is_named, is_refused, "{length}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_scopes_of_the_older_table_is_a_loss() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for empty in [Value::Null, json!(""), json!("NULL")] {
        let report = fixture.convert(&details(&json!({ "scope": empty })), "--audience a --dry-run");
        let loss = report["losses"].to_string();
        assert!(
            loss.contains("let the client request every scope") && loss.contains("[client.c] scopes"),
            "{report}"
        );
        let report = fixture.convert(&registered(&json!({ "scopes": empty })), "--audience a --dry-run");
        assert_eq!((&report["verdict"], &report["losses"]), (&json!("ready"), &json!([])), "{report}");
    }
    let mapping = fixture.write("mapping.toml", "[client.c]\nscopes = [\"calls:read\"]\n");
    let options = format!("--audience a --mapping {}", mapping.display());
    let report = fixture.convert(&details(&json!({ "scope": null })), &options);
    assert_eq!(report["losses"], json!([]));
    assert_eq!(fixture.show("scopes"), json!(["calls:read"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_without_an_offset_is_read_in_the_zone_that_is_named() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    let expiry = |value: Value, options: &str| {
        let row = registered(&json!({ "client_secret_expires_at": value }));
        let report = fixture.convert(&row, &format!("--audience a {options}"));
        assert_ne!(report["verdict"], "refused", "{report}");
        let expires = fixture.shell.ok("client secret list c", "")[0]["expires"].clone();
        (expires, report["losses"].to_string())
    };
    let local = "2034-06-30 20:00:00";
    for (options, expires) in [
        ("", "2034-06-30T20:00:00Z"),
        ("--time-zone UTC", "2034-06-30T20:00:00Z"),
        ("--time-zone America/New_York", "2034-07-01T00:00:00Z"),
        ("--time-zone Asia/Kolkata", "2034-06-30T14:30:00Z"),
    ] {
        let (found, losses) = expiry(json!(local), options);
        assert_eq!(found, expires, "{options}");
        assert_eq!(
            losses.contains("was read as UTC") && losses.contains("--time-zone"),
            options.is_empty(),
            "{losses}"
        );
    }
    for exact in [
        json!("2034-06-30 20:00:00+00"),
        json!("2034-07-01 05:00:00.0000000 +09:00"),
        json!(2_035_310_400_000_u64),
        json!("2035310400000.0"),
        json!(2_035_310_400.0),
    ] {
        let (found, losses) = expiry(exact.clone(), "--time-zone America/New_York");
        assert_eq!((found, losses.as_str()), (json!("2034-06-30T20:00:00Z"), "[]"), "{exact}");
    }
    for never in ["9999-12-31", "9999-12-31 23:59:59", "infinity", "(null)"] {
        assert_eq!(expiry(json!(never), "").0, Value::Null, "{never}");
    }
    for other in [
        "01.01.2030 00:00",
        "1/31/2030 12:00:00 AM",
        "Jan 31 2030 11:00PM",
        "31-JAN-30 11.00.00.000000 PM",
        "20300131",
        "1.89346E+12",
    ] {
        let row = registered(&json!({ "client_secret_expires_at": other }));
        let report = fixture.convert(&row, "--audience a --dry-run");
        let why = report["reasons"][0].as_str().unwrap();
        assert!(why.contains("not a time; write it in the query as 2030-01-31T23:00:00Z"), "{why}");
    }
    let file = fixture.write("row.json", registered(&json!({})).to_string());
    let output =
        fixture.shell.run(&format!("client import spring {} --time-zone Berlin", file.display()), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("IANA time zone database, such as Europe/Berlin")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durations_are_read_in_days_and_with_a_fraction() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for (value, seconds) in [
        (json!("P1D"), 86400),
        (json!("P0DT2H"), 7200),
        (json!(["java.time.Duration", "PT0H90M"]), 5400),
        (json!("1800.0"), 1800),
        (json!(["java.time.Duration", "PT1.5S"]), 2),
    ] {
        let settings = json!({ "settings.token.access-token-time-to-live": value }).to_string();
        let report = fixture.convert(&registered(&json!({ "token_settings": settings })), "--audience a");
        assert_eq!(
            (&report["verdict"], fixture.show("access_ttl")),
            (&json!("ready"), json!(seconds)),
            "{report}"
        );
    }
    for value in ["7 moons", "P1M", "3.6E+03"] {
        let settings = json!({ "settings.token.refresh-token-time-to-live": value }).to_string();
        let report = fixture.convert(&registered(&json!({ "token_settings": settings })), "--audience a");
        assert!(
            report["reasons"].to_string().contains("not a duration, such as PT5M, P7D or 300"),
            "{report}"
        );
        let report = fixture.convert(&details(&json!({ "access_token_validity": value })), "--audience a");
        assert!(report["reasons"].to_string().contains("not a number of seconds, such as 3600"), "{report}");
    }
    fixture
        .convert(&details(&json!({ "client_id": "d", "access_token_validity": "7200.0" })), "--audience a");
    assert_eq!(fixture.shell.ok("client show d", "")["access_ttl"], 7200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_are_told_apart_by_their_grants() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    let mapping = "[from]\naudiences = \"/resource_ids\"\nroles = \"/authorities\"\nbrands = \"/additional_information/tenants\"\n";
    let mapping = fixture.write("mapping.toml", mapping);
    let more = json!({
        "resource_ids": "https://own.example", "authorities": "ROLE_OWN", "additional_information": "{\"tenants\":\"acme\"}",
    });
    let report = fixture.convert(&registered(&more), &format!("--mapping {}", mapping.display()));
    assert_eq!((&report["verdict"], &report["dropped"]), (&json!("ready"), &json!([])), "{report}");
    assert_eq!(
        (fixture.show("audiences"), fixture.show("roles")),
        (json!(["https://own.example"]), json!(["ROLE_OWN"]))
    );
    assert_eq!((fixture.show("brands"), fixture.show("access_ttl")), (json!(["acme"]), json!(300)));

    // Without a mapping they are unknown columns.
    let report = fixture.convert(&registered(&more), "--audience a");
    let dropped = report["dropped"].to_string();
    for column in ["resource_ids", "authorities", "additional_information"] {
        assert!(dropped.contains(column), "{dropped}");
    }
    assert_eq!((fixture.show("audiences"), fixture.show("roles")), (json!(["a"]), json!([])));

    let report =
        fixture.convert(&details(&json!({ "client_name": "Own", "token_settings": "x" })), "--audience a");
    assert_eq!(report["verdict"], "ready", "{report}");
    assert_eq!((fixture.show("name"), fixture.show("access_ttl")), (json!("c"), json!(43200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_settings_are_read_as_people_and_older_versions_write_them() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for (id, client_name, name) in [
        ("7c1f", json!("7c1f"), "c"),
        ("7c1f", json!("Call\r\nCentre\t 2"), "Call Centre 2"),
        ("7c1f", Value::Null, "c"),
        ("7c1f", json!("Plain"), "Plain"),
    ] {
        let report =
            fixture.convert(&registered(&json!({ "id": id, "client_name": client_name })), "--audience a");
        assert_eq!((&report["verdict"], fixture.show("name")), (&json!("ready"), json!(name)), "{report}");
    }

    // The columns of Spring's guide to JPA.
    let rows = format!(
        "id,clientId,clientSecret,clientName,authorizationGrantTypes,scopes,tokenSettings\n\
         1,c,{HASH},JPA,client_credentials,a,\"{{\"\"settings.token.access-token-time-to-live\"\":600}}\"\n"
    );
    let file = fixture.write("jpa.csv", rows);
    let report = fixture.run(&file, "--audience a");
    assert_eq!(report["clients"][0]["verdict"], "ready", "{report}");
    assert_eq!((fixture.show("name"), fixture.show("access_ttl")), (json!("JPA"), json!(600)));

    let settings = json!({
        "setting.token.access-token-time-to-live": ["java.time.Duration", 720.0],
        "setting.token.refresh-token-time-to-live": "PT4H",
    });
    let report = fixture.convert(&registered(&json!({ "token_settings": settings })), "--audience a");
    assert_eq!((&report["verdict"], &report["dropped"]), (&json!("ready"), &json!([])), "{report}");
    assert_eq!((fixture.show("access_ttl"), fixture.show("refresh_ttl")), (json!(720), json!(14400)));
    let report = fixture
        .convert(&registered(&json!({ "token_settings": { "accessTokenTimeToLive": 720 } })), "--audience a");
    assert!(report["losses"].to_string().contains("its default of 300 s is used"), "{report}");
}

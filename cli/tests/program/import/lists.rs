//! Lists that no comma separates, that are empty, or that contain a word for NULL.

use countersign_tests::TestIssuer;
use serde_json::{Value, json};

use super::values::{Fixture, details, registered};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_whose_separator_is_unclear_is_refused() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for (column, value, why) in [
        ("authorities", json!(["ROLE_A,ROLE_B"]), "contains a comma"),
        ("resource_ids", json!(["https://a.example,https://b.example"]), "contains a comma"),
        ("scope", json!(["calls:read,calls:write"]), "contains a comma"),
        ("authorized_grant_types", json!(["client_credentials,password"]), "contains a comma"),
        ("authorities", json!(["ROLE_X".repeat(171)[..1024]]), "group_concat_max_len"),
        ("authorities", json!("ROLE_A ROLE_B"), "not separated by commas"),
        ("authorities", json!("ROLE_USER+ROLE_ADMIN"), "not separated by commas"),
        ("resource_ids", json!("https://a.example/https://b.example"), "not separated by commas"),
        ("resource_ids", json!("missing"), "a word that some tools write for NULL"),
        ("authorities", json!("empty"), "a word that some tools write for NULL"),
        ("scope", json!("?"), "a word that some tools write for NULL"),
    ] {
        let report = fixture.convert(&details(&json!({ column: value })), "--audience a --dry-run");
        let reasons = report["reasons"].to_string();
        assert!(report["verdict"] == "refused" && reasons.contains(why), "{column} {value}: {report}");
    }
    let mapping =
        fixture.write("mapping.toml", "[roles]\n\"ROLE_A/ROLE_B\" = \"both\"\n\"void\" = \"void\"\n");
    let row = details(&json!({ "authorities": ["ROLE_A/ROLE_B", "void"] }));
    let report = fixture.convert(&row, &format!("--audience a --mapping {}", mapping.display()));
    assert_eq!((&report["verdict"], fixture.show("roles")), (&json!("ready"), json!(["both", "void"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_without_a_name_is_empty() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for empty in [json!([]), json!([null]), json!(","), json!(" , ,"), json!([" "])] {
        let report = fixture.convert(&details(&json!({ "scope": empty })), "--audience a --dry-run");
        let text = report.to_string();
        let is_refused = report["verdict"] == "refused";
        assert!(is_refused || text.contains("let the client request every scope"), "{empty}: {report}");
        let report = fixture.convert(&registered(&json!({ "scopes": empty })), "--audience a --dry-run");
        assert!(is_refused || report["losses"] == json!([]), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_of_programs_for_null_are_null() {
    let issuer = TestIssuer::start().await;
    let fixture = Fixture::new(&issuer);
    for null in [
        "~",
        "#NULL!",
        "#VALUE!",
        "-nan",
        "1.#QNAN",
        "n.a.",
        "N.A.",
        "null::text",
        "DBNull.Value",
        "System.DBNull",
        "pd.NA",
    ] {
        let more = json!({ "authorities": null, "resource_ids": null, "scope": null });
        let report =
            fixture.convert(&details(&more), "--audience https://api.example.com --role r --brand acme");
        assert!(report["losses"].to_string().contains("every scope"), "{null}: {report}");
        let shown: Vec<Value> = ["roles", "audiences", "scopes"].map(|list| fixture.show(list)).into();
        assert_eq!(shown, [json!(["r"]), json!(["https://api.example.com"]), json!([])], "{null}");
    }
}

//! Imports of Spring's tables: what each column becomes, and tokens with the old secrets.

use countersign_tests::TestIssuer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BY_ITSELF, LOG_IN, SECRET, actions, ask, data, details, import, registered};
use crate::shell::Shell;

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

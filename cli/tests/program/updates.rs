//! Updates: they change what they name and nothing else, and show it.

use countersign_tests::TestIssuer;
use serde_json::{Value, json};

use crate::shell::Shell;

const CREATE: &str = "client create billing --grant client_credentials --scope bills:read,bills:write \
    --role billing --brand acme,globex --operator alice.ops --audience https://api.example.com";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_every_list_are_added_and_removed_and_the_others_stay() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    shell.ok(CREATE, "");
    for (option, member, before, add, after) in [
        (
            "scope",
            "scopes",
            json!(["bills:read", "bills:write"]),
            "bills:pay",
            json!(["bills:read", "bills:pay"]),
        ),
        ("role", "roles", json!(["billing"]), "auditor", json!(["auditor"])),
        ("brand", "brands", json!(["acme", "globex"]), "initech", json!(["acme", "initech"])),
        ("operator", "operators", json!(["alice.ops"]), "bob.ops", json!(["bob.ops"])),
        (
            "audience",
            "audiences",
            json!(["https://api.example.com"]),
            "https://b.example.com",
            json!(["https://b.example.com"]),
        ),
        ("grant", "grant_types", json!(["client_credentials"]), "password", json!(["password"])),
    ] {
        let remove = before.as_array().unwrap().last().unwrap().as_str().unwrap();
        let line = format!("client update billing --add-{option} {add} --remove-{option} {remove}");
        let updated = shell.ok(&line, "");
        assert_eq!(updated[member], after, "{line}");
        assert_eq!(updated["changed"], json!({ member: { "before": before, "after": after } }), "{line}");
    }
    let updated = shell.ok("client update billing --add-default-scope bills:pay,bills:read", "");
    assert_eq!(updated["default_scopes"], json!(["bills:pay", "bills:read"]));
    let updated = shell.ok("client update billing --remove-default-scope bills:pay", "");
    assert_eq!(updated["default_scopes"], json!(["bills:read"]));
    let refused = shell.refused("client update billing --remove-default-scope bills:read", "");
    assert!(refused.contains("gets all scopes") && refused.contains("--default-scope ''"), "{refused}");
    assert_eq!(shell.ok("client update billing --default-scope ", "")["default_scopes"], Value::Null);

    shell.ok("operator create bob.ops --brand acme --role care-agent --password-stdin", "correct horse");
    let updated = shell.ok("operator update bob.ops --add-brand globex --add-role billing", "");
    assert_eq!(
        (&updated["brands"], &updated["roles"]),
        (&json!(["acme", "globex"]), &json!(["care-agent", "billing"]))
    );
    let updated = shell.ok("operator update bob.ops --remove-brand acme --remove-role care-agent", "");
    assert_eq!((&updated["brands"], &updated["roles"]), (&json!(["globex"]), &json!(["billing"])));
    let updated = shell.ok("user update jane@example.com --brand acme --add-role payer,subscriber", "");
    assert_eq!(updated["roles"], json!(["subscriber", "payer"]));
    for line in [
        "user update jane@example.com --brand acme --add-brand globex",
        "operator update bob.ops --brand acme --add-brand globex",
        "client update billing --scope a --add-scope b",
    ] {
        assert_eq!(shell.run(line, "").status.code(), Some(2), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_shown_before_and_after() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    shell.ok(CREATE, "");
    let shown = text(shell.run("client update billing --scope bills:read --access-ttl 20min", "").stdout);
    let (change, effect) = shown.split_once("In effect by ").unwrap();
    assert_eq!(
        change,
        "billing updated\n\
         scopes\n  before  bills:read bills:write\n  after   bills:read\n\
         access_ttl\n  before  1 h\n  after   20 min\n"
    );
    assert!(
        effect.contains(" (in 1 min): a warm function may use its copy of the record for 1 min"),
        "{effect}"
    );
    let version = shell.ok("client show billing", "")["version"].clone();
    let shown = text(shell.run("client update billing --add-scope bills:read --access-ttl 1200", "").stdout);
    assert_eq!(shown, "billing: nothing to change, it is so already\n");
    let again = shell.ok("client update billing --role billing", "");
    assert_eq!((&again["changed"], &again["version"]), (&json!({}), &version));
    let shown = text(
        shell.run("user update jane@example.com --brand acme --password-stdin", "another passphrase").stdout,
    );
    assert!(shown.starts_with("jane@example.com updated\n") && !shown.contains("passphrase"), "{shown}");
    assert!(
        shown.ends_with(
            "The password is new, and all sessions have ended.\nIn effect from the next login or refresh on.\n"
        ),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_names_nothing_or_removes_what_is_not_there_changes_nothing() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    for line in
        ["client update demo-app", "user update jane@example.com --brand acme", "operator update alice.ops"]
    {
        let output = shell.run(line, "");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{line}");
        let error = text(output.stderr);
        assert!(error.contains("nothing to change: name a setting, such as --add-"), "{error}");
    }
    let before = shell.ok("client show demo-service", "");
    let refused = shell
        .refused("client update demo-service --remove-scope reports:write --remove-scope report:read", "");
    assert!(
        refused.contains("--remove-scope report:read: not in the list; it has reports:read reports:write"),
        "{refused}"
    );
    assert!(refused.contains("Did you mean reports:read?"), "{refused}");
    let refused = shell.refused("client update demo-service --remove-grant pasword --name x", "");
    assert!(refused.contains("--remove-grant pasword"), "{refused}");
    assert_eq!(shell.ok("client show demo-service", ""), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commas_separate_the_items_of_every_list() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let created = shell.ok(
        "client create app --grant password,refresh_token --scope a,b --scope c --default-scope a,c --role r,s \
         --brand acme,globex --operator alice.ops,bob.ops --audience https://a.example.com,https://b.example.com",
        "",
    );
    for (member, items) in [
        ("grant_types", json!(["password", "refresh_token"])),
        ("scopes", json!(["a", "b", "c"])),
        ("default_scopes", json!(["a", "c"])),
        ("roles", json!(["r", "s"])),
        ("brands", json!(["acme", "globex"])),
        ("operators", json!(["alice.ops", "bob.ops"])),
        ("audiences", json!(["https://a.example.com", "https://b.example.com"])),
    ] {
        assert_eq!(created[member], items, "{member}");
    }
    let line = "operator create bob.ops --brand acme,globex --role care-agent,billing --password-stdin";
    let operator = shell.ok(line, "correct horse");
    assert_eq!(
        (&operator["brands"], &operator["roles"]),
        (&json!(["acme", "globex"]), &json!(["care-agent", "billing"]))
    );
    let two = shell.run("user show jane@example.com --brand acme,globex", "");
    assert_eq!(two.status.code(), Some(2));
    assert!(text(two.stderr).contains("a user belongs to one brand"));

    // A scope that was stored as one, by an earlier version, can be removed.
    issuer.change_client("app", |client| client.scopes.push("x,y".into())).await;
    assert_eq!(shell.ok("client update app --remove-scope x,y", "")["scopes"], json!(["a", "b", "c"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durations_have_units_or_count_seconds() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    for (access, refresh, idle, seconds) in [
        ("1h", "30d", "8h", [3600, 2_592_000, 28_800]),
        ("900", "86400", "3600", [900, 86_400, 3600]),
        ("1h30m", "2w", "90min", [5400, 1_209_600, 5400]),
    ] {
        let line = format!(
            "client update demo-app --access-ttl {access} --refresh-ttl {refresh} --refresh-idle {idle}"
        );
        let updated = shell.ok(&line, "");
        assert_eq!(
            json!(seconds),
            json!([updated["access_ttl"], updated["refresh_ttl"], updated["refresh_idle"]])
        );
    }
    let secret = shell.ok("client secret add demo-voice --expire-others 3600", "");
    assert!(secret["client_secret"].is_string());
    for wrong in ["1.5s", "soon", "-1h", "-5", "1y", "1mo", "1H", ""] {
        let output = shell.run(&format!("client update demo-app --access-ttl {wrong}"), "");
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        let error = text(output.stderr);
        assert!(!error.contains("tip:"), "{error}");
        assert!(
            error.contains("expected whole seconds") || error.contains("the units are w, d, h, min and s"),
            "{error}"
        );
    }
    let output = shell.run("client update demo-app --refresh-ttl soon", "");
    assert!(
        text(output.stderr)
            .contains("expected a duration such as 7d, 12h or 90s, or a number of seconds; the units are")
    );
    for (line, range) in [
        ("client update demo-app --access-ttl 1w", "access-ttl: between 1 and 86400 seconds (1 d)"),
        ("client update demo-app --refresh-ttl 400d", "refresh-ttl: between 1 and 7776000 seconds (90 d)"),
    ] {
        let refused = shell.refused(line, "");
        assert!(refused.contains(range), "{refused}");
    }
    for wrong in ["-1", "many", "-x"] {
        let output = shell.run(&format!("client update demo-app --max-login-failures {wrong}"), "");
        let error = text(output.stderr);
        assert!(
            error.contains("expected a whole number from 0 on, or default") && !error.contains("tip:"),
            "{error}"
        );
    }
}

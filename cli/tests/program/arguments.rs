//! Items of lists as they are typed, and warnings of values that are most likely mistakes.

use countersign_tests::TestIssuer;
use serde_json::json;

use crate::shell::Shell;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

const CREATE: &str = "client create billing --grant client_credentials --audience https://api.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_item_is_a_usage_error_in_every_list() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    shell.ok(
        &format!("{CREATE} --scope a,b --default-scope a --role r --brand acme --operator alice.ops"),
        "",
    );
    let before = shell.ok("client show billing", "");
    let mut lines = Vec::new();
    for option in ["scope", "default-scope", "role", "brand", "operator", "audience"] {
        lines.extend([
            format!("client update billing --add-{option} "),
            format!("client update billing --remove-{option} "),
            format!("client update billing --add-{option} x,"),
            format!("client update billing --remove-{option} ,x"),
            format!("client update billing --{option} x --{option} "),
            format!("client update billing --{option} x,,y"),
            format!("client create new --grant client_credentials --audience urn:a --{option} x,"),
        ]);
    }
    for option in ["role", "brand"] {
        lines.extend([
            format!("operator update alice.ops --add-{option} "),
            format!("operator update alice.ops --remove-{option} "),
            format!("operator update alice.ops --{option} x,"),
            format!("operator create bob --brand acme --{option} x, --password-stdin"),
        ]);
    }
    lines.extend(
        ["--grant ", "--add-grant ", "--add-grant password,"]
            .map(|list| format!("client update billing {list}")),
    );
    lines.push("operator import missing.csv --role a,".into());
    lines.push("client import spring missing.csv --operator a,".into());
    for line in lines {
        let output = shell.run(&line, "a passphrase");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{line:?}");
    }
    assert_eq!(shell.ok("client show billing", ""), before);
    // A single one empties the list.
    assert_eq!(shell.ok("client update billing --scope  --default-scope  --role ", "")["scopes"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_are_trimmed_as_every_other_item() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    // The line is split at spaces, and a tab is one too.
    let created = shell.ok(
        "client create app --grant password\t,\trefresh_token --scope a,\tb --brand acme --audience https://a.example.com",
        "",
    );
    assert_eq!(
        (&created["grant_types"], &created["scopes"]),
        (&json!(["password", "refresh_token"]), &json!(["a", "b"]))
    );
    let updated = shell.ok("client update app --add-grant \tclient_credentials", "");
    assert_eq!(updated["grant_types"], json!(["password", "refresh_token", "client_credentials"]));
    let output = shell.run("client update app --add-grant pasword", "");
    assert!(text(output.stderr).contains("operator_password"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_named_in_upper_or_lower_case() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    shell.ok("operator create alice.opz --brand acme --password-stdin", "a passphrase");
    let created = shell.ok(&format!("{CREATE} --operator Alice.Ops,ALICE.OPZ"), "");
    assert_eq!(created["operators"], json!(["alice.ops", "alice.opz"]));
    let removed = shell.ok("client update billing --remove-operator ALICE.OPZ", "");
    assert_eq!(removed["operators"], json!(["alice.ops"]));
    let added = shell.ok("client update billing --add-operator Alice.OPZ,alice.OPS", "");
    assert_eq!(added["operators"], json!(["alice.ops", "alice.opz"]));
    let removed = shell.ok("client update billing --remove-operator ALICE.OPS,Alice.opz", "");
    assert_eq!(removed["operators"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_in_other_case_is_the_one_that_was_meant_and_a_distant_one_is_not() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    shell.ok(&format!("{CREATE} --scope a,b,c,pay.a,pay.b --role auditor,auditos"), "");
    for (line, meant) in [
        ("client update billing --remove-scope PAY.B", Some("pay.b")),
        ("client update billing --remove-role AUDITOS", Some("auditos")),
        ("client update billing --remove-scope d", None),
        ("client update billing --remove-scope x,a", None),
    ] {
        let refused = shell.refused(line, "");
        let hint = refused.split_once("Did you mean ").map(|(_, hint)| hint.trim_end_matches("?\n"));
        assert_eq!(hint, meant, "{line}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chosen_secret_that_clients_send_differently_is_warned_of() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let warned = |line: &str, secret: &str| {
        let output = shell.run(line, secret);
        assert!(output.status.success(), "{line}");
        let stderr = text(output.stderr);
        assert!(!stderr.contains(secret.trim()), "the secret is not shown: {stderr}");
        stderr.lines().find_map(|line| line.strip_prefix("warning: the secret ")).map(str::to_owned)
    };
    let create =
        |id: &str| format!("client create {id} --grant client_credentials --audience urn:a --secret-stdin");
    assert!(warned(&create("one"), "pässwörd-eins").unwrap().contains("outside of ASCII"));
    assert!(warned(&create("two"), "trailing blank ").unwrap().contains("space"));
    assert_eq!(warned(&create("three"), "a good secret\n"), None);
    assert!(warned("client secret add three --secret-stdin", " leading blank").unwrap().contains("space"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audience_that_is_no_uri_or_has_a_twin_is_warned_of() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let warned = |line: &str| {
        let output = shell.run(line, "");
        assert!(output.status.success(), "{line}");
        let warnings = text(output.stderr);
        let warnings = warnings.lines().filter_map(|line| line.strip_prefix("warning: the audience"));
        warnings.map(str::to_owned).collect::<Vec<_>>()
    };
    let uri = "is no absolute URI, such as https://api.example.com or urn:example:api";
    let twin = "differ in the final slash alone: an API accepts only one of them";
    let create = "client create x --grant client_credentials --audience";
    assert_eq!(
        warned(&format!("{create} notauri,https://a.example.com,https://a.example.com/")),
        [format!(" notauri {uri}"), format!("s https://a.example.com and https://a.example.com/ {twin}"),]
    );
    // What was warned of once is no news.
    assert!(warned("client update x --name y --add-audience urn:example:b").is_empty());
    assert_eq!(warned("client update x --add-audience api.example.com"), [format!(" api.example.com {uri}")]);
    assert_eq!(
        warned("client update x --add-audience urn:example:b/"),
        [format!("s urn:example:b and urn:example:b/ {twin}")]
    );
}

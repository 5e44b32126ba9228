//! The administration of clients, users, operators and keys, and the verification of tokens.

use std::process::Command;

use crate::shell::Shell;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_tests::{CLIENT_CREDENTIALS, JANE, TestIssuer, TestResponse, encode};
use countersign_verify::Clock;
use serde_json::{Value, json};

const CREATE: &str = "client create billing --name Billing --grant client_credentials --scope bills:read \
    --role billing --brand acme --operator alice.ops --audience https://api.example.com --access-ttl 600";

async fn token(issuer: &TestIssuer, client_id: &str, secret: &str) -> TestResponse {
    let form = [("client_id", client_id), ("client_secret", secret), ("grant_type", "client_credentials")];
    issuer.send("/oauth/token", &[], encode(&form)).await
}

// One thread waits for the program while the issuer runs on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_lives_from_creation_to_deletion() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let created = shell.ok(CREATE, "");
    let secret = created["client_secret"].as_str().unwrap();
    assert!(secret.starts_with("csgn_") && secret.len() == 54, "{secret}");
    let answer = token(&issuer, "billing", secret).await;
    assert_eq!(answer.ok()["expires_in"], 600);
    assert_eq!(issuer.verify_token(&answer.access_token()).await["roles"], json!(["billing"]));

    assert!(shell.refused(CREATE, "").contains("client billing: it exists already"));
    let shown = shell.ok("client show billing", "");
    assert_eq!(shown.get("client_secret"), None);
    assert!(!shown.to_string().contains("sha256") && !shown.to_string().contains("argon2"), "{shown}");
    let listed = shell.ok("client list", "");
    let ids: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["client_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["billing", "demo-app", "demo-service", "demo-voice"]);

    let updated = shell.ok("client update billing --scope bills:read --scope bills:write", "");
    assert_eq!(updated["scopes"], json!(["bills:read", "bills:write"]));
    assert_eq!((&updated["roles"], &updated["version"]), (&json!(["billing"]), &json!(2)));
    shell.ok("client disable billing", "");
    token(&issuer, "billing", secret).await.assert_error(401, "invalid_client");
    shell.ok("client enable billing", "");
    token(&issuer, "billing", secret).await.ok();

    assert!(shell.refused("client delete billing", "").contains("--yes"));
    shell.ok("client delete billing --yes", "");
    token(&issuer, "billing", secret).await.assert_error(401, "invalid_client");
    assert!(shell.refused("client show billing", "").contains("there is no client billing"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_replaced_without_downtime() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let first = shell.ok(CREATE, "")["client_secret"].as_str().unwrap().to_owned();
    let second = shell.ok("client secret add billing", "")["client_secret"].as_str().unwrap().to_owned();
    token(&issuer, "billing", &first).await.ok();
    token(&issuer, "billing", &second).await.ok();
    assert!(shell.refused("client secret add billing", "").contains("2 live secrets"));
    let listed = shell.ok("client secret list billing", "");
    let id = listed[0]["id"].as_str().unwrap();
    assert!(shell.refused("client secret revoke billing nosuch --yes", "").contains("no secret nosuch"));
    shell.ok(&format!("client secret revoke billing {id} --yes"), "");
    token(&issuer, "billing", &first).await.assert_error(401, "invalid_client");
    token(&issuer, "billing", &second).await.ok();

    let chosen =
        shell.ok("client secret add billing --secret-stdin --expire-others 1s", "chosen elsewhere\n");
    assert_eq!(chosen.get("client_secret"), None, "the caller knows it already");
    token(&issuer, "billing", "chosen elsewhere").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_breaks_rules_is_refused_with_each_rule_and_not_stored() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let refused = shell.refused("client create usr_x --scope a\"b --brand a#b --access-ttl 999999999", "");
    for rule in ["client id:", "scope \"a\\\"b\":", "brand \"a#b\":", "access-ttl:", "grant:", "audience:"] {
        assert!(refused.contains(rule), "{rule} in {refused}");
    }
    assert_eq!(shell.run("user create jane --role x --password-stdin", "secret").status.code(), Some(2));
    assert!(
        shell.refused("operator create bob --password-stdin", "a password").contains("brand: at least one")
    );
    assert!(shell.refused("operator create bob --brand acme --password-stdin", "").contains("password"));
    assert_eq!(shell.ok("operator list", "").as_array().unwrap().len(), 1);
    assert_eq!(shell.run("client create x --grant no-such-grant", "").status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_or_secret_that_is_set_has_at_least_eight_characters() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let create = "client create x --grant client_credentials --audience a --secret-stdin";
    for line in [
        "user create jim --brand acme --password-stdin",
        "user update jane@example.com --brand acme --password-stdin",
        "operator create jim --brand acme --password-stdin",
        create,
        "client secret add demo-voice --secret-stdin",
    ] {
        // Seven characters, of nine bytes.
        assert!(shell.refused(line, "pässwör").contains("at least 8 characters"), "{line}");
        shell.ok(line, "pässwörd");
    }
    token(&issuer, "x", "pässwörd").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_its_own_limit_of_failed_logins() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    assert_eq!(shell.ok("client show demo-app", "")["max_login_failures"], Value::Null);
    assert_eq!(shell.ok("client update demo-app --max-login-failures 2", "")["max_login_failures"], 2);
    for name in ["one", "two"] {
        let form = [("grant_type", "password"), ("username", name), ("password", "Summer2026!")];
        issuer.token("demo-app", &form, &[]).await.assert_error(400, "invalid_grant");
    }
    issuer.token("demo-app", JANE, &[]).await.assert_error(429, "temporarily_unavailable");
    let by_default = shell.ok("client update demo-app --max-login-failures default", "");
    assert_eq!(by_default["max_login_failures"], serde_json::Value::Null);
    shell.ok("client update demo-app --max-login-failures 0", "");
    issuer.token("demo-app", JANE, &[]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_record_neither_hides_nor_blocks_others() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let lowered = [("COUNTERSIGN_MAX_ACCESS_TTL", "600")];
    let disabled = shell.run_with(&lowered, "client disable demo-voice", "");
    assert!(disabled.status.success(), "disabling works even if the record is invalid");
    let update = shell.run_with(&lowered, "client update demo-voice --name x", "");
    assert!(String::from_utf8(update.stderr).unwrap().contains("access-ttl: between 1 and 600 seconds"));
    let emptied = shell.ok("client update demo-service --role  --operator ", "");
    assert_eq!((&emptied["roles"], &emptied["operators"]), (&json!([]), &json!([])));

    let broken = AttributeValue::S("broken".into());
    let put = issuer.dynamodb().put_item().table_name("countersign-clients").item("client_id", broken);
    put.send().await.unwrap();
    let listed = shell.run("client list", "");
    assert_eq!(listed.status.code(), Some(1));
    assert!(String::from_utf8(listed.stdout).unwrap().contains("demo-app"));
    assert!(String::from_utf8(listed.stderr).unwrap().contains(r#""broken" in countersign-clients"#));
    shell.ok("client delete broken --yes", "");
    shell.ok("client list", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_and_an_operator_live_from_creation_to_deletion() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let log_in = async |grant: &str, username: &str, password: &str| {
        let form = [("grant_type", grant), ("username", username), ("password", password)];
        issuer.token("demo-app", &form, &[]).await
    };
    for (kind, grant, name, brand) in
        [("user", "password", "Bob", " --brand acme"), ("operator", "operator_password", "bob", "")]
    {
        let created =
            shell.ok(&format!("{kind} create {name} --brand acme --role x --password-stdin"), "first one\n");
        assert_eq!((&created["username"], &created["roles"]), (&json!("bob"), &json!(["x"])));
        log_in(grant, "bob", "first one").await.ok();
        shell.ok(&format!("{kind} update bob{brand} --role y --password-stdin"), "second one\n");
        log_in(grant, "bob", "first one").await.assert_error(400, "invalid_grant");
        let answer = log_in(grant, "bob", "second one").await;
        assert_eq!(issuer.verify_token(&answer.access_token()).await["roles"], json!(["y"]));
        shell.ok(&format!("{kind} disable bob{brand}"), "");
        log_in(grant, "bob", "second one").await.assert_error(400, "invalid_grant");
        shell.ok(&format!("{kind} enable bob{brand}"), "");
        shell.ok(&format!("{kind} logout bob{brand}"), "");
        log_in(grant, "bob", "second one").await.ok();
        assert_eq!(shell.ok(&format!("{kind} list"), "").as_array().unwrap().len(), 2);
        shell.ok(&format!("{kind} delete bob{brand} --yes"), "");
        log_in(grant, "bob", "second one").await.assert_error(400, "invalid_grant");
        assert!(shell.refused(&format!("{kind} show bob{brand}"), "").contains("bob"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_verified_offline_from_a_saved_key_set() {
    // The program uses the machine's clock.
    let issuer = TestIssuer::start_at(Clock::system().now()).await;
    let shell = Shell { issuer: &issuer };
    let folder = tempfile::TempDir::new().unwrap();
    let saved = folder.path().join("jwks.json");
    std::fs::write(&saved, issuer.get("/.well-known/jwks.json", &[]).await.text).unwrap();
    let form = [("operator", "alice.ops"), ("brandKey", "acme")];
    let response = issuer.token("demo-service", CLIENT_CREDENTIALS, &form).await;
    let verify = format!("token verify --jwks {}", saved.display());
    let output = shell.run(&verify, &response.text);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "valid\n",
        &format!("\niss        {}\n", issuer.url),
        "\nsub        demo-service\n",
        "\nclient_id  demo-service\n",
        "\naud        https://api.example.com (not checked: no --audience)\n",
        "\nscope      reports:read reports:write\n",
        "\nroles      reporting\n",
        "\noperator   alice.ops\n",
        "\nbrandKey   acme\n",
        "\niat        ",
        "\nexp        ",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let claims = &shell.ok(&format!("{verify} --audience https://api.example.com"), &response.access_token())
        ["claims"];
    assert_eq!(claims["sub"], "demo-service");

    let other = shell.refused(&format!("{verify} --audience https://other.example.com"), &response.text);
    assert!(other.contains("aud is another audience"), "{other}");
    let other = shell.refused(&format!("{verify} --issuer https://other.example.com"), &response.text);
    assert!(other.contains("iss is another issuer"), "{other}");
    assert!(shell.refused(&verify, "").contains("no token on standard input"));
    let error = issuer.token("demo-service", &[("grant_type", "x")], &[]).await;
    assert!(shell.refused(&verify, &error.text).contains("unsupported_grant_type"));

    let inspected = shell.ok("token inspect", &response.text);
    assert_eq!((&inspected["verified"], &inspected["header"]["alg"]), (&json!(false), &json!("ES256")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_missing_variables_are_reported_at_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["client", "list"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    for variable in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert!(error.contains(&format!("{variable} is not set")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_keys_are_listed_and_withdrawn_with_the_consequences() {
    let issuer = TestIssuer::start_at(Clock::system().now()).await;
    let shell = Shell { issuer: &issuer };
    let listed = shell.ok("key list", "");
    let states: Vec<&str> =
        listed.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["signing", "announced"]);
    let (kid, successor) = (listed[0]["kid"].as_str().unwrap(), listed[1]["kid"].as_str().unwrap());

    let young = shell.refused("key rotate", "");
    assert!(young.contains("verifiers may not know it before"), "{young}");
    let young = shell.refused(&format!("key withdraw {kid} --yes"), "");
    assert!(young.contains("--force"), "{young}");
    assert!(shell.refused("key withdraw nosuch --yes", "").contains("no such key"));
    assert!(shell.refused(&format!("key withdraw {kid} --force"), "").contains("--yes"));

    let output = shell.run(&format!("key withdraw {kid} --force --yes"), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let listed = shell.ok("key list", "");
    let states: Vec<&str> =
        listed.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["withdrawn", "signing", "announced"]);
    let (next, signs_from) = (listed[2]["kid"].as_str().unwrap(), listed[2]["signs_from"].as_str().unwrap());
    for consequence in [
        "log in again",
        "if it reaches the issuer and honours the JWKS's max-age",
        "only when a token names an unknown key (go-oidc",
        &format!("until a token under {next}, which signs from "),
        ", reaches them. Restart those",
        successor,
    ] {
        assert!(text.contains(consequence), "{consequence} in {text}");
    }
    let again = shell.ok(&format!("key withdraw {kid} --yes"), "");
    assert_eq!(
        (&again["withdrawn"], &again["next"]),
        (&json!(kid), &json!({ "kid": next, "signs_from": signs_from }))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_of_a_record_controls_the_terminal() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let name = "a\u{1b}[2Jb\u{202e}c\u{2066}d\u{7f}e\u{9b}f\nZ\u{2028}h é";
    issuer.change_client("demo-voice", |client| name.clone_into(&mut client.name)).await;
    for line in [
        "client list",
        "client show demo-voice",
        "client disable demo-voice",
        "--json client list",
        "--json client show demo-voice",
        "client export",
    ] {
        let text = String::from_utf8(shell.run(line, "").stdout).unwrap();
        let is_hidden =
            |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{2066}' | '\u{2028}');
        assert!(!text.contains(is_hidden), "{line}: {text:?}");
        assert!(text.contains("h é") && !text.contains("\nZ"), "{line}: {text:?}");
    }
    assert_eq!(shell.ok("client show demo-voice", "")["name"], name);

    // Claims of a token that is not verified come from anybody.
    let claims = BASE64URL.encode(json!({ "sub": name }).to_string());
    let token = format!("{}.{claims}.AA", BASE64URL.encode(r#"{"alg":"ES256"}"#));
    let text = String::from_utf8(shell.run("token inspect", &token).stdout).unwrap();
    assert!(text.contains("h é") && !text.contains(['\u{1b}', '\u{202e}', '\u{2066}', '\u{9b}']), "{text:?}");
    let refused = String::from_utf8(shell.run("client show demo\u{1b}[2J\u{202e}", "").stderr).unwrap();
    assert!(refused.contains("there is no client demo") && !refused.contains(['\u{1b}', '\u{202e}']));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_issuers_url_is_no_audience() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let (api, url) = ("https://api.example.com", issuer.url.clone());
    for audience in [url.clone(), format!("{url}/"), url.to_uppercase()] {
        let create =
            format!("client create x --grant client_credentials --audience {api} --audience {audience}");
        let refused = shell.refused(&create, "");
        assert!(refused.contains(&format!("audience \"{audience}\": the issuer's own URL")), "{refused}");
        let refused = shell.refused(&format!("client update demo-voice --audience {audience}"), "");
        assert!(refused.contains("the issuer's own URL"), "{refused}");
    }
    let unknown = shell.run_with(&[("COUNTERSIGN_ISSUER", "issuer.example.com")], "client list", "");
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("COUNTERSIGN_ISSUER must be an https URL"));
    shell.ok(&format!("client create y --grant client_credentials --audience {url}/api"), "");

    // A record that was written without knowing the URL gets no token for it.
    issuer.change_client("demo-voice", |client| client.audiences = vec![api.into(), url.clone()]).await;
    let ask = async |form: &[(&str, &str)]| {
        issuer.token("demo-voice", &[("grant_type", "client_credentials")], form).await
    };
    ask(&[]).await.ok();
    ask(&[("resource", &url)]).await.assert_error(400, "invalid_target");
    issuer.change_client("demo-voice", |client| client.audiences.swap(0, 1)).await;
    ask(&[]).await.assert_error(400, "invalid_target");
    ask(&[("resource", api)]).await.ok();
    let doctor = String::from_utf8(shell.run("doctor", "").stdout).unwrap();
    assert!(
        doctor.contains("demo-voice: audience") && doctor.contains("countersign client update demo-voice")
    );
}

/// Options that give a client `count` scopes of 40 characters.
fn scopes(count: usize) -> String {
    (0..count).map(|n| format!(" --scope {}{n:02}", "s".repeat(38))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_token_of_a_client_fits_into_a_header() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    let roles: String = (0..100).map(|n| format!(" --role {}{n:02}", "r".repeat(17))).collect();
    shell
        .ok(&format!("user create big --brand acme{roles} --password-stdin"), "correct horse battery staple");
    let settings =
        "--grant password --grant client_credentials --brand acme --audience https://api.example.com";
    let create = |name: &str, count: usize| format!("client create {name} {settings}{}", scopes(count));
    let log_in = async |client: &str, secret: &str| {
        let form = [
            ("client_id", client),
            ("client_secret", secret),
            ("grant_type", "password"),
            ("username", "big"),
            ("password", "correct horse battery staple"),
        ];
        issuer.send("/oauth/token", &[], encode(&form)).await.access_token()
    };

    let output = shell.run(&create("small", 10), "");
    assert!(output.status.success());
    assert!(!String::from_utf8(output.stderr).unwrap().contains("warning"));
    let output = shell.run(&format!("--json {}", create("large", 80)), "");
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.contains(r#""the client's largest access token would have 7."#), "{warning}");
    let client: Value = serde_json::from_slice(&output.stdout).unwrap();
    let secret = client["client_secret"].as_str().unwrap().to_owned();
    let token = log_in("large", &secret).await;
    assert!((7 * 1024..=8 * 1024).contains(&token.len()), "{}", token.len());

    let too_large = "the client's largest access token would have 8.";
    for line in [create("huge", 88), format!("client update large{}", scopes(88))] {
        let refused = shell.refused(&line, "");
        assert!(refused.contains(too_large) && refused.contains("at most 8 KiB are allowed"), "{refused}");
    }
    // The longest username counts, where a claim carries it.
    shell.ok(&format!("{} --access-ttl 60", create("nearly", 84)), "");
    let refused = shell.refused("client update nearly --username-claim user_name", "");
    assert!(refused.contains(too_large), "{refused}");
    // A client without logins may have as many: its tokens have only its own roles.
    let alone = "client create alone --grant client_credentials --audience https://api.example.com";
    assert!(shell.run(&format!("{alone}{}", scopes(88)), "").status.success());

    // An import takes the same clients.
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("clients.json").display().to_string();
    let import = |count: usize| {
        let export = String::from_utf8(shell.run("client export", "").stdout).unwrap();
        let mut records: Vec<Value> = serde_json::from_str(&export).unwrap();
        records.retain(|record| record["client_id"] == "large");
        records[0]["client_id"] = "copy".into();
        records[0]["scopes"] = (0..count).map(|n| format!("{}{n:02}", "s".repeat(38))).collect();
        std::fs::write(&file, json!(records).to_string()).unwrap();
        let output = shell.run(&format!("--json client import {file} --dry-run"), "");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["clients"][0].clone()
    };
    assert_eq!(import(10)["verdict"], "ready");
    let large = import(80);
    assert_eq!(large["verdict"], "ready with a loss");
    assert!(large["losses"][0].as_str().unwrap().contains("largest access token would have 7."), "{large}");
    let huge = import(88);
    assert_eq!(huge["verdict"], "refused");
    assert!(huge["reasons"][0].as_str().unwrap().contains(too_large), "{huge}");

    // Such a token would indeed be too large.
    issuer
        .change_client("large", |client| {
            client.scopes.extend((80..88).map(|n| format!("{}{n:02}", "s".repeat(38))));
        })
        .await;
    let token = log_in("large", &secret).await;
    assert!(token.len() > 8 * 1024, "{}", token.len());
}

#[test]
fn timers_that_would_break_a_verifier_are_refused_with_the_calculation() {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["key", "rotate"])
        .env_clear()
        .env("COUNTERSIGN_ANNOUNCEMENT_LEAD", "3600")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    for part in [
        "COUNTERSIGN_ANNOUNCEMENT_LEAD is 1 h",
        "3 h 2 min",
        "AWS_REGION is not set",
        "COUNTERSIGN_KMS_KEY_ID",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

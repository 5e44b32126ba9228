//! `countersign policy`: checks and explanations.

use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_tests::{CLIENT_CREDENTIALS, TestIssuer};
use serde_json::{Value, json};

use crate::pipe;

/// The policy of the demo API and of the authorizer function.
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../functions/authorizer/policy.toml");

fn run(arguments: &[&str], stdin: &str) -> Output {
    pipe::run([&["policy"], arguments].concat(), [], stdin)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A token without a valid signature, which `explain` does not check.
fn token(scope: &str, roles: &[&str]) -> String {
    let claims = json!({
        "iss": "https://issuer.example.com", "sub": "svc", "aud": "https://api.example.com", "exp": 2, "iat": 1,
        "jti": "j", "client_id": "svc", "scope": scope, "roles": roles, "brandKey": "acme",
    });
    format!("{}.{}.AA", BASE64URL.encode(r#"{"alg":"ES256"}"#), BASE64URL.encode(claims.to_string()))
}

#[test]
fn the_policy_of_the_demo_api_is_valid_and_decides_as_designed() {
    let output = run(&["check", DEMO], "");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), format!("{DEMO}: 7 rules, no problems\n"));
    let output = run(&["check", DEMO, "--json"], "");
    assert_eq!(
        serde_json::from_str::<Value>(&stdout(&output)).unwrap(),
        json!({ "valid": true, "rules": 7 })
    );

    let everything = token("reports:read reports:write calls:read", &["voice-admin", "billing"]);
    let nothing = token("other", &["other"]);
    for (method, path, needs_nothing) in [
        ("GET", "/api/whoami", true),
        ("GET", "/api/reports", false),
        ("POST", "/api/reports", false),
        ("GET", "/api/brands/acme/reports", false),
        ("GET", "/api/calls", false),
        ("POST", "/api/calls", false),
        ("DELETE", "/api/subscribers/42", false),
    ] {
        let explain = |token: &str| run(&["explain", DEMO, method, path, "--token", token], "").status.code();
        assert_eq!(explain(&everything), Some(0), "{method} {path}");
        assert_eq!(explain(&nothing), Some(i32::from(!needs_nothing)), "{method} {path}");
    }
}

#[test]
fn no_example_puts_a_token_into_the_command_line() {
    let help = stdout(&run(&["explain", "--help"], ""));
    assert!(help.contains("--token -\n") && help.contains("shell's history"), "{help}");
    let readme = include_str!("../../../README.md");
    for text in [help.as_str(), readme] {
        let examples = text.split("--token ").skip(1);
        let given: Vec<&str> = examples.filter_map(|rest| rest.split_whitespace().next()).collect();
        assert!(!given.is_empty() && given.iter().all(|given| ["-", "<TOKEN>"].contains(given)), "{given:?}");
    }
}

#[test]
fn every_problem_of_a_file_is_reported_with_file_and_line() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("policy.toml");
    let file = file.to_str().unwrap();
    std::fs::write(file, "[[rule]]\nmethods = [\"get\"]\npath = \"reports\"\n").unwrap();
    let output = run(&["check", file], "");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    let errors = stderr(&output);
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(lines[1].starts_with(&format!("{file}:2: ")) && lines[1].contains("write \"GET\""), "{errors}");
    assert!(
        lines[2].starts_with(&format!("{file}:3: ")) && lines[2].contains("write \"/reports\""),
        "{errors}"
    );

    let output = run(&["check", file, "--json"], "");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["valid"], &report["problems"][1]["line"]), (&json!(false), &json!(3)));

    let output = run(&["explain", file, "GET", "/", "--token", &token("a", &[])], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("{file}:2: ")), "{}", stderr(&output));
    let output = run(&["check", &format!("{file}.missing")], "");
    assert!(stderr(&output).contains("policy.toml.missing: No such file"), "{}", stderr(&output));
}

#[test]
fn a_policy_of_a_windows_shell_is_read() {
    let policy = std::fs::read_to_string(DEMO).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("policy.toml");
    let units: Vec<u8> = policy.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in
        [[&[0xff, 0xfe][..], &units].concat(), units.clone(), [b"\xef\xbb\xbf", policy.as_bytes()].concat()]
    {
        std::fs::write(&file, bytes).unwrap();
        let file = file.to_str().unwrap();
        let output = run(&["check", file], "");
        assert_eq!(stdout(&output), format!("{file}: 7 rules, no problems\n"), "{}", stderr(&output));
        let output = run(&["explain", file, "GET", "/api/whoami", "--token", &token("a", &[])], "");
        assert!(output.status.success(), "{}", stderr(&output));
    }
    std::fs::write(&file, b"[[rule]]\xe9").unwrap();
    assert!(stderr(&run(&["check", file.to_str().unwrap()], "")).contains("the file is not text"));
}

#[test]
fn a_decision_is_explained() {
    let token = token("reports:read", &["reporting"]);
    let explain = |method: &str, path: &str| run(&["explain", DEMO, method, path, "--token", &token], "");
    let allowed = explain("GET", "/api/brands/acme/reports");
    assert_eq!(allowed.status.code(), Some(0), "{}", stderr(&allowed));
    for expected in [
        "request   GET /api/brands/acme/reports\n",
        "rule      line 23: GET /api/brands/{brandKey}/reports\n",
        "requires  every scope of reports:read\n",
        "requires  {brandKey} equal to brandKey\n",
        "token     sub svc, client_id svc\n",
        "scope reports:read\n",
        "roles reporting\n",
        "brandKey acme\n",
        "not checked: signature",
        "\nallowed\n",
    ] {
        assert!(stdout(&allowed).contains(expected), "{expected:?} in {}", stdout(&allowed));
    }
    for (method, path, why) in [
        ("POST", "/api/reports", "line 18: the token lacks scope reports:write"),
        ("POST", "/api/calls", "the token has none of the roles voice-admin"),
        ("GET", "/api/brands/globex/reports", "{brandKey} differs from the token's brandKey"),
        ("PUT", "/api/reports", "the path has rules for GET, POST"),
        ("GET", "/api/nothing", "no rule matches this path"),
        ("GET", "/api/Reports", "the path is ambiguous"),
        ("GET", "/api/x/../reports", "dot segment"),
        ("GET", "/api/reports?month=1", "the query is not part of the path"),
    ] {
        let refused = explain(method, path);
        assert_eq!(refused.status.code(), Some(1), "{method} {path}");
        assert!(stdout(&refused).contains("\nrefused   "), "{}", stdout(&refused));
        assert!(stdout(&refused).contains(why), "{why} in {}", stdout(&refused));
        assert_eq!(stderr(&refused), "error: the request is refused\n");
    }
    let refused = run(&["explain", DEMO, "POST", "/api/reports", "--json", "--token", &token], "");
    assert_eq!(refused.status.code(), Some(1));
    let report: Value = serde_json::from_str(&stdout(&refused)).unwrap();
    assert_eq!(report["allowed"], false);
    assert_eq!(report["verified"], false);
    assert_eq!(report["rule"]["scopes"], json!(["reports:write"]));
    assert_eq!(report["claims"]["scope"], "reports:read");
    assert!(report["reason"].as_str().unwrap().contains("reports:write"));

    for garbage in ["", "x.y.z", "not a token"] {
        let output = run(&["explain", DEMO, "GET", "/api/whoami", "--token", garbage], "");
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{garbage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_response_is_read_from_standard_input() {
    let issuer = TestIssuer::start().await;
    let response = issuer.token("demo-service", CLIENT_CREDENTIALS, &[("brandKey", "acme")]).await;
    let explain = ["explain", DEMO, "GET", "/api/brands/acme/reports", "--token", "-"];
    for stdin in [response.text.as_str(), &response.access_token()] {
        let output = run(&explain, stdin);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("sub demo-service"), "{}", stdout(&output));
    }
    assert!(stderr(&run(&explain, "")).contains("no token on standard input"));
}

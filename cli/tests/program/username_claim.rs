//! `client create|update --username-claim`.

use countersign_tests::{JANE, TestIssuer};
use serde_json::Value;

use crate::shell::Shell;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_can_have_the_username_in_a_claim() {
    let issuer = TestIssuer::start().await;
    let shell = Shell { issuer: &issuer };
    assert_eq!(shell.ok("client show demo-app", "")["username_claim"], Value::Null);
    let claim = async |name: &str| {
        let token = issuer.token("demo-app", JANE, &[]).await.access_token();
        issuer.verify_token(&token).await.get(name).cloned()
    };
    assert_eq!(
        shell.ok("client update demo-app --username-claim user_name", "")["username_claim"],
        "user_name"
    );
    assert_eq!(claim("user_name").await, Some("jane@example.com".into()));
    assert_eq!(shell.ok("client update demo-app --access-ttl 60", "")["username_claim"], "user_name");
    // A copy of the record keeps it.
    let export = String::from_utf8(shell.run("client export", "").stdout).unwrap();
    assert!(export.contains("\"username_claim\":\"user_name\""), "{export}");
    let create = "client create copy --grant password --brand acme --audience https://api.example.com";
    let url = "https://acme.example.com/login";
    assert_eq!(shell.ok(&format!("{create} --username-claim {url}"), "")["username_claim"], url);
    for (name, text) in [("SUB", "reserved"), ("BrandKey", "reserved"), ("1st", "not a claim's name")] {
        let output = shell.run(&format!("client update demo-app --username-claim {name}"), "");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(text), "{name}: {error}");
    }
    assert_eq!(shell.ok("client update demo-app --username-claim off", "")["username_claim"], Value::Null);
    assert_eq!(claim("user_name").await, None);
}

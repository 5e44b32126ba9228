//! Compares docs/openapi.json with the code: both have the same paths, methods, statuses and
//! errors. The table in the README has the same parameters.

use countersign_tests::{CLIENT_CREDENTIALS, JANE, TestIssuer};
use reqwest::Method;
use serde_json::Value;

fn description() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn every_path_is_described_and_every_description_is_served() {
    let (issuer, described) = (TestIssuer::start().await, description());
    for (path, operations) in described["paths"].as_object().unwrap() {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let answer = issuer.request(method.clone(), path, &[], Vec::new()).await;
            let is_described = operations.get(method.as_str().to_lowercase()).is_some();
            assert_eq!(answer.status != 405, is_described, "{method} {path}: {}", answer.status);
        }
    }
    let metadata = issuer.get("/.well-known/oauth-authorization-server", &[]).await.json();
    for endpoint in ["token_endpoint", "revocation_endpoint", "introspection_endpoint", "jwks_uri"] {
        let path = metadata[endpoint].as_str().unwrap().strip_prefix(&issuer.url).unwrap();
        assert!(described["paths"].get(path).is_some(), "{path}");
    }
    let grants = &described["components"]["schemas"]["TokenRequest"]["properties"]["grant_type"]["enum"];
    assert_eq!(&metadata["grant_types_supported"], grants);
}

#[tokio::test]
async fn the_errors_are_those_that_are_described() {
    let (issuer, described) = (TestIssuer::start().await, description());
    let mut unseen: Vec<String> = described["components"]["schemas"]["Error"]["properties"]["error"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    let access_token = issuer.token("demo-voice", CLIENT_CREDENTIALS, &[]).await.access_token();
    for (path, client, form) in [
        ("/oauth/token", "demo-voice", &[][..]),
        ("/oauth/token", "nobody", CLIENT_CREDENTIALS),
        ("/oauth/token", "demo-app", &[JANE[0], JANE[1], ("password", "wrong")]),
        ("/oauth/token", "demo-voice", JANE),
        ("/oauth/token", "demo-voice", &[("grant_type", "implicit")]),
        ("/oauth/token", "demo-voice", &[CLIENT_CREDENTIALS[0], ("scope", "none")]),
        ("/oauth/token", "demo-voice", &[CLIENT_CREDENTIALS[0], ("resource", "urn:x")]),
        ("/oauth/token", "demo-voice", &[CLIENT_CREDENTIALS[0], ("audience", "urn:x")]),
        ("/oauth/revoke", "demo-app", &[("token", &access_token)]),
    ] {
        let answer = issuer.post(path, client, form).await;
        let code = answer.json()["error"].as_str().unwrap().to_owned();
        unseen.retain(|described| *described != code);
        let responses = &described["paths"][path]["post"]["responses"];
        assert!(responses.get(answer.status.as_str()).is_some(), "{} {path}", answer.status);
    }
    assert_eq!(unseen, ["temporarily_unavailable", "server_error"], "the two errors that need a fault");
}

#[tokio::test]
async fn a_compressed_body_is_answered_as_described() {
    let (issuer, described) = (TestIssuer::start().await, description());
    for path in ["/oauth/token", "/oauth/refresh", "/oauth/revoke", "/oauth/introspect"] {
        let answer = issuer.send(path, &[("content-encoding", "gzip")], "x").await;
        let response = &described["paths"][path]["post"]["responses"][answer.status.as_str()];
        let described = described.pointer(&response["$ref"].as_str().unwrap()[1..]).unwrap();
        for (name, header) in described["headers"].as_object().unwrap() {
            assert_eq!(header["schema"]["const"], answer.header(name), "{name}");
        }
    }
}

#[test]
fn the_readme_lists_every_parameter_of_the_token_endpoint() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let table = readme.split_once("The parameters of `POST /oauth/token`").unwrap().1;
    let rows = table.split("\n\n").nth(1).unwrap().lines().skip(2);
    let mut listed: Vec<&str> =
        rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    let schema = &description()["components"]["schemas"]["TokenRequest"]["properties"];
    let mut described: Vec<&str> = schema.as_object().unwrap().keys().map(String::as_str).collect();
    listed.sort_unstable();
    described.sort_unstable();
    assert_eq!(listed, described);
}

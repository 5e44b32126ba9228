//! `--json` over the records of earlier releases prints every member that those releases printed.

use std::path::Path;

use countersign_issuer::config::DEFAULT_TABLE_PREFIX;
use countersign_tests::TestIssuer;
use serde_json::{Value, json};

use crate::shell::Shell;

fn read_json(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Writes an item in the JSON of DynamoDB, which is what the embedded store reads.
async fn put(issuer: &TestIssuer, table: &str, item: &Value) {
    let request = json!({ "TableName": format!("{DEFAULT_TABLE_PREFIX}{table}"), "Item": item });
    let endpoint = issuer.variable("AWS_ENDPOINT_URL_DYNAMODB").unwrap();
    let scope = "Credential=local/20260101/eu-central-1/dynamodb/aws4_request";
    let response = reqwest::Client::new()
        .post(endpoint)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", "DynamoDB_20120810.PutItem")
        .header("x-amz-date", "20260101T000000Z")
        .header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"))
        .body(request.to_string());
    assert_eq!(response.send().await.unwrap().status(), 200);
}

/// Asserts that `now` has every member and every element of `before`, with the same values; it may
/// have more members.
#[track_caller]
fn assert_kept(before: &Value, now: &Value, at: &str) {
    match (before, now) {
        (Value::Object(members), Value::Object(_)) => {
            for (name, value) in members {
                assert_kept(value, &now[name], &format!("{at}.{name}"));
            }
        }
        (Value::Array(elements), Value::Array(more)) => {
            assert_eq!(elements.len(), more.len(), "{at}");
            for (value, now) in elements.iter().zip(more) {
                assert_kept(value, now, at);
            }
        }
        _ => assert_eq!(before, now, "{at}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_keeps_the_members_of_earlier_releases() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    for folder in std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()) {
        if !folder.to_string_lossy().contains("/release-") {
            continue;
        }
        let issuer = TestIssuer::start().await;
        for table in ["clients", "principals"] {
            let records = read_json(&folder.join(format!("records/{table}.json")));
            for item in records.as_array().unwrap() {
                put(&issuer, table, item).await;
            }
        }
        let shell = Shell { issuer: &issuer };
        for (command, file) in [
            ("client list", "client-list"),
            ("client show fixture-billing", "client-show"),
            ("user show josé --brand globex", "user-show"),
        ] {
            let before = read_json(&folder.join(format!("json/{file}.json")));
            assert_kept(&before, &shell.ok(command, ""), command);
        }
    }
}

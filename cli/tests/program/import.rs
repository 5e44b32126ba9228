//! Imports of Spring's tables, of users, of operators and of exports, and the errors that a file
//! can contain.

mod dialects;
mod exports;
mod lists;
mod rows;
mod runs;
mod secrets;
mod settings;
mod tables;
mod users;
mod values;

use std::path::{Path, PathBuf};

use crate::shell::Shell;
use countersign_tests::{TestIssuer, TestResponse, encode};
use serde_json::Value;

/// All secrets and passwords in `tests/data`, except Carol's and Cleo's.
const SECRET: &str = "partner-secret-1";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

fn spring(files: &[&str], options: &str) -> String {
    let files: Vec<String> = files.iter().map(|file| data(file).display().to_string()).collect();
    format!("client import spring {} {options}", files.join(" "))
}

fn details() -> String {
    spring(&["oauth_client_details.csv"], &format!("--mapping {}", data("mapping.toml").display()))
}

fn registered() -> String {
    let mapping = data("mapping-registered.toml");
    spring(&["oauth2_registered_client.json"], &format!("--mapping {}", mapping.display()))
}

/// Runs an import, asserts its exit code and returns its report.
fn import(shell: &Shell<'_>, line: &str, code: i32) -> Value {
    let output = shell.run(&format!("--json {line}"), "");
    assert_eq!(output.status.code(), Some(code), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The id and the action of every row.
fn actions(report: &Value, rows: &str) -> Vec<String> {
    let rows = report[rows].as_array().unwrap().iter();
    rows.map(|row| format!("{} {}", row["id"].as_str().unwrap(), row["action"].as_str().unwrap())).collect()
}

async fn ask(issuer: &TestIssuer, client_id: &str, secret: &str, form: &[(&str, &str)]) -> TestResponse {
    let client = [("client_id", client_id), ("client_secret", secret)];
    issuer.send("/oauth/token", &[], encode(&[&client[..], form].concat())).await
}

const BY_ITSELF: &[(&str, &str)] = &[("grant_type", "client_credentials"), ("brandKey", "acme")];
const LOG_IN: &[(&str, &str)] =
    &[("grant_type", "password"), ("username", "bob@example.com"), ("password", SECRET)];

//! The clients' records and secrets.

use countersign_issuer::credentials::SECRET_NOTICE;
use countersign_issuer::keys::format_duration;
use countersign_issuer::records::{Client, RecordProblem};
use countersign_issuer::store::Table;
use countersign_issuer::tokens::ClientRules;
use countersign_verify::Timestamp;

use super::finding::Finding;
use crate::output::Output;

const CHECK: &str = "clients";

/// Reports records that cannot be read, and enabled clients that break a rule or have no secret
/// that lasts.
pub(super) async fn check(
    clients: &Table<Client>,
    rules: &ClientRules,
    now: Timestamp,
    output: &Output,
) -> Vec<Finding> {
    let records = match clients.list().await {
        Ok(records) => records,
        Err(error) => {
            return vec![Finding::broken(CHECK, error.to_string(), "see the findings on the tables")];
        }
    };
    let count = records.len();
    let mut findings: Vec<Finding> = records
        .into_iter()
        .flat_map(|record| match record {
            Ok(client) => [check_rules(&client, rules), check_secrets(&client, now, output)].concat(),
            Err(error) => vec![Finding::broken(
                CHECK,
                error.to_string(),
                "the client is refused until its item is repaired, or deleted with `countersign client delete`",
            )],
        })
        .collect();
    if findings.is_empty() {
        let notice = format_duration(SECRET_NOTICE);
        findings.push(Finding::ok(CHECK, format!("{count} clients; no secret expires within {notice}")));
    }
    findings
}

/// Reports an enabled client with each rule that it breaks: it was written before the rule, or by
/// other means.
fn check_rules(client: &Client, rules: &ClientRules) -> Vec<Finding> {
    if !client.enabled {
        return Vec::new();
    }
    let finding = |problem: &RecordProblem| {
        let remedy = format!("correct it with `countersign client update {}`", client.client_id);
        Finding::warning(CHECK, format!("{}: {problem}", client.client_id), remedy)
    };
    rules.problems(client).iter().map(finding).collect()
}

/// Reports an enabled client that has no live secret, or one that expires soon.
fn check_secrets(client: &Client, now: Timestamp, output: &Output) -> Vec<Finding> {
    if !client.enabled {
        return Vec::new();
    }
    let id = &client.client_id;
    let live = || client.secrets.iter().filter(|secret| secret.is_live(now));
    if live().next().is_none() {
        return vec![Finding::broken(
            CHECK,
            format!("{id} has no live secret: its requests are refused"),
            format!("add one with `countersign client secret add {id}`"),
        )];
    }
    let ending = live().filter(|secret| secret.ends_soon(now));
    let is_last = ending.clone().count() == live().count();
    let (which, remedy) = if is_last {
        let add =
            format!("add another one with `countersign client secret add {id}`, and use it before then");
        ("the last secret", add)
    } else {
        ("a secret", format!("check whether it is still in use with `countersign client secret list {id}`"))
    };
    let latest = ending.filter_map(|secret| secret.expires).max();
    let found = latest.map(|end| {
        Finding::warning(CHECK, format!("{which} of {id} expires at {}", output.time(end)), remedy)
    });
    found.into_iter().collect()
}

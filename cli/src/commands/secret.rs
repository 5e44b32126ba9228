//! `countersign client secret`: replacing a secret without downtime.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use countersign_issuer::credentials::ClientSecret;
use countersign_issuer::keys::format_duration;
use countersign_issuer::records::{Client, MAX_SECRETS};
use countersign_issuer::store::Table;
use countersign_verify::Timestamp;
use serde_json::{Value, json};

use super::client::{change, find, new_secret, show_with_secret};
use super::{Administration, Outcome, confirm};
use crate::output::{list, moment};

/// A secret that was used later than so long ago is still in use.
const LATELY: Duration = Duration::from_secs(7 * 24 * 3600);

const EXAMPLES: &str = "\
Examples:
  countersign client secret add billing --expire-others 7d
  countersign client secret list billing --audit-log token.log --audit-log refresh.log --audit-log authorizer.log
  countersign client secret revoke billing Zk3vT0aQ --audit-log token.log --audit-log refresh.log

The audit log is what the functions token, refresh and authorizer write, one JSON object a line, e.g. from
  aws logs tail /aws/lambda/countersign-token --since 7d --format short > token.log
or what `countersign dev` writes on standard error. A secret may be in use at one of them alone: give all three logs.";

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Give the client a second secret; a generated one is shown once
    #[command(after_help = "Example:\n  countersign client secret add billing --expire-others 7d")]
    Add {
        /// The client's id
        client_id: String,
        /// Take the secret from standard input instead of generating one
        #[arg(long)]
        secret_stdin: bool,
        /// Let the secrets that it has now expire after this time, e.g. 7d, 12h or 90s
        #[arg(long, value_name = "TIME", value_parser = period)]
        expire_others: Option<Duration>,
    },
    /// List the client's secrets, with their age, their expiry and, from the audit log, their last use
    #[command(after_help = EXAMPLES)]
    List {
        /// The client's id
        client_id: String,
        /// What a function logged (repeatable)
        #[arg(long = "audit-log", value_name = "FILE")]
        audit_logs: Vec<PathBuf>,
    },
    /// Take a secret away
    #[command(after_help = EXAMPLES)]
    Revoke {
        /// The client's id
        client_id: String,
        /// The secret's id, from the list
        secret_id: String,
        /// What a function logged, to be warned of a secret that is in use (repeatable)
        #[arg(long = "audit-log", value_name = "FILE")]
        audit_logs: Vec<PathBuf>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

fn period(value: &str) -> Result<Duration, String> {
    let expected = || "a time such as 7d, 12h or 90s".to_owned();
    let span: jiff::Span = value.parse().map_err(|_| expected())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours());
    duration.ok().and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(expected)
}

impl SecretCommand {
    pub(super) async fn run(self, to: &Administration, clients: &Table<Client>, json: bool) -> Outcome {
        let now = to.clock.now();
        match self {
            Self::Add { client_id, secret_stdin, expire_others } => {
                let mut client = find(clients, &client_id).await?;
                // What has expired is of no more use to anybody.
                client.secrets.retain(|secret| secret.is_live(now));
                if client.secrets.len() >= MAX_SECRETS {
                    let remedy = "see `client secret list` and revoke one";
                    return Err(format!("{client_id} has {MAX_SECRETS} live secrets; {remedy}").into());
                }
                if let Some(time) = expire_others {
                    let end = now.plus(time);
                    for secret in &mut client.secrets {
                        secret.expires = Some(secret.expires.map_or(end, |known| known.min(end)));
                    }
                }
                let (secret, stored) = new_secret(to, secret_stdin, now)?;
                client.secrets.push(stored.clone());
                client.updated = now;
                clients.save(&mut client).await?;
                show_with_secret(view(&stored), secret.as_ref(), json);
                for endless in
                    client.secrets.iter().filter(|one| one.id != stored.id && one.expires.is_none())
                {
                    warn(&format!(
                        "secret {} does not expire; revoke it once the new one is in use, or give --expire-others",
                        endless.id
                    ));
                }
                Ok(())
            }
            Self::List { client_id, audit_logs } => {
                let client = find(clients, &client_id).await?;
                let uses = if audit_logs.is_empty() { None } else { Some(last_uses(&audit_logs)?) };
                let secrets: Vec<Value> = client
                    .secrets
                    .iter()
                    .map(|secret| {
                        let mut shown = view(secret);
                        shown["age"] = ago(now, secret.created).into();
                        shown["last_used"] = match &uses {
                            None => "unknown".into(),
                            Some(uses) => uses.get(&secret.id).copied().map(moment).into(),
                        };
                        shown
                    })
                    .collect();
                list(&secrets, &["id", "kind", "created", "age", "expires", "last_used"], json);
                Ok(())
            }
            Self::Revoke { client_id, secret_id, audit_logs, yes } => {
                let client = find(clients, &client_id).await?;
                if !client.secrets.iter().any(|secret| secret.id == secret_id) {
                    return Err(
                        format!("{client_id} has no secret {secret_id}; see `client secret list`").into()
                    );
                }
                let warnings = warnings(&client, &secret_id, &audit_logs, now)?;
                if yes {
                    for warning in &warnings {
                        warn(warning);
                    }
                }
                let question = format!("Revoke secret {secret_id} of {client_id}?");
                confirm(&warnings.into_iter().chain([question]).collect::<Vec<_>>().join(" "), yes)?;
                change(to, clients, &client_id, json, |client| {
                    client.secrets.retain(|one| one.id != secret_id);
                })
                .await
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "a warning is no part of the result")]
fn warn(warning: &str) {
    eprintln!("warning: {warning}");
}

/// How long ago, in whole seconds.
fn ago(now: Timestamp, then: Timestamp) -> String {
    format_duration(Duration::from_secs(now.since(then).as_secs()))
}

/// What is to be said before a secret goes: that it is in use, or the last one.
fn warnings(
    client: &Client,
    secret_id: &str,
    audit_logs: &[PathBuf],
    now: Timestamp,
) -> Outcome<Vec<String>> {
    let mut warnings = Vec::new();
    if let Some(used) = last_uses(audit_logs)?.remove(secret_id)
        && now.since(used) < LATELY
    {
        warnings.push(format!("It was used {} ago, at {}.", ago(now, used), moment(used)));
    }
    if !client.secrets.iter().any(|secret| secret.id != secret_id && secret.is_live(now)) {
        warnings.push(format!("{} has no other live secret.", client.client_id));
    }
    Ok(warnings)
}

/// When each secret was last used, by its id.
fn last_uses(audit_logs: &[PathBuf]) -> Outcome<HashMap<String, Timestamp>> {
    let mut uses = HashMap::new();
    for path in audit_logs {
        read_uses(path, &mut uses).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(uses)
}

fn read_uses(path: &Path, uses: &mut HashMap<String, Timestamp>) -> std::io::Result<()> {
    let mut log = std::io::BufReader::new(std::fs::File::open(path)?);
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line)? > 0 {
        if let Some((secret_id, at)) = read_use(&String::from_utf8_lossy(&line)) {
            let last = uses.entry(secret_id).or_insert(at);
            *last = at.max(*last);
        }
        line.clear();
    }
    Ok(())
}

/// The secret and the time of a line of a request that was made with one: JSON, perhaps with something before it, as log
/// tools put it, or the text of `countersign dev`.
fn read_use(line: &str) -> Option<(String, Timestamp)> {
    let from_json = || {
        let object: Value = serde_json::from_str(line.get(line.find('{')?..)?.trim_end()).ok()?;
        Some((object["secret_id"].as_str()?.to_owned(), object["timestamp"].as_str()?.to_owned()))
    };
    let from_text = || {
        let (id, _) = line.split_once("secret_id=\"")?.1.split_once('"')?;
        Some((id.to_owned(), line.split_whitespace().next()?.to_owned()))
    };
    let (id, at) = from_json().or_else(from_text)?;
    let at: jiff::Timestamp = at.parse().ok()?;
    Some((id, Timestamp::from_millis(u64::try_from(at.as_millisecond()).ok()?)))
}

/// A secret for showing; no hash.
pub(super) fn view(secret: &ClientSecret) -> Value {
    json!({
        "id": secret.id,
        "kind": secret.scheme(),
        "created": moment(secret.created),
        "expires": secret.expires.map(moment),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_read_as_logs_have_them() {
        let at = Some(("Zk3vT0aQ".to_owned(), Timestamp::from_seconds(1_798_761_600)));
        let json =
            r#"{"timestamp":"2027-01-01T00:00:00Z","level":"INFO","event":"issued","secret_id":"Zk3vT0aQ"}"#;
        assert_eq!(read_use(json), at);
        assert_eq!(read_use(&format!("2027-01-01T00:00:01 {json}\n")), at);
        let text =
            r#"2027-01-01T00:00:00Z  INFO request{secret_id="Zk3vT0aQ"}: audit: event="issued" sub="x""#;
        assert_eq!(read_use(text), at);
        assert_eq!(read_use(r#"{"timestamp":"2027-01-01T00:00:00Z","event":"refused"}"#), None);
        assert_eq!(read_use("START RequestId: 8476a536"), None);
    }
}

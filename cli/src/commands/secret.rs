//! `countersign client secret`: replacing a secret without downtime.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use countersign_issuer::credentials::{ClientSecret, Secret};
use countersign_issuer::keys::format_duration;
use countersign_issuer::records::{Client, MAX_SECRETS};
use countersign_verify::Timestamp;
use serde_json::Value;

use super::arguments::parse_duration;
use super::consequences::{Consequences, new_secret_usable_from};
use super::views;
use crate::outcome::{Invalid, NotFound, Outcome, with_remedy, with_remedy_if_unanswered};
use crate::output::{Output, line};
use crate::prompt::{confirm, read_secret};
use crate::records::{Change, Clients};
use crate::suggestions::did_you_mean;

/// A secret that was used within this time counts as in use.
const RECENT_USE: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) const EXAMPLES: &str = "\
Examples:
  countersign client secret add billing --expire-others 7d
  countersign client secret list billing \\
      --audit-log token.log --audit-log refresh.log \\
      --audit-log authorizer.log
  countersign client secret revoke billing Zk3vT0aQ \\
      --audit-log token.log --audit-log refresh.log

The functions token, refresh and authorizer each write an audit log, one JSON object a line. A secret may be in use at \
only one of them, so pass all three logs. Save them like this:
  aws logs tail /aws/lambda/countersign-token --since 7d \\
      --format short > token.log

The standard error of `countersign dev` can be passed as well.";

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Add a second secret; a generated one is shown once
    #[command(after_help = "Example:\n  countersign client secret add billing --expire-others 7d")]
    Add {
        /// Client id
        client_id: String,
        /// Read the secret from standard input instead of generating one
        #[arg(long)]
        secret_stdin: bool,
        /// Let the client's other secrets expire after this time, such as 7d, 12h or 90s
        #[arg(long, value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
        expire_others: Option<Duration>,
    },
    /// List the secrets with age, expiry and, from the audit logs, last use
    #[command(after_help = EXAMPLES)]
    List {
        /// Client id
        client_id: String,
        /// Audit log of a function (repeatable)
        #[arg(long = "audit-log", value_name = "FILE")]
        audit_logs: Vec<PathBuf>,
    },
    /// Revoke a secret
    #[command(after_help = EXAMPLES)]
    Revoke {
        /// Client id
        client_id: String,
        /// Id of the secret, from `client secret list`
        #[arg(allow_hyphen_values = true)]
        secret_id: String,
        /// Audit log of a function; warn if the secret is in use (repeatable)
        #[arg(long = "audit-log", value_name = "FILE")]
        audit_logs: Vec<PathBuf>,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// Warns of a chosen secret that clients are likely to send differently. docs/clients.md has the
/// encodings under "HTTP Basic".
fn chosen_secret_warning(secret: &str) -> Option<&'static str> {
    if !secret.is_ascii() {
        Some(
            "the secret has characters outside of ASCII, which clients encode in different ways: a client may be refused \
             with the right secret",
        )
    } else if secret.trim() != secret {
        Some("the secret begins or ends with a space, which is part of it: clients and forms may drop it")
    } else {
        None
    }
}

/// A new secret, and its hash to store.
pub(super) enum NewSecret {
    /// To be shown, this once.
    Generated(Secret, ClientSecret),
    /// The caller knows it.
    Chosen(Secret, ClientSecret),
}

impl NewSecret {
    /// Reads a secret from standard input, or generates one.
    pub(super) fn make(clients: &Clients<'_>, from_stdin: bool, output: &Output) -> Outcome<Self> {
        let secret = if from_stdin { read_secret("Secret", true)? } else { clients.generate_secret()? };
        if secret.expose().is_empty() {
            return Err(Invalid("the secret on standard input is empty".into()).into());
        }
        if from_stdin && let Some(warning) = chosen_secret_warning(secret.expose()) {
            output.warn(warning);
        }
        let stored = clients.hash_secret(&secret)?;
        Ok(if from_stdin { Self::Chosen(secret, stored) } else { Self::Generated(secret, stored) })
    }

    pub(super) fn stored(&self) -> &ClientSecret {
        match self {
            Self::Generated(_, stored) | Self::Chosen(_, stored) => stored,
        }
    }

    /// Shows a record and, this once, a generated secret.
    pub(super) fn show_with(&self, mut record: Value, output: &Output) {
        match self {
            Self::Chosen(..) => output.show(&record),
            Self::Generated(secret, _) if output.is_json() => {
                record["client_secret"] = secret.expose().into();
                output.show(&record);
            }
            Self::Generated(secret, _) => {
                output.show(&record);
                line("");
                line(&format!("client_secret  {}", secret.expose()));
                line("It is not stored and cannot be shown again.");
            }
        }
    }
}

impl SecretCommand {
    pub(super) async fn run(self, clients: &Clients<'_>, output: &Output) -> Outcome {
        match self {
            Self::Add { client_id, secret_stdin, expire_others } => {
                add(clients, &client_id, secret_stdin, expire_others, output).await
            }
            Self::List { client_id, audit_logs } => {
                let client = clients.find(&client_id).await?;
                let uses = if audit_logs.is_empty() { None } else { Some(last_uses(&audit_logs)?) };
                let now = clients.clock().now();
                let secrets: Vec<Value> = client
                    .secrets
                    .iter()
                    .map(|secret| {
                        let mut shown = views::secret_in_table(secret, output);
                        if output.is_json() {
                            shown["age"] = ago(now, secret.created).into();
                        }
                        shown["last_used"] = match &uses {
                            None => "unknown".into(),
                            Some(uses) => uses.get(&secret.id).map(|at| output.time_in_table(*at)).into(),
                        };
                        shown
                    })
                    .collect();
                output.list(&secrets, &["id", "kind", "created", "expires", "last_used"]);
                Ok(())
            }
            Self::Revoke { client_id, secret_id, audit_logs, yes } => {
                revoke(clients, &client_id, &secret_id, &audit_logs, yes, output).await
            }
        }
    }
}

async fn add(
    clients: &Clients<'_>,
    client_id: &str,
    secret_stdin: bool,
    expire_others: Option<Duration>,
    output: &Output,
) -> Outcome {
    let now = clients.clock().now();
    let mut client = clients.find(client_id).await?;
    // An expired secret only takes the place of a new one.
    client.secrets.retain(|secret| secret.is_live(now));
    if client.secrets.len() >= MAX_SECRETS {
        return Err(Invalid(too_many_secrets(&client, output)).into());
    }
    if let Some(time) = expire_others {
        let end = now.plus(time);
        for secret in &mut client.secrets {
            secret.expires = Some(secret.expires.map_or(end, |known| known.min(end)));
        }
    }
    let secret = NewSecret::make(clients, secret_stdin, output)?;
    let stored = secret.stored();
    client.secrets.push(stored.clone());
    clients.save(&mut client).await.map_err(|error| {
        let remedy = format!(
            "If DynamoDB did not answer, the secret may be stored all the same, although it was not shown: see \
             `countersign client secret list {client_id}`."
        );
        with_remedy_if_unanswered(error, remedy)
    })?;
    let usable_from = output.time(new_secret_usable_from(clients.clock().now()));
    let mut view = views::secret(stored, output);
    view["usable_from"] = usable_from.into();
    secret.show_with(view, output);
    if !output.is_json() {
        line("Before it is usable, a function that has just read the client's record refuses it.");
    }
    for endless in client.secrets.iter().filter(|one| one.id != stored.id && one.expires.is_none()) {
        output.warn(&format!(
            "secret {} does not expire; revoke it once the new one is in use, or give --expire-others",
            endless.id
        ));
    }
    Ok(())
}

async fn revoke(
    clients: &Clients<'_>,
    client_id: &str,
    secret_id: &str,
    audit_logs: &[PathBuf],
    yes: bool,
    output: &Output,
) -> Outcome {
    let client = clients.find(client_id).await?;
    if !client.secrets.iter().any(|secret| secret.id == secret_id) {
        let error = NotFound(format!("{client_id} has no secret {secret_id}; see `client secret list`"));
        let ids = client.secrets.iter().map(|secret| secret.id.as_str());
        return Err(with_remedy(error, did_you_mean(secret_id, ids)));
    }
    let warnings = warnings(&client, secret_id, audit_logs, clients.clock().now(), output)?;
    clients.announce().await;
    if yes {
        for warning in &warnings {
            output.warn(warning);
        }
    }
    let question = format!("Revoke secret {secret_id} of {client_id}?");
    confirm(&warnings.into_iter().chain([question]).collect::<Vec<_>>().join(" "), yes)?;
    let Change { after: changed, .. } =
        clients.change(client_id, |client| client.secrets.retain(|one| one.id != secret_id)).await?;
    let consequences = Consequences::of_revoked_secret(&changed, clients.clock().now(), output);
    consequences.show_with(views::client(&changed, output), output);
    Ok(())
}

/// Names the secrets of a client that can have no other one.
fn too_many_secrets(client: &Client, output: &Output) -> String {
    let id = &client.client_id;
    let named = |secret: &ClientSecret| format!("{} (created {})", secret.id, output.time(secret.created));
    let secrets: Vec<String> = client.secrets.iter().map(named).collect();
    format!(
        "{id} has {MAX_SECRETS} live secrets: {}; revoke one with `countersign client secret revoke {id} SECRET_ID`. If \
         the answer to an earlier command was lost, the newest was never shown: revoke that one",
        secrets.join(", ")
    )
}

/// The time between `then` and `now`, in whole seconds.
fn ago(now: Timestamp, then: Timestamp) -> String {
    format_duration(Duration::from_secs(now.since(then).as_secs()))
}

/// Warnings before a secret is revoked: it was used recently, or it is the last live one.
fn warnings(
    client: &Client,
    secret_id: &str,
    audit_logs: &[PathBuf],
    now: Timestamp,
    output: &Output,
) -> Outcome<Vec<String>> {
    let mut warnings = Vec::new();
    if let Some(used) = last_uses(audit_logs)?.remove(secret_id)
        && now.since(used) < RECENT_USE
    {
        warnings.push(format!("It was last used at {}.", output.time(used)));
    }
    if !client.secrets.iter().any(|secret| secret.id != secret_id && secret.is_live(now)) {
        warnings.push(format!("{} has no other live secret.", client.client_id));
    }
    Ok(warnings)
}

/// The last use of each secret, by its id.
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

/// Reads the secret's id and the time from a log line of a request that authenticated with a
/// secret. The line is JSON, possibly after a prefix by a log tool.
fn read_use(line: &str) -> Option<(String, Timestamp)> {
    let object: Value = serde_json::from_str(line[line.find('{')?..].trim_end()).ok()?;
    let id = object["secret_id"].as_str()?.to_owned();
    let at: jiff::Timestamp = object["timestamp"].as_str()?.parse().ok()?;
    Some((id, Timestamp::from_millis(u64::try_from(at.as_millisecond()).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_read_from_lines_with_and_without_a_prefix() {
        let at = Some(("Zk3vT0aQ".to_owned(), Timestamp::from_seconds(1_798_761_600)));
        let json =
            r#"{"timestamp":"2027-01-01T00:00:00Z","level":"INFO","event":"issued","secret_id":"Zk3vT0aQ"}"#;
        assert_eq!(read_use(json), at);
        assert_eq!(read_use(&format!("2027-01-01T00:00:01 {json}\n")), at);
        assert_eq!(read_use(r#"{"event":"issued","secret_id":"Zk3vT0aQ"}"#), None);
        assert_eq!(read_use(r#"{"timestamp":"2027-01-01T00:00:00Z","event":"refused"}"#), None);
        assert_eq!(read_use("START RequestId: 8476a536"), None);
    }
}

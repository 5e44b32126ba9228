//! `countersign doctor`: what is wrong with a deployment, and what to do about it.

mod published;
mod tables;

use std::time::Duration;

use clap::Args;
use countersign_issuer::config::EnvelopeConfig;
use countersign_issuer::config::StoreConfig;
use countersign_issuer::credentials::SECRET_NOTICE;
use countersign_issuer::keys::{KeyTable, Ring, RotationSchedule, format_duration};
use countersign_issuer::records::Client;
use countersign_issuer::store::{Table, dynamodb};
use countersign_verify::{Clock, Timestamp};
use serde_json::{Value, json};

use super::target::{Lookup, Target, with_causes};
use super::{Outcome, log_to_stderr};
use crate::output::{line, moment, show};

/// A rotation that is later than this is missed: it runs every hour.
const ROTATION_GRACE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Args)]
#[command(after_help = "\
Looks at the tables and their expiry, the ring of keys, KMS, this machine's clock, clients' secrets, and at what the issuer
publishes as its clients see it. Changes nothing.

Examples:
  countersign doctor
  countersign doctor --profile admin --region eu-central-1 --prefix staging-countersign- --json

The stack's output Environment has the variables to set first. Exit code: 0 where nothing is broken, 1 where something is.")]
pub(super) struct DoctorCommand {}

/// What one look has found.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    state: State,
    found: String,
    /// What to do about it; none where all is well.
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// It works, and will not for ever; or it could not be looked at.
    Warning,
    Broken,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), remedy: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Warning, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn broken(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Broken, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn state(&self) -> &'static str {
        match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Broken => "broken",
        }
    }
}

impl DoctorCommand {
    pub(super) async fn run(self, target: &Target, json: bool) -> Outcome {
        log_to_stderr();
        let lookup = target.lookup().await?;
        let findings = examine(&lookup, &Clock::system()).await?;
        let broken = findings.iter().filter(|finding| finding.state == State::Broken).count();
        if json {
            let views: Vec<Value> = findings
                .iter()
                .map(|finding| {
                    json!({
                        "check": finding.check,
                        "state": finding.state(),
                        "found": finding.found,
                        "remedy": finding.remedy,
                    })
                })
                .collect();
            show(&json!({ "healthy": broken == 0, "findings": views }), true);
        } else {
            for finding in &findings {
                line(&format!("{:8} {:10} {}", finding.state(), finding.check, finding.found));
                if let Some(remedy) = &finding.remedy {
                    line(&format!("{:19} {remedy}", ""));
                }
            }
        }
        if broken == 0 {
            Ok(())
        } else {
            Err(format!("{broken} of {} findings are broken", findings.len()).into())
        }
    }
}

async fn examine(lookup: &Lookup, clock: &Clock) -> Outcome<Vec<Finding>> {
    let config = StoreConfig::from_lookup(lookup)?;
    let db = dynamodb(&config.aws);
    let mut findings = tables::check(&db, &config).await;
    let clients = Table::<Client>::new(db.clone(), &config.table_prefix);
    findings.extend(check_secrets(&clients, clock.now()).await);
    findings.push(check_wrapping(lookup, &config).await);
    let ring = KeyTable::new(db, &config.table_prefix).ring(&config.schedule).await;
    match &ring {
        Ok(ring) => findings.extend(check_ring(ring, clock.now(), &config.schedule)),
        Err(error) => findings.push(Finding::broken(
            "keys",
            error.to_string(),
            "without the signing-keys table no token can be issued or verified: see what is said of the tables",
        )),
    }
    findings.extend(published::check(lookup, ring.ok().as_ref(), clock));
    Ok(findings)
}

fn check_ring(ring: &Ring, now: Timestamp, schedule: &RotationSchedule) -> Vec<Finding> {
    const CHECK: &str = "keys";
    let Some(signing) = ring.signing(now) else {
        return vec![Finding::broken(
            CHECK,
            "no key signs: every token request is answered 503",
            "run `countersign key rotate`, or invoke the rotate function and read its log",
        )];
    };
    let mut findings = Vec::new();
    let age = now.since(signing.signs_from);
    let period = schedule.settings().rotation_period;
    let kid = signing.key.jwk.kid();
    if age > period + ROTATION_GRACE {
        findings.push(Finding::broken(
            CHECK,
            format!("{kid} has been signing for {}, and is due every {}", format_duration(age), format_duration(period)),
            "the rotate function has not run or has failed: read its log, and look at the schedule in EventBridge \
             Scheduler",
        ));
    } else {
        findings
            .push(Finding::ok(CHECK, format!("{kid} has been signing since {}", moment(signing.signs_from))));
    }
    match ring.announced(now) {
        Some(next) => findings.push(Finding::ok(
            CHECK,
            format!("{} is announced, and signs from {}", next.key.jwk.kid(), moment(next.signs_from)),
        )),
        None => findings.push(Finding::broken(
            CHECK,
            "no successor is announced: a compromised key could not be withdrawn without an outage",
            "run `countersign key rotate`, or invoke the rotate function and read its log",
        )),
    }
    findings
}

async fn check_wrapping(lookup: &Lookup, config: &StoreConfig) -> Finding {
    const CHECK: &str = "kms";
    let envelope = match StoreConfig::with_envelope_from_lookup(lookup) {
        Ok((_, envelope)) => envelope,
        Err(error) => {
            return Finding::warning(
                CHECK,
                format!("not looked at: {error}"),
                "set COUNTERSIGN_KMS_KEY_ID as the stack's output Environment has it",
            );
        }
    };
    let found = match &envelope {
        EnvelopeConfig::Kms { key_id, .. } => format!("{key_id} is enabled"),
        EnvelopeConfig::Local(_) => "COUNTERSIGN_LOCAL_KEY wraps the signing keys, without KMS".to_owned(),
    };
    match envelope.into_envelope(&config.aws).check().await {
        Ok(()) => Finding::ok(CHECK, found),
        Err(error) => Finding::broken(
            CHECK,
            error.to_string(),
            "without its KMS key no cold function can sign: `aws kms enable-key` or `aws kms cancel-key-deletion` \
             brings a key back; for a missing permission attach the stack's AdministratorPolicy",
        ),
    }
}

async fn check_secrets(clients: &Table<Client>, now: Timestamp) -> Vec<Finding> {
    const CHECK: &str = "clients";
    let records = match clients.list().await {
        Ok(records) => records,
        Err(error) => {
            return vec![Finding::broken(CHECK, error.to_string(), "see what is said of the tables")];
        }
    };
    let count = records.len();
    let mut findings: Vec<Finding> = records
        .into_iter()
        .flat_map(|record| match record {
            Ok(client) => check_client(&client, now),
            Err(error) => vec![Finding::broken(
                CHECK,
                error.to_string(),
                "nobody can use the client until its item is repaired, or deleted with `countersign client delete`",
            )],
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!("{count}, and no secret ends within {}", format_duration(SECRET_NOTICE)),
        ));
    }
    findings
}

/// What is to be said of an enabled client's secrets: none is left, or one soon ends.
fn check_client(client: &Client, now: Timestamp) -> Vec<Finding> {
    if !client.enabled {
        return Vec::new();
    }
    let id = &client.client_id;
    let add = format!("`countersign client secret add {id}` makes another one, to be used before then");
    let live = || client.secrets.iter().filter(|secret| secret.is_live(now));
    if live().next().is_none() {
        return vec![Finding::broken("clients", format!("{id} has no live secret: it cannot get in"), add)];
    }
    let ending = live().filter(|secret| secret.ends_soon(now));
    let is_last = ending.clone().count() == live().count();
    let (which, remedy) = if is_last {
        ("the last secret", add)
    } else {
        ("a secret", format!("`countersign client secret list {id}` says whether it is still in use"))
    };
    let latest = ending.filter_map(|secret| secret.expires).max();
    let found = latest.map(|end| {
        let left = format_duration(end.since(now));
        Finding::warning("clients", format!("{which} of {id} ends at {} ({left} left)", moment(end)), remedy)
    });
    found.into_iter().collect()
}

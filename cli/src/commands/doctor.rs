//! `countersign doctor`: reports each fault of a deployment with its remedy.

mod clients;
mod finding;
mod keys;
mod published;
mod tables;

use clap::Args;
use countersign_issuer::keys::KeyTable;
use countersign_issuer::records::Client;
use countersign_issuer::store::{Table, dynamodb};
use countersign_issuer::tokens::{ClientRules, IssuerUrl};
use countersign_verify::Clock;
use serde_json::{Value, json};

use self::finding::{Finding, State};
use super::target::{Lookup, store_config};
use crate::logging::log_to_stderr;
use crate::outcome::Outcome;
use crate::output::{Output, line, line_with};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign doctor
  countersign doctor --profile admin --region eu-central-1 \\
      --prefix staging-countersign- --json

Checks the tables, their expiry and their protection, the clients' records and secrets, KMS, the signing keys, this machine's \
clock, and what the issuer publishes. Changes nothing. First set the variables of the stack output Environment.

Exit code: 0 if nothing is broken, 1 if something is.")]
pub(super) struct DoctorCommand {}

impl DoctorCommand {
    pub(super) async fn run(self, lookup: &Lookup, output: &Output) -> Outcome {
        log_to_stderr(output.is_json());
        let findings = examine(lookup, &Clock::system(), output).await?;
        let broken = findings.iter().filter(|finding| finding.state == State::Broken).count();
        if output.is_json() {
            let views: Vec<Value> = findings
                .iter()
                .map(|finding| {
                    json!({
                        "check": finding.check,
                        "state": finding.state.name(),
                        "found": finding.found,
                        "remedy": finding.remedy,
                    })
                })
                .collect();
            output.show(&json!({ "healthy": broken == 0, "findings": views }));
        } else {
            for finding in &findings {
                let state = format!("{:8}", finding.state.name());
                line_with(finding.state.style(), &state, &format!(" {:10} {}", finding.check, finding.found));
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

async fn examine(lookup: &Lookup, clock: &Clock, output: &Output) -> Outcome<Vec<Finding>> {
    let config = store_config(lookup)?;
    let db = dynamodb(&config.aws);
    let mut findings = tables::check(&db, &config).await;
    let clients = Table::<Client>::new(db.clone(), &config.table_prefix);
    let issuer = lookup("COUNTERSIGN_ISSUER").and_then(|url| url.parse::<IssuerUrl>().ok());
    let rules = ClientRules::new(config.schedule.settings().max_lifetimes, issuer);
    findings.extend(clients::check(&clients, &rules, clock.now(), output).await);
    let table = KeyTable::new(db, &config.table_prefix);
    findings.push(keys::check_envelope(lookup, &config, &table).await);
    let ring = table.ring(&config.schedule).await;
    match &ring {
        Ok(ring) => findings.extend(keys::check_ring(ring, clock.now(), &config.schedule, output)),
        Err(error) => findings.push(Finding::broken(
            "keys",
            error.to_string(),
            "without the signing-keys table no token can be issued or verified: see the findings on the tables",
        )),
    }
    findings.extend(published::check(lookup, ring.ok().as_ref(), clock).await);
    Ok(findings)
}

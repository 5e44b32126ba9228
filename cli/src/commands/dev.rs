//! `countersign dev`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use countersign_dev::{DevServer, Options, Surroundings, curl_commands, start};
use countersign_issuer::keys::RotationSchedule;
use countersign_issuer::random::Random;
use countersign_issuer::tokens::IssuerUrl;
use countersign_lambda::{Logging, variable};
use countersign_verify::Clock;
use jiff::SignedDuration;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::{parse_duration, parse_signed_duration};
use crate::outcome::Outcome;
use crate::output::{line, show};
use crate::streams;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign dev
  countersign dev --port 4000 --data-dir ./data
  countersign dev --rotate-every 20s
  countersign dev --listen 0.0.0.0 --issuer http://issuer:3000

To run the function binaries against the same store:
  cargo lambda watch --env-file .countersign/env

The variables of the functions apply here too, such as COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS, COUNTERSIGN_METRICS and \
RUST_LOG. Not applied are COUNTERSIGN_ISSUER and COUNTERSIGN_DEV_ROTATION_PERIOD, for which there are options, and those that \
name keys or AWS.")]
pub(super) struct DevCommand {
    /// Port of the endpoints and of the demo API (0: any free port)
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Listen on this address of this machine too, e.g. 0.0.0.0 [default: 127.0.0.1 alone]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// Issuer URL, the iss of the tokens [default: http://127.0.0.1:PORT]
    #[arg(long, value_name = "URL")]
    issuer: Option<IssuerUrl>,
    /// Port of the embedded DynamoDB (0: any free port)
    #[arg(long, default_value_t = 8000)]
    dynamodb_port: u16,
    /// Let the embedded DynamoDB listen on this address too, e.g. that of Docker's bridge, for sam local
    #[arg(long, value_name = "ADDRESS")]
    dynamodb_listen: Option<IpAddr>,
    /// Keep the data and the env file in this folder [default: data in memory, env in .countersign]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Rotate signing keys this often, e.g. 20s, and shorten all other key lifetimes in proportion
    #[arg(long, value_name = "PERIOD", value_parser = parse_period)]
    rotate_every: Option<Duration>,
    /// Derive the signing keys from this text, so that they are the same in every run; for tests only
    #[arg(long, value_name = "TEXT", conflicts_with = "data_dir")]
    key_seed: Option<String>,
    /// Move the issuer's clock, e.g. -2h for tokens that have expired; for tests only
    #[arg(long, value_name = "OFFSET", value_parser = parse_signed_duration, allow_hyphen_values = true)]
    clock_offset: Option<SignedDuration>,
}

fn parse_period(value: &str) -> Result<Duration, String> {
    let period = parse_duration(value)?;
    if period.subsec_nanos() != 0 {
        return Err("expected whole seconds".into());
    }
    RotationSchedule::compressed(period).map_err(|error| error.to_string())?;
    Ok(period)
}

impl DevCommand {
    pub(super) async fn run(self, json: bool) -> Outcome {
        let clock = clock(self.clock_offset);
        let logging = Logging::from_lookup(|name| {
            // A refresh relies on conditional writes that fail, and the embedded store warns of
            // each one.
            let quiet = || (name == "RUST_LOG").then(|| "info,dynoxide=error".to_owned());
            variable(name).filter(|value| !value.is_empty()).or_else(quiet)
        });
        let audit = logging.start(clock.clone(), streams::stderr);
        let mut terminate = signal(SignalKind::terminate())?;
        let options = Options {
            port: self.port,
            listen: self.listen,
            issuer: self.issuer,
            dynamodb_port: self.dynamodb_port,
            dynamodb_listen: self.dynamodb_listen,
            data_dir: self.data_dir,
            rotate_every: self.rotate_every,
            key_seed: self.key_seed,
        };
        let surroundings = Surroundings { clock, random: Random::system(), audit, variable };
        let server = Box::pin(start(&options, surroundings)).await?;
        if json {
            let ready = json!({
                "url": server.url,
                "issuer": server.issuer.as_str(),
                "dynamodb": server.dynamodb.endpoint(),
                "environment": server.environment,
                "sam_local": server.sam_local,
            });
            show(&ready, true);
        } else {
            introduce(&server, &options);
        }

        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        // A connection in the middle of a request may never finish it.
        let _ = tokio::time::timeout(Duration::from_secs(3), server.stop()).await;
        Ok(())
    }
}

/// The machine's clock, moved by `offset`.
fn clock(offset: Option<SignedDuration>) -> Clock {
    let machine = Clock::system();
    let Some(offset) = offset else { return machine };
    let distance = offset.unsigned_abs();
    Clock::new(move || {
        let now = machine.now();
        if offset.is_negative() { now.minus(distance) } else { now.plus(distance) }
    })
}

/// Prints the addresses and the commands to try first.
fn introduce(server: &DevServer, options: &Options) {
    line(&format!("listening on {}", server.url));
    if options.issuer.is_some() {
        line(&format!("the issuer is {}", server.issuer));
    }
    line(&format!(
        "DynamoDB on {}, environment of the functions in {} and, for sam local, in {}",
        server.dynamodb.endpoint(),
        server.environment.display(),
        server.sam_local.display(),
    ));
    match &options.data_dir {
        Some(folder) => line(&format!("data is kept in {}", folder.display())),
        None => line("data is in memory and is lost when this stops; keep it with --data-dir DIR"),
    }
    line("");
    curl_commands(&server.url).lines().for_each(line);
}

//! `countersign dev`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use countersign_issuer::keys::RotationSchedule;
use countersign_issuer::random::Random;
use countersign_verify::Clock;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::parse_duration;
use crate::logging::log_to_stderr;
use crate::outcome::Outcome;
use crate::output::{line, show};
use countersign_dev::{DevServer, Options, curl_commands, start};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign dev
  countersign dev --port 4000 --data-dir ./data
  countersign dev --rotate-every 20s

To run the function binaries against the same store:
  cargo lambda watch --env-file .countersign/env")]
pub(super) struct DevCommand {
    /// Port of the endpoints and of the demo API (0: any free port)
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Port of the embedded DynamoDB (0: any free port)
    #[arg(long, default_value_t = 8000)]
    dynamodb_port: u16,
    /// Keep the data and the env file in this folder [default: data in memory, env in .countersign]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Rotate signing keys this often, e.g. 20s, and shorten all other key lifetimes in proportion
    #[arg(long, value_name = "PERIOD", value_parser = parse_period)]
    rotate_every: Option<Duration>,
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
        log_to_stderr();
        let mut terminate = signal(SignalKind::terminate())?;
        let options = Options {
            port: self.port,
            dynamodb_port: self.dynamodb_port,
            data_dir: self.data_dir,
            rotate_every: self.rotate_every,
        };
        let server = Box::pin(start(&options, Clock::system(), Random::system())).await?;
        if json {
            let ready = json!({
                "issuer": server.url,
                "dynamodb": server.dynamodb.endpoint(),
                "environment": server.environment,
            });
            show(&ready, true);
        } else {
            introduce(&server, options.data_dir.as_deref());
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

/// Prints the addresses and the commands to try first.
fn introduce(server: &DevServer, data_dir: Option<&Path>) {
    line(&format!("listening on {}", server.url));
    let environment = server.environment.display();
    line(&format!(
        "DynamoDB on {}, environment of the functions in {environment}",
        server.dynamodb.endpoint()
    ));
    match data_dir {
        Some(folder) => line(&format!("data is kept in {}", folder.display())),
        None => line("data is in memory and is lost when this stops; keep it with --data-dir DIR"),
    }
    line("");
    curl_commands(&server.url).lines().for_each(line);
}

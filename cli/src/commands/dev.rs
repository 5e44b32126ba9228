//! `countersign dev`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use countersign_dev::{DevServer, Options, curl_commands, start};
use countersign_issuer::keys::RotationSchedule;
use countersign_issuer::random::Random;
use countersign_verify::Clock;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Outcome, log_to_stderr};
use crate::output::{line, show};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign dev
  countersign dev --port 4000 --data-dir ./data
  countersign dev --rotate-every 20s

The function binaries run against the same store:
  cargo lambda watch --env-file .countersign/env")]
pub(super) struct DevCommand {
    /// Port of the endpoints and of the demo API (0: any free one)
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Port of the embedded DynamoDB (0: any free one)
    #[arg(long, default_value_t = 8000)]
    dynamodb_port: u16,
    /// Keep the data, and the env file, in this folder [default: data in memory, env in .countersign]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Rotate signing keys this often, e.g. 20s, with every other timer shrunk alike: a life of keys to watch
    #[arg(long, value_name = "PERIOD", value_parser = period)]
    rotate_every: Option<Duration>,
}

fn period(value: &str) -> Result<Duration, String> {
    let period: jiff::SignedDuration =
        value.parse().map_err(|_| "a duration, e.g. 20s or 5min".to_owned())?;
    let period = Duration::try_from(period).map_err(|_| "a duration, e.g. 20s or 5min".to_owned())?;
    if period.subsec_nanos() != 0 {
        return Err("whole seconds".into());
    }
    RotationSchedule::compressed(period).map_err(|refused| refused.to_string())?;
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
        // A connection that is half-way through a request may never finish it.
        let _ = tokio::time::timeout(Duration::from_secs(3), server.stop()).await;
        Ok(())
    }
}

/// What a person needs to go on.
fn introduce(server: &DevServer, data_dir: Option<&Path>) {
    line(&format!("listening on {}", server.url));
    let environment = server.environment.display();
    line(&format!(
        "DynamoDB on {}, environment of the functions in {environment}",
        server.dynamodb.endpoint()
    ));
    match data_dir {
        Some(folder) => line(&format!("data is kept in {}", folder.display())),
        None => line("data is in memory and gone when this stops; --data-dir DIR keeps it"),
    }
    line(&format!("\n{}", curl_commands(&server.url)));
}

//! The `countersign` program: a local issuer to try, and the administration of a deployed one.
//!
//! Imports point downwards: `commands` (arguments and output) → `import` → `records` (what
//! administration does to records) → `context` → `announcement`, `logging`, `prompt`, `token_input` →
//! `output`, `text_input` → `outcome`, `streams`, `suggestions` → `progress`.

mod announcement;
mod commands;
mod context;
mod import;
mod logging;
mod outcome;
mod output;
mod progress;
mod prompt;
mod records;
mod streams;
mod suggestions;
mod text_input;
mod token_input;

use std::process::ExitCode;

use countersign_issuer::keys::install_crypto_provider;
use countersign_verify::Clock;
use jiff::tz::TimeZone;

use commands::Arguments;
use outcome::{AnyError, Outcome};
use output::Output;

/// Runs the command that the program's arguments name.
pub async fn run() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(usage) => return usage.report(),
    };
    let zone = TimeZone::try_system();
    let output = Output::new(arguments.json(), Clock::system(), zone.clone().unwrap_or(TimeZone::UTC));
    if let (Err(_), Some(name)) = (zone, time_zone_variable())
        && !arguments.json()
    {
        output.warn(&format!(
            "TZ is {name}, which names no time zone, such as Europe/Berlin: times are in UTC"
        ));
    }
    let outcome = async {
        install_crypto_provider()?;
        arguments.run(&output).await?;
        ensure_printed()
    };
    match outcome.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.report(&*error);
            outcome::exit_code(&*error).into()
        }
    }
}

/// The time zone that the environment asks for.
fn time_zone_variable() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "start-up is where the environment is read")]
    std::env::var("TZ").ok()
}

/// Fails if a part of the result did not reach standard output.
fn ensure_printed() -> Outcome {
    let lost = streams::lost_output().map(|error| AnyError::from(format!("standard output: {error}")));
    lost.map_or(Ok(()), Err)
}

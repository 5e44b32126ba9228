//! The `countersign` program: a local issuer to try, and the administration of a deployed one.
//!
//! Imports point downwards: `commands` (arguments and output) → `import` → `records` (what
//! administration does to records) → `context`, `logging`, `prompt`, `token_input` → `output`,
//! `text_input` → `outcome`, `streams`, `suggestions` → `progress`.

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
    let output = Output::new(arguments.json(), Clock::system(), TimeZone::system());
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

/// Fails if a part of the result did not reach standard output.
fn ensure_printed() -> Outcome {
    let lost = streams::lost_output().map(|error| AnyError::from(format!("standard output: {error}")));
    lost.map_or(Ok(()), Err)
}

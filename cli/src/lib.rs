//! The `countersign` program: a local issuer to try, and the administration of a deployed one.
//!
//! Imports point downwards: `commands` (arguments and output) → `import` → `records` (what
//! administration does to records) → `context`, `prompt`, `output`, `outcome`.

mod commands;
mod context;
mod import;
mod logging;
mod outcome;
mod output;
mod progress;
mod prompt;
mod records;

use std::process::ExitCode;

use clap::Parser;
use countersign_issuer::keys::install_crypto_provider;

/// Runs the command that the program's arguments name.
pub async fn run() -> ExitCode {
    let outcome = async {
        install_crypto_provider()?;
        commands::Arguments::parse().run().await
    };
    match outcome.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a program's errors go to standard error")]
            {
                eprintln!("error: {}", output::printable_lines(&error.to_string()));
            }
            outcome::exit_code(&*error).into()
        }
    }
}

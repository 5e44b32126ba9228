//! `countersign`: see `countersign --help`.

use std::process::ExitCode;

use clap::Parser;
use countersign::commands::{Arguments, Worst};
use countersign_issuer::keys::install_crypto_provider;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = async {
        install_crypto_provider()?;
        Arguments::parse().run().await
    };
    match outcome.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a program's errors go to standard error")]
            {
                eprintln!("error: {error}");
            }
            error.downcast_ref().map_or(ExitCode::FAILURE, |worst: &Worst| worst.code.into())
        }
    }
}

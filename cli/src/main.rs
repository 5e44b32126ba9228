//! `countersign`: see `countersign --help`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    countersign::run().await
}

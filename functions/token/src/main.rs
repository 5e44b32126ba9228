//! `POST /oauth/token`: all four grants.

use countersign_issuer::http;
use countersign_lambda::{Error, Process};

// One request at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let process = Process::start();
    let issuer = &process.issuer()?;
    process.serve_http(move |request| http::token(issuer, request)).await
}

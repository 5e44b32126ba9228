//! The key set and the metadata, below `/.well-known/`.

use std::process::ExitCode;

use countersign_issuer::http;

// One request at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    countersign_lambda::run(async |process| {
        let publisher = &process.publisher()?;
        process.serve_http(move |request| http::jwks_function(publisher, request)).await
    })
    .await
}

//! `POST /oauth/refresh`, `/oauth/revoke` and `/oauth/introspect`.

use std::process::ExitCode;

use countersign_issuer::http;

// One request at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    countersign_lambda::run(async |process| {
        let issuer = &process.issuer()?;
        process.serve_http(move |request| http::refresh_function(issuer, request)).await
    })
    .await
}

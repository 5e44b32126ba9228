//! The key set and the metadata, below `/.well-known/`.

use countersign_issuer::http;
use countersign_lambda::{Error, Process};

// One request at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let process = Process::start();
    let publisher = &process.publisher()?;
    process.serve_http(move |request| http::jwks_function(publisher, request)).await
}

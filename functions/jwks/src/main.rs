//! The key set and the metadata, below `/.well-known/`.

use countersign_issuer::http;
use countersign_issuer::lambda;

// One request at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    let publisher = &lambda::publisher()?;
    lambda::serve(move |request| http::jwks_function(publisher, request)).await
}

//! `POST /oauth/refresh`, `/oauth/revoke` and `/oauth/introspect`.

use countersign_issuer::http;
use countersign_issuer::lambda;

// One request at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    let issuer = &lambda::issuer()?;
    lambda::serve(move |request| http::refresh_function(issuer, request)).await
}

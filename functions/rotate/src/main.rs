//! Scheduled rotation of the signing keys.

use countersign_issuer::lambda;

// One event at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve_rotation(&lambda::rotator()?).await
}

//! API Gateway's Lambda authorizer: Bearer and HTTP Basic, decided by `policy.toml`.

use countersign_issuer::lambda;

// One request at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda::Error> {
    lambda::serve_authorizer(&lambda::authorizer(include_str!("../policy.toml"))?).await
}

//! API Gateway's Lambda authorizer, with the policy in `policy.toml`.

use std::process::ExitCode;

use authorizer::{Authorizer, AuthorizerConfig};
use countersign_issuer::random::Random;
use countersign_issuer::store::dynamodb;
use countersign_lambda::variable;
use countersign_verify::Clock;

const POLICY: &str = include_str!("../policy.toml");

// One request at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    countersign_lambda::run(async |process| {
        let config = AuthorizerConfig::from_lookup(variable)?;
        let db = dynamodb(&config.issuer.store.aws);
        let audit = process.audit().clone();
        let authorizer = &Authorizer::new(&config, POLICY, &db, Clock::system(), Random::system(), audit)?;
        // An error is one of the answers: a REST API answers 401 where the function fails with
        // `Unauthorized`.
        process.serve(move |event, time_left| authorizer.authorize(event, time_left)).await
    })
    .await
}

//! Grants, rotation and the authorizer over a network in which any call can fail in any way. A seed
//! decides. Thousands of short histories are each checked against the invariants.
//! `COUNTERSIGN_FAULT_RUNS` sets their number; `COUNTERSIGN_FAULT_SEED` runs a single one.

mod history;
mod keys;
mod truth;

use countersign_tests::in_process::{InProcess, clock_of_tokio};
use countersign_tests::store::Fault;

use history::History;
use truth::Met;

/// The calls of the four grants, of revocation and of introspection, and with a prefix those of the
/// other functions and of an administrator who withdraws a key.
const CALLS: [&str; 20] = [
    "GetItem clients",
    "GetItem principals",
    "GetItem refresh-families",
    "UpdateItem refresh-families",
    "UpdateItem attempts",
    "Query signing-keys",
    "GetItem signing-keys",
    "Decrypt",
    "authorizer: GetItem clients",
    "authorizer: UpdateItem attempts",
    "authorizer: Query signing-keys",
    "jwks: Query signing-keys",
    "rotate: Query signing-keys",
    "rotate: GenerateDataKeyPairWithoutPlaintext",
    "rotate: PutItem signing-keys",
    "rotate: UpdateItem signing-keys",
    "rotate: DeleteItem signing-keys",
    "administrator: Query signing-keys",
    "administrator: UpdateItem signing-keys",
    "administrator: PutItem signing-keys",
];

/// Low thresholds, so that some guesses are slowed down. A new key every day and tokens that live
/// no longer, so that a history sees keys created and deleted.
const SETTINGS: [(&str, &str); 6] = [
    ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", "3"),
    ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT", "5"),
    ("COUNTERSIGN_ROTATION_PERIOD", "86400"),
    ("COUNTERSIGN_ANNOUNCEMENT_LEAD", "14400"),
    ("COUNTERSIGN_MAX_ACCESS_TTL", "3600"),
    ("COUNTERSIGN_MAX_REFRESH_TTL", "86400"),
];

fn variable(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the caller chooses how much to run")]
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn no_fault_leads_to_an_unauthorized_token_or_a_second_successor() {
    let _alone = super::run_alone().await;
    let world = InProcess::start(&clock_of_tokio(), &SETTINGS).await;
    world.make_passwords_cheap().await;
    let records = world.store.items();
    let met = Met::default();
    if let Some(seed) = variable("COUNTERSIGN_FAULT_SEED") {
        return History::run(&world, &records, seed, &met).await;
    }
    let runs = variable("COUNTERSIGN_FAULT_RUNS").unwrap_or(60);
    for seed in 0..runs {
        let _printer = PrintSeedOnPanic(seed);
        History::run(&world, &records, seed, &met).await;
    }
    if runs < 2000 {
        return;
    }
    for call in CALLS {
        for fault in Fault::ALL {
            assert!(met.times(call, fault) > 0, "{call} never met {fault:?}");
        }
    }
}

/// Prints the seed of a history that panics.
struct PrintSeedOnPanic(u64);

impl Drop for PrintSeedOnPanic {
    #[expect(clippy::print_stderr, reason = "the reader of a failure needs the seed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with COUNTERSIGN_FAULT_SEED={}", self.0);
        }
    }
}

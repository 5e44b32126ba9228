//! Grants, rotation and the authorizer over a network that fails at any call, in any way, from a seed: thousands of
//! short histories, each audited against what must hold whatever happens. `COUNTERSIGN_FAULT_RUNS` says how many,
//! `COUNTERSIGN_FAULT_SEED` which one alone.

mod history;
mod keys;
mod truth;

use countersign_tests::in_process::{InProcess, clock_of_tokio};
use countersign_tests::store::Fault;

use history::History;
use truth::Met;

/// The call sites of the four grants, revocation and introspection, and with a name before them those of the other
/// functions and of an administrator who withdraws a key.
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

/// Low thresholds, so that some guesses are slowed down; a new key every day, and tokens that live no longer, so that a
/// history sees keys come and go.
const SETTINGS: [(&str, &str); 6] = [
    ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", "3"),
    ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL", "5"),
    ("COUNTERSIGN_ROTATION_PERIOD", "86400"),
    ("COUNTERSIGN_ANNOUNCEMENT_LEAD", "14400"),
    ("COUNTERSIGN_MAX_ACCESS_TTL", "3600"),
    ("COUNTERSIGN_MAX_REFRESH_TTL", "86400"),
];

fn variable(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "how much to run is the caller's choice")]
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_no_token_without_a_right_and_no_second_successor() {
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
        let named = SayOnPanic(seed);
        History::run(&world, &records, seed, &met).await;
        std::mem::forget(named);
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

/// Names the seed of a history that failed.
struct SayOnPanic(u64);

impl Drop for SayOnPanic {
    #[expect(clippy::print_stderr, reason = "a test's word to whoever reads its failure")]
    fn drop(&mut self) {
        eprintln!("this was COUNTERSIGN_FAULT_SEED={}", self.0);
    }
}

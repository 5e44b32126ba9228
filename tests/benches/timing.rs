//! Searches for timing side channels: does the time of a response reveal what its content hides?
//! Pairs of requests that must look alike run interleaved; the result is their medians and the rank
//! test of Mann and Whitney. `cargo bench --profile thorough -p countersign-tests --bench timing`
//!
//! Fails if a stranger could distinguish a pair: if the ranks differ by more than chance would
//! produce once in a million tables, and one request is the slower one in two of three cases. A
//! read or a hash that only one of them costs shows in nearly every case. A difference that shows
//! in fewer is noise of the machine, or is lost in the noise of a network.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark with a table")]

use std::time::Duration;

use countersign_issuer::audit::AuditLog;
use countersign_tests::TestClock;
use countersign_tests::in_process::{APP_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET, UNLIMITED};
use countersign_verify::Timestamp;
use tokio::time::Instant;

/// Two requests that a stranger must not be able to distinguish.
struct Pair {
    name: &'static str,
    one: Post,
    other: Post,
    samples: usize,
    /// The time that passes before each request: zero, or long enough for the records to be read
    /// again.
    pause: Duration,
}

/// A wrong secret in the form of a correct one, with its checksum.
const WRONG_SECRET: &str = "csgn_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAG1HkYi";
const WRONG_PASSWORD: &str = "wrong horses!";

fn client(client_id: &str, secret: &str) -> Post {
    Post::new("/oauth/token", client_id, secret, &[("grant_type", "client_credentials")])
}

fn login(username: &str, password: &str) -> Post {
    let form = [("grant_type", "password"), ("username", username), ("password", password)];
    Post::new("/oauth/token", "app", APP_SECRET, &form)
}

async fn measure(world: &InProcess, post: &Post) -> Duration {
    let begun = Instant::now();
    let answer = post.to(&world.issuer).await;
    let took = begun.elapsed();
    assert!(answer.status == 400 || answer.status == 401, "{}", answer.text);
    took
}

fn median(samples: &[Duration]) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// Returns the normal approximation of the rank-sum statistic, which by chance exceeds ±1.96 in one
/// of 20 such tables, and the share of cases in which the first is slower.
#[expect(clippy::cast_precision_loss, reason = "some thousand samples")]
fn rank_test(one: &[Duration], other: &[Duration]) -> (f64, f64) {
    let mut all: Vec<(Duration, bool)> =
        one.iter().map(|took| (*took, true)).chain(other.iter().map(|took| (*took, false))).collect();
    all.sort_unstable();
    let ranks: f64 =
        all.iter().enumerate().filter(|(_, (_, is_one))| *is_one).map(|(at, _)| at as f64 + 1.0).sum();
    let (n, m) = (one.len() as f64, other.len() as f64);
    let expected = n * (n + m + 1.0) / 2.0;
    let z = (ranks - expected) / (n * m * (n + m + 1.0) / 12.0).sqrt();
    (z, (ranks - n * (n + 1.0) / 2.0) / (n * m))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let clock = TestClock::at(Timestamp::from_seconds(2_000_000_000));
    let world = InProcess::start_with_audit(&clock.clock(), &UNLIMITED, AuditLog::tracing()).await;
    world.create_disabled_records(&clock.clock()).await;
    let (clients, users) = (2000, 200);
    let wrong_secret = || client("service", WRONG_SECRET);
    let wrong_password = || login("jane", WRONG_PASSWORD);
    let pair = |name, one, other, samples| Pair { name, one, other, samples, pause: Duration::ZERO };
    let pairs = [
        pair(
            "unknown client, wrong generated secret",
            client("nobody1", WRONG_SECRET),
            wrong_secret(),
            clients,
        ),
        pair(
            "disabled client, wrong generated secret",
            client("retired", SERVICE_SECRET),
            wrong_secret(),
            clients,
        ),
        pair(
            "disabled client, unknown client",
            client("retired", SERVICE_SECRET),
            client("nobody1", WRONG_SECRET),
            clients,
        ),
        pair("unknown user, wrong password", login("nobody", WRONG_PASSWORD), wrong_password(), users),
        pair("disabled user, wrong password", login("joan", PASSWORD), wrong_password(), users),
        pair("the same request twice (control)", wrong_secret(), wrong_secret(), clients),
        Pair {
            pause: Duration::from_secs(3),
            ..pair(
                "unknown client, wrong generated secret, read again for each",
                client("nobody1", WRONG_SECRET),
                wrong_secret(),
                clients,
            )
        },
    ];
    let mut distinguishable = Vec::new();
    println!(
        "| pair | samples | median of the first | median of the second | difference | z | the first is slower in |"
    );
    println!("|---|---|---|---|---|---|---|");
    for Pair { name, one, other, samples, pause } in pairs {
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        for at in 0..samples + 20 {
            // Alternates which request comes first.
            let (first, second) = if at % 2 == 0 { (&one, &other) } else { (&other, &one) };
            clock.advance(pause);
            let of_first = measure(&world, first).await;
            clock.advance(pause);
            let took = (of_first, measure(&world, second).await);
            let (of_one, of_other) = if at % 2 == 0 { took } else { (took.1, took.0) };
            // The first requests are a warm-up.
            if at >= 20 {
                ones.push(of_one);
                others.push(of_other);
            }
        }
        let (a, b) = (median(&ones).as_secs_f64() * 1e6, median(&others).as_secs_f64() * 1e6);
        let (z, slower) = rank_test(&ones, &others);
        let (difference, cases) = ((b - a) / a * 100.0, slower * 100.0);
        println!(
            "| {name} | {samples} | {a:.0} µs | {b:.0} µs | {difference:+.2} % | {z:+.2} | {cases:.0} % of cases |"
        );
        // Reading an existing record takes longer than reading a missing one. We do not promise to
        // hide that.
        if pause.is_zero() && z.abs() > 4.9 && (slower - 0.5).abs() > 1.0 / 6.0 {
            distinguishable.push(name);
        }
    }
    assert!(distinguishable.is_empty(), "a stranger can distinguish by time: {distinguishable:?}");
}

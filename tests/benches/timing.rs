//! Can a stranger tell by time what the answers do not tell? Pairs of requests that must look alike, interleaved, with
//! their medians and the rank test of Mann and Whitney. `cargo bench -p countersign-tests --bench timing`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark with a table")]

use std::time::Duration;

use countersign_tests::TestClock;
use countersign_tests::in_process::{APP_SECRET, InProcess, Post};
use countersign_verify::Timestamp;
use tokio::time::Instant;

/// Two requests that a stranger must not tell apart.
struct Pair {
    name: &'static str,
    one: Post,
    other: Post,
    samples: usize,
}

fn client(client_id: &str) -> Post {
    Post::new("/oauth/token", client_id, "a wrong secret", &[("grant_type", "client_credentials")])
}

fn login(username: &str) -> Post {
    let form = [("grant_type", "password"), ("username", username), ("password", "a wrong password")];
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

/// The normal approximation of the rank-sum statistic: beyond ±1.96 one of 20 such tables would be by chance.
#[expect(clippy::cast_precision_loss, reason = "some thousand samples")]
fn rank_test(one: &[Duration], other: &[Duration]) -> f64 {
    let mut all: Vec<(Duration, bool)> =
        one.iter().map(|took| (*took, true)).chain(other.iter().map(|took| (*took, false))).collect();
    all.sort_unstable();
    let ranks: f64 =
        all.iter().enumerate().filter(|(_, (_, is_one))| *is_one).map(|(at, _)| at as f64 + 1.0).sum();
    let (n, m) = (one.len() as f64, other.len() as f64);
    let expected = n * (n + m + 1.0) / 2.0;
    (ranks - expected) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Counted, and never slowed down.
    let unlimited = [
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", "1000000"),
        ("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL", "1000000"),
        ("COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS", "1000000"),
    ];
    let clock = TestClock::at(Timestamp::from_seconds(2_000_000_000));
    let world = InProcess::unwatched(&clock.clock(), &unlimited).await;
    let pairs = [
        Pair {
            name: "unknown client, wrong generated secret",
            one: client("nobody1"),
            other: client("service"),
            samples: 3000,
        },
        Pair {
            name: "unknown user, wrong password",
            one: login("nobody"),
            other: login("jane"),
            samples: 400,
        },
        Pair {
            name: "the same request twice (control)",
            one: client("service"),
            other: client("service"),
            samples: 3000,
        },
    ];
    println!("| pair | samples | median of the first | median of the second | difference | z |");
    println!("|---|---|---|---|---|---|");
    for Pair { name, one, other, samples } in pairs {
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        for at in 0..samples + 20 {
            // Neither always comes second.
            let (first, second) = if at % 2 == 0 { (&one, &other) } else { (&other, &one) };
            let took = (measure(&world, first).await, measure(&world, second).await);
            let (of_one, of_other) = if at % 2 == 0 { took } else { (took.1, took.0) };
            // The first ones warm up.
            if at >= 20 {
                ones.push(of_one);
                others.push(of_other);
            }
        }
        let (a, b) = (median(&ones).as_secs_f64() * 1e6, median(&others).as_secs_f64() * 1e6);
        let z = rank_test(&ones, &others);
        println!("| {name} | {samples} | {a:.0} µs | {b:.0} µs | {:+.2} % | {z:+.2} |", (b - a) / a * 100.0);
    }
}

//! Can a stranger tell by time what the answers do not tell? Pairs of requests that must look alike, interleaved, with
//! their medians and the rank test of Mann and Whitney. `cargo bench --profile thorough -p countersign-tests --bench timing`
//!
//! Fails where a stranger could tell: where the ranks differ by more than chance would have it once in a million tables,
//! and one of a pair is the slower one in two cases of three. A read or a hash that only one of them costs shows in nearly
//! every case; what shows in fewer is the machine's noise, or is drowned in a network's.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark with a table")]

use std::time::Duration;

use countersign_tests::TestClock;
use countersign_tests::in_process::{APP_SECRET, InProcess, PASSWORD, Post, SERVICE_SECRET, UNLIMITED};
use countersign_verify::Timestamp;
use tokio::time::Instant;

/// Two requests that a stranger must not tell apart.
struct Pair {
    name: &'static str,
    one: Post,
    other: Post,
    samples: usize,
    /// So much time passes before each: long enough for what a refusal rests on to be read again, or none.
    pause: Duration,
}

/// A wrong secret of the length of a right one.
const WRONG_SECRET: &str = "csgn_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
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

/// The normal approximation of the rank-sum statistic, beyond ±1.96 in one of 20 such tables by chance; and in what part
/// of all cases the one is the slower.
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
    let mut told_apart = Vec::new();
    println!(
        "| pair | samples | median of the first | median of the second | difference | z | the first is slower in |"
    );
    println!("|---|---|---|---|---|---|---|");
    for Pair { name, one, other, samples, pause } in pairs {
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        for at in 0..samples + 20 {
            // Neither always comes second.
            let (first, second) = if at % 2 == 0 { (&one, &other) } else { (&other, &one) };
            clock.advance(pause);
            let of_first = measure(&world, first).await;
            clock.advance(pause);
            let took = (of_first, measure(&world, second).await);
            let (of_one, of_other) = if at % 2 == 0 { took } else { (took.1, took.0) };
            // The first ones warm up.
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
        // A record that is there takes longer to be read than one that is not: that much is not promised.
        if pause.is_zero() && z.abs() > 4.9 && (slower - 0.5).abs() > 1.0 / 6.0 {
            told_apart.push(name);
        }
    }
    assert!(told_apart.is_empty(), "a stranger can tell by time: {told_apart:?}");
}

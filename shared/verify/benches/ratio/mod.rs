//! Compares the cost of an operation with that of the raw operation. Both are measured in turns in
//! one run, so that other load on the machine slows both.

use std::time::{Duration, Instant};

/// The minimum number of rounds.
const MIN_ROUNDS: usize = 101;
const MIN_TIME: Duration = Duration::from_secs(3);
/// The duration of a batch, short enough that the machine rarely interrupts one.
const BATCH_TIME: Duration = Duration::from_micros(200);

/// Prints the medians of `work` and `raw` and their ratio, with the promised ratio if there is one.
pub(crate) fn print(
    name: &str,
    promised: impl Into<Option<f64>>,
    mut work: impl FnMut(),
    mut raw: impl FnMut(),
) {
    let (work_calls, raw_calls) = (calls_per_batch(&mut work), calls_per_batch(&mut raw));
    let mut rounds: Vec<(f64, f64)> = Vec::new();
    let start = now();
    while rounds.len() < MIN_ROUNDS || start.elapsed() < MIN_TIME {
        rounds.push((nanoseconds(&mut work, work_calls), nanoseconds(&mut raw, raw_calls)));
    }
    let middle = rounds.len() / 2;
    rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let work = rounds[middle].0;
    rounds.sort_by(|one, other| one.1.total_cmp(&other.1));
    let raw = rounds[middle].1;
    let promised = promised.into().map_or_else(String::new, |promised| format!(" (promised: {promised})"));
    println!("{name}: {work:.0} ns, raw {raw:.0} ns, ratio of the medians {:.4}{promised}", work / raw);
}

fn calls_per_batch(work: &mut impl FnMut()) -> u32 {
    let mut calls = 1;
    while time(work, calls) < BATCH_TIME {
        calls *= 2;
    }
    calls
}

fn nanoseconds(work: &mut impl FnMut(), calls: u32) -> f64 {
    time(work, calls).as_secs_f64() * 1e9 / f64::from(calls)
}

fn time(work: &mut impl FnMut(), calls: u32) -> Duration {
    let start = now();
    for _ in 0..calls {
        work();
    }
    start.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

//! What something costs next to the raw operation, both measured in turns in one run: whatever else the machine does
//! then slows both.

use std::time::{Duration, Instant};

/// At the least.
const ROUNDS: usize = 101;
const FOR: Duration = Duration::from_secs(3);
/// So short that most batches are over before the machine turns to something else.
const BATCH: Duration = Duration::from_micros(200);

/// Prints the medians of `work` and of `raw`, and their ratio next to the one that is promised, where one is.
pub(crate) fn print(
    what: &str,
    promised: impl Into<Option<f64>>,
    mut work: impl FnMut(),
    mut raw: impl FnMut(),
) {
    let (work_calls, raw_calls) = (calls_in_a_batch(&mut work), calls_in_a_batch(&mut raw));
    let mut rounds: Vec<(f64, f64)> = Vec::new();
    let begun = now();
    while rounds.len() < ROUNDS || begun.elapsed() < FOR {
        rounds.push((nanoseconds(&mut work, work_calls), nanoseconds(&mut raw, raw_calls)));
    }
    let middle = rounds.len() / 2;
    rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let work = rounds[middle].0;
    rounds.sort_by(|one, other| one.1.total_cmp(&other.1));
    let raw = rounds[middle].1;
    let promised = promised.into().map_or_else(String::new, |promised| format!(" (promised: {promised})"));
    println!("{what}: {work:.0} ns, raw {raw:.0} ns, ratio of the medians {:.4}{promised}", work / raw);
}

fn calls_in_a_batch(work: &mut impl FnMut()) -> u32 {
    let mut calls = 1;
    while time(work, calls) < BATCH {
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

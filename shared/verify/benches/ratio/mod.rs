//! What something costs next to the raw operation, both measured in turns in one run: whatever else the machine does
//! then slows both.

use std::time::{Duration, Instant};

const ROUNDS: usize = 301;
const BATCH: Duration = Duration::from_millis(2);

/// Prints the medians of `work` and of `raw`, and their ratio next to the one that is promised, where one is.
pub(crate) fn print(
    what: &str,
    promised: impl Into<Option<f64>>,
    mut work: impl FnMut(),
    mut raw: impl FnMut(),
) {
    let (work_calls, raw_calls) = (calls_in_a_batch(&mut work), calls_in_a_batch(&mut raw));
    let mut rounds: Vec<(f64, f64)> =
        (0..ROUNDS).map(|_| (nanoseconds(&mut work, work_calls), nanoseconds(&mut raw, raw_calls))).collect();
    rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let work = rounds[ROUNDS / 2].0;
    rounds.sort_by(|one, other| one.1.total_cmp(&other.1));
    let raw = rounds[ROUNDS / 2].1;
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

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn time(work: &mut impl FnMut(), calls: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        work();
    }
    start.elapsed()
}

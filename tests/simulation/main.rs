//! Simulations with random input: histories over a network that fails, and load over real sockets.
//! README.md explains how to run them for longer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::panic,
    reason = "a test that cannot set itself up has failed"
)]
// The future of a history contains those of the SDK's calls, which are deeply nested.
#![recursion_limit = "256"]

mod faults;
mod load;

use tokio::sync::{Mutex, MutexGuard};

/// Waits until no other simulation runs. The load test uses real time, and the faults would take
/// its CPU.
async fn run_alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::const_new(());
    RUNNING.lock().await
}

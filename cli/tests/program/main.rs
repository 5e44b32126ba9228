//! Tests of the `countersign` program as a process with arguments, an environment and standard
//! input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::expect_fun_call,
    clippy::panic,
    reason = "a test that cannot set itself up has failed"
)]

mod administration;
mod answered;
mod dev;
mod doctor;
mod import;
mod lost_answers;
mod pipe;
mod policy;
mod previous_releases;
mod proxy;
mod shell;
mod username_claim;

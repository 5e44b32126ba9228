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
mod arguments;
mod closed_pipe;
mod dev;
mod doctor;
mod effects;
mod failures;
mod help;
mod hints;
mod import;
mod lost_answers;
mod pipe;
mod policy;
mod previous_releases;
mod proxy;
mod shell;
mod terminal;
mod tokens;
mod updates;
mod username_claim;

//! End-to-end tests: over HTTP, with event files and through the entry points of the functions.
//! `cargo test -p countersign-tests --test e2e refresh` runs the tests of one module.
//!
//! All tests share one process, and with it the global log subscriber of
//! `countersign_tests::canaries`. A test that reads the log installs a subscriber for its thread,
//! so it must use the current-thread runtime.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod any_dynamodb;
mod authorizer;
mod bad_input;
mod cached_clients;
mod canaries;
mod client_authentication;
mod connections;
mod demo_api;
mod events;
mod grants;
mod guessing;
mod keys;
mod layers;
mod log;
mod openapi;
mod previous_releases;
mod published_documents;
mod refresh;
mod revocation_and_introspection;
mod username_claim;

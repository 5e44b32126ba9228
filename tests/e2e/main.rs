//! End-to-end tests: over HTTP, through event files and through the functions' own entry points. `cargo test -p
//! countersign-tests --test e2e refresh` runs the tests of one module.
//!
//! The tests share one process, and with it the global log subscriber that `countersign_tests::canaries` installs. A test
//! that reads the log sets a subscriber for its own thread, so it must run on the current-thread runtime.

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
mod published_documents;
mod refresh;
mod revocation_and_introspection;

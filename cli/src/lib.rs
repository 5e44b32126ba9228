//! The `countersign` program: a local issuer to try, and the administration of a deployed one.

pub mod commands;
mod import;
mod output;

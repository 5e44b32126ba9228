//! The local issuer behind `countersign dev`: the endpoints, a demo API and an embedded DynamoDB in
//! one process, through the code that runs on AWS. The command line starts it for a user, and the
//! tests start it in their own process.

mod api;
mod demo;
mod environment;
mod listening;
mod seed;
mod server;
mod store;
mod tables;

pub use demo::curl_commands;
pub use server::{DevServer, Options, Surroundings, TIMEOUT, router, serve, start, start_on};
pub use store::EmbeddedDynamoDb;
pub use tables::create_tables;

use countersign_issuer::config::ConfigErrors;

/// An error that kept the local issuer from starting.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A port is taken, most likely by another `countersign dev`.
    #[error("port {port} cannot be listened on ({error}); choose another one with {flag}")]
    Port {
        /// The port.
        port: u16,
        /// The option that sets it.
        flag: &'static str,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// The address does not belong to this machine.
    #[error(
        "{address} cannot be listened on ({error}); {flag} takes an address of this machine. That of Docker's bridge \
         exists while Docker runs on Linux; Docker Desktop reaches 127.0.0.1 without this option"
    )]
    Address {
        /// The address.
        address: std::net::IpAddr,
        /// The option that sets it.
        flag: &'static str,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// The data folder cannot be used.
    #[error("{path} cannot be used: {error}")]
    DataFolder {
        /// The file or folder.
        path: std::path::PathBuf,
        /// The error of the operating system or of the store.
        error: String,
    },
    /// A variable of the process's environment is wrong.
    #[error(transparent)]
    Environment(#[from] ConfigErrors),
    /// The embedded store, its client or its records could not be set up.
    #[error("the local issuer could not be set up: {0}")]
    Setup(Box<dyn std::error::Error + Send + Sync>),
}

impl DevError {
    fn setup(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Setup(error.into())
    }
}

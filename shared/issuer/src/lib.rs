//! The Countersign token issuer: from a request at `/oauth/token` to a signed token, over DynamoDB.
//!
//! The modules are layers, from top to bottom; an import points downwards only, and a test checks it:
//!
//! - [`http`] and [`callers`]: the endpoints, and the authorizer's door
//! - [`issuer`]: the composition root; [`config`]: the environment
//! - `grants`: what a client gets
//! - [`tokens`] and [`authn`]: what a token is, and who the client is
//! - [`keys`]: signing keys, from the KMS key to the signature
//! - `request`: from bytes to types
//! - [`records`]: clients, users and operators
//! - [`credentials`]: secrets and passwords
//! - [`store`], which is DynamoDB
//!
//! [`audit`], [`context`] and [`random`] are leaves that every layer may use.

pub mod audit;
pub mod authn;
pub mod callers;
pub mod config;
pub mod context;
pub mod credentials;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod http;
pub mod issuer;
pub mod keys;
pub mod random;
pub mod records;
pub mod store;
pub mod tokens;

mod grants;
mod request;

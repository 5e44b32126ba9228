//! The audit log: one record for every decision.
//!
//! A record never holds a secret, a password or a token. Of what a caller sent it holds only names that are
//! on record: a name that is not may be a secret in the wrong place. The exception is what an authenticated
//! client asked for and did not get: a scope, a brand, an API, without what may be a secret.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tracing::Level;

/// Receives the audit records. Passed in, as the clock is; clones share the receiver.
#[derive(Clone)]
pub struct AuditLog(Arc<dyn Fn(&Record) + Send + Sync>);

impl AuditLog {
    /// Hands every record to `write`.
    pub fn new(write: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// Writes every record as JSON through `tracing`, with the target `audit`.
    pub fn tracing() -> Self {
        Self::new(|record| {
            // A struct of strings and numbers cannot fail to serialise.
            let json = serde_json::to_string(record).unwrap_or_default();
            match record.level() {
                Level::ERROR => tracing::error!(target: "audit", "{json}"),
                Level::WARN => tracing::warn!(target: "audit", "{json}"),
                _ => tracing::info!(target: "audit", "{json}"),
            }
        })
    }

    /// Writes a record.
    pub fn write(&self, record: &Record) {
        (self.0)(record);
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditLog")
    }
}

/// The decision that a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Tokens were issued.
    Issued,
    /// A request was refused.
    #[default]
    Refused,
    /// A used refresh token came back: its family is revoked.
    #[serde(rename = "reuse detected")]
    ReuseDetected,
    /// A guess was refused because of the failures before it.
    #[serde(rename = "slowed down")]
    SlowedDown,
    /// The issuer could not decide: DynamoDB or KMS is unavailable, or there is a defect.
    Failed,
    /// A family of refresh tokens was revoked.
    Revoked,
    /// A token was introspected.
    Introspected,
    /// A cached copy was used because DynamoDB could not be read.
    #[serde(rename = "served stale")]
    ServedStale,
    /// An API's caller authenticated with a client's own secret; the API's policy has yet to decide.
    #[serde(rename = "caller authenticated")]
    CallerAuthenticated,
    /// The authorizer refused an API's caller.
    #[serde(rename = "caller refused")]
    CallerRefused,
    /// The authorizer refused a guess because of the failures before it.
    #[serde(rename = "caller slowed down")]
    CallerSlowedDown,
    /// A signing key was added to the ring.
    Rotated,
    /// A signing key was withdrawn.
    Withdrawn,
    /// A run of the rotation ended.
    Rotation,
}

/// A counter of the login throttle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub enum Counter {
    /// Logins of one user or operator from one address.
    PrincipalAndAddress,
    /// Logins of one user or operator through one client, from networks that are not known.
    PrincipalAndClient,
    /// Logins through one client from one address, over all names, where that network is not known.
    LoginsByClientAndAddress,
    /// Secrets of one client from one address.
    ClientAndAddress,
}

impl Counter {
    /// The name in the log, and at the start of the counter's key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrincipalAndAddress => "principal and address",
            Self::PrincipalAndClient => "principal and client",
            Self::LoginsByClientAndAddress => "logins by client and address",
            Self::ClientAndAddress => "client and address",
        }
    }

    /// Reports whether failures of other callers can fill it, so that a refusal may hit somebody who made none.
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::PrincipalAndClient | Self::LoginsByClientAndAddress)
    }
}

impl From<Counter> for &'static str {
    fn from(counter: Counter) -> Self {
        counter.as_str()
    }
}

/// One audit record. Members that are `None` are left out of the line.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Record {
    /// The decision.
    pub event: Event,
    /// The endpoint, or the function, that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<&'static str>,
    /// The authenticated client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The client that the caller claimed to be, where that client is on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presented: Option<String>,
    /// The id of the client secret that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<String>,
    /// When that secret expires, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_expires: Option<u64>,
    /// Present and true while that secret is within its notice period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ends_soon: Option<bool>,
    /// The grant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<&'static str>,
    /// The username that a login failed for, where it is on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The brand: one of the client's.
    #[serde(rename = "brandKey", skip_serializing_if = "Option::is_none")]
    pub brand_key: Option<String>,
    /// Set where the client's record lists that brand, and not only `*`. No member of the line.
    #[serde(skip)]
    pub brand_is_listed: bool,
    /// `sub` of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// `operator` of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// `scope` of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The scope that a refused request asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_scope: Option<String>,
    /// The brand that a refused request named.
    #[serde(rename = "requested_brandKey", skip_serializing_if = "Option::is_none")]
    pub requested_brand: Option<String>,
    /// The API that a refused request named, as `resource` or `audience`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_resource: Option<String>,
    /// The operator that a refused request named, where it is on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_operator: Option<String>,
    /// `jti` of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The signing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The family of the refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The generation of the refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The throttle's counter that refused the guess.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counter: Option<Counter>,
    /// How long the caller has to wait, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// The error code that the caller got (RFC 6749 section 5.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// The reason, which the caller does not get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The result of an introspection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// The method of an API's request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path of an API's request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The table whose copy was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<&'static str>,
    /// The key of the record whose copy was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The age of that copy, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// The number of a signing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When a signing key begins to sign, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activates_at: Option<u64>,
    /// For how long the signing key has been signing, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_age: Option<u64>,
    /// How many keys a rotation created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<usize>,
    /// How many keys a rotation deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<usize>,
}

impl Record {
    /// A record about `event`, with nothing else in it.
    pub fn new(event: Event) -> Self {
        Self { event, ..Self::default() }
    }

    /// The level that the record is logged at.
    pub fn level(&self) -> Level {
        match self.event {
            Event::Failed => Level::ERROR,
            Event::ReuseDetected | Event::SlowedDown | Event::ServedStale | Event::Withdrawn => Level::WARN,
            _ => Level::INFO,
        }
    }
}

/// The first 128 characters of a name that a caller sent: no name on record is longer.
pub fn bounded(name: &str) -> String {
    name.chars().take(128).collect()
}

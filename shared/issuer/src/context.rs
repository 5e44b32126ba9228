//! The context of one request: its time, its origin, and its audit record.

use std::net::IpAddr;

use countersign_verify::Timestamp;

use crate::audit::Record;

/// The address that a request came from, as API Gateway or the server's socket saw it; never what a header says. It
/// is among a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceAddress(pub IpAddr);

/// The context of one request. It is passed down explicitly, and each layer adds to its audit record.
#[derive(Debug)]
pub struct RequestContext {
    /// The time of the request. Everything that is decided about it is decided as of this moment.
    pub now: Timestamp,
    /// The address that it came from, where it is known.
    pub source: Option<SourceAddress>,
    /// The audit record, written once when the decision is made.
    pub audit: Record,
}

impl RequestContext {
    /// The context of a request that arrives at `now` from `source`.
    pub fn new(now: Timestamp, source: Option<SourceAddress>) -> Self {
        Self { now, source, audit: Record::default() }
    }
}

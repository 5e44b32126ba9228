//! The log: one JSON object a line on standard output, which Lambda hands to CloudWatch.
//!
//! Diagnostics come from `tracing` through its JSON formatter. An audit record is serialised once, by serde.

use std::io::Write;

use countersign_issuer::audit::{AuditLog, Record};
use countersign_verify::Clock;
use serde::Serialize;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::invocation;
use crate::metrics::{Measurements, Metrics};

/// The target that `RUST_LOG` knows audit records by.
const AUDIT: &str = "audit";

/// Most audit lines are shorter.
const LINE_BYTES: usize = 1024;

/// Starts logging to standard output.
pub(crate) fn start(clock: Clock) -> AuditLog {
    let logging = Logging::from_lookup(crate::variable);
    // Fails only where a subscriber is set already, which then logs.
    let _ = logging.diagnostics(std::io::stdout).try_init();
    std::panic::set_hook(Box::new(|panic| {
        // Without the message: where the conversion of an event panics, it may repeat a credential.
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a panic");
    }));
    for problem in logging.problems() {
        tracing::warn!("{problem}");
    }
    logging.audit_log(clock, std::io::stdout)
}

/// The settings of the log.
#[derive(Debug, Clone)]
pub struct Logging {
    filter: Targets,
    metrics: Option<Metrics>,
    problems: Vec<&'static str>,
}

impl Logging {
    /// Reads `RUST_LOG`, which is `info` unless set, and the variables of [`Metrics`] through `lookup`.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut problems = Vec::new();
        let wanted = lookup("RUST_LOG").filter(|value| !value.is_empty());
        let filter = wanted.map(|value| value.parse::<Targets>());
        if matches!(filter, Some(Err(_))) {
            problems.push("RUST_LOG is not understood; logging at info");
        }
        let filter =
            filter.and_then(Result::ok).unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
        let metrics = Metrics::from_lookup(lookup).unwrap_or_else(|_| {
            problems.push("COUNTERSIGN_METRICS must be off, on or by-brand; no metrics are written");
            None
        });
        Self { filter, metrics, problems }
    }

    /// The variables that were not understood.
    pub fn problems(&self) -> &[&'static str] {
        &self.problems
    }

    /// Writes diagnostics to `writer`.
    pub fn diagnostics<W>(&self, writer: W) -> impl Subscriber + Send + Sync + use<W>
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            // The list has our span with the request id, even within the span of a library.
            .with_current_span(false)
            .with_writer(writer);
        // No `TRACE`, whatever is asked for: there the runtime shows whole events, secrets included.
        tracing_subscriber::registry().with(lines).with(self.filter.clone()).with(LevelFilter::DEBUG)
    }

    /// Writes audit records to `writer`, with metrics where they are on.
    pub fn audit_log<W>(&self, clock: Clock, writer: W) -> AuditLog
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let Self { filter, metrics, .. } = self.clone();
        AuditLog::new(move |record| {
            if filter.would_enable(AUDIT, &record.level()) {
                let line = line(record, metrics.as_ref(), &clock);
                // If stdout is gone, there is nowhere to report it.
                let _ = writer.make_writer().write_all(&line);
            }
        })
    }
}

/// An audit line. With metrics it is a document of CloudWatch's embedded metric format at the same time: one line,
/// paid for once.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    #[serde(flatten)]
    invocation: Option<&'a invocation::Members>,
    #[serde(flatten)]
    record: &'a Record,
    #[serde(flatten)]
    measurements: Option<Measurements<'a>>,
}

fn line(record: &Record, metrics: Option<&Metrics>, clock: &Clock) -> Vec<u8> {
    let now = clock.now();
    let invocation = invocation::Members::current(now);
    let invocation = invocation.as_ref();
    let mut timestamp = String::new();
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let line = Line {
        timestamp,
        level: record.level().as_str(),
        invocation,
        record,
        measurements: metrics.and_then(|metrics| metrics.measure(record, invocation, now)),
    };
    let mut bytes = Vec::with_capacity(LINE_BYTES);
    // Strings, numbers and lists of them cannot fail to serialise.
    let _ = serde_json::to_writer(&mut bytes, &line);
    bytes.push(b'\n');
    bytes
}

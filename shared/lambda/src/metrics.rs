//! CloudWatch metrics in the embedded metric format: the members that turn an audit line into such
//! a document.

use countersign_issuer::audit::{Event, Record};
use countersign_issuer::config::DEFAULT_TABLE_PREFIX;
use countersign_verify::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::invocation;

/// The metrics that an event counts.
struct Counted {
    metrics: &'static [&'static str],
    /// Members of the line to count by as well.
    by: &'static [Dimension],
    /// Ends the invocation. An invocation has one such event, and is measured then.
    is_end: bool,
}

/// A member of the line that metrics are counted by. CloudWatch bills each value of one as a
/// metric, so it must have few values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Grant,
    Error,
    /// Only where it was asked for, and the client's record lists the brand: a client with `*` may
    /// name any text.
    Brand,
}

impl Counted {
    fn from_event(event: Event) -> Option<Self> {
        use Dimension::{Brand, Error, Grant};
        let end = |metrics, by| Some(Self { metrics, by, is_end: true });
        match event {
            Event::Issued => end(&["Tokens"], &[Grant, Brand]),
            Event::Refused => end(&["Refused"], &[Error]),
            Event::ReuseDetected => end(&["Refused", "RefreshReuse"], &[Error]),
            Event::SlowedDown => end(&["Refused", "GuessesRefused"], &[Error]),
            Event::Failed => end(&["Failed"], &[Error]),
            Event::Revoked => end(&["Revoked"], &[]),
            Event::CallerRefused => end(&["CallersRefused"], &[]),
            Event::CallerSlowedDown => end(&["CallersRefused", "GuessesRefused"], &[]),
            Event::Introspected | Event::Rotation => end(&[], &[]),
            Event::ServedStale => Some(Self { metrics: &["StaleClients"], by: &[], is_end: false }),
            Event::CallerAuthenticated | Event::Rotated | Event::Withdrawn => None,
        }
    }
}

impl Dimension {
    /// The dimensions of a directive that counts by this member.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Grant => &["grant"],
            Self::Error => &["error"],
            Self::Brand => &["brandKey"],
        }
    }

    fn is_in(self, record: &Record) -> bool {
        match self {
            Self::Grant => record.grant.is_some(),
            Self::Error => record.error.is_some(),
            Self::Brand => record.brand_key.is_some() && record.brand_is_listed,
        }
    }
}

/// The settings of the metrics.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    namespace: String,
    function: String,
    by_brand: bool,
}

/// `COUNTERSIGN_METRICS` has a value that it cannot have.
#[derive(Debug)]
pub(crate) struct UnknownSetting;

impl Metrics {
    /// Reads `COUNTERSIGN_METRICS`, `COUNTERSIGN_TABLE_PREFIX` and `AWS_LAMBDA_FUNCTION_NAME`
    /// through `lookup`. None where the first is `off` or not set.
    pub(crate) fn from_lookup(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, UnknownSetting> {
        let by_brand = match lookup("COUNTERSIGN_METRICS").as_deref() {
            None | Some("" | "off") => return Ok(None),
            Some("on") => false,
            Some("by-brand") => true,
            Some(_) => return Err(UnknownSetting),
        };
        let prefix = lookup("COUNTERSIGN_TABLE_PREFIX").filter(|prefix| !prefix.is_empty());
        let prefix = prefix.as_deref().unwrap_or(DEFAULT_TABLE_PREFIX);
        Ok(Some(Self {
            namespace: format!("{prefix}issuer"),
            function: lookup("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            by_brand,
        }))
    }

    /// The members that CloudWatch counts and measures `record` by; none for an event that has no
    /// metric.
    pub(crate) fn measure(
        &self,
        record: &Record,
        invocation: Option<&invocation::Members>,
        now: Timestamp,
    ) -> Option<Measurements<'_>> {
        let counted = Counted::from_event(record.event)?;
        let mut values = Vec::with_capacity(4);
        let mut directives = Vec::with_capacity(2);
        if !counted.metrics.is_empty() {
            let mut dimensions = vec![&[][..]];
            let by = counted.by.iter().filter(|by| self.by_brand || **by != Dimension::Brand);
            dimensions.extend(by.filter(|by| by.is_in(record)).map(|by| by.names()));
            values.extend(counted.metrics.iter().map(|&name| (name, 1)));
            let metrics = counted.metrics.iter().map(|&name| Metric { name, unit: "Count" }).collect();
            directives.push(Directive { namespace: &self.namespace, dimensions, metrics });
        }
        if counted.is_end {
            let measured = [
                ("Duration", "Milliseconds", invocation.map(|members| members.duration_ms)),
                ("ColdStarts", "Count", invocation.filter(|members| members.cold_start).map(|_| 1)),
                ("ExpiringSecrets", "Count", record.secret_ends_soon.filter(|soon| *soon).map(|_| 1)),
                ("KeyAge", "Seconds", record.key_age),
                ("LockOuts", "Count", record.counter.filter(|counter| counter.is_shared()).map(|_| 1)),
            ];
            let mut metrics = Vec::with_capacity(measured.len());
            for (name, unit, value) in measured {
                let Some(value) = value else { continue };
                values.push((name, value));
                metrics.push(Metric { name, unit });
            }
            let dimensions = vec![&["function"][..]];
            directives.push(Directive { namespace: &self.namespace, dimensions, metrics });
        }
        Some(Measurements {
            values,
            function: counted.is_end.then_some(&self.function),
            document: Document { timestamp: now.millis(), directives },
        })
    }
}

/// The members of an audit line that only CloudWatch's metrics need.
#[derive(Debug)]
pub(crate) struct Measurements<'a> {
    values: Vec<(&'static str, u64)>,
    function: Option<&'a str>,
    document: Document<'a>,
}

impl Serialize for Measurements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        for (name, value) in &self.values {
            members.serialize_entry(name, value)?;
        }
        if let Some(function) = self.function {
            members.serialize_entry("function", function)?;
        }
        members.serialize_entry("_aws", &self.document)?;
        members.end()
    }
}

/// The part of a line that describes its metrics. Their values, and those of their dimensions, are
/// members of the line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    timestamp: u64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: Vec<Directive<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: Vec<&'static [&'static str]>,
    metrics: Vec<Metric>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

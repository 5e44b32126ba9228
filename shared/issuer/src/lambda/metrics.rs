//! CloudWatch metrics, derived from audit events: what makes a log line a document of the embedded metric format.

use serde::Serialize;

use super::line::Members;

/// What an event counts.
struct Counted {
    event: &'static str,
    metrics: &'static [&'static str],
    /// Members of the line that it is also counted by. Every value of one is a metric that is billed, so it must be
    /// one of a few.
    by: &'static [&'static str],
    /// Whether it is the end of an invocation, of which there is one: only then the invocation is measured.
    is_end: bool,
}

const COUNTED: &[Counted] = &[
    Counted { event: "issued", metrics: &["Tokens"], by: &["grant", BRAND], is_end: true },
    Counted { event: "refused", metrics: &["Refused"], by: &["error"], is_end: true },
    Counted { event: "reuse detected", metrics: &["Refused", "RefreshReuse"], by: &["error"], is_end: true },
    Counted { event: "failed", metrics: &["Failed"], by: &["error"], is_end: true },
    Counted { event: "revoked", metrics: &["Revoked"], by: &[], is_end: true },
    Counted { event: "rotation", metrics: &[], by: &[], is_end: true },
    Counted { event: "introspected", metrics: &[], by: &[], is_end: true },
    Counted { event: "slowed down", metrics: &["Refused", "GuessesRefused"], by: &["error"], is_end: true },
    Counted { event: "caller refused", metrics: &["CallersRefused"], by: &[], is_end: true },
    Counted {
        event: "caller slowed down",
        metrics: &["CallersRefused", "GuessesRefused"],
        by: &[],
        is_end: true,
    },
    Counted { event: "served stale", metrics: &["StaleClients"], by: &[], is_end: false },
];

/// What the end of an invocation measures: a member of the line, the metric and its unit.
const MEASURED: &[(&str, &str, &str)] = &[
    ("duration_ms", "Duration", "Milliseconds"),
    ("cold_start", "ColdStarts", "Count"),
    ("secret_ends_soon", "ExpiringSecrets", "Count"),
    ("key_age", "KeyAge", "Seconds"),
];

/// A dimension only where it was asked for: there may be many.
const BRAND: &str = "brandKey";

/// Where metrics go, and what they are told apart by.
pub(super) struct Metrics {
    namespace: String,
    function: String,
    by_brand: bool,
}

/// `COUNTERSIGN_METRICS` says something else.
pub(super) struct Unknown;

impl Metrics {
    /// None where `COUNTERSIGN_METRICS` is `off` or not set.
    pub(super) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Unknown> {
        let by_brand = match lookup("COUNTERSIGN_METRICS").as_deref() {
            None | Some("" | "off") => return Ok(None),
            Some("on") => false,
            Some("by-brand") => true,
            Some(_) => return Err(Unknown),
        };
        let prefix = lookup("COUNTERSIGN_TABLE_PREFIX").filter(|prefix| !prefix.is_empty());
        let prefix = prefix.as_deref().unwrap_or(crate::config::DEFAULT_TABLE_PREFIX);
        Ok(Some(Self {
            namespace: format!("{prefix}issuer"),
            function: lookup("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            by_brand,
        }))
    }

    /// Adds to an audit line what makes CloudWatch count and measure it.
    pub(super) fn add_to(&self, line: &mut Members, now_ms: u64) {
        let event = line.get("event").unwrap_or_default().trim_matches('"');
        let Some(counted) = COUNTED.iter().find(|counted| counted.event == event) else {
            return;
        };
        let mut directives = Vec::with_capacity(2);
        if !counted.metrics.is_empty() {
            // Over all, and by each member alone.
            let by = counted.by.chunks(1).filter(|by| by.iter().all(|member| self.is_by(line, member)));
            let dimensions = [&[][..]].into_iter().chain(by).collect();
            let metrics = counted.metrics.iter().map(|&name| Metric { name, unit: "Count" }).collect();
            for name in counted.metrics {
                line.add(name, &1);
            }
            directives.push(Directive { namespace: &self.namespace, dimensions, metrics });
        }
        if counted.is_end {
            let mut metrics = Vec::with_capacity(MEASURED.len());
            for &(member, name, unit) in MEASURED {
                match line.get(member).map(|value| (value, value.parse::<u64>())) {
                    Some(("true", _)) => line.add(name, &1),
                    Some((_, Ok(value))) => line.add(name, &value),
                    _ => continue,
                }
                metrics.push(Metric { name, unit });
            }
            line.add("function", &self.function);
            directives.push(Directive {
                namespace: &self.namespace,
                dimensions: vec![&["function"]],
                metrics,
            });
        }
        line.add("_aws", &Document { timestamp: now_ms, directives });
    }

    fn is_by(&self, line: &Members, member: &str) -> bool {
        (self.by_brand || member != BRAND) && line.get(member).is_some()
    }
}

/// What CloudWatch reads of a line. The metrics' values are members of the line, beside what they are told apart by.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    timestamp: u64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: Vec<Directive<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: Vec<&'static [&'static str]>,
    metrics: Vec<Metric>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

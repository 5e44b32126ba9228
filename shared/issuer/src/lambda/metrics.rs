//! CloudWatch metrics, derived from audit events: what makes a log line a document of the embedded metric format.

use serde_json::{Map, Value, json};

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
    pub(super) fn add_to(&self, line: &mut Map<String, Value>, now_ms: u64) {
        let event = line.get("event").and_then(Value::as_str).unwrap_or_default();
        let Some(counted) = COUNTED.iter().find(|counted| counted.event == event) else {
            return;
        };
        let mut directives = Vec::new();
        let by = counted.by.iter().filter(|member| line.contains_key(**member));
        let by = by.filter(|member| self.by_brand || **member != BRAND);
        // Over all, and by each member alone.
        let dimensions: Vec<Vec<&str>> = [vec![]].into_iter().chain(by.map(|member| vec![*member])).collect();
        if !counted.metrics.is_empty() {
            let metrics = counted.metrics.iter().map(|metric| (*metric, "Count", 1.into()));
            directives.push(self.directive(line, &json!(dimensions), metrics.collect()));
        }
        if counted.is_end {
            let measured = MEASURED.iter().filter_map(|(member, metric, unit)| match line.get(*member)? {
                Value::Bool(true) => Some((*metric, *unit, 1.into())),
                Value::Number(value) => Some((*metric, *unit, Value::Number(value.clone()))),
                _ => None,
            });
            let measured = measured.collect();
            line.insert("function".into(), self.function.clone().into());
            directives.push(self.directive(line, &json!([["function"]]), measured));
        }
        line.insert("_aws".into(), json!({ "Timestamp": now_ms, "CloudWatchMetrics": directives }));
    }

    /// The metrics' values are members of the line, beside what they are told apart by.
    fn directive(
        &self,
        line: &mut Map<String, Value>,
        dimensions: &Value,
        metrics: Vec<(&str, &str, Value)>,
    ) -> Value {
        let names: Vec<Value> =
            metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
        line.extend(metrics.into_iter().map(|(name, _, value)| (name.to_owned(), value)));
        json!({ "Namespace": self.namespace, "Dimensions": dimensions, "Metrics": names })
    }
}

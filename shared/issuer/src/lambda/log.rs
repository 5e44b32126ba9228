//! The log: one JSON object a line on standard output, which Lambda hands to CloudWatch.

use std::fmt;

use countersign_verify::Clock;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_serde::fields::AsMap;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::metrics::Metrics;

/// What audit events and the spans that they happen in are marked with.
pub(super) const AUDIT: &str = "audit";

/// Starts logging. `RUST_LOG` says how much; `info` unless set.
pub(super) fn start(clock: Clock, lookup: impl Fn(&str) -> Option<String>) {
    let wanted = lookup("RUST_LOG").filter(|value| !value.is_empty());
    let filter = wanted.as_deref().map(str::parse::<Targets>);
    let is_wrong = matches!(filter, Some(Err(_)));
    let filter =
        filter.and_then(Result::ok).unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let metrics = Metrics::from_lookup(lookup);
    let is_unknown = metrics.is_err();
    let lines = Lines { clock, metrics: metrics.unwrap_or_default() };
    let layer = tracing_subscriber::fmt::layer().event_format(lines).fmt_fields(JsonFields::new());
    // Fails only where a subscriber is set already, which then logs.
    // And whatever is asked for, no `trace`: there the runtime shows events whole, secrets and all.
    let _ = tracing_subscriber::registry().with(layer).with(filter).with(LevelFilter::DEBUG).try_init();
    if is_wrong {
        tracing::warn!("RUST_LOG is not understood; logging at info");
    }
    if is_unknown {
        tracing::warn!("COUNTERSIGN_METRICS must be off, on or by-brand; no metrics are written");
    }
}

/// An event with everything that is known of the invocation and the request that it happened in. An audit event is
/// at the same time the document that CloudWatch takes metrics from: one line, paid once.
struct Lines {
    clock: Clock,
    metrics: Option<Metrics>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut line = Map::from_iter([
            ("timestamp".to_owned(), timestamp.into()),
            ("level".to_owned(), event.metadata().level().as_str().into()),
        ]);
        let is_audit = event.metadata().target() == AUDIT;
        if !is_audit {
            line.insert("target".to_owned(), event.metadata().target().into());
        }
        for span in context.event_scope().into_iter().flatten() {
            // The runtime has a span of its own, which says the same in other words.
            if span.metadata().target() == AUDIT
                && let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && let Ok(Value::Object(fields)) = serde_json::from_str(&fields.fields)
            {
                line.extend(fields);
            }
        }
        if let Ok(Value::Object(fields)) = serde_json::to_value(event.field_map()) {
            line.extend(fields);
        }
        let now = self.clock.now().millis();
        if let Some(started) = line.remove("started").as_ref().and_then(Value::as_u64) {
            line.insert("duration_ms".to_owned(), now.saturating_sub(started).into());
        }
        if let (true, Some(metrics)) = (is_audit, &self.metrics) {
            metrics.add_to(&mut line, now);
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

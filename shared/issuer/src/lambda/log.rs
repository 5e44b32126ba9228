//! The log: one JSON object a line on standard output, which Lambda hands to CloudWatch.

use std::io::Write;

use countersign_verify::Clock;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::line::Members;
use super::metrics::Metrics;

/// What audit events and the spans that they happen in are marked with.
pub(super) const AUDIT: &str = "audit";

/// Starts logging to standard output.
pub(super) fn start(clock: Clock, lookup: impl Fn(&str) -> Option<String>) {
    let (subscriber, not_understood) = subscriber(clock, lookup, std::io::stdout);
    // Fails only where a subscriber is set already, which then logs.
    let _ = subscriber.try_init();
    for complaint in not_understood {
        tracing::warn!("{complaint}");
    }
}

/// What the functions log with, and what of `lookup` it did not understand. `RUST_LOG` says how much; `info` unless
/// set.
pub fn subscriber<W>(
    clock: Clock,
    lookup: impl Fn(&str) -> Option<String>,
    writer: W,
) -> (impl Subscriber + Send + Sync, Vec<&'static str>)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let mut not_understood = Vec::new();
    let wanted = lookup("RUST_LOG").filter(|value| !value.is_empty());
    let filter = wanted.as_deref().map(str::parse::<Targets>);
    if matches!(filter, Some(Err(_))) {
        not_understood.push("RUST_LOG is not understood; logging at info");
    }
    let filter =
        filter.and_then(Result::ok).unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let metrics = Metrics::from_lookup(lookup).unwrap_or_else(|_| {
        not_understood.push("COUNTERSIGN_METRICS must be off, on or by-brand; no metrics are written");
        None
    });
    let lines = Lines { clock, metrics, writer };
    // Whatever is asked for, no `trace`: there the runtime shows events whole, secrets and all.
    (tracing_subscriber::registry().with(lines).with(filter).with(LevelFilter::DEBUG), not_understood)
}

/// An event with everything that is known of the invocation and the request that it happened in. An audit event is
/// at the same time the document that CloudWatch takes metrics from: one line, paid once.
struct Lines<W> {
    clock: Clock,
    metrics: Option<Metrics>,
    writer: W,
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        keep(&context, id, |members| attributes.record(members));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        keep(&context, id, |members| values.record(members));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Members::for_a_line();
        line.add_text("timestamp", |text| SystemTime.format_time(&mut Writer::new(text)));
        line.add("level", event.metadata().level().as_str());
        let is_audit = event.metadata().target() == AUDIT;
        if !is_audit {
            line.add("target", event.metadata().target());
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(members) = span.extensions().get::<Members>() {
                line.add_all(members);
            }
        }
        event.record(&mut line);
        let now = self.clock.now().millis();
        if let Some(started) = line.get("started").and_then(|started| started.parse::<u64>().ok()) {
            line.remove("started");
            line.add("duration_ms", &now.saturating_sub(started));
        }
        if let (true, Some(metrics)) = (is_audit, &self.metrics) {
            metrics.add_to(&mut line, now);
        }
        // Nobody could be told that nobody can be told.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(&line.into_line());
    }
}

/// Keeps with a span of ours what is learnt of it. Libraries have spans too.
fn keep<S>(context: &Context<'_, S>, id: &Id, record: impl FnOnce(&mut Members))
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    let Some(span) = context.span(id).filter(|span| span.metadata().target() == AUDIT) else {
        return;
    };
    let mut extensions = span.extensions_mut();
    if let Some(members) = extensions.get_mut::<Members>() {
        record(members);
        return;
    }
    let mut members = Members::default();
    record(&mut members);
    if !members.is_empty() {
        extensions.insert(members);
    }
}

//! The log: one JSON object a line on standard output, which Lambda hands to CloudWatch.
//!
//! Diagnostics come from `tracing` through its JSON formatter. An audit record is serialised once,
//! by serde.

use std::io::Write;
use std::panic::PanicHookInfo;

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

use crate::metrics::{Measurements, Metrics};
use crate::{guard, invocation};

/// Most audit lines are shorter.
const LINE_BYTES: usize = 1024;

/// Starts logging to standard output.
pub(crate) fn start(clock: Clock) -> AuditLog {
    std::panic::set_hook(Box::new(log_panic));
    Logging::from_lookup(crate::variable).start(clock, std::io::stdout)
}

/// Logs a panic, which is a defect; not that of an event that cannot be read.
fn log_panic(panic: &PanicHookInfo<'_>) {
    if !guard::is_reading() {
        // Without the message, which may repeat a credential. `TokenCrashes` in template.yaml, and its
        // like, count these lines for an alarm.
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a panic");
    }
}

/// The settings of the log.
#[derive(Debug, Clone)]
pub struct Logging {
    filter: Targets,
    metrics: Option<Metrics>,
    problems: Vec<&'static str>,
}

impl Logging {
    /// Reads `RUST_LOG`, which is `info` unless set, and the variables of the metrics through
    /// `lookup`.
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

    /// Writes the diagnostics of this process and the audit records to `writer`, and reports the
    /// variables that were not understood.
    pub fn start<W>(&self, clock: Clock, writer: W) -> AuditLog
    where
        W: for<'writer> MakeWriter<'writer> + Clone + Send + Sync + 'static,
    {
        // Fails only where a subscriber is set already, which then logs.
        let _ = self.diagnostics(writer.clone()).try_init();
        for problem in self.problems() {
            tracing::warn!("{problem}");
        }
        self.audit_log(clock, writer)
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
        // No `TRACE`, whatever is asked for: there the runtime shows whole events, secrets
        // included.
        tracing_subscriber::registry().with(lines).with(self.filter.clone()).with(LevelFilter::DEBUG)
    }

    /// Writes audit records to `writer`, with metrics where they are on. `RUST_LOG` does not filter
    /// them: the alarms count their metrics.
    pub fn audit_log<W>(&self, clock: Clock, writer: W) -> AuditLog
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let metrics = self.metrics.clone();
        AuditLog::new(move |record| {
            let line = line(record, metrics.as_ref(), &clock);
            // If stdout is gone, there is nowhere to report it.
            let _ = writer.make_writer().write_all(&line);
        })
    }
}

/// An audit line. With metrics it is a document of CloudWatch's embedded metric format at the same
/// time: one line, paid for once.
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use countersign_issuer::audit::Event;
    use countersign_issuer::http::Response;
    use countersign_verify::Timestamp;
    use lambda_http::Context;
    use serde_json::{Value, json};

    use super::*;
    use crate::Guard;
    use crate::invocation::Invocations;

    /// Keeps the lines that are written to it or to a clone of it.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn parse(&self) -> Vec<Value> {
            self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logging(variables: &[(&str, &str)]) -> Logging {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Logging::from_lookup(|name| value(name).map(|(_, value)| (*value).to_owned()))
    }

    fn audit_log(variables: &[(&str, &str)], clock: Clock) -> (AuditLog, Lines) {
        let lines = Lines::default();
        let writer = lines.clone();
        (logging(variables).audit_log(clock, move || writer.clone()), lines)
    }

    /// A clock that is 5 ms later at each reading.
    fn clock() -> Clock {
        let now = AtomicU64::new(1_800_000_000_000);
        Clock::new(move || Timestamp::from_millis(now.fetch_add(5, Ordering::Relaxed)))
    }

    fn issued() -> Record {
        Record {
            client_id: Some("billing \"\\\n\u{2028}ü".into()),
            secret_ends_soon: Some(true),
            grant: Some("password"),
            brand_key: Some("acme".into()),
            brand_is_listed: true,
            ..Record::new(Event::Issued)
        }
    }

    #[tokio::test]
    async fn an_audit_record_is_one_line_of_json_with_its_invocation() {
        let clock = clock();
        let (audit, lines) = audit_log(&[], clock.clone());
        let invocations = Invocations::new(clock);
        audit.write(&issued());
        for id in ["first", "second"] {
            invocations.run(id.into(), async { audit.write(&issued()) }).await;
        }
        assert_eq!(lines.text().matches('\n').count(), 3);
        let [outside, first, second] = lines.parse().try_into().unwrap();
        for line in [&outside, &first, &second] {
            let timestamp = line["timestamp"].as_str().unwrap();
            assert!(
                timestamp.len() == "2026-11-21T00:00:03.000000Z".len() && timestamp.ends_with('Z'),
                "{line}"
            );
        }
        let members = json!({
            "level": "INFO", "event": "issued", "client_id": "billing \"\\\n\u{2028}ü", "secret_ends_soon": true,
            "grant": "password", "brandKey": "acme",
        });
        let with = |line: &Value, more: Value| {
            let mut expected = members.clone();
            expected["timestamp"] = line["timestamp"].clone();
            expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            expected
        };
        assert_eq!(outside, with(&outside, json!({})));
        let invocation = json!({ "request_id": "first", "cold_start": true, "duration_ms": 5 });
        assert_eq!(first, with(&first, invocation));
        let invocation = json!({ "request_id": "second", "cold_start": false, "duration_ms": 5 });
        assert_eq!(second, with(&second, invocation));
        // The members that a reader looks for come first.
        let second = lines.text().lines().nth(2).unwrap().to_owned();
        let places = ["timestamp", "level", "request_id", "cold_start", "duration_ms", "event"]
            .map(|name| second.find(&format!("\"{name}\":")).unwrap());
        assert!(places.is_sorted(), "{second}");
    }

    #[tokio::test]
    async fn metrics_stand_in_the_line_of_their_record() {
        const ON: (&str, &str) = ("COUNTERSIGN_METRICS", "on");
        const FUNCTION: (&str, &str) = ("AWS_LAMBDA_FUNCTION_NAME", "token");
        let count = |name: &str| json!({ "Name": name, "Unit": "Count" });
        for (variables, namespace, dimensions) in [
            (&[ON, FUNCTION][..], "countersign-issuer", json!([[], ["grant"]])),
            (
                &[("COUNTERSIGN_METRICS", "by-brand"), FUNCTION, ("COUNTERSIGN_TABLE_PREFIX", "test-")],
                "test-issuer",
                json!([[], ["grant"], ["brandKey"]]),
            ),
        ] {
            let clock = clock();
            let (audit, lines) = audit_log(variables, clock.clone());
            Invocations::new(clock).run("id".into(), async { audit.write(&issued()) }).await;
            let line = &lines.parse()[0];
            let names = ["Tokens", "Duration", "ColdStarts", "ExpiringSecrets", "function"];
            assert_eq!(
                names.map(|name| &line[name]),
                [&json!(1), &json!(5), &json!(1), &json!(1), &json!("token")]
            );
            let metrics = json!([
                { "Name": "Duration", "Unit": "Milliseconds" },
                count("ColdStarts"),
                count("ExpiringSecrets"),
            ]);
            assert_eq!(
                line["_aws"],
                json!({
                    "Timestamp": 1_800_000_000_005_u64,
                    "CloudWatchMetrics": [
                        { "Namespace": namespace, "Dimensions": dimensions, "Metrics": [count("Tokens")] },
                        { "Namespace": namespace, "Dimensions": [["function"]], "Metrics": metrics },
                    ],
                })
            );
        }
    }

    #[test]
    fn a_brand_that_the_client_does_not_list_is_no_dimension() {
        let (audit, lines) = audit_log(&[("COUNTERSIGN_METRICS", "by-brand")], clock());
        audit.write(&Record { brand_is_listed: false, ..issued() });
        let line = &lines.parse()[0];
        assert_eq!(line["brandKey"], "acme");
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([[], ["grant"]]));
    }

    #[test]
    fn each_event_is_counted_or_only_measured_or_neither() {
        let (audit, lines) = audit_log(&[("COUNTERSIGN_METRICS", "on")], clock());
        for (event, counted, is_measured) in [
            (Event::Issued, &["Tokens"][..], true),
            (Event::Refused, &["Refused"], true),
            (Event::ReuseDetected, &["Refused", "RefreshReuse"], true),
            (Event::SlowedDown, &["Refused", "GuessesRefused"], true),
            (Event::Failed, &["Failed"], true),
            (Event::Revoked, &["Revoked"], true),
            (Event::Introspected, &[], true),
            (Event::ServedStale, &["StaleClients"], false),
            (Event::CallerAuthenticated, &[], false),
            (Event::CallerRefused, &["CallersRefused"], true),
            (Event::CallerSlowedDown, &["CallersRefused", "GuessesRefused"], true),
            (Event::Rotated, &[], false),
            (Event::Withdrawn, &[], false),
            (Event::Rotation, &[], true),
        ] {
            audit.write(&Record { key_age: Some(60), error: Some("server_error"), ..Record::new(event) });
            let line = lines.parse().pop().unwrap();
            let directives = line["_aws"]["CloudWatchMetrics"].as_array().map_or(&[][..], Vec::as_slice);
            let names: Vec<&str> = directives
                .iter()
                .flat_map(|directive| directive["Metrics"].as_array().unwrap())
                .map(|metric| metric["Name"].as_str().unwrap())
                .collect();
            let expected = [counted, if is_measured { &["KeyAge"] } else { &[] }].concat();
            assert_eq!(names, expected, "{line}");
            assert_eq!(line.get("_aws").is_some(), !expected.is_empty(), "{line}");
            assert!(names.iter().all(|name| line[name].is_u64()), "{line}");
        }
    }

    #[test]
    fn no_level_silences_an_audit_record() {
        for level in ["", "error", "warn", "info,audit=error", "countersign_issuer=info", "off"] {
            let (audit, lines) = audit_log(&[("RUST_LOG", level)], clock());
            let events = [Event::Issued, Event::ServedStale, Event::Rotation];
            for event in events {
                audit.write(&Record::new(event));
            }
            let written: Vec<_> = lines.parse().iter().map(|line| line["event"].clone()).collect();
            assert_eq!(written, ["issued", "served stale", "rotation"], "{level}");
        }
    }

    /// Collects the diagnostics of this thread at a level, until the guard is dropped.
    fn collect_diagnostics(level: &str) -> (Lines, tracing::subscriber::DefaultGuard) {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = logging(&[("RUST_LOG", level)]).diagnostics(move || writer.clone());
        (lines, tracing::subscriber::set_default(subscriber))
    }

    #[tokio::test]
    async fn a_diagnostic_has_the_request_id_and_never_comes_from_trace() {
        let (lines, _guard) = collect_diagnostics("trace");
        let work = async {
            let _library = tracing::error_span!("a span of a library").entered();
            tracing::trace!("the whole event");
            tracing::warn!(attempt = 2, "slow");
        };
        Invocations::new(clock()).run("id".into(), work).await;
        let [line] = lines.parse().try_into().unwrap();
        assert_eq!(
            (&line["message"], &line["attempt"], &line["level"]),
            (&json!("slow"), &json!(2), &json!("WARN"))
        );
        assert_eq!(line["spans"][0], json!({ "name": "invocation", "request_id": "id" }), "{line}");
        assert!(line["target"].is_string() && line["timestamp"].is_string(), "{line}");
    }

    #[tokio::test]
    async fn a_panic_is_one_line_without_its_message_unless_an_event_cannot_be_read() {
        let (lines, _guard) = collect_diagnostics("error");
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        let endpoint = async |_| -> Response { panic!("the password is hunter2") };
        let guard = Guard::new(endpoint, clock(), AuditLog::new(|_| {}));
        let mut event: Value = serde_json::from_str(include_str!("../../../events/jwks.json")).unwrap();
        let _ = guard.respond(&event.to_string(), Context::default()).await;
        let after_a_defect = lines.parse();
        event["body"] = "%".into();
        event["isBase64Encoded"] = true.into();
        let _ = guard.respond(&event.to_string(), Context::default()).await;
        std::panic::set_hook(before);

        let [line] = after_a_defect.as_slice() else { panic!("{after_a_defect:?}") };
        assert_eq!((&line["level"], &line["message"]), (&json!("ERROR"), &json!("a panic")));
        assert!(line["location"].as_str().unwrap().contains("log.rs:"), "{line}");
        assert!(!line.to_string().contains("hunter2"), "{line}");
        assert_eq!(lines.parse().len(), 1);
    }

    #[test]
    fn a_variable_that_is_not_understood_is_reported() {
        let metrics = "COUNTERSIGN_METRICS must be off, on or by-brand; no metrics are written";
        let level = "RUST_LOG is not understood; logging at info";
        let variables = [("RUST_LOG", "a=b=c"), ("COUNTERSIGN_METRICS", "loud")];
        assert_eq!(logging(&variables).problems(), [level, metrics]);
        let (audit, lines) = audit_log(&variables, clock());
        audit.write(&issued());
        assert_eq!(lines.parse()[0].get("_aws"), None);
        for fine in [("RUST_LOG", ""), ("COUNTERSIGN_METRICS", ""), ("COUNTERSIGN_METRICS", "off")] {
            assert!(logging(&[fine]).problems().is_empty(), "{fine:?}");
        }
    }
}

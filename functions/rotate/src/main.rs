//! Scheduled rotation of the signing keys.

use countersign_issuer::audit::{AuditLog, Event, Record};
use countersign_issuer::keys::{KeyError, Rotator};
use countersign_lambda::{Error, Process};
use serde::Serialize;
use serde::de::IgnoredAny;

// One event at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let process = Process::start();
    let rotator = &process.rotator()?;
    let audit = process.audit();
    process.serve(move |_: IgnoredAny| rotate(rotator, audit)).await
}

/// The keys that a run changed.
#[derive(Serialize)]
struct Report {
    created: Vec<String>,
    deleted: Vec<String>,
}

/// Runs a rotation. A failed run fails the invocation, so that the schedule tries again and the
/// alarm rings.
async fn rotate(rotator: &Rotator, audit: &AuditLog) -> Result<Report, KeyError> {
    let rotation = rotator.rotate().await.inspect_err(|error| {
        audit.write(&Record {
            endpoint: Some("rotate"),
            error: Some("rotation_failed"),
            reason: Some(error.to_string()),
            ..Record::new(Event::Failed)
        });
    })?;
    audit.write(&Record {
        key_age: Some(rotation.key_age.as_secs()),
        created: Some(rotation.created.len()),
        deleted: Some(rotation.deleted.len()),
        ..Record::new(Event::Rotation)
    });
    let created = rotation.created.iter().map(|key| key.jwk.kid().to_owned()).collect();
    Ok(Report { created, deleted: rotation.deleted })
}

//! Scheduled rotation of the signing keys.

use std::process::ExitCode;

use countersign_issuer::audit::{AuditLog, Event, Record};
use countersign_issuer::keys::Rotator;
use countersign_lambda::Error;
use serde::Serialize;
use serde::de::IgnoredAny;

// One event at a time: a second thread would only cost.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    countersign_lambda::run(async |process| {
        let rotator = &process.rotator()?;
        let audit = process.audit();
        process.serve(move |_: IgnoredAny, _| rotate(rotator, audit)).await
    })
    .await
}

/// The keys that a run changed.
#[derive(Serialize)]
struct Report {
    created: Vec<String>,
    deleted: Vec<String>,
}

/// Runs a rotation, then checks the KMS key. A failure of either fails the invocation, so that the
/// schedule tries again and the alarm rings.
async fn rotate(rotator: &Rotator, audit: &AuditLog) -> Result<Report, Error> {
    let rotation = rotator.rotate().await.map_err(|error| log_failure(error.into(), audit))?;
    audit.write(&Record {
        key_age: Some(rotation.key_age.as_secs()),
        created: Some(rotation.created.len()),
        deleted: Some(rotation.deleted.len()),
        ..Record::new(Event::Rotation)
    });
    // Warm functions keep signing with the key in their memory: without this check, a KMS key that is
    // disabled, or waits for its deletion, would be noticed by callers.
    rotator.check_envelope().await.map_err(|error| log_failure(error.into(), audit))?;
    let created = rotation.created.iter().map(|key| key.jwk.kid().to_owned()).collect();
    Ok(Report { created, deleted: rotation.deleted })
}

fn log_failure(error: Error, audit: &AuditLog) -> Error {
    audit.write(&Record {
        endpoint: Some("rotate"),
        error: Some("rotation_failed"),
        reason: Some(error.to_string()),
        ..Record::new(Event::Failed)
    });
    error
}

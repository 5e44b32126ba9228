//! The signing keys, and the key that encrypts them.

use std::time::Duration;

use countersign_issuer::config::StoreConfig;
use countersign_issuer::keys::{KeyTable, Ring, RotationSchedule, format_duration};
use countersign_verify::Timestamp;

use super::Lookup;
use super::finding::Finding;
use crate::output::Output;

/// Rotation runs every hour; one that is later than this was missed.
const ROTATION_GRACE: Duration = Duration::from_secs(24 * 3600);

pub(super) fn check_ring(
    ring: &Ring,
    now: Timestamp,
    schedule: &RotationSchedule,
    output: &Output,
) -> Vec<Finding> {
    const CHECK: &str = "keys";
    let Some(signing) = ring.signing(now) else {
        return vec![Finding::broken(
            CHECK,
            "no key signs: every token request is answered 503",
            "run `countersign key rotate`, or invoke the rotate function and read its log",
        )];
    };
    let mut findings = Vec::new();
    let age = now.since(signing.signs_from);
    let period = schedule.settings().rotation_period;
    let kid = signing.key.jwk.kid();
    if age > period + ROTATION_GRACE {
        let (age, period) = (format_duration(age), format_duration(period));
        findings.push(Finding::broken(
            CHECK,
            format!("{kid} has been signing for {age}; a rotation is due every {period}"),
            "the rotate function has not run or has failed: read its log, and check the schedule in EventBridge \
             Scheduler",
        ));
    } else {
        findings.push(Finding::ok(
            CHECK,
            format!("{kid} has been signing since {}", output.time(signing.signs_from)),
        ));
    }
    match ring.announced(now) {
        Some(next) => findings.push(Finding::ok(
            CHECK,
            format!("{} is announced, and signs from {}", next.key.jwk.kid(), output.time(next.signs_from)),
        )),
        None => findings.push(Finding::broken(
            CHECK,
            "no successor is announced: a compromised key could not be withdrawn without an outage",
            "run `countersign key rotate`, or invoke the rotate function and read its log",
        )),
    }
    findings
}

/// Checks the KMS key, and that it is the one which encrypts the private halves in `table`.
pub(super) async fn check_envelope(lookup: &Lookup, config: &StoreConfig, table: &KeyTable) -> Finding {
    const CHECK: &str = "kms";
    let envelope = match StoreConfig::with_envelope_from_lookup(lookup) {
        Ok((_, envelope)) => envelope,
        Err(error) => {
            return Finding::warning(
                CHECK,
                format!("not checked: {error}"),
                "set COUNTERSIGN_KMS_KEY_ID to its value in the stack output Environment",
            );
        }
    };
    let arn = match envelope.into_envelope(&config.aws).enabled_kms_key().await {
        Ok(Some(arn)) => arn,
        Ok(None) => {
            return Finding::ok(CHECK, "COUNTERSIGN_LOCAL_KEY encrypts the signing keys; KMS is not used");
        }
        Err(error) => {
            return Finding::broken(
                CHECK,
                error.to_string(),
                "without its KMS key no cold function can sign: restore the key with `aws kms enable-key` or `aws kms \
                 cancel-key-deletion`; if a permission is missing, attach the stack's ReaderPolicy",
            );
        }
    };
    match table.kms_keys().await {
        Ok(used) if used.iter().all(|used| *used == arn) => {
            Finding::ok(CHECK, format!("{arn} is enabled, and encrypts the signing keys"))
        }
        Ok(used) => {
            let others: Vec<String> = used.into_iter().filter(|used| *used != arn).collect();
            Finding::broken(
                CHECK,
                format!("signing keys are encrypted by {}, and not by {arn}", others.join(", ")),
                "the functions cannot decrypt these keys, and answer 500: delete the stack, and make it again with \
                 scripts/restore-stack, which imports the KMS key that the signing keys name",
            )
        }
        Err(error) => Finding::warning(
            CHECK,
            format!("{arn} is enabled; not checked that it encrypts the signing keys: {error}"),
            "attach the stack's ReaderPolicy to the user or role that runs this",
        ),
    }
}

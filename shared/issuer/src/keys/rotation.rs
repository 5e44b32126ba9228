//! Rotation: adds the keys that the ring lacks, and erases what is no longer needed.

use std::time::Duration;

use aws_sdk_dynamodb::Client as DynamoDb;
use countersign_verify::{Clock, Timestamp};

use crate::audit::{self, AuditLog};
use crate::keys::{
    EnvelopeError, KeyEnvelope, KeyError, KeyLifecycle, KeyTable, Ring, RingKey, RotationSchedule,
};
use crate::random::Random;

/// The changes that a run has to make.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// When each new key starts to sign.
    pub(crate) create: Vec<Timestamp>,
    /// The time that a new successor must be announced before it signs.
    pub(crate) lead: Duration,
    /// The numbers of keys whose private half is no longer needed.
    pub(crate) erase: Vec<u64>,
    /// The numbers of keys that are no longer needed at all.
    pub(crate) delete: Vec<u64>,
}

/// Works out what a ring needs at `now`: a key that signs, and one announced successor. The
/// successor takes over one period after the key before it, but not before it has been announced
/// for the lead.
///
/// After a withdrawal it takes over as soon as every verifier knows it. A verifier that fetches the
/// key set only for an unknown key keeps a withdrawn key until a key signs that was announced after
/// the withdrawal: no key set contains both.
///
/// If no key can sign, the new one does not wait for the lead: an outage is worse than verifiers
/// that have to fetch it.
pub(crate) fn plan(ring: &Ring, now: Timestamp, schedule: &RotationSchedule) -> Plan {
    let settings = schedule.settings();
    let mut plan = Plan::default();
    let signing = ring.signing(now);
    if signing.is_none() {
        plan.create.push(now);
    }
    let last_withdrawal = ring.lifecycles().iter().filter_map(|lifecycle| lifecycle.key.withdrawn_at).max();
    let is_urgent = signing.is_some_and(|signing| Some(signing.key.announced_at) < last_withdrawal);
    plan.lead = if is_urgent { schedule.least_lead() } else { settings.announcement_lead };
    if ring.announced(now).is_none() {
        let started = signing.map_or(now, |lifecycle| lifecycle.signs_from);
        let due = if is_urgent { now } else { started.plus(settings.rotation_period) };
        plan.create.push(due.max(now.plus(plan.lead)));
    }
    let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
    for lifecycle in ring.lifecycles() {
        if is_over(lifecycle.kept_until) {
            plan.delete.push(lifecycle.key.seq);
        } else if is_over(lifecycle.private_key_kept_until) && lifecycle.key.erased_at.is_none() {
            plan.erase.push(lifecycle.key.seq);
        }
    }
    plan
}

/// The changes that a run has made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The new keys.
    pub created: Vec<RingKey>,
    /// The kids of the deleted keys.
    pub deleted: Vec<String>,
    /// The time that the active key has been signing.
    pub key_age: Duration,
}

/// A change of the ring that was made, and the run after it that adds the keys which the ring then
/// lacks.
#[derive(Debug)]
pub struct RingChange {
    /// The outcome of that run. If it failed, the change holds all the same, and the next run makes
    /// up for it.
    pub completion: Result<Rotation, KeyError>,
}

/// Changes the ring.
#[derive(Debug)]
pub struct Rotator {
    table: KeyTable,
    envelope: KeyEnvelope,
    schedule: RotationSchedule,
    clock: Clock,
    random: Random,
    audit: AuditLog,
}

/// Why a key was not rotated or withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum ChangeRefused {
    /// The successor has not been announced for long enough.
    #[error("the successor was announced less than its lead ago")]
    NotYetKnown {
        /// When it was announced.
        since: Timestamp,
        /// When every verifier will know it.
        known: Timestamp,
    },
    /// There is no successor.
    #[error("there is no announced successor")]
    NoSuccessor,
    /// There is no such key.
    #[error("there is no such key in the ring")]
    NoSuchKey,
    /// The ring could not be read or written.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Rotator {
    /// A rotator over the signing-keys table whose name starts with `prefix`. Nothing is read yet.
    pub fn new(
        db: &DynamoDb,
        prefix: &str,
        schedule: RotationSchedule,
        envelope: KeyEnvelope,
        clock: Clock,
        random: Random,
        audit: AuditLog,
    ) -> Self {
        Self { table: KeyTable::new(db.clone(), prefix), envelope, schedule, clock, random, audit }
    }

    /// Reads the ring.
    pub async fn ring(&self) -> Result<Ring, KeyError> {
        Ok(self.table.ring(&self.schedule).await?)
    }

    /// Adds the keys that the ring lacks and erases what is no longer needed. It may run at any
    /// time, repeatedly and concurrently: a new key takes the next number in a conditional write,
    /// so that only one run gets it.
    pub async fn rotate(&self) -> Result<Rotation, KeyError> {
        let contents = self.table.read().await?;
        let now = self.clock.now();
        let ring = Ring::new(contents.keys, &self.schedule);
        let plan = plan(&ring, now, &self.schedule);
        // A ring without an active key gets one below; its age is zero.
        let key_age = ring.signing(now).map_or(Duration::ZERO, |lifecycle| now.since(lifecycle.signs_from));
        let mut rotation = Rotation { key_age, ..Rotation::default() };
        let mut seq = contents.last_seq;
        for activates_at in plan.create {
            seq =
                seq.checked_add(1).ok_or(KeyError::Unusable { seq, reason: "no number is left after it" })?;
            let pair = self
                .envelope
                .generate(&self.table.encryption_context(seq), &self.random)
                .await
                .map_err(|error| KeyError::Envelope { seq, error })?;
            // KMS may have been slow, and the lead starts when the key can be read.
            let announced_at = self.clock.now();
            let is_successor = activates_at > now;
            let earliest = announced_at.plus(plan.lead);
            let key = RingKey {
                seq,
                jwk: pair.jwk,
                announced_at,
                known_at: announced_at.plus(self.schedule.least_lead()),
                activates_at: if is_successor { activates_at.max(earliest) } else { activates_at },
                max_lifetimes: self.schedule.settings().max_lifetimes,
                withdrawn_at: None,
                erased_at: None,
            };
            if !self.table.put(&key, pair.encrypted_private_key, pair.kms_key).await? {
                // A concurrent run took the number. It makes the remaining keys too.
                break;
            }
            self.audit.write(&audit::Record {
                kid: Some(key.jwk.kid().to_owned()),
                seq: Some(seq),
                activates_at: Some(key.activates_at.seconds()),
                ..audit::Record::new(audit::Event::Rotated)
            });
            rotation.created.push(key);
        }
        for seq in plan.erase {
            self.table.erase_private_key(seq, now).await?;
        }
        for lifecycle in ring.lifecycles().iter().filter(|lifecycle| plan.delete.contains(&lifecycle.key.seq))
        {
            self.table.delete(lifecycle.key.seq).await?;
            rotation.deleted.push(lifecycle.key.jwk.kid().to_owned());
        }
        Ok(rotation)
    }

    /// Checks that the key which encrypts the signing keys can be used. A run that makes no key would
    /// not notice.
    pub async fn check_envelope(&self) -> Result<(), EnvelopeError> {
        self.envelope.check().await
    }

    /// Activates the announced successor and announces the next key. The previous key stays
    /// published. It is refused until every verifier knows the successor, so that no token is
    /// rejected.
    pub async fn rotate_now(&self) -> Result<RingChange, ChangeRefused> {
        let ring = self.ring().await?;
        let now = self.clock.now();
        let successor = self.successor(&ring, now)?;
        self.table.activate(successor.key.seq, now).await.map_err(KeyError::from)?;
        Ok(RingChange { completion: self.rotate().await })
    }

    /// Withdraws a compromised key at once. The announced successor takes over if every verifier
    /// knows it, whichever key is withdrawn: the sooner it signs, the sooner does the key after it
    /// (see `plan`). For the active key this is a condition, unless `force` allows a successor
    /// that verifiers may not know yet, or none. Withdrawing a key again completes the ring and
    /// changes nothing else.
    pub async fn withdraw(&self, kid: &str, force: bool) -> Result<RingChange, ChangeRefused> {
        let ring = self.ring().await?;
        let now = self.clock.now();
        let found = ring.lifecycles().iter().find(|lifecycle| lifecycle.key.jwk.kid() == kid);
        let lifecycle = found.ok_or(ChangeRefused::NoSuchKey)?;
        if lifecycle.key.withdrawn_at.is_some() {
            return Ok(RingChange { completion: self.rotate().await });
        }
        let is_active = ring.signing(now).is_some_and(|signing| signing.key.seq == lifecycle.key.seq);
        let successor = match self.successor(&ring, now) {
            Ok(successor) => Some(successor),
            Err(ChangeRefused::NotYetKnown { .. } | ChangeRefused::NoSuccessor) if is_active && force => {
                ring.announced(now)
            }
            Err(refused) if is_active => return Err(refused),
            Err(_) => None,
        };
        // The successor first: if the withdrawal then fails, this was only an early rotation.
        if let Some(successor) = successor.filter(|successor| successor.key.seq != lifecycle.key.seq) {
            self.table.activate(successor.key.seq, now).await.map_err(KeyError::from)?;
        }
        self.table.withdraw(lifecycle.key.seq, now).await.map_err(KeyError::from)?;
        self.audit.write(&audit::Record {
            kid: Some(kid.to_owned()),
            seq: Some(lifecycle.key.seq),
            ..audit::Record::new(audit::Event::Withdrawn)
        });
        Ok(RingChange { completion: self.rotate().await })
    }

    /// The time after a change in which a cache of the key set that expires by its age may still
    /// contain the previous ring.
    pub fn forgotten_after(&self) -> Duration {
        self.schedule.forgotten_after()
    }

    /// Returns the announced successor if every verifier knows it at `now`.
    fn successor<'a>(&self, ring: &'a Ring, now: Timestamp) -> Result<&'a KeyLifecycle, ChangeRefused> {
        let successor = ring.announced(now).ok_or(ChangeRefused::NoSuccessor)?;
        let since = successor.key.announced_at;
        // By the current schedule and by the one that it was made under, which may differ.
        let known = since.plus(self.schedule.least_lead()).max(successor.key.known_at);
        if now < known { Err(ChangeRefused::NotYetKnown { since, known }) } else { Ok(successor) }
    }
}

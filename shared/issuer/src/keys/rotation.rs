//! Rotation: what the ring lacks is added, and what nothing needs any more is erased.

use std::time::Duration;

use countersign_verify::{Clock, Timestamp};

use crate::audit::{AuditLog, Event, Record};
use crate::keys::{KeyEnvelope, KeyError, KeyLifecycle, KeyTable, Ring, RingKey, RotationSchedule};
use crate::random::Random;

/// What a run has to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// New keys, by the moment at which they activate.
    pub(crate) create: Vec<Timestamp>,
    /// Keys whose private half nobody needs any more.
    pub(crate) erase: Vec<u64>,
    /// Keys of which nobody needs anything any more.
    pub(crate) delete: Vec<u64>,
}

/// Works out what a ring needs at `now`: a key that signs, and one announced successor, which takes over a period
/// after the key before it, but not before it has been announced for the lead. A key without which nothing can be
/// signed does not wait: an outage is worse than a verifier that has to fetch.
pub(crate) fn plan(ring: &Ring, now: Timestamp, schedule: &RotationSchedule) -> Plan {
    let settings = schedule.settings();
    let mut plan = Plan::default();
    let signing = ring.signing(now);
    if signing.is_none() {
        plan.create.push(now);
    }
    if ring.announced(now).is_none() {
        let started = signing.map_or(now, |lifecycle| lifecycle.signs_from);
        plan.create.push(started.plus(settings.rotation_period).max(now.plus(settings.announcement_lead)));
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

/// What a run has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The new keys.
    pub created: Vec<RingKey>,
    /// The kids of which nothing is left.
    pub deleted: Vec<String>,
    /// For how long the key that signs has been doing so.
    pub key_age: Duration,
}

/// Whoever may change the ring.
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
    /// The successor has not been announced for its lead.
    #[error("the successor was announced less than its lead ago")]
    NotYetKnown {
        /// When it was announced.
        since: Timestamp,
        /// When every verifier knows it.
        known: Timestamp,
    },
    /// There is no successor.
    #[error("there is no announced successor")]
    NoSuccessor,
    /// There is no such key, or it was withdrawn before.
    #[error("there is no such key in the ring, or it has been withdrawn before")]
    NoSuchKey,
    /// The ring could not be read or written.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Rotator {
    /// A rotator over the signing-keys table of `config`. Nothing is read yet.
    pub fn new(
        db: &aws_sdk_dynamodb::Client,
        prefix: &str,
        schedule: RotationSchedule,
        envelope: KeyEnvelope,
        clock: Clock,
        random: Random,
        audit: AuditLog,
    ) -> Self {
        let table = KeyTable::new(db.clone(), prefix);
        Self { table, envelope, schedule, clock, random, audit }
    }

    /// The ring as it is.
    pub async fn ring(&self) -> Result<Ring, KeyError> {
        Ok(self.table.ring(&self.schedule).await?)
    }

    /// Gives the ring what it lacks and takes away what nothing needs. Safe to run at any time, twice, and twice at
    /// once: a new key takes the number after the last on condition that it is free.
    pub async fn rotate(&self) -> Result<Rotation, KeyError> {
        let contents = self.table.read().await?;
        let now = self.clock.now();
        let ring = Ring::new(contents.keys, &self.schedule);
        let plan = plan(&ring, now, &self.schedule);
        // A key that this run has yet to make is of no age.
        let key_age = ring.signing(now).map_or(Duration::ZERO, |lifecycle| now.since(lifecycle.signs_from));
        let mut done = Rotation { key_age, ..Rotation::default() };
        let mut seq = contents.last_seq;
        for activates_at in plan.create {
            seq =
                seq.checked_add(1).ok_or(KeyError::Unusable { seq, reason: "no number is left after it" })?;
            let pair = self
                .envelope
                .generate(&self.table.encryption_context(seq), &self.random)
                .await
                .map_err(|error| KeyError::KeyEnvelope { seq, error })?;
            // KMS may have taken its time, and the lead counts from when the key can be read.
            let announced_at = self.clock.now();
            let is_successor = activates_at > now;
            let soonest = announced_at.plus(self.schedule.settings().announcement_lead);
            let key = RingKey {
                seq,
                jwk: pair.jwk,
                announced_at,
                known_at: announced_at.plus(self.schedule.least_lead()),
                activates_at: if is_successor { activates_at.max(soonest) } else { activates_at },
                max_lifetimes: self.schedule.settings().max_lifetimes,
                withdrawn_at: None,
                erased_at: None,
            };
            if !self.table.put(&key, pair.wrapped).await? {
                // Another run was faster, and does the rest too.
                break;
            }
            self.audit.write(&Record {
                kid: Some(key.jwk.kid().to_owned()),
                seq: Some(seq),
                activates_at: Some(key.activates_at.seconds()),
                ..Record::new(Event::Rotated)
            });
            done.created.push(key);
        }
        for seq in plan.erase {
            self.table.erase_wrapped(seq, now).await?;
        }
        for lifecycle in ring.lifecycles().iter().filter(|lifecycle| plan.delete.contains(&lifecycle.key.seq))
        {
            self.table.delete(lifecycle.key.seq).await?;
            done.deleted.push(lifecycle.key.jwk.kid().to_owned());
        }
        Ok(done)
    }

    /// Lets the announced successor sign from now on, and announces the next one. The key before it goes on being
    /// published: nothing breaks, provided that the successor has been announced for its lead.
    pub async fn rotate_now(&self) -> Result<Rotation, ChangeRefused> {
        let ring = self.ring().await?;
        let now = self.clock.now();
        let successor = self.successor(&ring, now)?;
        self.table.activate(successor.key.seq, now).await.map_err(KeyError::from)?;
        Ok(self.rotate().await?)
    }

    /// Takes a compromised key out of the ring at once; if it signs, its successor takes over. Where no verifier may
    /// know the successor yet, `force` says that this is the lesser evil.
    pub async fn withdraw(&self, kid: &str, force: bool) -> Result<Rotation, ChangeRefused> {
        let ring = self.ring().await?;
        let now = self.clock.now();
        let found = ring.lifecycles().iter().find(|lifecycle| lifecycle.key.jwk.kid() == kid);
        let Some(lifecycle) = found.filter(|lifecycle| lifecycle.key.withdrawn_at.is_none()) else {
            return Err(ChangeRefused::NoSuchKey);
        };
        if ring.signing(now).is_some_and(|signing| signing.key.seq == lifecycle.key.seq) {
            let successor = match self.successor(&ring, now) {
                Err(ChangeRefused::NotYetKnown { .. } | ChangeRefused::NoSuccessor) if force => {
                    ring.announced(now)
                }
                known => Some(known?),
            };
            // First the heir, then the withdrawal: cut off between the two, this was an early rotation.
            if let Some(successor) = successor {
                self.table.activate(successor.key.seq, now).await.map_err(KeyError::from)?;
            }
        }
        self.table.withdraw(lifecycle.key.seq, now).await.map_err(KeyError::from)?;
        self.audit.write(&Record {
            kid: Some(kid.to_owned()),
            seq: Some(lifecycle.key.seq),
            ..Record::new(Event::Withdrawn)
        });
        Ok(self.rotate().await?)
    }

    /// How long after a change some cache may still show the ring as it was before.
    pub fn forgotten_after(&self) -> Duration {
        self.schedule.forgotten_after()
    }

    /// The announced successor, if every verifier knows it by `now`.
    fn successor<'a>(&self, ring: &'a Ring, now: Timestamp) -> Result<&'a KeyLifecycle, ChangeRefused> {
        let successor = ring.announced(now).ok_or(ChangeRefused::NoSuccessor)?;
        let since = successor.key.announced_at;
        // By the timers of now and by those it was made under, which may be another shell's.
        let known = since.plus(self.schedule.least_lead()).max(successor.key.known_at);
        if now < known { Err(ChangeRefused::NotYetKnown { since, known }) } else { Ok(successor) }
    }
}

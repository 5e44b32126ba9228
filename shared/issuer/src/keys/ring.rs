//! The life of a key, as a pure function of the whole ring and the time:
//! announced → signing → published only → kept for refresh only → gone.

use countersign_verify::{Jwk, JwkSet, Timestamp};

use crate::keys::RotationSchedule;
use crate::records::Lifetimes;

/// A key in the ring: its public half, and the decisions about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingKey {
    /// Its number, in the order of creation, from 1.
    pub seq: u64,
    /// The public key; its `kid` is its thumbprint.
    pub jwk: Jwk,
    /// When it was first published.
    pub announced_at: Timestamp,
    /// When every verifier knows it, by the schedule that it was made under.
    pub known_at: Timestamp,
    /// When it starts to sign. It signs until a later key starts.
    pub activates_at: Timestamp,
    /// No token that it signs lives longer, even if the configuration has changed since. So how
    /// long the key must be kept follows from the ring alone.
    pub max_lifetimes: Lifetimes,
    /// When it was found to be compromised.
    pub withdrawn_at: Option<Timestamp>,
    /// When its private half was erased. It never signs again, even if its successors are
    /// withdrawn.
    pub erased_at: Option<Timestamp>,
}

/// The state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and will sign later.
    Announced,
    /// The key that signs.
    Signing,
    /// Still published, for the access tokens that it signed.
    Published,
    /// No longer published, but kept for the refresh tokens that it signed.
    Kept,
    /// No longer needed: every token that it signed has expired.
    Gone,
    /// Compromised. It is neither published nor accepted.
    Withdrawn,
}

/// A key with the times that follow from the whole ring.
#[derive(Debug, Clone)]
pub struct KeyLifecycle {
    /// The key.
    pub key: RingKey,
    /// When it starts to sign.
    pub signs_from: Timestamp,
    /// When it stops signing, once it has a successor. A withdrawn key stops at its withdrawal.
    pub signs_until: Option<Timestamp>,
    /// When its private half is no longer needed.
    pub private_key_kept_until: Option<Timestamp>,
    /// When it leaves the key set.
    pub published_until: Option<Timestamp>,
    /// When it may be deleted.
    pub kept_until: Option<Timestamp>,
}

/// All keys, as they were at one moment, in the order in which they sign.
#[derive(Debug, Clone)]
pub struct Ring {
    lifecycles: Vec<KeyLifecycle>,
}

impl Ring {
    /// Works out when each key signs: from its `activates_at` until the next key starts or until it
    /// is withdrawn. A key that is withdrawn before it starts never signs.
    pub fn new(mut keys: Vec<RingKey>, schedule: &RotationSchedule) -> Self {
        keys.sort_by_key(|key| (key.activates_at, key.seq));
        let mut lifecycles: Vec<KeyLifecycle> = Vec::with_capacity(keys.len());
        let mut current: Option<usize> = None;
        for key in keys {
            let mut lifecycle = KeyLifecycle {
                signs_from: key.activates_at,
                signs_until: None,
                private_key_kept_until: None,
                published_until: None,
                kept_until: None,
                key,
            };
            if let Some(withdrawn) = lifecycle.key.withdrawn_at {
                lifecycle.end(withdrawn, schedule);
            }
            if lifecycle.has_a_turn() {
                if let Some(previous) = current {
                    lifecycles[previous].end(lifecycle.signs_from, schedule);
                }
                current = Some(lifecycles.len());
            }
            lifecycles.push(lifecycle);
        }
        Self { lifecycles }
    }

    /// Every key with its times.
    pub fn lifecycles(&self) -> &[KeyLifecycle] {
        &self.lifecycles
    }

    /// Returns the key that signs at `now`: the last one that has started.
    ///
    /// The successor of a withdrawn key signs even if, by a clock that is behind, it has not
    /// started yet: the withdrawn key must not sign.
    pub fn signing(&self, now: Timestamp) -> Option<&KeyLifecycle> {
        let is_erased = |lifecycle: &KeyLifecycle| {
            lifecycle.key.erased_at.is_some() && lifecycle.key.withdrawn_at.is_none()
        };
        let is_candidate = |lifecycle: &&KeyLifecycle| lifecycle.has_a_turn() && !is_erased(lifecycle);
        let mut last: Option<&KeyLifecycle> = None;
        for lifecycle in self.lifecycles.iter().filter(is_candidate) {
            let replaces_withdrawn = last.is_some_and(|last| last.key.withdrawn_at.is_some());
            if lifecycle.signs_from <= now || replaces_withdrawn {
                last = Some(lifecycle);
            }
        }
        last.filter(|lifecycle| lifecycle.key.withdrawn_at.is_none())
    }

    /// Returns true if the key may sign past its end because its successor cannot be decrypted:
    /// only while it is sure to be published, and never after a withdrawal.
    pub(crate) fn may_keep_signing(&self, jwk: &Jwk, now: Timestamp, schedule: &RotationSchedule) -> bool {
        let lifecycle = self.lifecycles.iter().find(|lifecycle| lifecycle.key.jwk == *jwk);
        lifecycle.is_some_and(|lifecycle| {
            lifecycle.key.withdrawn_at.is_none()
                && lifecycle.signs_until.is_some_and(|end| now.since(end) < schedule.ring_staleness())
        })
    }

    /// Every key with its state at `now`.
    pub fn states(&self, now: Timestamp) -> impl Iterator<Item = (&KeyLifecycle, KeyState)> {
        let signing = self.signing(now).map(|lifecycle| lifecycle.key.seq);
        self.lifecycles.iter().map(move |lifecycle| (lifecycle, lifecycle.state(signing, now)))
    }

    /// Returns the key that will sign next.
    pub fn announced(&self, now: Timestamp) -> Option<&KeyLifecycle> {
        self.states(now).find(|(_, state)| *state == KeyState::Announced).map(|(lifecycle, _)| lifecycle)
    }

    /// Returns true if all keys with these numbers are in the ring and none was withdrawn.
    ///
    /// A key that was withdrawn before its turn counts too: an attacker who had its private half
    /// could sign at any time. A missing key counts as withdrawn, because a key stays in the ring
    /// longer than any token that it signed honestly.
    pub(crate) fn vouches_for(&self, seqs: &[u64]) -> bool {
        let good = |seq: &u64| {
            let lifecycle = self.lifecycles.iter().find(|lifecycle| lifecycle.key.seq == *seq);
            lifecycle.is_some_and(|lifecycle| lifecycle.key.withdrawn_at.is_none())
        };
        seqs.iter().all(good)
    }

    /// Returns the public key set.
    pub fn published(&self, now: Timestamp) -> JwkSet {
        const STATES: [KeyState; 3] = [KeyState::Announced, KeyState::Signing, KeyState::Published];
        let keys = self.states(now).filter(|(_, state)| STATES.contains(state));
        JwkSet::new(keys.map(|(lifecycle, _)| lifecycle.key.jwk.clone()).collect())
    }

    /// Returns the key with that number if a valid refresh token may be signed with it: refresh
    /// tokens live longer than their key is published.
    pub(crate) fn key_at_refresh(&self, seq: u64, now: Timestamp) -> Option<&Jwk> {
        let (lifecycle, state) = self.states(now).find(|(lifecycle, _)| lifecycle.key.seq == seq)?;
        (!matches!(state, KeyState::Withdrawn | KeyState::Gone)).then_some(&lifecycle.key.jwk)
    }
}

impl KeyLifecycle {
    /// Returns false for a key that was withdrawn before it started to sign.
    fn has_a_turn(&self) -> bool {
        self.key.withdrawn_at.is_none_or(|withdrawn| withdrawn >= self.signs_from)
    }

    fn state(&self, signing: Option<u64>, now: Timestamp) -> KeyState {
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        if self.key.withdrawn_at.is_some() {
            KeyState::Withdrawn
        } else if signing == Some(self.key.seq) {
            KeyState::Signing
        } else if self.signs_from > now {
            KeyState::Announced
        } else if is_over(self.kept_until) {
            KeyState::Gone
        } else if is_over(self.published_until) {
            KeyState::Kept
        } else {
            KeyState::Published
        }
    }

    /// Sets the end and the times that follow from it. The earliest end wins.
    fn end(&mut self, at: Timestamp, schedule: &RotationSchedule) {
        let end = self.signs_until.map_or(at, |known| known.min(at));
        self.signs_until = Some(end);
        self.private_key_kept_until = Some(end.plus(schedule.private_key_kept_after_signing()));
        self.published_until = Some(end.plus(schedule.published_after_signing(self.key.max_lifetimes)));
        self.kept_until = Some(end.plus(schedule.kept_after_signing(self.key.max_lifetimes)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p256::SecretKey;

    use super::*;
    use crate::keys::signing_key::uncompressed_point;

    const MINUTE: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp::from_seconds(1_000_000);

    fn key(seq: u8, activates_at: Timestamp) -> RingKey {
        let secret = SecretKey::from_slice(&[seq; 32]).unwrap();
        RingKey {
            seq: seq.into(),
            jwk: Jwk::from_uncompressed_point(&uncompressed_point(&secret)).unwrap(),
            announced_at: Timestamp::from_seconds(0),
            known_at: Timestamp::from_seconds(0),
            activates_at,
            max_lifetimes: Lifetimes::default(),
            withdrawn_at: None,
            erased_at: None,
        }
    }

    fn signing(keys: &[RingKey], now: Timestamp) -> Option<u64> {
        Ring::new(keys.to_vec(), &RotationSchedule::default()).signing(now).map(|lifecycle| lifecycle.key.seq)
    }

    #[test]
    fn the_successor_of_a_withdrawn_key_signs_even_if_the_clock_is_behind() {
        let handover = START.plus(10 * MINUTE);
        let withdrawn = RingKey { withdrawn_at: Some(handover), erased_at: Some(handover), ..key(1, START) };
        let keys = [withdrawn, key(2, handover), key(3, handover.plus(MINUTE))];
        assert_eq!(signing(&keys, START.plus(9 * MINUTE)), Some(2));
        assert_eq!(signing(&keys[..1], handover), None, "without a successor nothing signs");
        let ring = Ring::new(keys.to_vec(), &RotationSchedule::default());
        assert!(!ring.may_keep_signing(&keys[0].jwk, handover, &RotationSchedule::default()));
        assert!(ring.published(handover).find(keys[0].jwk.kid()).is_none());
        assert!(ring.vouches_for(&[2, 3]));
        assert!(!ring.vouches_for(&[1, 2]) && !ring.vouches_for(&[2, 4]));
    }

    #[test]
    fn a_key_that_is_withdrawn_before_its_turn_changes_nothing() {
        let unused = RingKey { withdrawn_at: Some(START.plus(MINUTE)), ..key(2, START.plus(5 * MINUTE)) };
        let keys = [key(1, START), unused, key(3, START.plus(20 * MINUTE))];
        for minutes in [0, 2, 6, 19] {
            assert_eq!(signing(&keys, START.plus(minutes * MINUTE)), Some(1));
        }
        assert_eq!(signing(&keys, START.plus(20 * MINUTE)), Some(3));
    }

    #[test]
    fn a_key_without_its_private_half_never_signs_again() {
        let erased = RingKey { erased_at: Some(START), ..key(1, START) };
        assert_eq!(signing(&[erased.clone(), key(2, START.plus(MINUTE))], START), None);
        let ring = Ring::new(vec![erased], &RotationSchedule::default());
        let plan = crate::keys::rotation::plan(&ring, START.plus(MINUTE), &RotationSchedule::default());
        assert_eq!(
            (plan.create.len(), plan.create[0]),
            (2, START.plus(MINUTE)),
            "a rotation repairs it at once"
        );
        assert!(plan.erase.is_empty());
    }

    #[test]
    fn a_key_keeps_signing_for_an_hour_and_no_longer() {
        let keys = [key(1, START), key(2, START.plus(MINUTE))];
        let (ring, schedule) =
            (Ring::new(keys.to_vec(), &RotationSchedule::default()), RotationSchedule::default());
        let end = START.plus(MINUTE);
        assert!(ring.may_keep_signing(&keys[0].jwk, end.plus(59 * MINUTE), &schedule));
        assert!(!ring.may_keep_signing(&keys[0].jwk, end.plus(60 * MINUTE), &schedule));
    }
}

//! The life of a key, as a pure function of the whole ring and the time:
//! announced → signing → published only → kept for refresh alone → gone.

use countersign_verify::{Jwk, JwkSet, Timestamp};

use crate::keys::{Lifetimes, RotationSchedule};

/// What the ring holds of a key: its public half, and what was decided about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingKey {
    /// The order of creation, from 1.
    pub seq: u64,
    /// The public key; its `kid` is its thumbprint.
    pub jwk: Jwk,
    /// From when on it has been published.
    pub announced_at: Timestamp,
    /// From when on every verifier knows it, by the timers that it was made under.
    pub known_at: Timestamp,
    /// From when on it signs, until a later key does.
    pub activates_at: Timestamp,
    /// No token that it signs lives longer, whatever the configuration says by then: so what must be kept of it
    /// follows from the ring alone.
    pub max_lifetimes: Lifetimes,
    /// When it was found to be compromised.
    pub withdrawn_at: Option<Timestamp>,
    /// When its private half was erased: it never signs again, whatever becomes of the keys after it.
    pub erased_at: Option<Timestamp>,
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and to sign from a later moment on.
    Announced,
    /// The one that signs.
    Signing,
    /// Published for the access tokens that it signed.
    Published,
    /// Kept for the refresh tokens that it signed; no longer published.
    Kept,
    /// Of no more use: every token that it signed has expired.
    Gone,
    /// Compromised: neither published nor accepted.
    Withdrawn,
}

/// A key with the times that follow from its neighbours in the ring.
#[derive(Debug, Clone)]
pub struct KeyLifecycle {
    /// The key.
    pub key: RingKey,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// Until when; none while it has no successor. The end of a withdrawn key is its withdrawal.
    pub signs_until: Option<Timestamp>,
    /// Until when its private half may be needed.
    pub private_key_kept_until: Option<Timestamp>,
    /// Until when it is in the key set.
    pub published_until: Option<Timestamp>,
    /// Until when it is kept at all.
    pub kept_until: Option<Timestamp>,
}

/// All keys at one reading, in the order in which they sign.
#[derive(Debug, Clone)]
pub struct Ring {
    lifecycles: Vec<KeyLifecycle>,
}

impl Ring {
    /// Works out who signs when: each key from `activates_at` on until the next one starts, or until it is
    /// withdrawn. One that is withdrawn before it signs is passed over.
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
            if lifecycle.has_signed_or_will() {
                if let Some(before) = current {
                    lifecycles[before].end(lifecycle.signs_from, schedule);
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

    /// The key that signs at `now`: the last one to have started. A clock that is behind may not have reached the
    /// successor of a withdrawn key; it signs nonetheless, since the withdrawn one must not.
    pub fn signing(&self, now: Timestamp) -> Option<&KeyLifecycle> {
        let mut started = None;
        let has_ended = |lifecycle: &KeyLifecycle| {
            lifecycle.key.erased_at.is_some() && lifecycle.key.withdrawn_at.is_none()
        };
        let able = |lifecycle: &&KeyLifecycle| lifecycle.has_signed_or_will() && !has_ended(lifecycle);
        for lifecycle in self.lifecycles.iter().filter(able) {
            let is_heir = started.is_some_and(|before: &KeyLifecycle| before.key.withdrawn_at.is_some());
            if lifecycle.signs_from <= now || is_heir {
                started = Some(lifecycle);
            }
        }
        started.filter(|lifecycle| lifecycle.key.withdrawn_at.is_none())
    }

    /// Whether the key may sign although its time is over, for want of its successor: only for as long as it is
    /// sure to be published, and never once it is withdrawn.
    pub(crate) fn may_keep_signing(&self, jwk: &Jwk, now: Timestamp, schedule: &RotationSchedule) -> bool {
        let lifecycle = self.lifecycles.iter().find(|lifecycle| lifecycle.key.jwk == *jwk);
        lifecycle.is_some_and(|lifecycle| {
            lifecycle.key.withdrawn_at.is_none()
                && lifecycle.signs_until.is_some_and(|end| now.since(end) < schedule.ring_staleness())
        })
    }

    /// Every key with where it is in its life at `now`.
    pub fn states(&self, now: Timestamp) -> impl Iterator<Item = (&KeyLifecycle, KeyState)> {
        let signing = self.signing(now).map(|lifecycle| lifecycle.key.seq);
        self.lifecycles.iter().map(move |lifecycle| (lifecycle, lifecycle.state(signing, now)))
    }

    /// The key that will sign next.
    pub fn announced(&self, now: Timestamp) -> Option<&KeyLifecycle> {
        self.states(now).find(|(_, state)| *state == KeyState::Announced).map(|(lifecycle, _)| lifecycle)
    }

    /// Whether all keys with these numbers are there and none of them was withdrawn, be it before it was to sign:
    /// whoever had its private half could sign all along. A key outlives what it signed honestly, so one that is gone
    /// may have been withdrawn.
    pub(crate) fn vouches_for(&self, seqs: &[u64]) -> bool {
        let good = |seq: &u64| {
            let lifecycle = self.lifecycles.iter().find(|lifecycle| lifecycle.key.seq == *seq);
            lifecycle.is_some_and(|lifecycle| lifecycle.key.withdrawn_at.is_none())
        };
        seqs.iter().all(good)
    }

    /// The number of the key with that kid.
    pub(crate) fn seq_of(&self, kid: &str) -> Option<u64> {
        self.lifecycles
            .iter()
            .find(|lifecycle| lifecycle.key.jwk.kid() == kid)
            .map(|lifecycle| lifecycle.key.seq)
    }

    /// The key set that anybody may see.
    pub fn published(&self, now: Timestamp) -> JwkSet {
        self.jwks(now, &[KeyState::Announced, KeyState::Signing, KeyState::Published])
    }

    /// The keys that a refresh token may be signed by.
    pub fn accepted_at_refresh(&self, now: Timestamp) -> JwkSet {
        self.jwks(now, &[KeyState::Announced, KeyState::Signing, KeyState::Published, KeyState::Kept])
    }

    fn jwks(&self, now: Timestamp, shown: &[KeyState]) -> JwkSet {
        let shown = self.states(now).filter(|(_, state)| shown.contains(state));
        JwkSet::new(shown.map(|(lifecycle, _)| lifecycle.key.jwk.clone()).collect())
    }
}

impl KeyLifecycle {
    /// Whether it was not withdrawn before its time came.
    fn has_signed_or_will(&self) -> bool {
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

    /// Fixes the end, and what follows from it. The earliest end stands.
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
    use crate::keys::signer::uncompressed_point;

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
    fn the_heir_of_a_withdrawn_key_signs_even_where_the_clock_is_behind() {
        let handover = START.plus(10 * MINUTE);
        let withdrawn = RingKey { withdrawn_at: Some(handover), erased_at: Some(handover), ..key(1, START) };
        let keys = [withdrawn, key(2, handover), key(3, handover.plus(MINUTE))];
        assert_eq!(signing(&keys, START.plus(9 * MINUTE)), Some(2));
        assert_eq!(signing(&keys[..1], handover), None, "without an heir nothing signs");
        let ring = Ring::new(keys.to_vec(), &RotationSchedule::default());
        assert!(!ring.may_keep_signing(&keys[0].jwk, handover, &RotationSchedule::default()));
        assert!(ring.published(handover).find(keys[0].jwk.kid()).is_none());
        assert!(ring.vouches_for(&[2, 3]));
        assert!(!ring.vouches_for(&[1, 2]) && !ring.vouches_for(&[2, 4]));
    }

    #[test]
    fn a_key_that_is_withdrawn_before_its_time_changes_nothing() {
        let unused = RingKey { withdrawn_at: Some(START.plus(MINUTE)), ..key(2, START.plus(5 * MINUTE)) };
        let keys = [key(1, START), unused, key(3, START.plus(20 * MINUTE))];
        for minutes in [0, 2, 6, 19] {
            assert_eq!(signing(&keys, START.plus(minutes * MINUTE)), Some(1));
        }
        assert_eq!(signing(&keys, START.plus(20 * MINUTE)), Some(3));
    }

    #[test]
    fn a_key_without_a_private_half_never_comes_back() {
        let ended = RingKey { erased_at: Some(START), ..key(1, START) };
        assert_eq!(signing(&[ended.clone(), key(2, START.plus(MINUTE))], START), None);
        let ring = Ring::new(vec![ended.clone()], &RotationSchedule::default());
        let plan = crate::keys::rotation::plan(&ring, START.plus(MINUTE), &RotationSchedule::default());
        assert_eq!(
            (plan.create.len(), plan.create[0]),
            (2, START.plus(MINUTE)),
            "a rotation mends it at once"
        );
        assert!(plan.erase.is_empty());
    }

    #[test]
    fn a_key_signs_on_for_an_hour_and_no_longer() {
        let keys = [key(1, START), key(2, START.plus(MINUTE))];
        let (ring, schedule) =
            (Ring::new(keys.to_vec(), &RotationSchedule::default()), RotationSchedule::default());
        let end = START.plus(MINUTE);
        assert!(ring.may_keep_signing(&keys[0].jwk, end.plus(59 * MINUTE), &schedule));
        assert!(!ring.may_keep_signing(&keys[0].jwk, end.plus(60 * MINUTE), &schedule));
    }
}

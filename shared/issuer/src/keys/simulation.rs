//! Simulates years of rotation with faults. The ring, the plan and the rules for old copies are the
//! real ones; what `RingCache` and `Signer` do over the network is repeated here without a network.
//!
//! Processes are cut off from the store and from KMS. Rotation runs are missed, doubled and forced.
//! Clocks are wrong by up to a minute, and the configuration changes midway. Every token must
//! verify at every honest verifier until it expires by that verifier's clock, and no verifier knows
//! a withdrawn key for long. With a lead or a retention below the minimum, the simulation finds the
//! fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_verify::{Jwk, JwkSet, Timestamp};
use p256::SecretKey;

use super::ring_cache::CachedRing;
use super::rotation::plan;
use super::schedule::tests::{unchecked, without_staleness};
use super::signing_key::uncompressed_point;
use super::{Ring, RingKey, RotationSchedule, ScheduleSettings};
use crate::records::Lifetimes;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A small random generator. A seed gives the same simulation on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The error of a clock, in milliseconds: up to a minute, and in half of the cases exactly a
/// minute.
#[derive(Clone, Copy)]
struct ClockError(i64);

impl ClockError {
    fn new(dice: &mut Dice) -> Self {
        let minute = i64::try_from(MINUTE).unwrap();
        Self(match dice.below(4) {
            0 => minute,
            1 => -minute,
            2 => i64::try_from(dice.below(2 * MINUTE)).unwrap() - minute,
            _ => 0,
        })
    }

    /// The time that the clock shows at `true_time`.
    fn now(self, true_time: u64) -> Timestamp {
        Timestamp::from_millis(true_time.checked_add_signed(self.0).unwrap())
    }
}

/// A process with a copy of the ring, which is sometimes cut off from the store.
struct Process {
    clock: ClockError,
    cached: Option<CachedRing>,
    cut_off_until: u64,
}

impl Process {
    fn new(dice: &mut Dice) -> Self {
        Self { clock: ClockError::new(dice), cached: None, cut_off_until: 0 }
    }

    /// The ring that it uses, as `RingCache::current` decides.
    fn ring(&mut self, store: &Store, true_time: u64) -> Option<Arc<Ring>> {
        let now = self.clock.now(true_time);
        if let Some(cached) = &self.cached
            && cached.is_fresh(now, &store.schedule)
        {
            return Some(Arc::clone(&cached.ring));
        }
        if true_time >= self.cut_off_until {
            let ring = Arc::new(Ring::new(store.keys.clone(), &store.ring_schedule));
            self.cached = Some(CachedRing { ring, read_at: now });
        }
        let usable = self.cached.as_ref().filter(|cached| cached.is_usable(now, &store.schedule));
        usable.map(|cached| Arc::clone(&cached.ring))
    }
}

struct Issuer {
    process: Process,
    without_kms_until: u64,
    decrypted: Option<Jwk>,
}

/// When a verifier fetches the key set.
#[derive(Clone, Copy)]
enum FetchPolicy {
    AfterMaxAge,
    AfterTwoHours,
    ForUnknownKidOnly,
}

struct Verifier {
    policy: FetchPolicy,
    clock: ClockError,
    known: JwkSet,
    fetched_at: Option<u64>,
}

struct Store {
    keys: Vec<RingKey>,
    /// The schedule of processes and rotation.
    schedule: RotationSchedule,
    /// The schedule that the ring's times follow from. It differs only in a test that shortens the
    /// retention.
    ring_schedule: RotationSchedule,
    last_seq: u64,
}

impl Store {
    fn rotate(&mut self, now: Timestamp) {
        let ring = Ring::new(self.keys.clone(), &self.ring_schedule);
        let plan = plan(&ring, now, &self.schedule);
        for activates_at in plan.create {
            self.last_seq += 1;
            self.keys.push(RingKey {
                seq: self.last_seq,
                jwk: jwk(self.last_seq),
                announced_at: now,
                known_at: now.plus(self.schedule.least_lead()),
                activates_at,
                max_lifetimes: self.schedule.settings().max_lifetimes,
                withdrawn_at: None,
                erased_at: None,
            });
        }
        for key in self.keys.iter_mut().filter(|key| plan.erase.contains(&key.seq)) {
            key.erased_at = Some(now);
        }
        self.keys.retain(|key| !plan.delete.contains(&key.seq));
    }

    /// Does what `key rotate` does.
    fn rotate_now(&mut self, now: Timestamp) {
        let ring = Ring::new(self.keys.clone(), &self.ring_schedule);
        let Some(seq) = ring.announced(now).map(|lifecycle| lifecycle.key.seq) else { return };
        if let Some(key) = self.keys.iter_mut().find(|key| key.seq == seq)
            && now >= key.known_at
        {
            key.activates_at = now;
        }
        self.rotate(now);
    }

    /// Does what `key withdraw` does, to the key that signs. Returns its kid.
    fn withdraw(&mut self, now: Timestamp) -> Option<String> {
        let ring = Ring::new(self.keys.clone(), &self.ring_schedule);
        let signing = ring.signing(now)?.key.seq;
        let successor = ring.announced(now)?.key.seq;
        let successor = self.keys.iter_mut().find(|key| key.seq == successor)?;
        if now < successor.known_at {
            return None;
        }
        successor.activates_at = now;
        let key = self.keys.iter_mut().find(|key| key.seq == signing)?;
        (key.withdrawn_at, key.erased_at) = (Some(now), Some(now));
        let kid = key.jwk.kid().to_owned();
        self.rotate(now);
        Some(kid)
    }
}

/// The public key with that number, made without randomness.
fn jwk(seq: u64) -> Jwk {
    let mut scalar = [1; 32];
    scalar[24..].copy_from_slice(&seq.to_be_bytes());
    let secret = SecretKey::from_slice(&scalar).unwrap();
    Jwk::from_uncompressed_point(&uncompressed_point(&secret)).unwrap()
}

/// An outcome that must never happen.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    UnknownKey { kid: String, at: u64 },
    RefusedAtRefresh { kid: String, at: u64 },
    ErasedWhileNeeded { seq: u64, at: u64 },
    SignedWhileWithdrawn { kid: String, at: u64 },
    KnownAfterWithdrawal { kid: String, at: u64 },
    CannotSign { at: u64 },
}

/// Runs one simulation for some days and returns the first fault.
#[expect(clippy::too_many_lines, reason = "the events of a step, in their order")]
fn simulate(
    seed: u64,
    days: u64,
    settings: ScheduleSettings,
    ring_schedule: fn(RotationSchedule) -> RotationSchedule,
) -> Option<Fault> {
    let dice = &mut Dice(seed);
    let schedule = unchecked(settings);
    let start = 1_000 * DAY;
    let mut store = Store { keys: vec![], schedule, ring_schedule: ring_schedule(schedule), last_seq: 0 };
    store.rotate(ClockError::new(dice).now(start - 2 * MINUTE));
    let mut issuers: Vec<Issuer> = (0..3)
        .map(|_| Issuer { process: Process::new(dice), without_kms_until: 0, decrypted: None })
        .collect();
    let mut publishers: Vec<Process> = (0..2).map(|_| Process::new(dice)).collect();
    let mut verifiers: Vec<Verifier> = [
        FetchPolicy::AfterMaxAge,
        FetchPolicy::AfterTwoHours,
        FetchPolicy::AfterTwoHours,
        FetchPolicy::ForUnknownKidOnly,
    ]
    .map(|policy| Verifier {
        policy,
        clock: ClockError::new(dice),
        known: JwkSet::default(),
        fetched_at: None,
    })
    .into();
    // Every withdrawn key, and when it was withdrawn.
    let mut withdrawn: Vec<(String, u64)> = Vec::new();
    // For every kid, when its last access token and its last refresh token expire.
    let mut expiries: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
    let mut next_run = start + HOUR;

    let mut true_time = start;
    while true_time < start + days * DAY {
        true_time += SECOND + dice.below(3 * MINUTE);
        if true_time >= next_run {
            // About every twenty minutes. Some runs are doubled, and some are missed for hours.
            for _ in 0..=u64::from(dice.one_in(4)) {
                store.rotate(ClockError::new(dice).now(true_time));
            }
            next_run =
                true_time + if dice.one_in(10) { dice.below(2 * DAY) } else { dice.below(40 * MINUTE) };
        }
        if dice.one_in(2000) {
            store.rotate_now(ClockError::new(dice).now(true_time));
        }
        if dice.one_in(10_000)
            && let Some(kid) = store.withdraw(ClockError::new(dice).now(true_time))
        {
            expiries.remove(&kid);
            withdrawn.push((kid, true_time));
        }
        if dice.one_in(5000) {
            // Another configuration that keeps the promises if the given one does.
            let factor = 1 + dice.below(3);
            let max_lifetimes =
                Lifetimes { access: settings.max_lifetimes.access * factor, ..settings.max_lifetimes };
            let changed =
                ScheduleSettings { max_lifetimes, rotation_period: settings.rotation_period * 2, ..settings };
            let changed = if dice.one_in(2) { changed } else { settings };
            store.schedule = unchecked(changed);
            store.ring_schedule = ring_schedule(store.schedule);
        }
        let processes = issuers.iter_mut().map(|issuer| &mut issuer.process).chain(&mut publishers);
        for process in processes {
            if dice.one_in(60) {
                process.cut_off_until = true_time + dice.below(90 * MINUTE);
            }
            if dice.one_in(3000) {
                // A cold start with another clock.
                *process = Process::new(dice);
            }
        }

        for issuer in &mut issuers {
            if dice.one_in(100) {
                issuer.without_kms_until = true_time + dice.below(2 * HOUR);
            }
            let now = issuer.process.clock.now(true_time);
            let Some(ring) = issuer.process.ring(&store, true_time) else { continue };
            let Some(active) = ring.signing(now) else { return Some(Fault::CannotSign { at: true_time }) };
            if issuer.decrypted.as_ref() != Some(&active.key.jwk) {
                if true_time >= issuer.without_kms_until && true_time >= issuer.process.cut_off_until {
                    let stored = store.keys.iter().find(|key| key.seq == active.key.seq);
                    let is_withdrawn = stored.is_some_and(|key| key.withdrawn_at.is_some());
                    if is_withdrawn {
                        // The copy of the ring is old. It is read again.
                        issuer.process.cached = None;
                        continue;
                    }
                    if stored.is_none_or(|key| key.erased_at.is_some()) {
                        return Some(Fault::ErasedWhileNeeded { seq: active.key.seq, at: true_time });
                    }
                    issuer.decrypted = Some(active.key.jwk.clone());
                } else if !issuer
                    .decrypted
                    .as_ref()
                    .is_some_and(|jwk| ring.may_keep_signing(jwk, now, &store.schedule))
                {
                    continue;
                }
            }
            let Some(signed_by) = &issuer.decrypted else { continue };
            let Some(key) = store.keys.iter().find(|key| key.jwk == *signed_by) else { continue };
            if let Some(withdrawn) = key.withdrawn_at {
                // Two clocks take part: the one that wrote the withdrawal, and this one.
                if now.since(withdrawn) > store.schedule.ring_staleness() + Duration::from_millis(2 * MINUTE)
                {
                    return Some(Fault::SignedWhileWithdrawn {
                        kid: key.jwk.kid().to_owned(),
                        at: true_time,
                    });
                }
            } else {
                let expires = |seconds| now.plus(Duration::from_secs(seconds));
                let max_lifetimes = key.max_lifetimes.within(store.schedule.settings().max_lifetimes);
                let (access, refresh) = expiries.entry(key.jwk.kid().to_owned()).or_insert((now, now));
                *access = (*access).max(expires(max_lifetimes.access));
                *refresh = (*refresh).max(expires(max_lifetimes.refresh));
            }
            // Refresh tokens live long, so checking now and then is enough.
            let checked = if dice.one_in(50) { Some(&expiries) } else { None };
            for (kid, _) in checked.into_iter().flatten().filter(|(_, (_, refresh))| now < *refresh) {
                let key = store.keys.iter().find(|key| key.jwk.kid() == kid);
                if key.and_then(|key| ring.key_at_refresh(key.seq, now)).is_none() {
                    return Some(Fault::RefusedAtRefresh { kid: kid.clone(), at: true_time });
                }
            }
        }

        for verifier in &mut verifiers {
            let now = verifier.clock.now(true_time);
            let age = verifier.fetched_at.map(|at| true_time - at);
            let is_stale = match verifier.policy {
                FetchPolicy::AfterMaxAge => {
                    age.is_none_or(|age| u128::from(age) >= settings.jwks_max_age.as_millis())
                }
                FetchPolicy::AfterTwoHours => age.is_none_or(|age| age >= 2 * HOUR),
                FetchPolicy::ForUnknownKidOnly => {
                    let is_unknown = |(kid, (access, _)): (&String, &(Timestamp, Timestamp))| {
                        now < *access && verifier.known.find(kid).is_none()
                    };
                    age.is_none() || expiries.iter().any(is_unknown)
                }
            };
            if is_stale {
                let first = usize::try_from(dice.below(2)).unwrap();
                let response = [first, 1 - first].into_iter().find_map(|at| {
                    let now = publishers[at].clock.now(true_time);
                    publishers[at].ring(&store, true_time).map(|ring| ring.published(now))
                });
                // There is no promise while both publishers are cut off for longer than a ring may
                // be old.
                let Some(published) = response else { continue };
                verifier.known = published;
                verifier.fetched_at = Some(true_time);
            }
            for (kid, (access, _)) in &expiries {
                if now < *access && verifier.known.find(kid).is_none() {
                    return Some(Fault::UnknownKey { kid: kid.clone(), at: true_time });
                }
            }
            // Three hours for the key after the successor, and the rest for KMS, because an issuer
            // that cannot decrypt that key signs nothing under it.
            let is_over = |at: u64| true_time > at + 12 * HOUR;
            let kept = withdrawn.iter().find(|(kid, at)| is_over(*at) && verifier.known.find(kid).is_some());
            if let Some((kid, _)) = kept {
                return Some(Fault::KnownAfterWithdrawal { kid: kid.clone(), at: true_time });
            }
        }
        let oldest = Timestamp::from_millis(true_time - 10 * MINUTE);
        expiries.retain(|_, (access, refresh)| *access > oldest || *refresh > oldest);
    }
    None
}

/// Settings with which keys change as often as allowed, so that a year of rotations fits into
/// weeks.
fn fast_settings() -> ScheduleSettings {
    let max_lifetimes = Lifetimes { access: 3600, refresh: 24 * 3600 };
    let settings = ScheduleSettings { max_lifetimes, ..ScheduleSettings::default() };
    let lead = unchecked(settings).least_lead();
    let settings = ScheduleSettings { announcement_lead: lead, rotation_period: lead, ..settings };
    RotationSchedule::new(settings).expect("the shortest lead keeps the promises");
    settings
}

#[test]
fn no_valid_token_is_refused_with_a_valid_schedule() {
    for seed in 0..12 {
        assert_eq!(simulate(seed, 45, fast_settings(), |schedule| schedule), None, "seed {seed}");
    }
    for seed in 0..1 {
        assert_eq!(
            simulate(seed, 365, ScheduleSettings::default(), |schedule| schedule),
            None,
            "seed {seed}, default schedule"
        );
    }
}

/// Returns the first fault that one of the seeds finds.
fn find_fault(
    settings: ScheduleSettings,
    ring_schedule: fn(RotationSchedule) -> RotationSchedule,
) -> Option<Fault> {
    (0..24).find_map(|seed| simulate(seed, 45, settings, ring_schedule))
}

#[test]
fn a_lead_below_the_minimum_is_found_out() {
    let settings = fast_settings();
    // This lead would be enough if no process ever published an old ring.
    let short = settings.announcement_lead.saturating_sub(unchecked(settings).ring_staleness());
    let settings = ScheduleSettings { announcement_lead: short, rotation_period: short, ..settings };
    assert!(RotationSchedule::new(settings).is_err());
    let found = find_fault(settings, |schedule| schedule);
    assert!(matches!(found, Some(Fault::UnknownKey { .. })), "{found:?}");
}

#[test]
fn a_retention_below_the_minimum_is_found_out() {
    let found = find_fault(fast_settings(), without_staleness);
    assert!(matches!(found, Some(Fault::UnknownKey { .. })), "{found:?}");
}

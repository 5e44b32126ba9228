//! Years of rotation in simulated time: the real ring, plan and rules for old readings, with everything around them
//! going wrong. What `RingCache` and `Signer` do with these over the network is restated here without one.
//!
//! Processes are cut off from the store and from KMS, rotation runs are missed, doubled and forced, clocks are off by
//! up to a minute, the configuration changes midway. Every token minted must verify at every honest verifier until it
//! expires by that verifier's clock. With the lead or the retention below the invariant, the fault is found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_verify::{Jwk, JwkSet, Timestamp};
use p256::SecretKey;

use super::ring_cache::Reading;
use super::rotation::plan;
use super::schedule::tests::{unchecked, without_staleness};
use super::signer::uncompressed_point;
use super::{Lifetimes, Ring, RingKey, RotationSchedule, ScheduleSettings};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A small generator of its own: the same seed gives the same world on every machine.
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

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// A clock that is off by up to a minute, more often than not as far as it may be.
#[derive(Clone, Copy)]
struct Offset(i64);

impl Offset {
    fn new(dice: &mut Dice) -> Self {
        let minute = i64::try_from(MINUTE).unwrap();
        Self(match dice.below(4) {
            0 => minute,
            1 => -minute,
            2 => i64::try_from(dice.below(2 * MINUTE)).unwrap() - minute,
            _ => 0,
        })
    }

    fn now(self, truth: u64) -> Timestamp {
        Timestamp::from_millis(truth.checked_add_signed(self.0).unwrap())
    }
}

/// A process with a copy of the ring, sometimes cut off from the store.
struct Process {
    offset: Offset,
    reading: Option<Reading>,
    cut_off_until: u64,
}

impl Process {
    fn new(dice: &mut Dice) -> Self {
        Self { offset: Offset::new(dice), reading: None, cut_off_until: 0 }
    }

    /// The ring that it goes by, as `RingCache::current` decides.
    fn ring(&mut self, world: &Store, truth: u64) -> Option<Arc<Ring>> {
        let now = self.offset.now(truth);
        if let Some(reading) = &self.reading
            && reading.is_fresh(now, &world.schedule)
        {
            return Some(Arc::clone(&reading.ring));
        }
        if truth >= self.cut_off_until {
            let ring = Arc::new(Ring::new(world.keys.clone(), &world.ring_timers));
            self.reading = Some(Reading { ring, at: now });
        }
        let usable = self.reading.as_ref().filter(|reading| reading.is_usable(now, &world.schedule));
        usable.map(|reading| Arc::clone(&reading.ring))
    }
}

struct Issuer {
    process: Process,
    without_kms_until: u64,
    opened: Option<Jwk>,
}

/// How a verifier keeps the key set.
#[derive(Clone, Copy)]
enum Habit {
    HonoursMaxAge,
    KeepsForTwoHours,
    FetchesForUnknownKidOnly,
}

struct Verifier {
    habit: Habit,
    offset: Offset,
    known: JwkSet,
    fetched_at: Option<u64>,
}

struct Store {
    keys: Vec<RingKey>,
    /// What processes and rotation go by.
    schedule: RotationSchedule,
    /// What the ring's times follow from: the same, unless a test shortens the retention.
    ring_timers: RotationSchedule,
    last_seq: u64,
}

impl Store {
    fn rotate(&mut self, now: Timestamp) {
        let ring = Ring::new(self.keys.clone(), &self.ring_timers);
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

    /// What `key rotate` does.
    fn rotate_now(&mut self, now: Timestamp) {
        let ring = Ring::new(self.keys.clone(), &self.ring_timers);
        let Some(seq) = ring.announced(now).map(|lifecycle| lifecycle.key.seq) else { return };
        if let Some(key) = self.keys.iter_mut().find(|key| key.seq == seq)
            && now >= key.known_at
        {
            key.activates_at = now;
        }
        self.rotate(now);
    }

    /// What `key withdraw` does to the key that signs; says which one died.
    fn withdraw(&mut self, now: Timestamp) -> Option<String> {
        let ring = Ring::new(self.keys.clone(), &self.ring_timers);
        let signing = ring.signing(now)?.key.seq;
        let heir = ring.announced(now)?.key.seq;
        let heir = self.keys.iter_mut().find(|key| key.seq == heir)?;
        if now < heir.known_at {
            return None;
        }
        heir.activates_at = now;
        let key = self.keys.iter_mut().find(|key| key.seq == signing)?;
        (key.withdrawn_at, key.erased_at) = (Some(now), Some(now));
        let kid = key.jwk.kid().to_owned();
        self.rotate(now);
        Some(kid)
    }
}

/// A public key for every number, without the cost of drawing one.
fn jwk(seq: u64) -> Jwk {
    let mut scalar = [1; 32];
    scalar[24..].copy_from_slice(&seq.to_be_bytes());
    let secret = SecretKey::from_slice(&scalar).unwrap();
    Jwk::from_uncompressed_point(&uncompressed_point(&secret)).unwrap()
}

/// What must never happen.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    UnknownKey { kid: String, at: u64 },
    RefusedAtRefresh { kid: String, at: u64 },
    ErasedWhileNeeded { seq: u64, at: u64 },
    SignedWhileWithdrawn { kid: String, at: u64 },
    CannotSign { at: u64 },
}

/// Runs one world for some days and returns the first fault.
#[expect(clippy::too_many_lines, reason = "a day in the world, told in order")]
fn simulate(
    seed: u64,
    days: u64,
    settings: ScheduleSettings,
    ring_timers: fn(RotationSchedule) -> RotationSchedule,
) -> Option<Fault> {
    let dice = &mut Dice(seed);
    let schedule = unchecked(settings);
    let start = 1_000 * DAY;
    let mut store = Store { keys: vec![], schedule, ring_timers: ring_timers(schedule), last_seq: 0 };
    store.rotate(Offset::new(dice).now(start - 2 * MINUTE));
    let mut issuers: Vec<Issuer> =
        (0..3).map(|_| Issuer { process: Process::new(dice), without_kms_until: 0, opened: None }).collect();
    let mut publishers: Vec<Process> = (0..2).map(|_| Process::new(dice)).collect();
    let mut verifiers: Vec<Verifier> = [
        Habit::HonoursMaxAge,
        Habit::KeepsForTwoHours,
        Habit::KeepsForTwoHours,
        Habit::FetchesForUnknownKidOnly,
    ]
    .map(|habit| Verifier { habit, offset: Offset::new(dice), known: JwkSet::default(), fetched_at: None })
    .into();
    // For every kid, until when its last access and its last refresh token live.
    let mut living: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
    let mut next_run = start + HOUR;

    let mut truth = start;
    while truth < start + days * DAY {
        truth += SECOND + dice.below(3 * MINUTE);
        if truth >= next_run {
            // A run every twenty minutes or so; some are doubled, some missed for hours.
            for _ in 0..=u64::from(dice.one_in(4)) {
                store.rotate(Offset::new(dice).now(truth));
            }
            next_run = truth + if dice.one_in(10) { dice.below(2 * DAY) } else { dice.below(40 * MINUTE) };
        }
        if dice.one_in(2000) {
            store.rotate_now(Offset::new(dice).now(truth));
        }
        if dice.one_in(10_000)
            && let Some(kid) = store.withdraw(Offset::new(dice).now(truth))
        {
            living.remove(&kid);
        }
        if dice.one_in(5000) {
            // Another configuration within the invariants, where the one given keeps them.
            let factor = 1 + dice.below(3);
            let max_lifetimes =
                Lifetimes { access: settings.max_lifetimes.access * factor, ..settings.max_lifetimes };
            let changed =
                ScheduleSettings { max_lifetimes, rotation_period: settings.rotation_period * 2, ..settings };
            let changed = if dice.one_in(2) { changed } else { settings };
            store.schedule = unchecked(changed);
            store.ring_timers = ring_timers(store.schedule);
        }
        let processes = issuers.iter_mut().map(|issuer| &mut issuer.process).chain(&mut publishers);
        for process in processes {
            if dice.one_in(60) {
                process.cut_off_until = truth + dice.below(90 * MINUTE);
            }
            if dice.one_in(3000) {
                // A cold start on another machine.
                *process = Process::new(dice);
            }
        }

        for issuer in &mut issuers {
            if dice.one_in(100) {
                issuer.without_kms_until = truth + dice.below(2 * HOUR);
            }
            let now = issuer.process.offset.now(truth);
            let Some(ring) = issuer.process.ring(&store, truth) else { continue };
            let Some(active) = ring.signing(now) else { return Some(Fault::CannotSign { at: truth }) };
            if issuer.opened.as_ref() != Some(&active.key.jwk) {
                if truth >= issuer.without_kms_until && truth >= issuer.process.cut_off_until {
                    let stored = store.keys.iter().find(|key| key.seq == active.key.seq);
                    let is_withdrawn = stored.is_some_and(|key| key.withdrawn_at.is_some());
                    if is_withdrawn {
                        // By an old copy of the ring, which is read again.
                        issuer.process.reading = None;
                        continue;
                    }
                    if stored.is_none_or(|key| key.erased_at.is_some()) {
                        return Some(Fault::ErasedWhileNeeded { seq: active.key.seq, at: truth });
                    }
                    issuer.opened = Some(active.key.jwk.clone());
                } else if !issuer
                    .opened
                    .as_ref()
                    .is_some_and(|jwk| ring.may_keep_signing(jwk, now, &store.schedule))
                {
                    continue;
                }
            }
            let Some(signed_by) = &issuer.opened else { continue };
            let Some(key) = store.keys.iter().find(|key| key.jwk == *signed_by) else { continue };
            if let Some(withdrawn) = key.withdrawn_at {
                // Two clocks take part: the one that wrote the moment, and this one.
                if now.since(withdrawn) > store.schedule.ring_staleness() + Duration::from_millis(2 * MINUTE)
                {
                    return Some(Fault::SignedWhileWithdrawn { kid: key.jwk.kid().to_owned(), at: truth });
                }
            } else {
                let lives = |seconds| now.plus(Duration::from_secs(seconds));
                let max_lifetimes = key.max_lifetimes.within(store.schedule.settings().max_lifetimes);
                let (access, refresh) = living.entry(key.jwk.kid().to_owned()).or_insert((now, now));
                *access = (*access).max(lives(max_lifetimes.access));
                *refresh = (*refresh).max(lives(max_lifetimes.refresh));
            }
            // Refresh tokens live long: whether they are accepted is asked now and then.
            let accepted = dice.one_in(50).then(|| ring.accepted_at_refresh(now));
            for (kid, (_, refresh)) in &living {
                if now < *refresh && accepted.as_ref().is_some_and(|accepted| accepted.find(kid).is_none()) {
                    return Some(Fault::RefusedAtRefresh { kid: kid.clone(), at: truth });
                }
            }
        }

        for verifier in &mut verifiers {
            let age = verifier.fetched_at.map(|at| truth - at);
            let is_stale = match verifier.habit {
                Habit::HonoursMaxAge => {
                    age.is_none_or(|age| u128::from(age) >= settings.jwks_max_age.as_millis())
                }
                Habit::KeepsForTwoHours => age.is_none_or(|age| age >= 2 * HOUR),
                Habit::FetchesForUnknownKidOnly => {
                    age.is_none() || living.keys().any(|kid| verifier.known.find(kid).is_none())
                }
            };
            if is_stale {
                let first = usize::try_from(dice.below(2)).unwrap();
                let answer = [first, 1 - first].into_iter().find_map(|at| {
                    let now = publishers[at].offset.now(truth);
                    publishers[at].ring(&store, truth).map(|ring| ring.published(now))
                });
                // While nobody answers (both are cut off for longer than a ring may be old) there is no promise.
                let Some(published) = answer else { continue };
                verifier.known = published;
                verifier.fetched_at = Some(truth);
            }
            let now = verifier.offset.now(truth);
            for (kid, (access, _)) in &living {
                if now < *access && verifier.known.find(kid).is_none() {
                    return Some(Fault::UnknownKey { kid: kid.clone(), at: truth });
                }
            }
        }
        let oldest = Timestamp::from_millis(truth - 10 * MINUTE);
        living.retain(|_, (access, refresh)| *access > oldest || *refresh > oldest);
    }
    None
}

/// Keys that change as often as they may, so that a year of them fits into weeks.
fn hasty() -> ScheduleSettings {
    let max_lifetimes = Lifetimes { access: 3600, refresh: 24 * 3600 };
    let settings = ScheduleSettings { max_lifetimes, ..ScheduleSettings::default() };
    let lead = unchecked(settings).least_lead();
    let settings = ScheduleSettings { announcement_lead: lead, rotation_period: lead, ..settings };
    RotationSchedule::new(settings).expect("the least lead keeps the promises");
    settings
}

#[test]
fn no_token_is_refused_while_the_invariants_hold() {
    for seed in 0..12 {
        assert_eq!(simulate(seed, 45, hasty(), |schedule| schedule), None, "seed {seed}");
    }
    for seed in 0..1 {
        assert_eq!(
            simulate(seed, 365, ScheduleSettings::default(), |schedule| schedule),
            None,
            "seed {seed}, real timers"
        );
    }
}

/// The first fault that some seed finds.
fn find_fault(
    settings: ScheduleSettings,
    ring_timers: fn(RotationSchedule) -> RotationSchedule,
) -> Option<Fault> {
    (0..24).find_map(|seed| simulate(seed, 45, settings, ring_timers))
}

#[test]
fn a_lead_below_the_invariant_is_found_out() {
    let settings = hasty();
    // As if no process ever published from an old ring.
    let short = settings.announcement_lead.saturating_sub(unchecked(settings).ring_staleness());
    let settings = ScheduleSettings { announcement_lead: short, rotation_period: short, ..settings };
    assert!(RotationSchedule::new(settings).is_err());
    let found = find_fault(settings, |schedule| schedule);
    assert!(matches!(found, Some(Fault::UnknownKey { .. })), "{found:?}");
}

#[test]
fn a_retention_below_the_invariant_is_found_out() {
    let found = find_fault(hasty(), without_staleness);
    assert!(matches!(found, Some(Fault::UnknownKey { .. })), "{found:?}");
}

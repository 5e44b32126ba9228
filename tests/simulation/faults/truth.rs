//! What is true, whatever a network that fails lets anybody see of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use countersign_tests::dice::Dice;
use countersign_tests::in_process::InProcess;
use countersign_tests::store::{Call, Fault};
use countersign_verify::Timestamp;
use serde_json::Value;

/// A change is seen within this time, and before somebody is refused within two seconds.
pub(super) const FRESH: Duration = Duration::from_secs(60);
pub(super) const REFUSED_FRESH: Duration = Duration::from_secs(2);
/// While it cannot be read, a client or an operator stands for this long.
const STALE: Duration = Duration::from_secs(16 * 60);
/// The same of the ring.
const RING_FRESH: Duration = Duration::from_secs(5 * 60);
const RING_STALE: Duration = Duration::from_secs(60 * 60);

/// How often which call met which fault.
#[derive(Debug, Clone, Default)]
pub(super) struct Met(Arc<Mutex<HashMap<(Call, Fault), u64>>>);

impl Met {
    /// Faults by chance: of a hundred calls `percent` meet one.
    pub(super) fn inject(&self, world: &InProcess, mut dice: Dice, percent: Arc<AtomicUsize>) {
        let met = self.clone();
        world.store.set_faults(move |call| {
            let fault =
                (dice.below(100) < percent.load(Ordering::Relaxed)).then(|| dice.pick(&Fault::ALL))?;
            *met.0.lock().unwrap().entry((call.clone(), fault)).or_default() += 1;
            Some(fault)
        });
    }

    /// Of the calls of `caller` half fail, and no others.
    pub(super) fn fail_half_of(&self, world: &InProcess, mut dice: Dice, caller: &'static str) {
        let met = self.clone();
        world.store.set_faults(move |call| {
            let is_one = call.starts_with(caller) && dice.below(2) == 0;
            let fault = is_one.then(|| dice.pick(&Fault::ALL))?;
            *met.0.lock().unwrap().entry((call.clone(), fault)).or_default() += 1;
            Some(fault)
        });
    }

    /// Every `call` fails, whoever makes it, and no other.
    pub(super) fn fail_all(&self, world: &InProcess, mut dice: Dice, call: &'static str) {
        let met = self.clone();
        world.store.set_faults(move |made| {
            let fault = made.ends_with(call).then(|| dice.pick(&Fault::ALL))?;
            *met.0.lock().unwrap().entry((made.clone(), fault)).or_default() += 1;
            // Late is not never.
            Some(if fault == Fault::SlowBody { Fault::EndlessBody } else { fault })
        });
    }

    pub(super) fn add(&self, others: &Self) {
        let mut all = self.0.lock().unwrap();
        for (met, times) in &*others.0.lock().unwrap() {
            *all.entry(met.clone()).or_default() += times;
        }
    }

    pub(super) fn times(&self, call: &str, fault: Fault) -> u64 {
        self.0.lock().unwrap().get(&(call.to_owned(), fault)).copied().unwrap_or_default()
    }

    /// Whether anything has failed.
    pub(super) fn has_any(&self) -> bool {
        !self.0.lock().unwrap().is_empty()
    }

    /// Of a call, whoever made it.
    pub(super) fn of(&self, call: &str) -> u64 {
        let met = self.0.lock().unwrap();
        let of_call = met.iter().filter(|((name, _), _)| name.rsplit(": ").next() == Some(call));
        of_call.map(|(_, times)| times).sum()
    }
}

/// A change, and how many readings of what was changed had failed by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    at: Timestamp,
    failed: u64,
}

impl Change {
    pub(super) fn new(at: Timestamp, met: &Met, reading: &str) -> Self {
        Self { at, failed: met.of(reading) }
    }

    /// Whether somebody who was asked at `asked` may go by what was before: who reads anew after `fresh`, and where
    /// that has failed after `stale`.
    fn may_be_unseen(
        &self,
        asked: Timestamp,
        met: &Met,
        reading: &str,
        fresh: Duration,
        stale: Duration,
    ) -> bool {
        asked < self.at.plus(if met.of(reading) > self.failed { stale } else { fresh })
    }

    /// The same of a key that was withdrawn.
    pub(super) fn of_ring_may_be_unseen(&self, asked: Timestamp, met: &Met) -> bool {
        self.may_be_unseen(asked, met, READING_RING, RING_FRESH, RING_STALE)
    }
}

pub(super) const READING_RING: &str = "Query signing-keys";

/// Whether a client or principal is let in, as an administrator left it.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) is_enabled: bool,
    change: Option<Change>,
    reading: &'static str,
}

impl Standing {
    pub(super) fn of(reading: &'static str) -> Self {
        Self { is_enabled: true, change: None, reading }
    }

    pub(super) fn set(&mut self, is_enabled: bool, at: Timestamp, met: &Met) {
        self.is_enabled = is_enabled;
        self.change = Some(Change::new(at, met, self.reading));
    }

    /// Whether a request asked at `asked` may be judged as if this were `enabled`.
    pub(super) fn may_pass_for(&self, enabled: bool, asked: Timestamp, met: &Met, fresh: Duration) -> bool {
        let unseen = |change: &Change| change.may_be_unseen(asked, met, self.reading, fresh, STALE);
        self.is_enabled == enabled || self.change.as_ref().is_some_and(unseen)
    }
}

/// A signing key as it stands in the table.
#[derive(Debug, Clone)]
pub(super) struct KeyOnRecord {
    pub(super) seq: u64,
    pub(super) kid: String,
    pub(super) withdrawn_at: Option<Timestamp>,
    /// None once it has been erased.
    pub(super) wrapped: Option<Vec<u8>>,
    pub(super) is_erased: bool,
}

/// The ring in the order of its numbers.
pub(super) fn ring(world: &InProcess) -> Vec<KeyOnRecord> {
    let number = |item: &Value, name: &str| item[name]["N"].as_str().map(|text| text.parse::<u64>().unwrap());
    let read = |item: Value| KeyOnRecord {
        seq: number(&item, "seq").unwrap(),
        kid: item["kid"]["S"].as_str().unwrap().to_owned(),
        withdrawn_at: number(&item, "withdrawn_at").map(Timestamp::from_millis),
        wrapped: item["wrapped"]["B"].as_str().map(|bytes| BASE64.decode(bytes).unwrap()),
        is_erased: number(&item, "erased_at").is_some(),
    };
    let mut keys: Vec<KeyOnRecord> =
        world.store.scan("countersign-signing-keys").into_iter().map(read).collect();
    keys.sort_by_key(|key| key.seq);
    keys
}

/// A part of a token: 0 is the header, 1 the claims.
pub(super) fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&BASE64URL.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

/// The name of the key that a token says it is signed with.
pub(super) fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().unwrap().to_owned()
}

/// When a token expires.
pub(super) fn expiry(token: &str) -> Timestamp {
    Timestamp::from_seconds(part(token, 1)["exp"].as_u64().unwrap())
}

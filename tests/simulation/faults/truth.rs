//! The true state of records and keys, independent of what a failing network lets the functions
//! see.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_tests::dice::Dice;
use countersign_tests::in_process::InProcess;
use countersign_tests::store::{Call, Fault};
use countersign_tests::token_verifier::unverified_segment;
use countersign_verify::Timestamp;
use serde_json::Value;

/// An instance notices a change within this time; before it refuses a caller, within two seconds.
pub(super) const FRESHNESS: Duration = Duration::from_secs(60);
pub(super) const REFUSAL_FRESHNESS: Duration = Duration::from_secs(2);
/// The age limit for copies of clients and operators that cannot be read again.
const MAX_STALE: Duration = Duration::from_secs(16 * 60);
/// Both limits for copies of the ring.
const RING_FRESHNESS: Duration = Duration::from_secs(5 * 60);
const RING_MAX_STALE: Duration = Duration::from_secs(60 * 60);

/// Counts the faults by call.
#[derive(Debug, Clone, Default)]
pub(super) struct Met(Arc<Mutex<HashMap<(Call, Fault), u64>>>);

impl Met {
    /// Lets `percent` of all calls fail, at random.
    pub(super) fn inject(&self, world: &InProcess, mut dice: Dice, percent: Arc<AtomicUsize>) {
        let met = self.clone();
        world.store.set_faults(move |call| {
            let fault =
                (dice.below(100) < percent.load(Ordering::Relaxed)).then(|| dice.pick(&Fault::ALL))?;
            *met.0.lock().unwrap().entry((call.clone(), fault)).or_default() += 1;
            Some(fault)
        });
    }

    /// Lets half of the calls of `caller` fail, and no others.
    pub(super) fn fail_half_of(&self, world: &InProcess, mut dice: Dice, caller: &'static str) {
        let met = self.clone();
        world.store.set_faults(move |call| {
            let is_one = call.starts_with(caller) && dice.below(2) == 0;
            let fault = is_one.then(|| dice.pick(&Fault::ALL))?;
            *met.0.lock().unwrap().entry((call.clone(), fault)).or_default() += 1;
            Some(fault)
        });
    }

    /// Lets every `call` fail, from any caller, and no other.
    pub(super) fn fail_all(&self, world: &InProcess, mut dice: Dice, call: &'static str) {
        let met = self.clone();
        world.store.set_faults(move |made| {
            let fault = made.ends_with(call).then(|| dice.pick(&Fault::ALL))?;
            *met.0.lock().unwrap().entry((made.clone(), fault)).or_default() += 1;
            // These bodies are only late; the call must fail.
            let is_late = matches!(fault, Fault::LateBody | Fault::SlowBody);
            Some(if is_late { Fault::EndlessBody } else { fault })
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

    /// Returns true if any call has failed.
    pub(super) fn has_any(&self) -> bool {
        !self.0.lock().unwrap().is_empty()
    }

    /// Counts the faults of a call, from all callers.
    pub(super) fn count(&self, call: &str) -> u64 {
        let met = self.0.lock().unwrap();
        let of_call = met.iter().filter(|((name, _), _)| name.rsplit(": ").next() == Some(call));
        of_call.map(|(_, times)| times).sum()
    }
}

/// A change, and how many reads of the changed record had failed before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    at: Timestamp,
    failed: u64,
}

impl Change {
    pub(super) fn new(at: Timestamp, met: &Met, reading: &str) -> Self {
        Self { at, failed: met.count(reading) }
    }

    /// Returns true if an instance may use the state before the change for a request at `asked`: a
    /// copy is read again after `fresh`, or after `stale` if the read failed.
    fn may_be_unseen(
        &self,
        asked: Timestamp,
        met: &Met,
        reading: &str,
        fresh: Duration,
        stale: Duration,
    ) -> bool {
        asked < self.at.plus(if met.count(reading) > self.failed { stale } else { fresh })
    }

    /// Returns true if an instance may not have noticed a withdrawn key yet.
    pub(super) fn in_ring_may_be_unseen(&self, asked: Timestamp, met: &Met) -> bool {
        self.may_be_unseen(asked, met, READING_RING, RING_FRESHNESS, RING_MAX_STALE)
    }
}

pub(super) const READING_RING: &str = "Query signing-keys";

/// The state of a client or a principal in the store.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) is_enabled: bool,
    change: Option<Change>,
    reading: &'static str,
}

impl Standing {
    pub(super) fn new(reading: &'static str) -> Self {
        Self { is_enabled: true, change: None, reading }
    }

    pub(super) fn set(&mut self, is_enabled: bool, at: Timestamp, met: &Met) {
        self.is_enabled = is_enabled;
        self.change = Some(Change::new(at, met, self.reading));
    }

    /// Returns true if a request at `asked` may be decided as if the record were `enabled`.
    pub(super) fn may_pass_for(&self, enabled: bool, asked: Timestamp, met: &Met, fresh: Duration) -> bool {
        let unseen = |change: &Change| change.may_be_unseen(asked, met, self.reading, fresh, MAX_STALE);
        self.is_enabled == enabled || self.change.as_ref().is_some_and(unseen)
    }
}

/// A signing key in the table.
#[derive(Debug, Clone)]
pub(super) struct KeyOnRecord {
    pub(super) seq: u64,
    pub(super) kid: String,
    pub(super) withdrawn_at: Option<Timestamp>,
    /// `None` once it has been erased.
    pub(super) wrapped: Option<Vec<u8>>,
    pub(super) is_erased: bool,
}

/// Reads the ring, sorted by number.
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

/// Reads the time at which a token expires.
pub(super) fn expiry(token: &str) -> Timestamp {
    Timestamp::from_seconds(unverified_segment(token, 1)["exp"].as_u64().unwrap())
}

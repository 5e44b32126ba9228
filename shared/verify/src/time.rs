//! The time, passed in.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment, in whole milliseconds since 1970-01-01T00:00:00Z. Stored and serialised as that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The moment `seconds` seconds after the epoch, as a JWT's `NumericDate` says it.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: a JWT's `NumericDate`.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// How long after `earlier` this is; zero where it is not after it (clocks differ, and jump).
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns true when this moment is less than `age` before `now`. A moment after `now` is never within `age`: the
    /// clock was set back, so the age is unknown.
    pub fn is_within(self, age: Duration, now: Self) -> bool {
        self <= now && now.since(self) < age
    }

    /// The moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Where the time comes from: the machine's clock in production, a clock of the test's own in a test.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock. A time before 1970 reads as 1970.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where a `Clock` gets the real time from")]
        Self::new(|| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
        })
    }

    /// A clock that says what `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_within_excludes_the_limit_and_every_later_moment() {
        let at = Timestamp::from_millis(1_000);
        let age = Duration::from_millis(10);
        for (now, expected) in
            [(0, false), (999, false), (1_000, true), (1_009, true), (1_010, false), (u64::MAX, false)]
        {
            assert_eq!(at.is_within(age, Timestamp::from_millis(now)), expected, "at {now} ms");
        }
        assert!(!at.is_within(Duration::ZERO, at), "nothing is less than zero old");
        assert!(at.is_within(Duration::MAX, Timestamp::from_millis(u64::MAX)));
    }
}

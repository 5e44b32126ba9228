//! Moments in time, and the clock that supplies them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment, in whole milliseconds since 1970-01-01T00:00:00Z. Stored and serialised as that
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Creates the moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Creates the moment `seconds` seconds after the epoch, which is a JWT's `NumericDate`.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since the epoch, rounded down: a JWT's `NumericDate`.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Returns the time from `earlier` to this moment, or zero if `earlier` is later: clocks differ
    /// and jump.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns true if this moment is less than `age` before `now`. A moment after `now` is never
    /// within `age`: the clock was set back, so the real age is unknown.
    pub fn is_within(self, age: Duration, now: Self) -> bool {
        self <= now && now.since(self) < age
    }

    /// Returns the moment `duration` after this one.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns the moment `duration` before this one.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The source of the current time: the machine's clock in production, a controlled clock in a test.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Returns the machine's clock. A time before 1970 reads as 1970.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the real time")]
        Self::new(|| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
        })
    }

    /// Creates a clock that calls `now` for the time.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the current time.
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
    fn is_within_excludes_the_limit_and_moments_after_now() {
        let at = Timestamp::from_millis(1_000);
        let age = Duration::from_millis(10);
        for (now, expected) in
            [(0, false), (999, false), (1_000, true), (1_009, true), (1_010, false), (u64::MAX, false)]
        {
            assert_eq!(at.is_within(age, Timestamp::from_millis(now)), expected, "at {now} ms");
        }
        assert!(!at.is_within(Duration::ZERO, at), "no age is less than zero");
        assert!(at.is_within(Duration::MAX, Timestamp::from_millis(u64::MAX)));
    }
}

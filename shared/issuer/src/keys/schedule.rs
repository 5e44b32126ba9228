//! The schedule of rotation, and the two promises that it keeps to verifiers.
//!
//! The promises hold for every verifier that honours the key set's max-age, and for verifiers that
//! cache a key set for two hours whatever it says, as long as no clock is wrong by more than
//! [`CLOCK_ERROR`].

use std::time::Duration;

use countersign_verify::Timestamp;

use crate::records::Lifetimes;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The largest error of any clock.
const CLOCK_ERROR: Duration = MINUTE;
/// Some verifiers cache a key set this long whatever its max-age is. API Gateway's own authorizer
/// does.
const FIXED_CACHE: Duration = Duration::from_secs(2 * 3600);
/// A process reads the ring again once its copy is older than this.
const RING_FRESHNESS: Duration = Duration::from_secs(5 * 60);
/// A key is written within this time of its announcement, or the write has failed.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// While the ring cannot be read, its copy is used until it is older than this. Then nothing is
/// signed or published.
const RING_STALENESS: Duration = HOUR;

/// A refresh token lists the numbers of the keys that its session has been under. This many take 3
/// KiB, and a token must stay below the size that is accepted.
const MAX_KEYS_PER_SESSION: u32 = 500;

/// The settings of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// The time that a key signs before its successor does. `COUNTERSIGN_ROTATION_PERIOD`.
    pub rotation_period: Duration,
    /// The minimum time that a key is published before it signs. `COUNTERSIGN_ANNOUNCEMENT_LEAD`.
    pub announcement_lead: Duration,
    /// The time that a verifier may cache the key set. `COUNTERSIGN_JWKS_MAX_AGE`.
    pub jwks_max_age: Duration,
    /// `COUNTERSIGN_MAX_ACCESS_TTL`, `COUNTERSIGN_MAX_REFRESH_TTL`.
    pub max_lifetimes: Lifetimes,
}

impl Default for ScheduleSettings {
    /// A new key every thirty days, announced a day before it signs; key sets cached for 15
    /// minutes.
    fn default() -> Self {
        Self {
            rotation_period: 30 * DAY,
            announcement_lead: DAY,
            jwks_max_age: 15 * MINUTE,
            max_lifetimes: Lifetimes::default(),
        }
    }
}

/// A schedule that keeps the promises. There is no other way to make a value of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationSchedule {
    settings: ScheduleSettings,
    clock_error: Duration,
    fixed_cache: Duration,
    ring_freshness: Duration,
    ring_staleness: Duration,
    write_time: Duration,
}

/// A combination of settings that breaks a promise, with the arithmetic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchedule(String);

impl Default for RotationSchedule {
    fn default() -> Self {
        Self::unchecked(ScheduleSettings::default())
    }
}

impl RotationSchedule {
    /// Checks that these settings keep the promises.
    pub fn new(settings: ScheduleSettings) -> Result<Self, InvalidSchedule> {
        let schedule = Self::unchecked(settings);
        let (lead, least) = (settings.announcement_lead, schedule.least_lead());
        if lead < least {
            return Err(InvalidSchedule(format!(
                "COUNTERSIGN_ANNOUNCEMENT_LEAD is {}, but a key must be announced for {} before it signs: \
                 a process may use a ring that is {} old, a verifier may cache the key set for {}, \
                 two clocks may be {} apart, and writing it may take {}",
                format_duration(lead),
                format_duration(least),
                format_duration(schedule.ring_staleness),
                format_duration(schedule.longest_cache()),
                format_duration(2 * schedule.clock_error),
                format_duration(schedule.write_time),
            )));
        }
        if settings.rotation_period < lead {
            return Err(InvalidSchedule(format!(
                "COUNTERSIGN_ROTATION_PERIOD is {}, shorter than COUNTERSIGN_ANNOUNCEMENT_LEAD, which is {}: \
                 a successor is announced when its predecessor starts to sign, and must be known when it ends",
                format_duration(settings.rotation_period),
                format_duration(lead),
            )));
        }
        let session = Duration::from_secs(settings.max_lifetimes.refresh);
        if session > MAX_KEYS_PER_SESSION * settings.rotation_period {
            return Err(InvalidSchedule(format!(
                "COUNTERSIGN_ROTATION_PERIOD is {}, and COUNTERSIGN_MAX_REFRESH_TTL is {}: a session could be under more \
                 than {MAX_KEYS_PER_SESSION} keys, and a refresh token lists the numbers of all of them",
                format_duration(settings.rotation_period),
                format_duration(session),
            )));
        }
        if settings.jwks_max_age < SECOND {
            return Err(InvalidSchedule("COUNTERSIGN_JWKS_MAX_AGE must be at least a second".into()));
        }
        Ok(schedule)
    }

    const fn unchecked(settings: ScheduleSettings) -> Self {
        Self {
            settings,
            clock_error: CLOCK_ERROR,
            fixed_cache: FIXED_CACHE,
            ring_freshness: RING_FRESHNESS,
            ring_staleness: RING_STALENESS,
            write_time: WRITE_TIME,
        }
    }

    /// A schedule for watching rotation: every time shrinks in proportion, so that a key signs for
    /// `period`. It is for development only. The period is at least 20 s, because max-age counts
    /// whole seconds.
    pub fn compressed(period: Duration) -> Result<Self, InvalidSchedule> {
        let real = Self::unchecked(ScheduleSettings {
            rotation_period: 5 * HOUR,
            max_lifetimes: Lifetimes { access: HOUR.as_secs(), refresh: DAY.as_secs() },
            ..ScheduleSettings::default()
        });
        let factor = period.as_secs_f64() / real.settings.rotation_period.as_secs_f64();
        let shrunk = |time: Duration| time.mul_f64(factor);
        let jwks_max_age = Duration::from_secs(shrunk(real.settings.jwks_max_age).as_secs());
        if jwks_max_age < SECOND || factor > 1.0 {
            return Err(InvalidSchedule("the period must be between 20 s and 5 h".into()));
        }
        let seconds = |time: u64| shrunk(Duration::from_secs(time)).as_secs();
        let mut compressed = Self {
            settings: ScheduleSettings {
                rotation_period: period,
                announcement_lead: Duration::ZERO,
                jwks_max_age,
                max_lifetimes: Lifetimes {
                    access: seconds(real.settings.max_lifetimes.access),
                    refresh: seconds(real.settings.max_lifetimes.refresh),
                },
            },
            clock_error: shrunk(real.clock_error),
            fixed_cache: shrunk(real.fixed_cache),
            ring_freshness: shrunk(real.ring_freshness),
            ring_staleness: shrunk(real.ring_staleness),
            write_time: shrunk(real.write_time),
        };
        compressed.settings.announcement_lead = compressed.least_lead();
        Ok(compressed)
    }

    /// The settings that it was made from.
    pub const fn settings(&self) -> &ScheduleSettings {
        &self.settings
    }

    /// **No key signs before every verifier can know it.** A process that publishes the key set may
    /// use a ring from before the announcement for `ring_staleness`. A verifier that fetches that
    /// key set caches it for the longest cache time. The clock that wrote `activates_at` may be
    /// behind and the clock that signs ahead. The write itself takes `write_time`.
    pub(crate) fn least_lead(&self) -> Duration {
        self.ring_staleness + self.longest_cache() + 2 * self.clock_error + self.write_time
    }

    /// **No key leaves the key set while an access token that it signed is valid.** A process may
    /// sign with it for `ring_staleness` after its end, because its ring is that old or because the
    /// successor cannot be decrypted. The token then lives as long as the key allows. Four clocks
    /// take part, and each may be wrong: the one that wrote the end, the one that signs, the one
    /// that publishes and the one that verifies.
    pub(crate) fn published_after_signing(&self, max_lifetimes: Lifetimes) -> Duration {
        Duration::from_secs(max_lifetimes.access) + self.ring_staleness + 4 * self.clock_error
    }

    /// The time that a key is kept after its end for its refresh tokens, which only the issuer
    /// verifies. The clocks are the same.
    pub(crate) fn kept_after_signing(&self, max_lifetimes: Lifetimes) -> Duration {
        let max_lifetimes = Duration::from_secs(max_lifetimes.refresh.max(max_lifetimes.access));
        max_lifetimes + self.ring_staleness + 4 * self.clock_error
    }

    /// The time after its end in which a process may still need to decrypt a key.
    pub(crate) fn private_key_kept_after_signing(&self) -> Duration {
        self.ring_staleness + 2 * self.clock_error
    }

    /// The time after a change of the ring in which a cache of the key set that expires by its age
    /// may still contain the previous one. A verifier that fetches the key set only for unknown
    /// keys may keep it for longer.
    pub fn forgotten_after(&self) -> Duration {
        self.ring_staleness + self.longest_cache()
    }

    fn longest_cache(&self) -> Duration {
        self.settings.jwks_max_age.max(self.fixed_cache)
    }

    /// Returns true if it is too soon to retry what failed at `failed_at`: an attempt may take
    /// seconds. The pause is a fiftieth of the staleness: 72 s, or 80 ms with the shortest
    /// compressed schedule.
    pub(crate) fn is_too_soon(&self, failed_at: Option<Timestamp>, now: Timestamp) -> bool {
        failed_at.is_some_and(|failed_at| failed_at.is_within(self.ring_staleness / 50, now))
    }

    /// The age up to which a copy of the ring is used without reading it again.
    pub(crate) const fn ring_freshness(&self) -> Duration {
        self.ring_freshness
    }

    /// The age up to which a copy of the ring is used while the table cannot be read, and the time
    /// that a key in memory may keep signing while its successor cannot be decrypted.
    pub(crate) const fn ring_staleness(&self) -> Duration {
        self.ring_staleness
    }
}

/// Formats a duration in days, hours, minutes and seconds, without the units that are zero.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let shown: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
    if shown.is_empty() { format!("{} ms", duration.as_millis()) } else { shown.join(" ") }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A schedule that may break the promises, to show that the simulation finds it.
    pub(in crate::keys) fn unchecked(settings: ScheduleSettings) -> RotationSchedule {
        RotationSchedule::unchecked(settings)
    }

    /// A schedule that assumes that no process ever uses an old ring.
    pub(in crate::keys) fn without_staleness(schedule: RotationSchedule) -> RotationSchedule {
        RotationSchedule { ring_staleness: Duration::ZERO, ..schedule }
    }

    #[test]
    fn a_lead_below_the_minimum_is_refused_with_the_arithmetic() {
        let settings = ScheduleSettings { announcement_lead: 3 * HOUR, ..ScheduleSettings::default() };
        assert_eq!(
            RotationSchedule::new(settings).unwrap_err().to_string(),
            "COUNTERSIGN_ANNOUNCEMENT_LEAD is 3 h, but a key must be announced for 3 h 2 min 5 s before it signs: \
             a process may use a ring that is 1 h old, a verifier may cache the key set for 2 h, \
             two clocks may be 2 min apart, and writing it may take 5 s"
        );
        let settings = ScheduleSettings { announcement_lead: 3 * HOUR + 2 * MINUTE + 5 * SECOND, ..settings };
        assert!(RotationSchedule::new(settings).is_ok());
        assert!(RotationSchedule::new(ScheduleSettings { jwks_max_age: 3 * HOUR, ..settings }).is_err());
        assert!(RotationSchedule::new(ScheduleSettings { rotation_period: 3 * HOUR, ..settings }).is_err());
        assert!(
            RotationSchedule::new(ScheduleSettings { jwks_max_age: Duration::ZERO, ..settings }).is_err()
        );
    }

    #[test]
    fn a_session_is_under_a_bounded_number_of_keys() {
        let max_lifetimes = Lifetimes { refresh: 2500 * 3600, ..Lifetimes::default() };
        let settings =
            ScheduleSettings { max_lifetimes, announcement_lead: 4 * HOUR, ..ScheduleSettings::default() };
        assert!(RotationSchedule::new(ScheduleSettings { rotation_period: 5 * HOUR, ..settings }).is_ok());
        let refused =
            RotationSchedule::new(ScheduleSettings { rotation_period: 4 * HOUR + 59 * MINUTE, ..settings });
        assert!(refused.unwrap_err().to_string().contains("more than 500 keys"));
    }

    #[test]
    fn a_compressed_schedule_keeps_the_proportions() {
        let schedule = RotationSchedule::compressed(20 * SECOND).unwrap();
        assert_eq!(schedule.settings.jwks_max_age, SECOND);
        assert!(schedule.settings.announcement_lead >= schedule.least_lead());
        assert!(schedule.settings.announcement_lead <= schedule.settings.rotation_period);
        assert_eq!(schedule.settings.max_lifetimes.access, 4);
        assert!(RotationSchedule::compressed(19 * SECOND).is_err());
    }
}

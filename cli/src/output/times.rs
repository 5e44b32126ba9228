//! Times: RFC 3339 in UTC for a program; for a person the local time, and the distance from now.

use std::time::Duration;

use countersign_issuer::keys::format_duration;
use countersign_verify::Timestamp;
use jiff::tz::TimeZone;

/// Formats a time as RFC 3339 in UTC.
pub(super) fn utc(at: Timestamp) -> String {
    moment(at).map_or_else(|| format!("{} ms", at.millis()), |at| at.to_string())
}

/// Formats a time in `zone`, as in `2026-11-21 23:22:12 +01:00 (2 h 5 min ago)`.
pub(super) fn local(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    in_zone(at, now, zone, "%Y-%m-%d %H:%M:%S %:z")
}

/// Formats a time in `zone` for a column of a table, as in `2026-11-21 23:22 (2 h 5 min ago)`.
pub(super) fn local_in_table(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    in_zone(at, now, zone, "%Y-%m-%d %H:%M")
}

fn in_zone(at: Timestamp, now: Timestamp, zone: &TimeZone, format: &str) -> String {
    let Some(moment) = moment(at) else { return utc(at) };
    let local = moment.to_zoned(zone.clone());
    format!("{} ({})", local.strftime(format), distance(at, now))
}

fn moment(at: Timestamp) -> Option<jiff::Timestamp> {
    let millis = i64::try_from(at.millis()).ok()?;
    jiff::Timestamp::from_millisecond(millis).ok()
}

/// The distance from `now` in whole seconds.
fn distance(at: Timestamp, now: Timestamp) -> String {
    let (ahead, behind) = (at.since(now), now.since(at));
    match (ahead.as_secs(), behind.as_secs()) {
        (0, 0) => "now".to_owned(),
        (0, _) => format!("{} ago", round(behind)),
        _ => format!("in {}", round(ahead)),
    }
}

/// A duration in its two largest units.
fn round(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = match seconds {
        86_400.. => 3600,
        3600.. => 60,
        _ => 1,
    };
    format_duration(Duration::from_secs(seconds / unit * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_the_zone_with_its_distance() {
        let at = Timestamp::from_seconds(1_795_303_332);
        let kolkata =
            TimeZone::fixed(jiff::tz::offset(5).checked_add(jiff::Span::new().minutes(30)).unwrap());
        let after = |seconds: u64| at.plus(Duration::from_secs(seconds));
        assert_eq!(utc(at), "2026-11-21T23:22:12Z");
        assert_eq!(local(at, after(7507), &kolkata), "2026-11-22 04:52:12 +05:30 (2 h 5 min ago)");
        assert_eq!(local_in_table(at, at, &TimeZone::UTC), "2026-11-21 23:22 (now)");
        for (seconds, shown) in [
            (1, "1 s ago"),
            (60, "1 min ago"),
            (3599, "59 min 59 s ago"),
            (3601, "1 h ago"),
            (90_000, "1 d 1 h ago"),
        ] {
            assert_eq!(distance(at, after(seconds)), shown);
            assert_eq!(distance(after(seconds), at), format!("in {}", shown.trim_end_matches(" ago")));
        }
        assert_eq!(utc(Timestamp::from_millis(u64::MAX)), format!("{} ms", u64::MAX));
        assert_eq!(local(Timestamp::from_millis(u64::MAX), at, &kolkata), format!("{} ms", u64::MAX));
    }
}

//! Times as databases and their tools write them.

use countersign_verify::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::{plain_number, without_class};

/// The end of an error about a value that is no time.
pub(in crate::import) const NOT_A_TIME: &str =
    "not a time; write it in the query as 2030-01-31T23:00:00Z, or as 2030-01-31 23:00:00 with --time-zone";

/// A time in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::import) enum Time {
    At(Timestamp),
    /// A time without an offset from UTC, read in the zone of the import.
    Local(Timestamp),
    /// The end of the year 9999, or PostgreSQL's `infinity`.
    Never,
}

/// Parses a time: a number since 1970, or RFC 3339 with a space for the T, in `zone` if it has no
/// offset. Other orders of day and month are ambiguous, so they are no time.
pub(in crate::import) fn parse_time(value: &Value, zone: &TimeZone) -> Option<Time> {
    match without_class(value) {
        Value::Number(number) => from_number(number.as_f64()?.floor()),
        Value::String(text) => from_text(text.trim(), zone),
        _ => None,
    }
}

fn from_text(text: &str, zone: &TimeZone) -> Option<Time> {
    if let Some(number) = plain_number(text) {
        return from_number(number);
    }
    if text.trim_start_matches('+').eq_ignore_ascii_case("infinity") {
        return Some(Time::Never);
    }
    // Java's ZonedDateTime names the zone behind the time.
    if text.ends_with(']') {
        return timestamp(text.replacen(' ', "T", 1).parse::<jiff::Zoned>().ok()?.timestamp()).map(Time::At);
    }
    let is_date = text.len() >= 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    // The basic format of ISO 8601.
    let is_basic =
        text.len() >= 15 && text.as_bytes()[8] == b'T' && text.as_bytes()[..8].iter().all(u8::is_ascii_digit);
    if !is_date && !is_basic {
        return None;
    }
    // jiff knows no time so late.
    if text.starts_with("9999-12-3") {
        return Some(Time::Never);
    }
    let mut words = text.split_ascii_whitespace();
    let text = match (words.next()?, words.next(), words.next(), words.next()) {
        (whole, None, ..) => whole.to_owned(),
        (date, Some(time), None, _) => format!("{date}T{time}"),
        (date, Some(time), Some("UTC" | "GMT" | "Z"), None) => format!("{date}T{time}Z"),
        // Go writes the name of the zone behind the offset.
        (date, Some(time), Some(offset), None | Some("UTC")) => format!("{date}T{time}{offset}"),
        _ => return None,
    };
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return timestamp(at).map(Time::At);
    }
    let local: DateTime = text.parse().ok()?;
    timestamp(local.to_zoned(zone.clone()).ok()?.timestamp()).map(Time::Local)
}

fn timestamp(at: jiff::Timestamp) -> Option<Timestamp> {
    u64::try_from(at.as_millisecond()).ok().map(Timestamp::from_millis)
}

/// Reads a number by its number of digits, for times from 2001 to 2286: any other could be a date
/// without separators.
fn from_number(number: f64) -> Option<Time> {
    /// The last second of the year 9999.
    const LAST: f64 = 253_402_300_799.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and below 2^64")]
    let millis = match number {
        1e9..1e10 if !is_date_and_hour(number) => number * 1e3,
        1e12..1e13 => number,
        1e15..1e16 => number / 1e3,
        1e18..1e19 => number / 1e6,
        _ if number == LAST || (number / 1e3).floor() == LAST => return Some(Time::Never),
        _ => return None,
    } as u64;
    Some(Time::At(Timestamp::from_millis(millis)))
}

/// Returns true if ten digits may be year, month, day and hour: `2030010100`.
fn is_date_and_hour(number: f64) -> bool {
    let hours = DateTime::strptime("%Y%m%d%H%M", format!("{number:.0}00"));
    hours.is_ok_and(|at| (2000..2100).contains(&at.year()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: &Value, zone: &str) -> Option<Time> {
        parse_time(value, &TimeZone::get(zone).unwrap())
    }

    #[test]
    fn times_are_parsed_as_databases_dump_them() {
        let new_year = Time::At(Timestamp::from_seconds(1_798_761_600));
        for value in [
            json!("2027-01-01T00:00:00Z"),
            json!("2027-01-01 01:00:00+01"),
            json!("2027-01-01 05:30:00.0000000 +05:30"),
            json!("2026-12-31 19:00:00-0500"),
            json!("2027-01-01 00:00:00 UTC"),
            json!("2027-01-01T01:00:00.000+01:00"),
            json!(1_798_761_600),
            json!(1_798_761_600.0),
            json!(1_798_761_600_000_u64),
            json!(1_798_761_600_000_000_u64),
            json!("1798761600000"),
            json!("1798761600000.0"),
            json!("1798761600.0"),
            json!(["java.lang.Long", 1_798_761_600_000_u64]),
            json!("2027-01-01T01:00:00[Europe/Berlin]"),
            json!("2027-01-01T01:00:00+01:00[Europe/Berlin]"),
            json!("2027-01-01T00:00:00Z[UTC]"),
        ] {
            assert_eq!(parse(&value, "Asia/Tokyo"), Some(new_year), "{value}");
        }
        for (value, zone) in [
            ("2027-01-01 00:00:00", "UTC"),
            ("2027-01-01", "UTC"),
            ("2027-01-01 00:00:00.0", "UTC"),
            ("2026-12-31 19:00:00", "America/New_York"),
            ("2027-01-01T09:00:00.000000", "Asia/Tokyo"),
        ] {
            let local = Time::Local(Timestamp::from_seconds(1_798_761_600));
            assert_eq!(parse(&json!(value), zone), Some(local), "{value}");
        }
        // Summer time counts.
        let july = Time::Local(Timestamp::from_seconds(1_814_392_800));
        assert_eq!(parse(&json!("2027-07-01 00:00:00"), "Europe/Berlin"), Some(july));
        for never in [
            json!("infinity"),
            json!("9999-12-31"),
            json!("9999-12-31 23:59:59"),
            json!("9999-12-31T00:00:00Z"),
            json!(253_402_300_799_000_u64),
        ] {
            assert_eq!(parse(&never, "America/New_York"), Some(Time::Never), "{never}");
        }
        for nonsense in [
            "01-JAN-27",
            "01.01.2030 00:00",
            "1/1/2030 12:00:00 AM",
            "Jan  1 2030 12:00AM",
            "20300101",
            "20300101000000",
            "0000-00-00 00:00:00",
            "1.89346E+12",
            "2030-13-01",
            "5",
            "tomorrow",
            "2030010100",
            "2036123123.0",
            "2027-01-01T00:00:00[Europe/Nowhere]",
            "2027-01-01T00:00:00+05:00[Europe/Berlin]",
        ] {
            assert_eq!(parse(&json!(nonsense), "UTC"), None, "{nonsense}");
        }
    }
}

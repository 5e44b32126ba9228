//! Durations: numbers of seconds, and the texts of `java.time.Duration`.

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde_json::Value;

use super::{plain_number, without_class};

/// Parses every form that Jackson and databases have for a duration: 300, 300.000000000, "300.0",
/// "PT5M", "P7D", `{"seconds": 300, "nano": 0}`, each with or without the class before it. A day
/// has 24 hours, as in `java.time.Duration`. A fraction counts as a whole second.
pub(in crate::import) fn parse_seconds(value: &Value) -> Option<i64> {
    match without_class(value) {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(rounded_up)),
        Value::String(text) => {
            let text = text.trim();
            let number = text.parse().ok().or_else(|| plain_number(text).map(rounded_up));
            number.or_else(|| {
                let span: Span = text.parse().ok()?;
                let duration: SignedDuration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
                duration.as_secs().checked_add(i64::from(duration.subsec_nanos() > 0))
            })
        }
        Value::Object(members) => {
            let has_fraction = members.get("nano").and_then(Value::as_i64).is_some_and(|nano| nano > 0);
            members.get("seconds")?.as_i64()?.checked_add(i64::from(has_fraction))
        }
        _ => None,
    }
}

/// Parses the whole number of an integer column, which tools may write with a fraction of zeros.
pub(in crate::import) fn parse_whole_seconds(value: &Value) -> Option<i64> {
    let rounded = |number: f64| (number.fract() == 0.0).then(|| rounded_up(number));
    match without_class(value) {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(rounded)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| plain_number(text).and_then(rounded))
        }
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast beyond i64 gives the longest duration")]
fn rounded_up(seconds: f64) -> i64 {
    seconds.ceil() as i64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_integer_has_no_fraction_but_zeros() {
        for hour in [json!(3600), json!(3600.0), json!("3600"), json!("3600.0"), json!(" 3600.000000 ")] {
            assert_eq!(parse_whole_seconds(&hour), Some(3600), "{hour}");
        }
        assert_eq!(parse_whole_seconds(&json!("-1")), Some(-1));
        for nonsense in ["3.600", "43.000", "3600.5", "-0.5", "1h ago", "PT1H", "3,600", ""] {
            assert_eq!(parse_whole_seconds(&json!(nonsense)), None, "{nonsense}");
        }
        assert_eq!(parse_whole_seconds(&json!(3.6)), None);
    }

    #[test]
    fn durations_are_parsed_in_every_form() {
        for five_minutes in [
            json!(300),
            json!(300.0),
            json!("300"),
            json!("300.0"),
            json!("299.5"),
            json!("PT5M"),
            json!("pt5m"),
            json!("PT300S"),
            json!("PT4M59.5S"),
            json!(["java.time.Duration", 300.000_000_000]),
            json!(["java.time.Duration", "PT5M"]),
            json!({"@class": "java.time.Duration", "seconds": 300, "nano": 0}),
        ] {
            assert_eq!(parse_seconds(&five_minutes), Some(300), "{five_minutes}");
        }
        for (text, seconds) in
            [("PT24H", 86400), ("P7D", 604_800), ("P1DT2H", 93600), ("P0DT0H30M", 1800), ("PT168H", 604_800)]
        {
            assert_eq!(parse_seconds(&json!(text)), Some(seconds), "{text}");
        }
        for half_a_second in [
            json!(0.5),
            json!("0.5"),
            json!("PT0.5S"),
            json!({"seconds": 0, "nano": 500_000_000}),
            json!(["java.time.Duration", 0.5]),
        ] {
            assert_eq!(parse_seconds(&half_a_second), Some(1), "{half_a_second}");
        }
        assert_eq!((parse_seconds(&json!(-0.5)), parse_seconds(&json!("-PT0.5S"))), (Some(0), Some(0)));
        for nonsense in [
            json!("five"),
            json!([]),
            json!({"seconds": "5"}),
            json!(true),
            json!("P1M"),
            json!("3.6E+03"),
            json!("inf"),
            json!("3.600"),
        ] {
            assert_eq!(parse_seconds(&nonsense), None, "{nonsense}");
        }
    }
}

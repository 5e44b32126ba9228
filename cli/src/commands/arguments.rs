//! Argument types that several commands share.

use std::time::Duration;

use clap::ValueEnum;
use countersign_issuer::records::AccessTokenType;
use jiff::SignedDuration;

/// The `typ` header of access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Typ {
    #[value(name = "at+jwt")]
    AtJwt,
    #[value(name = "JWT")]
    Jwt,
}

impl From<Typ> for AccessTokenType {
    fn from(typ: Typ) -> Self {
        match typ {
            Typ::AtJwt => Self::AtJwt,
            Typ::Jwt => Self::Jwt,
        }
    }
}

/// Parses a duration such as 7d, 12h30m or 90s, or a whole number of seconds. A day has 24 hours.
pub(super) fn parse_duration(value: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as 7d, 12h or 90s, or a number of seconds";
    to_duration(value).and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(|| expected.into())
}

/// Parses a duration that may be negative, such as -2h.
pub(super) fn parse_signed_duration(value: &str) -> Result<SignedDuration, String> {
    to_duration(value).ok_or_else(|| "expected a duration such as -2h or 90s, or a number of seconds".into())
}

fn to_duration(value: &str) -> Option<SignedDuration> {
    if let Ok(seconds) = value.parse() {
        return Some(SignedDuration::from_secs(seconds));
    }
    let span: jiff::Span = value.parse().ok()?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

/// Parses a duration as whole seconds.
pub(super) fn parse_seconds(value: &str) -> Result<u64, String> {
    let duration = parse_duration(value)?;
    if duration.subsec_nanos() != 0 {
        return Err("expected whole seconds".into());
    }
    Ok(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_or_counts_seconds() {
        for (text, seconds) in [
            ("3600", 3600),
            ("0", 0),
            ("90s", 90),
            ("1h", 3600),
            ("1h30m", 5400),
            ("1h 30min", 5400),
            ("2 days", 172_800),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("PT10M", 600),
        ] {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
        for text in
            ["", " ", "1.5s", "500ms", "-1h", "-5", "1 month", "1y", "hour", "1x", "99999999999999999999"]
        {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}

//! Argument types that several commands share.

use std::ffi::OsStr;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command, ValueEnum};
use countersign_issuer::records::{AccessTokenType, GrantType};
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

/// Parses a grant type, which may have spaces around it, as every other item of a list.
#[derive(Debug, Clone)]
pub(super) struct GrantParser;

impl TypedValueParser for GrantParser {
    type Value = GrantType;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<GrantType, clap::Error> {
        let names = PossibleValuesParser::new(GrantType::ALL.map(GrantType::as_str));
        let trimmed = value.to_str().map_or(value, |value| OsStr::new(value.trim()));
        names.try_map(|name| name.parse::<GrantType>()).parse_ref(command, argument, trimmed)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(GrantType::ALL.into_iter().map(|grant| PossibleValue::new(grant.as_str()))))
    }
}

const UNITS: &str = "the units are w, d, h, min and s";

/// Parses a duration such as 7d, 12h30m or 90s, or a whole number of seconds. A day has 24 hours.
pub(super) fn parse_duration(value: &str) -> Result<Duration, String> {
    let expected = || format!("expected a duration such as 7d, 12h or 90s, or a number of seconds; {UNITS}");
    to_duration(value).and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(expected)
}

/// Parses a duration that may be negative, such as -2h.
pub(super) fn parse_signed_duration(value: &str) -> Result<SignedDuration, String> {
    let expected = || format!("expected a duration such as -2h or 90s, or a number of seconds; {UNITS}");
    to_duration(value).ok_or_else(expected)
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

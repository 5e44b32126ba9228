//! Argument types that several commands share.

use std::time::Duration;

use clap::ValueEnum;
use countersign_issuer::records::AccessTokenType;
use jiff::SignedDuration;

/// The `typ` header of access tokens.
#[derive(Debug, Clone, Copy, ValueEnum)]
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

/// Parses a duration such as 7d, 12h or 90s. A day has 24 hours.
pub(super) fn parse_duration(value: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as 7d, 12h or 90s";
    to_duration(value).and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(|| expected.into())
}

/// Parses a duration that may be negative, such as -2h.
pub(super) fn parse_signed_duration(value: &str) -> Result<SignedDuration, String> {
    to_duration(value).ok_or_else(|| "expected a duration such as -2h or 90s".into())
}

fn to_duration(value: &str) -> Option<SignedDuration> {
    let span: jiff::Span = value.parse().ok()?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

/// A list from the command line, without blank items: `--role ''` empties a list.
pub(super) fn without_blank(mut items: Vec<String>) -> Vec<String> {
    items.retain(|item| !item.is_empty());
    items
}

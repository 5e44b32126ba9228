//! Argument types that several commands share.

use std::time::Duration;

use clap::ValueEnum;
use countersign_issuer::records::AccessTokenType;

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
    let expected = || "expected a duration such as 7d, 12h or 90s".to_owned();
    let span: jiff::Span = value.parse().map_err(|_| expected())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours());
    duration.ok().and_then(|duration| Duration::try_from(duration).ok()).ok_or_else(expected)
}

/// A list from the command line, without blank items: `--role ''` empties a list.
pub(super) fn without_blank(mut items: Vec<String>) -> Vec<String> {
    items.retain(|item| !item.is_empty());
    items
}

//! Lifetimes and other settings: separate columns in the older table, JSON as Jackson writes it in the newer one.

use countersign_issuer::records::{Client, Lifetimes};
use countersign_verify::Timestamp;
use serde_json::{Map, Value};

use super::reasons::{NO_AUTHORIZATION_ENDPOINT, NO_MAPPING};
use crate::import::conversion::Conversion;
use crate::import::mapping::{Mapping, parse_json, without_class};
use crate::import::rows::Row;

pub(super) const CLIENT: &str = "client_settings";
pub(super) const TOKEN: &str = "token_settings";

const ACCESS: &str = "settings.token.access-token-time-to-live";
const REFRESH: &str = "settings.token.refresh-token-time-to-live";
const REUSE: &str = "settings.token.reuse-refresh-tokens";
const FORMAT: &str = "settings.token.access-token-format";
const BOUND: &str = "settings.token.x509-certificate-bound-access-tokens";

/// The settings that have no use here, each with the reason.
const DROPPED: [(&str, &str); 8] = [
    ("settings.token.authorization-code-time-to-live", NO_AUTHORIZATION_ENDPOINT),
    ("settings.token.device-code-time-to-live", NO_AUTHORIZATION_ENDPOINT),
    ("settings.token.id-token-signature-algorithm", "there are no ID tokens here"),
    ("settings.client.require-proof-key", NO_AUTHORIZATION_ENDPOINT),
    ("settings.client.require-authorization-consent", NO_AUTHORIZATION_ENDPOINT),
    ("settings.client.jwk-set-url", CLIENTS_HAVE_SECRETS),
    ("settings.client.token-endpoint-authentication-signing-algorithm", CLIENTS_HAVE_SECRETS),
    ("settings.client.x509-certificate-subject-dn", CLIENTS_HAVE_SECRETS),
];
const CLIENTS_HAVE_SECRETS: &str = "clients authenticate with a secret here";

/// The settings of a client. Lifetimes are in seconds; in the older table zero and less mean without an end.
#[derive(Default)]
pub(super) struct Settings {
    access: i64,
    refresh: i64,
    reuses_refresh_tokens: bool,
    has_opaque_tokens: bool,
    has_bound_tokens: bool,
    pub(super) secret_expires: Option<Timestamp>,
}

impl Settings {
    /// Reads `oauth_client_details`, with the defaults of its `DefaultTokenServices`: 12 hours and 30 days.
    pub(super) fn read_details(row: &Row) -> Result<Self, String> {
        let seconds = |column: &str, default: i64| match row.columns.get(column) {
            None => Ok(default),
            Some(value) => parse_duration(value).ok_or_else(|| format!("{column}: not a number of seconds")),
        };
        Ok(Self {
            access: seconds("access_token_validity", 12 * 3600)?,
            refresh: seconds("refresh_token_validity", 30 * 24 * 3600)?,
            ..Self::default()
        })
    }

    /// Reads `oauth2_registered_client`, with the defaults of its `TokenSettings`: 5 minutes and an hour.
    pub(super) fn read_registered(row: &Row) -> Result<Self, String> {
        let token = object(row, TOKEN)?;
        object(row, CLIENT)?;
        let lifetime = |name: &str, default: i64| match token.get(name) {
            None => Ok(default),
            Some(value) => match parse_duration(value) {
                None => Err(format!("{TOKEN} {name}: not a duration")),
                // Spring does not allow these (`TokenSettings.Builder`: "must be greater than Duration.ZERO").
                Some(..=0) => Err(format!("{TOKEN} {name}: not greater than zero")),
                Some(seconds) => Ok(seconds),
            },
        };
        let is_true =
            |name: &str| token.get(name).is_some_and(|value| *without_class(value) == Value::Bool(true));
        let format = token.get(FORMAT).map(|format| format.get("value").unwrap_or(format));
        let expires = row.columns.get("client_secret_expires_at");
        Ok(Self {
            access: lifetime(ACCESS, 300)?,
            refresh: lifetime(REFRESH, 3600)?,
            reuses_refresh_tokens: is_true(REUSE),
            has_opaque_tokens: format.and_then(Value::as_str) == Some("reference"),
            has_bound_tokens: is_true(BOUND),
            secret_expires: expires
                .map(|value| parse_timestamp(value).ok_or("client_secret_expires_at: not a time"))
                .transpose()?,
        })
    }

    pub(super) fn access_ttl(&self, limits: Lifetimes) -> u64 {
        bounded(self.access, limits.access)
    }

    pub(super) fn refresh_ttl(&self, limits: Lifetimes) -> u64 {
        bounded(self.refresh, limits.refresh)
    }

    /// Reports the settings that will work differently.
    pub(super) fn report_losses(
        &self,
        has_refresh: bool,
        limits: Lifetimes,
        conversion: &mut Conversion<Client>,
    ) {
        let losses = &mut conversion.losses;
        for (what, was, max, counts) in [
            ("access", self.access, limits.access, true),
            ("refresh", self.refresh, limits.refresh, has_refresh),
        ] {
            if counts && bounded(was, max) != u64::try_from(was).unwrap_or(0) {
                let was = if was > 0 { format!("lived {was} s") } else { "never expired".into() };
                losses.push(format!(
                    "{what} tokens {was}; here they live {max} s, the maximum of this deployment"
                ));
            }
        }
        for (is_so, loss) in [
            (
                has_refresh && self.reuses_refresh_tokens,
                "reuse-refresh-tokens: here every refresh gives a new refresh token, which the client must keep",
            ),
            (self.has_opaque_tokens, "access-token-format: opaque access tokens become JWTs"),
            (
                self.has_bound_tokens,
                "x509-certificate-bound-access-tokens: here access tokens are bearer tokens",
            ),
        ] {
            if is_so {
                losses.push(loss.into());
            }
        }
    }
}

fn bounded(seconds: i64, max: u64) -> u64 {
    u64::try_from(seconds).ok().filter(|seconds| (1..=max).contains(seconds)).unwrap_or(max)
}

/// Reports the settings that have no use here.
pub(super) fn drop_settings(mapping: &Mapping, row: &Row, conversion: &mut Conversion<Client>) {
    for column in [CLIENT, TOKEN] {
        for name in object(row, column).unwrap_or_default().keys() {
            if [ACCESS, REFRESH, REUSE, FORMAT, BOUND, "@class"].contains(&name.as_str()) {
                continue;
            }
            match DROPPED.iter().find(|(dropped, _)| dropped == name) {
                Some((_, reason)) => conversion.drop_value(name, reason),
                None if !mapping.reads(&[column, name.as_str()]) => {
                    conversion.drop_value(name, NO_MAPPING);
                }
                None => {}
            }
        }
    }
}

fn object(row: &Row, column: &str) -> Result<Map<String, Value>, String> {
    match row.columns.get(column).map(parse_json) {
        None => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(_) => Err(format!("{column}: not a JSON object; the dump may have cut it off or escaped it")),
    }
}

/// Parses every form that Jackson has for a `java.time.Duration`: 300, 300.000000000, "PT5M", `{"seconds": 300,
/// "nano": 0}`, each with or without the class before it; a CSV has 300 as text. A fraction counts as a whole second.
fn parse_duration(value: &Value) -> Option<i64> {
    match without_class(value) {
        #[expect(clippy::cast_possible_truncation, reason = "a cast beyond i64 gives the longest duration")]
        Value::Number(number) => {
            number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds.ceil() as i64))
        }
        Value::String(text) => text.trim().parse().ok().or_else(|| {
            let duration: jiff::SignedDuration = text.trim().parse().ok()?;
            duration.as_secs().checked_add(i64::from(duration.subsec_nanos() > 0))
        }),
        Value::Object(members) => {
            let has_fraction = members.get("nano").and_then(Value::as_i64).is_some_and(|nano| nano > 0);
            members.get("seconds")?.as_i64()?.checked_add(i64::from(has_fraction))
        }
        _ => None,
    }
}

/// Parses a time as databases dump it: with an offset, in UTC without one, or as a number since 1970.
fn parse_timestamp(value: &Value) -> Option<Timestamp> {
    /// Numbers below this are seconds (until the year 5138), others milliseconds (since 1973).
    const MAX_SECONDS: u64 = 100_000_000_000;
    let from_number = |number: u64| {
        if number < MAX_SECONDS { Timestamp::from_seconds(number) } else { Timestamp::from_millis(number) }
    };
    match without_class(value) {
        Value::Number(number) => number.as_u64().map(from_number),
        Value::String(text) => {
            let text = text.trim();
            if let Ok(number) = text.parse() {
                return Some(from_number(number));
            }
            let moment: jiff::Timestamp = text.parse().ok().or_else(|| {
                let local: jiff::civil::DateTime = text.parse().ok()?;
                Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
            })?;
            u64::try_from(moment.as_millisecond()).ok().map(Timestamp::from_millis)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_parsed_in_every_form_of_jackson() {
        for five_minutes in [
            json!(300),
            json!(300.0),
            json!("300"),
            json!("PT5M"),
            json!(["java.time.Duration", 300.000_000_000]),
            json!(["java.time.Duration", "PT5M"]),
            json!({"@class": "java.time.Duration", "seconds": 300, "nano": 0}),
        ] {
            assert_eq!(parse_duration(&five_minutes), Some(300), "{five_minutes}");
        }
        assert_eq!(parse_duration(&json!("PT24H")), Some(86400));
        for half_a_second in [
            json!(0.5),
            json!("PT0.5S"),
            json!({"seconds": 0, "nano": 500_000_000}),
            json!(["java.time.Duration", 0.5]),
        ] {
            assert_eq!(parse_duration(&half_a_second), Some(1), "{half_a_second}");
        }
        assert_eq!((parse_duration(&json!(-0.5)), parse_duration(&json!("-PT0.5S"))), (Some(0), Some(0)));
        for nonsense in [json!("five"), json!([]), json!({"seconds": "5"}), json!(true)] {
            assert_eq!(parse_duration(&nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn times_are_parsed_as_databases_dump_them() {
        for new_year in [
            json!("2027-01-01 00:00:00"),
            json!("2027-01-01 00:00:00.0"),
            json!("2027-01-01T00:00:00Z"),
            json!("2027-01-01 01:00:00+01"),
            json!("2027-01-01T01:00:00.000+01:00"),
            json!(1_798_761_600),
            json!(1_798_761_600_000_u64),
            json!("1798761600000"),
        ] {
            assert_eq!(
                parse_timestamp(&new_year),
                Some(Timestamp::from_seconds(1_798_761_600)),
                "{new_year}"
            );
        }
        assert_eq!(parse_timestamp(&json!("01-JAN-27")), None);
    }
}

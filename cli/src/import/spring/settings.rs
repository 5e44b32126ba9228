//! Lifetimes and other settings: separate columns in the older table, JSON as Jackson writes it in
//! the newer one.

use countersign_issuer::records::{Client, Lifetimes};
use countersign_verify::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::reasons::{NO_AUTHORIZATION_ENDPOINT, NO_MAPPING};
use crate::import::conversion::Conversion;
use crate::import::mapping::Mapping;
use crate::import::rows::Row;
use crate::import::values::{
    NOT_A_TIME, Time, parse_bool, parse_json, parse_seconds, parse_time, parse_whole_seconds, without_class,
};

pub(super) const CLIENT: &str = "client_settings";
pub(super) const TOKEN: &str = "token_settings";

const ACCESS: &str = "settings.token.access-token-time-to-live";
const REFRESH: &str = "settings.token.refresh-token-time-to-live";
const REUSE: &str = "settings.token.reuse-refresh-tokens";
const FORMAT: &str = "settings.token.access-token-format";
const CLASS: &str = "@class";
const BOUND: &str = "settings.token.x509-certificate-bound-access-tokens";

const READ: [&str; 5] = [ACCESS, REFRESH, REUSE, FORMAT, BOUND];

/// The settings that have no use here, each with the reason.
const DROPPED: [(&str, &str); 9] = [
    ("settings.token.authorization-code-time-to-live", NO_AUTHORIZATION_ENDPOINT),
    ("settings.token.device-code-time-to-live", NO_AUTHORIZATION_ENDPOINT),
    ("settings.token.id-token-signature-algorithm", "there are no ID tokens here"),
    ("settings.client.require-proof-key", NO_AUTHORIZATION_ENDPOINT),
    ("settings.client.require-authorization-consent", NO_AUTHORIZATION_ENDPOINT),
    ("settings.client.require-user-consent", NO_AUTHORIZATION_ENDPOINT),
    ("settings.client.jwk-set-url", CLIENTS_HAVE_SECRETS),
    ("settings.client.token-endpoint-authentication-signing-algorithm", CLIENTS_HAVE_SECRETS),
    ("settings.client.x509-certificate-subject-dn", CLIENTS_HAVE_SECRETS),
];
const CLIENTS_HAVE_SECRETS: &str = "clients authenticate with a secret here";

/// The settings of a client. Lifetimes are in seconds; in the older table zero and less mean
/// without an end.
#[derive(Default)]
pub(super) struct Settings {
    access: i64,
    refresh: i64,
    reuses_refresh_tokens: bool,
    /// True if the row of the newer table has no lifetime of refresh tokens.
    lacks_refresh: bool,
    pub(super) secret_expires: Option<Timestamp>,
    /// The settings that work differently here, whatever the limits are.
    losses: Vec<&'static str>,
}

impl Settings {
    /// Reads `oauth_client_details`, with the defaults of its `DefaultTokenServices`: 12 hours and
    /// 30 days.
    pub(super) fn read_details(row: &Row) -> Result<Self, String> {
        let seconds = |column: &str, default: i64| match row.columns.get(column) {
            None => Ok(default),
            Some(value) => parse_whole_seconds(value)
                .ok_or_else(|| format!("{column}: not a number of seconds, such as 3600")),
        };
        Ok(Self {
            access: seconds("access_token_validity", 12 * 3600)?,
            refresh: seconds("refresh_token_validity", 30 * 24 * 3600)?,
            ..Self::default()
        })
    }

    /// Reads `oauth2_registered_client`, with the defaults of its `TokenSettings`: 5 minutes and an
    /// hour. Times without an offset are in `zone`, or in UTC.
    pub(super) fn read_registered(row: &Row, zone: Option<&TimeZone>) -> Result<Self, String> {
        let token = object(row, TOKEN)?;
        object(row, CLIENT)?;
        let lifetime = |name: &str, default: i64| match token.get(name) {
            None => Ok(default),
            Some(value) => match parse_seconds(value) {
                None => Err(format!("{TOKEN} {name}: not a duration, such as PT5M, P7D or 300")),
                // Spring does not allow these (`TokenSettings.Builder`: "must be greater than
                // Duration.ZERO").
                Some(..=0) => Err(format!("{TOKEN} {name}: not greater than zero")),
                Some(seconds) => Ok(seconds),
            },
        };
        let is_true =
            |name: &str| token.get(name).is_some_and(|value| parse_bool(without_class(value)) == Some(true));
        let format = token.get(FORMAT).map(without_class).map(|format| format.get("value").unwrap_or(format));
        let is_opaque =
            format.and_then(Value::as_str).is_some_and(|format| format.eq_ignore_ascii_case("reference"));
        let expires = match row.columns.get("client_secret_expires_at") {
            None => Time::Never,
            Some(value) => parse_time(value, zone.unwrap_or(&TimeZone::UTC))
                .ok_or_else(|| format!("client_secret_expires_at: {NOT_A_TIME}"))?,
        };
        let losses = [
            (is_opaque, "access-token-format: opaque access tokens become JWTs"),
            (is_true(BOUND), "x509-certificate-bound-access-tokens: here access tokens are bearer tokens"),
            (
                !token.contains_key(ACCESS),
                "token_settings: no access-token-time-to-live under a name that Spring has; its default of 300 s is used",
            ),
            (
                zone.is_none() && matches!(expires, Time::Local(_)),
                "client_secret_expires_at: has no offset and was read as UTC, but JDBC writes the time zone of the server's \
                 JVM; name it with --time-zone",
            ),
        ];
        Ok(Self {
            access: lifetime(ACCESS, 300)?,
            refresh: lifetime(REFRESH, 3600)?,
            reuses_refresh_tokens: is_true(REUSE),
            lacks_refresh: !token.contains_key(REFRESH),
            secret_expires: match expires {
                Time::At(at) | Time::Local(at) => Some(at),
                Time::Never => None,
            },
            losses: losses.into_iter().filter_map(|(is_so, loss)| is_so.then_some(loss)).collect(),
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
        if has_refresh && self.reuses_refresh_tokens {
            losses.push(
                "reuse-refresh-tokens: here every refresh gives a new refresh token, which the client must keep"
                    .into(),
            );
        }
        if has_refresh && self.lacks_refresh {
            losses.push(
                "token_settings: no refresh-token-time-to-live under a name that Spring has; its default of 3600 s is used"
                    .into(),
            );
        }
        losses.extend(self.losses.iter().map(|loss| (*loss).to_owned()));
    }
}

fn bounded(seconds: i64, max: u64) -> u64 {
    u64::try_from(seconds).ok().filter(|seconds| (1..=max).contains(seconds)).unwrap_or(max)
}

/// Reports the settings that have no use here.
pub(super) fn drop_settings(mapping: &Mapping, row: &Row, conversion: &mut Conversion<Client>) {
    for column in [CLIENT, TOKEN] {
        for name in object(row, column).unwrap_or_default().keys() {
            if name == CLASS || READ.contains(&name.as_str()) {
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
        Some(Value::Object(members)) => Ok(members
            .into_iter()
            .filter(|(_, value)| !without_class(value).is_null())
            .map(renamed)
            .collect()),
        Some(_) => Err(format!("{column}: not a JSON object; the dump may have cut it off or escaped it")),
    }
}

/// Gives a setting its name of today. Early versions of Spring Authorization Server wrote `setting.`
/// at the start, and people write `accessTokenTimeToLive`.
fn renamed((name, value): (String, Value)) -> (String, Value) {
    fn letters(name: &str) -> impl Iterator<Item = char> {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase())
    }
    let today = name.strip_prefix("setting.").map_or_else(|| name.clone(), |rest| format!("settings.{rest}"));
    let mut known = READ.into_iter().chain(DROPPED.map(|(dropped, _)| dropped));
    let known = known.find(|known| letters(known).eq(letters(&today)));
    (known.map_or(name, str::to_owned), value)
}

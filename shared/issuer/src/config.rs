//! The configuration: environment variables, read once at start-up. Every missing or wrong variable is reported at once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use crate::authn::throttle::ThrottleLimits;
use crate::keys::{KeyEnvelope, KmsEnvelope, LocalEnvelope, RotationSchedule, ScheduleSettings};
use crate::records::Lifetimes;
use crate::store::HttpsClient;
use crate::store::aws::{self, AwsConfig};
use crate::tokens::IssuerUrl;

/// The configuration of a function that serves tokens or keys.
#[derive(Debug, Clone)]
pub struct Config {
    /// The issuer's URL: the `iss` of every token. `COUNTERSIGN_ISSUER`.
    pub issuer: IssuerUrl,
    /// The tables and their limits.
    pub store: StoreConfig,
    /// Client authentication and the throttle.
    pub authentication: AuthenticationConfig,
}

/// The configuration of client authentication.
#[derive(Debug, Clone)]
pub struct AuthenticationConfig {
    /// How long a cached client may be used beyond its minute while DynamoDB is unavailable; zero switches this off.
    /// `COUNTERSIGN_MAX_STALE`, in seconds.
    pub max_stale: Duration,
    /// The limits of the throttle. [`ThrottleLimits`] names the variables.
    pub throttle: ThrottleLimits,
}

const DEFAULT_MAX_STALE_SECONDS: u32 = 15 * 60;

/// The configuration of the tables: all that administration needs.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The region, endpoint and credentials of DynamoDB. The `AWS_…` variables.
    pub aws: AwsConfig,
    /// The prefix of every table's name. `COUNTERSIGN_TABLE_PREFIX`.
    pub table_prefix: String,
    /// The rotation schedule and the longest lifetimes. [`ScheduleSettings`] names the variables.
    pub schedule: RotationSchedule,
}

impl Config {
    /// Reads the configuration through `lookup`, which returns a variable's value.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        Variables::read(&lookup, Self::read)
    }

    /// Reads the configuration and that of the key envelope, for functions that sign.
    pub fn with_envelope_from_lookup(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, EnvelopeConfig), ConfigErrors> {
        Variables::read(&lookup, |variables| Self::read(variables).zip(EnvelopeConfig::read(variables)))
    }

    /// Reads the configuration from `variables`.
    pub fn read(variables: &mut Variables<'_>) -> Option<Self> {
        let issuer = variables.required("COUNTERSIGN_ISSUER", IssuerUrl::from_str);
        let store = StoreConfig::read(variables);
        if let (Some(issuer), Some(store)) = (&issuer, &store)
            && !issuer.is_https()
            && !store.aws.is_local()
        {
            variables
                .wrong
                .push("COUNTERSIGN_ISSUER must be an https URL; http is for a local store alone".into());
        }
        let authentication = AuthenticationConfig::read(variables);
        Some(Self { issuer: issuer?, store: store?, authentication })
    }
}

impl AuthenticationConfig {
    fn read(variables: &mut Variables<'_>) -> Self {
        let max_stale = variables.count("COUNTERSIGN_MAX_STALE", DEFAULT_MAX_STALE_SECONDS);
        let max_stale = Duration::from_secs(max_stale.into());
        Self { max_stale, throttle: read_throttle_limits(variables) }
    }
}

fn read_throttle_limits(variables: &mut Variables<'_>) -> ThrottleLimits {
    let unset = ThrottleLimits::default();
    ThrottleLimits {
        principal_and_address: variables
            .count("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_ADDRESS", unset.principal_and_address),
        principal_and_client: variables
            .count("COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT", unset.principal_and_client),
        logins_by_client_and_address: variables.count(
            "COUNTERSIGN_MAX_LOGIN_FAILURES_PER_CLIENT_AND_ADDRESS",
            unset.logins_by_client_and_address,
        ),
        client_and_address: variables
            .count("COUNTERSIGN_MAX_FAILURES_PER_CLIENT_AND_ADDRESS", unset.client_and_address),
    }
}

impl StoreConfig {
    /// Reads the configuration through `lookup`, which returns a variable's value.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        Variables::read(&lookup, Self::read)
    }

    /// Reads the configuration and that of the key envelope, for rotation.
    pub fn with_envelope_from_lookup(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, EnvelopeConfig), ConfigErrors> {
        Variables::read(&lookup, |variables| Self::read(variables).zip(EnvelopeConfig::read(variables)))
    }

    fn read(variables: &mut Variables<'_>) -> Option<Self> {
        let aws = AwsConfig::read(variables);
        let table_prefix = variables.optional("COUNTERSIGN_TABLE_PREFIX", table_prefix);
        let is_local = aws.as_ref().is_some_and(AwsConfig::is_local);
        let schedule = read_schedule(variables, is_local);
        Some(Self {
            aws: aws?,
            table_prefix: table_prefix.unwrap_or_else(|| DEFAULT_TABLE_PREFIX.into()),
            schedule: schedule?,
        })
    }
}

fn read_schedule(variables: &mut Variables<'_>, is_local: bool) -> Option<RotationSchedule> {
    let unset = ScheduleSettings::default();
    let mut seconds = |name: &str, unset: u64| {
        let read = variables.optional(name, |value| match value.parse() {
            Ok(seconds @ 1..=u32::MAX) => Ok(u64::from(seconds)),
            _ => Err("must be a whole number of seconds, at least 1".to_owned()),
        });
        read.unwrap_or(unset)
    };
    let settings = ScheduleSettings {
        rotation_period: Duration::from_secs(seconds(
            "COUNTERSIGN_ROTATION_PERIOD",
            unset.rotation_period.as_secs(),
        )),
        announcement_lead: Duration::from_secs(seconds(
            "COUNTERSIGN_ANNOUNCEMENT_LEAD",
            unset.announcement_lead.as_secs(),
        )),
        jwks_max_age: Duration::from_secs(seconds("COUNTERSIGN_JWKS_MAX_AGE", unset.jwks_max_age.as_secs())),
        max_lifetimes: Lifetimes {
            access: seconds("COUNTERSIGN_MAX_ACCESS_TTL", unset.max_lifetimes.access),
            refresh: seconds("COUNTERSIGN_MAX_REFRESH_TTL", unset.max_lifetimes.refresh),
        },
    };
    let name = "COUNTERSIGN_DEV_ROTATION_PERIOD";
    let compressed = variables.optional(name, |value| match value.parse() {
        Ok(period) if is_local => Ok(Duration::from_secs(period)),
        Ok(_) => Err("is for a local store alone".to_owned()),
        Err(_) => Err("must be a whole number of seconds".to_owned()),
    });
    let schedule = compressed.map_or_else(|| RotationSchedule::new(settings), RotationSchedule::compressed);
    schedule.map_err(|refused| variables.wrong.push(refused.to_string())).ok()
}

/// The envelope encryption of private keys: by KMS, or by a local key.
pub enum EnvelopeConfig {
    /// `COUNTERSIGN_KMS_KEY_ID`: an id, an alias or an ARN; `AWS_ENDPOINT_URL_KMS` for a local KMS.
    Kms {
        /// The KMS key.
        key_id: String,
        /// The endpoint, where it is not AWS's own.
        endpoint: Option<String>,
    },
    /// `COUNTERSIGN_LOCAL_KEY`: 32 bytes in base64url, for a developer's machine.
    Local(LocalEnvelope),
}

impl EnvelopeConfig {
    fn read(variables: &mut Variables<'_>) -> Option<Self> {
        let kms = variables.optional("COUNTERSIGN_KMS_KEY_ID", |value| Ok(value.to_owned()));
        let endpoint = variables.optional("AWS_ENDPOINT_URL_KMS", url);
        let wrong_before = variables.wrong.len();
        let local = variables.optional("COUNTERSIGN_LOCAL_KEY", |value| {
            let key = BASE64URL.decode(value).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            key.map(|key| LocalEnvelope::new(&key)).ok_or("must be 32 bytes in unpadded base64url".to_owned())
        });
        let is_malformed = variables.wrong.len() > wrong_before;
        match (kms, local) {
            (Some(key_id), None) if !is_malformed => Some(Self::Kms { key_id, endpoint }),
            (None, Some(local)) => Some(Self::Local(local)),
            (None, None) => {
                if !is_malformed {
                    variables.wrong.push("COUNTERSIGN_KMS_KEY_ID is not set".into());
                }
                None
            }
            // A malformed key still counts as configured; report the conflict.
            (Some(_), _) => {
                let both = "COUNTERSIGN_KMS_KEY_ID and COUNTERSIGN_LOCAL_KEY exclude each other: unset one";
                variables.wrong.push(both.into());
                None
            }
        }
    }

    /// Builds the envelope, with a KMS client where KMS encrypts.
    pub fn into_envelope(self, aws: &AwsConfig) -> KeyEnvelope {
        match self {
            Self::Kms { key_id, endpoint } => {
                KeyEnvelope::Kms(KmsEnvelope::new(aws::kms(aws, endpoint.as_deref()), key_id))
            }
            Self::Local(local) => KeyEnvelope::Local(local),
        }
    }
}

fn url(value: &str) -> Result<String, String> {
    match value.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() => Ok(value.to_owned()),
        _ => Err("must be a URL".to_owned()),
    }
}

/// The prefix of the tables' names unless `COUNTERSIGN_TABLE_PREFIX` is set.
pub const DEFAULT_TABLE_PREFIX: &str = "countersign-";

impl AwsConfig {
    /// Reports whether the store is on a developer's machine: only a local one is reached over plain http.
    fn is_local(&self) -> bool {
        self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }

    fn read(variables: &mut Variables<'_>) -> Option<Self> {
        let text = |value: &str| Ok::<_, String>(value.to_owned());
        let region = variables.required("AWS_REGION", text);
        let endpoint = variables.optional("AWS_ENDPOINT_URL_DYNAMODB", url);
        let access_key_id = variables.required("AWS_ACCESS_KEY_ID", text);
        let secret_access_key = variables.required("AWS_SECRET_ACCESS_KEY", text);
        let session_token = variables.optional("AWS_SESSION_TOKEN", text);
        let https = read_https(variables);
        Some(Self {
            region: region?,
            endpoint,
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
            session_token,
            https,
        })
    }
}

impl HttpsClient {
    /// Reads `AWS_CA_BUNDLE` through `lookup`, which gives a variable's value by its name.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        Variables::read(&lookup, |variables| Some(read_https(variables)))
    }
}

fn read_https(variables: &mut Variables<'_>) -> HttpsClient {
    variables
        .optional("AWS_CA_BUNDLE", HttpsClient::with_roots_from_file)
        .unwrap_or_else(HttpsClient::with_aws_roots)
}

fn table_prefix(value: &str) -> Result<String, String> {
    // The characters that DynamoDB allows in a table's name.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if value.len() <= 200 && value.chars().all(allowed) {
        Ok(value.to_owned())
    } else {
        Err("may hold letters, digits, '_', '.' and '-', at most 200".to_owned())
    }
}

/// The variables that are missing or wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment is not complete: {}", self.0.join("; "))
    }
}

impl std::error::Error for ConfigErrors {}

/// Reads variables one by one and collects the problems. An empty variable counts as unset: that is how SAM declares
/// variables that a deployment omits.
pub struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    wrong: Vec<String>,
}

impl<'a> Variables<'a> {
    /// Runs `read`, and returns its result if there was no problem. `read` returns `None` only after it reported one.
    pub fn read<T>(
        lookup: &'a dyn Fn(&str) -> Option<String>,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, ConfigErrors> {
        let mut variables = Self { lookup, wrong: Vec::new() };
        match read(&mut variables) {
            Some(value) if variables.wrong.is_empty() => Ok(value),
            _ => Err(ConfigErrors(variables.wrong)),
        }
    }

    /// Parses a variable, if it is set.
    pub fn optional<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = (self.lookup)(name).filter(|value| !value.is_empty())?;
        parse(&value).map_err(|problem| self.wrong.push(format!("{name} {problem}"))).ok()
    }

    /// Parses a whole number, where 0 switches something off; `unset` is its default.
    fn count(&mut self, name: &str, unset: u32) -> u32 {
        let problem = |_| "must be a whole number (0 is off)".to_owned();
        self.optional(name, |value| value.parse().map_err(problem)).unwrap_or(unset)
    }

    /// Parses a variable that must be set.
    pub fn required<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if (self.lookup)(name).is_none_or(|value| value.is_empty()) {
            self.wrong.push(format!("{name} is not set"));
            return None;
        }
        self.optional(name, parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once_and_no_value_with_it() {
        let errors = Config::with_envelope_from_lookup(|name| match name {
            "COUNTERSIGN_ISSUER" => Some("http://issuer.example.com".into()),
            "COUNTERSIGN_MAX_ACCESS_TTL" => Some("1h".into()),
            "COUNTERSIGN_LOCAL_KEY" => Some("hunter2".into()),
            "COUNTERSIGN_MAX_STALE" => Some("-1".into()),
            "COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT" => Some("many".into()),
            "AWS_REGION" => Some(String::new()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("x".into()),
            "AWS_CA_BUNDLE" => Some("Cargo.toml".into()),
            _ => None,
        })
        .err()
        .unwrap();
        assert_eq!(
            errors.to_string(),
            "the environment is not complete: \
             COUNTERSIGN_ISSUER must be an https URL (http is for this machine and for names of containers); \
             AWS_REGION is not set; \
             AWS_CA_BUNDLE names a file without certificates in PEM; \
             COUNTERSIGN_MAX_ACCESS_TTL must be a whole number of seconds, at least 1; \
             COUNTERSIGN_MAX_STALE must be a whole number (0 is off); \
             COUNTERSIGN_MAX_FAILURES_PER_PRINCIPAL_AND_CLIENT must be a whole number (0 is off); \
             COUNTERSIGN_LOCAL_KEY must be 32 bytes in unpadded base64url"
        );
    }

    #[test]
    fn an_issuer_without_tls_needs_a_local_store() {
        let read = |issuer: &str, endpoint: &str| {
            Config::from_lookup(|name| match name {
                "COUNTERSIGN_ISSUER" => Some(issuer.to_owned()),
                "AWS_ENDPOINT_URL_DYNAMODB" => Some(endpoint.to_owned()),
                "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("x".into()),
                _ => None,
            })
            .map_or_else(|errors| errors.to_string(), |_| "ok".into())
        };
        for issuer in ["http://issuer:3000", "HTTP://localhost:3000", "http://ai"] {
            assert_eq!(read(issuer, "http://127.0.0.1:8000"), "ok", "{issuer}");
            for deployed in ["", "https://dynamodb.eu-central-1.amazonaws.com"] {
                assert!(read(issuer, deployed).contains("http is for a local store alone"), "{issuer}");
            }
        }
        assert_eq!(read("https://issuer.example.com", ""), "ok");
    }

    #[test]
    fn two_envelopes_are_refused_even_if_one_is_malformed() {
        let read = |kms: &str, local: &str| {
            let mut variables = vec![("COUNTERSIGN_KMS_KEY_ID", kms), ("COUNTERSIGN_LOCAL_KEY", local)];
            variables.retain(|(_, value)| !value.is_empty());
            let lookup =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
            Variables::read(&lookup, EnvelopeConfig::read).err().map(|errors| errors.to_string())
        };
        let both = "COUNTERSIGN_KMS_KEY_ID and COUNTERSIGN_LOCAL_KEY exclude each other: unset one";
        let malformed = "COUNTERSIGN_LOCAL_KEY must be 32 bytes in unpadded base64url";
        let good = "A".repeat(43);
        assert_eq!(read("alias/x", ""), None);
        assert_eq!(read("", &good), None);
        for (local, told) in [(good.as_str(), vec![both]), ("hunter2", vec![malformed, both])] {
            let told = format!("the environment is not complete: {}", told.join("; "));
            assert_eq!(read("alias/x", local), Some(told));
        }
    }
}

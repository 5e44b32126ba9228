//! The issuer that a command administers: its account, region and table prefix, from flags, the
//! environment and AWS profiles.

use std::collections::HashMap;
use std::str::FromStr;

use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_sdk_dynamodb::config::ProvideCredentials;
use clap::{Arg, Args, Command};
use countersign_issuer::audit::AuditLog;
use countersign_issuer::config::{DEFAULT_TABLE_PREFIX, StoreConfig, Variables};
use countersign_issuer::keys::{KeyTable, Ring, Rotator};
use countersign_issuer::random::Random;
use countersign_issuer::store::{HttpsClient, StoreError, dynamodb, table_shapes};
use countersign_issuer::tokens::IssuerUrl;
use countersign_verify::{Clock, with_causes};

use crate::announcement::Announcement;
use crate::context::Context;
use crate::outcome::{AnyError, Outcome, WithRemedy, store_error};

/// The flags that choose an issuer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Issuer")]
pub(super) struct Target {
    /// AWS region [default: AWS_REGION, or the profile's]
    #[arg(long, global = true)]
    region: Option<String>,
    /// AWS profile; use its credentials, not those of the environment [default: AWS_PROFILE]
    #[arg(long, global = true)]
    profile: Option<String>,
    /// Prefix of the table names [default: COUNTERSIGN_TABLE_PREFIX, or countersign-]
    #[arg(long, global = true)]
    prefix: Option<String>,
}

/// The flags for a command that uses no issuer: accepted, because they are global, and hidden.
pub(super) fn hidden_flags() -> Vec<Arg> {
    let flags = Target::augment_args(Command::new("flags"));
    flags.get_arguments().map(|flag| flag.clone().hide(true)).collect()
}

/// Returns a variable's value by its name.
pub(super) type Lookup = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Target {
    /// The environment, overridden by AWS's credential chain (profiles, SSO, roles) and by the
    /// flags.
    pub(super) async fn lookup(&self) -> Outcome<Lookup> {
        let mut known = HashMap::new();
        if self.profile.is_some() || variable("AWS_ACCESS_KEY_ID").is_none() {
            self.ask_credential_chain(&mut known).await?;
        }
        known.extend(self.region.clone().map(|region| ("AWS_REGION", region)));
        known.extend(self.prefix.clone().map(|prefix| ("COUNTERSIGN_TABLE_PREFIX", prefix)));
        Ok(Box::new(move |name| known.get(name).cloned().or_else(|| variable(name))))
    }

    /// If the chain has no credentials, reading the configuration reports the missing variables.
    async fn ask_credential_chain(&self, known: &mut HashMap<&'static str, String>) -> Outcome {
        let https = HttpsClient::from_lookup(variable)?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https);
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let config = loader.load().await;
        known.extend(config.region().map(|region| ("AWS_REGION", region.to_string())));
        let Some(provider) = config.credentials_provider() else {
            return Ok(());
        };
        match provider.provide_credentials().await {
            Ok(credentials) => {
                known.insert("AWS_ACCESS_KEY_ID", credentials.access_key_id().to_owned());
                known.insert("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key().to_owned());
                // A token in the environment belongs to another key.
                known.insert("AWS_SESSION_TOKEN", credentials.session_token().unwrap_or_default().to_owned());
            }
            Err(error) if self.profile.is_some() => {
                let profile = self.profile.as_deref().unwrap_or_default();
                return Err(format!("profile {profile} gives no credentials: {}", with_causes(&error)).into());
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Adds to the error of a missing or unreachable table which tables the command used, and
    /// where.
    pub(super) fn explain(&self, error: AnyError) -> AnyError {
        let Some(StoreError::MissingTable { .. } | StoreError::Unavailable { .. }) = store_error(&*error)
        else {
            return error;
        };
        let or = |flag: &Option<String>, name: &str| flag.clone().or_else(|| variable(name));
        let prefix = or(&self.prefix, "COUNTERSIGN_TABLE_PREFIX").filter(|prefix| !prefix.is_empty());
        let prefix = prefix.unwrap_or_else(|| DEFAULT_TABLE_PREFIX.to_owned());
        let names: Vec<String> =
            table_shapes().iter().map(|shape| format!("{prefix}{}", shape.name)).collect();
        let region = or(&self.region, "AWS_REGION").unwrap_or_else(|| "the profile's region".to_owned());
        let endpoint = variable("AWS_ENDPOINT_URL_DYNAMODB").filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
        let remedy = format!(
            "The command used the tables {} in {region}{endpoint}. Choose another issuer with --region, --profile and \
             --prefix; `countersign doctor` checks all of them.",
            names.join(", "),
        );
        WithRemedy { source: error, remedy }.into()
    }
}

/// The records' store. Needs no access to the key that encrypts signing keys.
pub(super) fn context(lookup: &Lookup, json: bool) -> Outcome<Context> {
    let issuer = Variables::read(&**lookup, |variables| {
        Some(variables.optional("COUNTERSIGN_ISSUER", IssuerUrl::from_str))
    })?;
    Ok(Context::new(&store_config(lookup)?, issuer, announcement(lookup, json)?))
}

/// Reads the signing keys' public halves. Needs no access to the key that encrypts signing keys.
pub(super) async fn ring(lookup: &Lookup) -> Outcome<Ring> {
    let config = store_config(lookup)?;
    Ok(KeyTable::new(dynamodb(&config.aws), &config.table_prefix).ring(&config.schedule).await?)
}

/// Changes the signing keys, and so needs the key that encrypts them.
pub(super) fn rotator(lookup: &Lookup) -> Outcome<Rotator> {
    let (config, envelope) = StoreConfig::with_envelope_from_lookup(lookup)
        .map_err(|error| with_credentials_remedy(error.into(), lookup))?;
    let envelope = envelope.into_envelope(&config.aws);
    let db = dynamodb(&config.aws);
    let (clock, random, audit) = (Clock::system(), Random::system(), AuditLog::tracing());
    Ok(Rotator::new(&db, &config.table_prefix, config.schedule, envelope, clock, random, audit))
}

/// The announcement of what a command changes.
pub(super) fn announcement(lookup: &Lookup, json: bool) -> Outcome<Announcement> {
    let StoreConfig { aws, table_prefix, .. } = store_config(lookup)?;
    let sts_endpoint = lookup("AWS_ENDPOINT_URL_STS").filter(|endpoint| !endpoint.is_empty());
    Ok(Announcement::new(aws, table_prefix, sts_endpoint, json))
}

/// Reads the store's configuration.
pub(super) fn store_config(lookup: &Lookup) -> Outcome<StoreConfig> {
    StoreConfig::from_lookup(lookup).map_err(|error| with_credentials_remedy(error.into(), lookup))
}

/// Adds to a configuration error where else credentials can come from, if there are none.
fn with_credentials_remedy(error: AnyError, lookup: &Lookup) -> AnyError {
    if lookup("AWS_ACCESS_KEY_ID").is_some_and(|id| !id.is_empty()) {
        return error;
    }
    let remedy = "Credentials and the region may also come from --profile or AWS_PROFILE.".into();
    WithRemedy { source: error, remedy }.into()
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "start-up is where the environment is read")]
    std::env::var(name).ok()
}

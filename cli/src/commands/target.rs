//! Which issuer is meant: the account, the region and the prefix, by flags, the environment and AWS profiles.

use std::collections::HashMap;
use std::error::Error;

use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_sdk_dynamodb::config::ProvideCredentials;
use clap::Args;
use countersign_issuer::config::DEFAULT_TABLE_PREFIX;
use countersign_issuer::store::{HttpsClient, table_shapes};

use super::Outcome;

/// Where the records are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which issuer")]
pub(super) struct Target {
    /// AWS region [default: AWS_REGION, or the profile's]
    #[arg(long, global = true)]
    region: Option<String>,
    /// AWS profile, where the environment has no credentials or others are meant [default: AWS_PROFILE]
    #[arg(long, global = true)]
    profile: Option<String>,
    /// What the tables' names start with [default: COUNTERSIGN_TABLE_PREFIX, or countersign-]
    #[arg(long, global = true)]
    prefix: Option<String>,
}

/// Gives a variable's value by its name.
pub(super) type Lookup = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Target {
    /// The environment, with what the flags and AWS's chain of credentials (profiles, SSO, roles) say over it.
    pub(super) async fn lookup(&self) -> Outcome<Lookup> {
        let mut known = HashMap::new();
        if self.profile.is_some() || variable("AWS_ACCESS_KEY_ID").is_none() {
            self.ask_chain(&mut known).await?;
        }
        known.extend(self.region.clone().map(|region| ("AWS_REGION", region)));
        known.extend(self.prefix.clone().map(|prefix| ("COUNTERSIGN_TABLE_PREFIX", prefix)));
        Ok(Box::new(move |name| known.get(name).cloned().or_else(|| variable(name))))
    }

    /// Where the chain has nothing to give, whoever reads the variables says what is missing.
    async fn ask_chain(&self, known: &mut HashMap<&'static str, String>) -> Outcome {
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
                // Those of the environment go with another key.
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

    /// A missing table, or a DynamoDB that does not answer, with what was looked for and where, and missing credentials
    /// with where else they may be.
    pub(super) fn explain(&self, error: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
        if error.to_string().contains("AWS_ACCESS_KEY_ID is not set") {
            return format!(
                "{error}\nCredentials and the region may also come from --profile or AWS_PROFILE."
            )
            .into();
        }
        // DynamoDB's code for a missing table, and the store's words for no answer: every error of the store has its own.
        let told = ["ResourceNotFoundException", "DynamoDB is out of reach"];
        if !told.iter().any(|words| error.to_string().contains(words)) {
            return error;
        }
        let or = |flag: &Option<String>, name: &str| flag.clone().or_else(|| variable(name));
        let prefix = or(&self.prefix, "COUNTERSIGN_TABLE_PREFIX").filter(|prefix| !prefix.is_empty());
        let prefix = prefix.unwrap_or_else(|| DEFAULT_TABLE_PREFIX.to_owned());
        let names: Vec<String> =
            table_shapes().iter().map(|shape| format!("{prefix}{}", shape.name)).collect();
        let region = or(&self.region, "AWS_REGION").unwrap_or_else(|| "the profile's region".to_owned());
        let endpoint = variable("AWS_ENDPOINT_URL_DYNAMODB").filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
        format!(
            "{error}\nThe tables are {}, looked for in {region}{endpoint}. Another issuer is named by --region, \
             --profile and --prefix; `countersign doctor` looks at all of it.",
            names.join(", "),
        )
        .into()
    }
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "start-up is where the environment is read")]
    std::env::var(name).ok()
}

/// An error and what it comes from.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

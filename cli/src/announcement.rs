//! The announcement of a change: the tables, the account and the region.

use std::time::Duration;

use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Region};
use countersign_issuer::store::AwsConfig;
use countersign_verify::with_causes;
use tokio::sync::OnceCell;

use crate::output::printable;
use crate::streams;

/// The account is shown for a person's information: no command waits for it for long.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(3);

/// Says what a command changes, once, when it is about to write or to ask.
pub(crate) struct Announcement {
    aws: AwsConfig,
    table_prefix: String,
    /// An endpoint of STS other than that of the region.
    sts_endpoint: Option<String>,
    /// A program that reads the output gets none.
    json: bool,
    shown: OnceCell<()>,
}

impl Announcement {
    pub(crate) fn new(
        aws: AwsConfig,
        table_prefix: String,
        sts_endpoint: Option<String>,
        json: bool,
    ) -> Self {
        Self { aws, table_prefix, sts_endpoint, json, shown: OnceCell::new() }
    }

    /// Prints the announcement to standard error, unless that was done before.
    pub(crate) async fn show(&self) {
        if !self.json {
            self.shown
                .get_or_init(async || {
                    streams::print_error(&format!("{}\n", printable(&self.text().await)));
                })
                .await;
        }
    }

    async fn text(&self) -> String {
        let mut place = Vec::new();
        if self.aws.endpoint.is_none() || self.sts_endpoint.is_some() {
            place.push(match self.account().await {
                Ok(account) => format!("account {account}"),
                Err(error) => format!("an account that STS does not name ({error})"),
            });
        }
        place.push(format!("region {}", self.aws.region));
        place.extend(self.aws.endpoint.as_ref().map(|endpoint| format!("at {endpoint}")));
        format!("This changes the tables {}* in {}.", self.table_prefix, place.join(", "))
    }

    /// Asks AWS whose credentials these are. That needs no permission.
    async fn account(&self) -> Result<String, String> {
        let aws = &self.aws;
        let session = aws.session_token.clone();
        let credentials =
            Credentials::new(&aws.access_key_id, &aws.secret_access_key, session, None, "environment");
        let mut config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(aws.region.clone()))
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(IDENTITY_TIMEOUT).build())
            .http_client(aws.https.clone());
        config.set_endpoint_url(self.sts_endpoint.clone());
        let asked = aws_sdk_sts::Client::from_conf(config.build()).get_caller_identity().send().await;
        let identity = asked.map_err(|error| with_causes(&error))?;
        let (account, arn) = (identity.account.unwrap_or_default(), identity.arn.unwrap_or_default());
        Ok(format!("{account} ({arn})"))
    }
}

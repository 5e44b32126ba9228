//! The clients of DynamoDB and KMS, lean: one crypto and one TLS stack (ring), five roots, short time-outs.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_types::SdkConfig;

use crate::store::https::HttpsClient;

/// A caller waits for a token: rather a 503 with Retry-After after a few seconds than an answer it gave up on.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
const ATTEMPTS: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// How DynamoDB is reached.
#[derive(Clone)]
pub struct AwsConfig {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, for a local store; AWS's own endpoint where it is left out.
    pub endpoint: Option<String>,
    /// `AWS_ACCESS_KEY_ID`. On Lambda credentials change only with the process, so they are read once.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<String>,
    /// What reaches them. `AWS_CA_BUNDLE`, a file in PEM, names the roots it trusts; Amazon's own where it is left out.
    pub https: HttpsClient,
}

impl fmt::Debug for AwsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsConfig")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// A DynamoDB client for `config`. Opens no connection.
pub fn dynamodb(config: &AwsConfig) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&sdk_config(config, config.endpoint.as_deref()))
}

/// A KMS client for `config`, at another endpoint than AWS's own where one is given. Opens no connection.
pub(crate) fn kms(config: &AwsConfig, endpoint: Option<&str>) -> aws_sdk_kms::Client {
    aws_sdk_kms::Client::new(&sdk_config(config, endpoint))
}

fn sdk_config(config: &AwsConfig, endpoint: Option<&str>) -> SdkConfig {
    let credentials = Credentials::new(
        &config.access_key_id,
        &config.secret_access_key,
        config.session_token.clone(),
        None,
        "environment",
    );
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_BACKOFF);
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts)
        .retry_config(retries)
        // For bodies that stream for minutes; ours are a few KiB, and end within the attempt's time or not at all.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(config.https.clone());
    builder.set_endpoint_url(endpoint.map(Into::into));
    builder.build()
}

/// An SDK error in words for the log: the service's code and message, or the chain of causes. Never the response
/// itself, which holds records.
pub(crate) fn describe<E>(error: &SdkError<E>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    if let Some(service) = error.as_service_error() {
        return format!(
            "{}: {}",
            service.code().unwrap_or("no code"),
            service.message().unwrap_or("no message")
        );
    }
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

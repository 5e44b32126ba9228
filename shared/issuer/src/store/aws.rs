//! The clients of DynamoDB and KMS: one crypto and TLS stack (ring and rustls), five roots, short
//! timeouts.

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

/// A caller waits for a token. A 503 with `Retry-After` within a few seconds is better for it than
/// a token that arrives after it has given up.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
const ATTEMPTS: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// The settings of the SDK's clients.
#[derive(Clone)]
pub struct AwsConfig {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, for a local store; AWS's own endpoint if it is not set.
    pub endpoint: Option<String>,
    /// `AWS_ACCESS_KEY_ID`. On Lambda credentials change only with the process, so they are read
    /// once.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<String>,
    /// The HTTP client. It trusts the roots in the PEM file `AWS_CA_BUNDLE`, or Amazon's own if
    /// that is not set.
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

/// Creates a DynamoDB client. It opens no connection.
pub fn dynamodb(config: &AwsConfig) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&sdk_config(config, config.endpoint.as_deref()))
}

/// Creates a KMS client for `endpoint`, or for AWS's own endpoint. It opens no connection.
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
        // It protects bodies that stream for minutes. Ours are a few KiB, and the attempt's timeout
        // bounds them.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(config.https.clone());
    builder.set_endpoint_url(endpoint.map(Into::into));
    builder.build()
}

/// Describes an SDK error for the log by the service's code and message, or by the chain of causes.
/// The response itself stays out of the log, because it may contain records.
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
    countersign_verify::with_causes(error)
}

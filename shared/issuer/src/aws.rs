//! The clients of DynamoDB and KMS, lean: one crypto and one TLS stack (ring), five roots, short time-outs.

use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient,
};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_types::SdkConfig;

use crate::config::AwsConfig;

/// The roots that AWS endpoints chain to (Amazon Root CA 1 to 4 and Starfield Services G2), and no others.
const AWS_ROOTS: &[u8] = include_bytes!("aws-roots.pem");

/// A caller waits for a token: rather a 503 with Retry-After after a few seconds than an answer it gave up on.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
const ATTEMPTS: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// The endpoint or the trust store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the AWS client cannot be set up: {0}")]
pub struct AwsSetupError(String);

/// A DynamoDB client for `config`. Opens no connection.
pub fn dynamodb(config: &AwsConfig) -> Result<aws_sdk_dynamodb::Client, AwsSetupError> {
    Ok(aws_sdk_dynamodb::Client::new(&sdk_config(config, config.endpoint.as_deref())?))
}

/// A KMS client for `config`, at another endpoint than AWS's own where one is given. Opens no connection.
pub(crate) fn kms(config: &AwsConfig, endpoint: Option<&str>) -> Result<aws_sdk_kms::Client, AwsSetupError> {
    Ok(aws_sdk_kms::Client::new(&sdk_config(config, endpoint)?))
}

fn sdk_config(config: &AwsConfig, endpoint: Option<&str>) -> Result<SdkConfig, AwsSetupError> {
    let credentials = Credentials::new(
        &config.access_key_id,
        &config.secret_access_key,
        config.session_token.clone(),
        None,
        "environment",
    );
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
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
        .http_client(client_for(endpoint)?);
    builder.set_endpoint_url(endpoint.map(Into::into));
    Ok(builder.build())
}

fn client_for(endpoint: Option<&str>) -> Result<SharedHttpClient, AwsSetupError> {
    // A local store or KMS speaks plain http; no trust store is parsed for it.
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        return Ok(aws_smithy_http_client::Builder::new().build_http());
    }
    http_client()
}

/// An HTTP client for AWS's own endpoints.
pub fn http_client() -> Result<SharedHttpClient, AwsSetupError> {
    let roots = tls::TrustStore::empty().with_pem_certificate(AWS_ROOTS);
    let context = tls::TlsContext::builder().with_trust_store(roots).build();
    let context = context.map_err(|error| AwsSetupError(error.to_string()))?;
    let connector = aws_smithy_http_client::Builder::new();
    Ok(connector.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https())
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

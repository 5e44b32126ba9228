//! The DynamoDB client, lean: one crypto and one TLS stack (ring), five roots, short time-outs.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Config, Credentials, Region};
use aws_smithy_http_client::tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

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
pub fn dynamodb(config: &AwsConfig) -> Result<Client, AwsSetupError> {
    let credentials = Credentials::new(
        &config.access_key_id,
        &config.secret_access_key,
        config.session_token.clone(),
        None,
        "environment",
    );
    let builder = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(credentials)
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        )
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(FIRST_BACKOFF),
        );
    Ok(Client::from_conf(
        with_connector(builder, config.endpoint.as_deref())?.build(),
    ))
}

fn with_connector(builder: Builder, endpoint: Option<&str>) -> Result<Builder, AwsSetupError> {
    let connector = aws_smithy_http_client::Builder::new();
    match endpoint {
        // A local store speaks plain http; no trust store is parsed for it.
        Some(endpoint) if endpoint.starts_with("http://") => {
            Ok(builder.http_client(connector.build_http()).endpoint_url(endpoint))
        }
        endpoint => {
            let roots = tls::TrustStore::empty().with_pem_certificate(AWS_ROOTS);
            let context = tls::TlsContext::builder()
                .with_trust_store(roots)
                .build()
                .map_err(|error| AwsSetupError(error.to_string()))?;
            let https = connector
                .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
                .tls_context(context)
                .build_https();
            let builder = builder.http_client(https);
            Ok(match endpoint {
                Some(endpoint) => builder.endpoint_url(endpoint),
                None => builder,
            })
        }
    }
}

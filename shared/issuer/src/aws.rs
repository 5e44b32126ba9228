//! The clients of DynamoDB and KMS, lean: one crypto and one TLS stack (ring), five roots, short time-outs.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient,
};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::shared::IntoShared;
use aws_types::SdkConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::AwsConfig;

/// The roots that AWS endpoints chain to (Amazon Root CA 1 to 4 and Starfield Services G2), and no others.
const AWS_ROOTS: &[u8] = include_bytes!("aws-roots.pem");

/// A caller waits for a token: rather a 503 with Retry-After after a few seconds than an answer it gave up on.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
const ATTEMPTS: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// What an endpoint over https must chain to, with the one HTTP client for all such endpoints: PEM is slow to read.
#[derive(Clone)]
pub struct Roots {
    /// Each certificate is one that rustls takes.
    pem: Cow<'static, [u8]>,
    client: Arc<OnceLock<SharedHttpClient>>,
}

impl Roots {
    /// Those of AWS's own endpoints.
    pub(crate) fn aws() -> Self {
        Self { pem: AWS_ROOTS.into(), client: Arc::default() }
    }

    /// Those of the file at `path`, in place of AWS's. The SDK would panic on what it cannot read.
    pub(crate) fn from_file(path: &str) -> Result<Self, String> {
        let pem =
            std::fs::read(path).map_err(|error| format!("names a file that cannot be read: {error}"))?;
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.map(|certificate| store.add(certificate));
            if !matches!(added, Ok(Ok(()))) {
                return Err("names a file in which a certificate is broken".to_owned());
            }
        }
        if store.is_empty() {
            return Err("names a file without certificates in PEM".to_owned());
        }
        Ok(Self { pem: pem.into(), client: Arc::default() })
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roots")
    }
}

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
        .http_client(client_for(config, endpoint)?);
    builder.set_endpoint_url(endpoint.map(Into::into));
    Ok(builder.build())
}

fn client_for(config: &AwsConfig, endpoint: Option<&str>) -> Result<SharedHttpClient, AwsSetupError> {
    // A local store or KMS speaks plain http; no trust store is parsed for it.
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        return Ok(aws_smithy_http_client::Builder::new().build_http());
    }
    http_client(&config.roots)
}

/// An HTTP client for endpoints that chain to `roots`.
pub fn http_client(roots: &Roots) -> Result<SharedHttpClient, AwsSetupError> {
    if let Some(client) = roots.client.get() {
        return Ok(client.clone());
    }
    let store = tls::TrustStore::empty().with_pem_certificate(&*roots.pem);
    let context = tls::TlsContext::builder().with_trust_store(store).build();
    let context = context.map_err(|error| AwsSetupError(error.to_string()))?;
    let connector = aws_smithy_http_client::Builder::new();
    let client =
        connector.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https();
    Ok(roots.client.get_or_init(|| Deferred(client).into_shared()).clone())
}

/// An HTTP client that sets up TLS when something is asked of it. The SDK's own does so when a client of a service is
/// made, too, and throws it away, so that the machine's roots are read early: a quarter of the instructions of a
/// start-up, for roots that are at hand.
#[derive(Debug)]
struct Deferred(SharedHttpClient);

impl HttpClient for Deferred {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }
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

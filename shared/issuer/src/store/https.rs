//! The HTTP client below the SDK's clients: hyper and rustls, without the HTTP/2 that DynamoDB and KMS never speak.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{
    CaptureConnection, HttpConnector as TcpConnector, capture_connection,
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The roots that AWS endpoints chain to (Amazon Root CA 1 to 4 and Starfield Services G2), and no others.
const AWS_ROOTS: &[u8] = include_bytes!("roots.pem");

const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);

/// Reaches endpoints over https that chain to its roots, and over http where an endpoint's URL says so. Clones share
/// their connections.
#[derive(Clone)]
pub struct HttpsClient(Arc<Deferred>);

/// Reading roots and setting up TLS wait for the first question: a start asks none.
type Deferred = LazyLock<SharedHttpConnector, Box<dyn FnOnce() -> SharedHttpConnector + Send>>;

impl HttpsClient {
    /// For AWS's own endpoints.
    pub(crate) fn aws() -> Self {
        Self::trusting(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(AWS_ROOTS).flatten());
            roots
        })
    }

    /// For endpoints that chain to a certificate of the file at `path`, in PEM.
    pub(crate) fn trusting_file(path: &str) -> Result<Self, String> {
        let pem =
            std::fs::read(path).map_err(|error| format!("names a file that cannot be read: {error}"))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.map(|certificate| roots.add(certificate));
            if !matches!(added, Ok(Ok(()))) {
                return Err("names a file in which a certificate is broken".to_owned());
            }
        }
        if roots.is_empty() {
            return Err("names a file without certificates in PEM".to_owned());
        }
        Ok(Self::trusting(|| roots))
    }

    fn trusting(roots: impl FnOnce() -> RootCertStore + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(|| SharedHttpConnector::new(Connector::new(roots()))))))
    }
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpsClient")
    }
}

impl HttpClient for HttpsClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let connector = SharedHttpConnector::clone(&self.0);
        match settings.read_timeout() {
            Some(timeout) => SharedHttpConnector::new(Patient { connector, timeout }),
            None => connector,
        }
    }
}

/// Waits for an answer's head as long as its client says. Ours have the attempt's time; those that find credentials have
/// a second or five for an address at which nobody may be.
#[derive(Debug)]
struct Patient {
    connector: SharedHttpConnector,
    timeout: Duration,
}

impl HttpConnector for Patient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answer, timeout) = (self.connector.call(request), self.timeout);
        HttpConnectorFuture::new(async move {
            let answer = tokio::time::timeout(timeout, answer).await;
            answer.unwrap_or_else(|late| Err(ConnectorError::timeout(late.into())))
        })
    }
}

#[derive(Debug)]
struct Connector(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl Connector {
    #[expect(clippy::expect_used, reason = "ring speaks every version of TLS that rustls does")]
    fn new(roots: RootCertStore) -> Self {
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS that ring speaks")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(https))
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let connection = capture_connection(&mut request);
        if let Some(captured) = request.extensions().get::<CaptureSmithyConnection>() {
            captured.set_connection_retriever(move || Some(poisonable(connection.clone())));
        }
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async {
            // Whatever breaks between here and the service, the SDK may try again.
            let answer = answer.await.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// After a failure that may pass the SDK wants no more of a connection: the server behind it may be the cause.
fn poisonable(connection: CaptureConnection) -> ConnectionMetadata {
    let poison = move || {
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.poison();
        }
    };
    ConnectionMetadata::builder().proxied(false).poison_fn(poison).build()
}

//! The HTTP client below the SDK's clients: rustls over ring, and only the roots that are needed.

use std::time::Duration;

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The roots that AWS endpoints chain to (Amazon Root CA 1 to 4 and Starfield Services G2), and no
/// others.
const AWS_ROOTS: &[u8] = include_bytes!("roots.pem");

/// For a new connection: DNS, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);

/// Reaches https endpoints that chain to one of its roots, and http endpoints, which only a local
/// store has. Clones share their connections.
///
/// It sets up TLS at the first request. Without this type, `SharedHttpClient` would do so when an
/// SDK client is built, and a cold start would pay for it.
#[derive(Debug, Clone)]
pub struct HttpsClient(SharedHttpClient);

impl HttpsClient {
    /// Trusts the roots of AWS's own endpoints.
    pub(crate) fn with_aws_roots() -> Self {
        Self::new(AWS_ROOTS)
    }

    /// Trusts the certificates of the PEM file at `path`.
    pub(crate) fn with_roots_from_file(path: &str) -> Result<Self, String> {
        let pem =
            std::fs::read(path).map_err(|error| format!("names a file that cannot be read: {error}"))?;
        check_roots(&pem)?;
        Ok(Self::new(&pem))
    }

    fn new(pem: &[u8]) -> Self {
        let roots = TrustStore::empty().with_pem_certificate(pem);
        #[expect(clippy::expect_used, reason = "building a context only collects its settings")]
        let tls = TlsContext::builder().with_trust_store(roots).build().expect("a TLS context");
        let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
        Self(builder.tls_context(tls).build_https())
    }
}

/// Finds a broken certificate at start-up: `TrustStore` would panic at it when it sets up TLS.
fn check_roots(pem: &[u8]) -> Result<(), &'static str> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.map(|certificate| roots.add(certificate));
        if !matches!(added, Ok(Ok(()))) {
            return Err("names a file in which a certificate is broken");
        }
    }
    if roots.is_empty() { Err("names a file without certificates in PEM") } else { Ok(()) }
}

impl HttpClient for HttpsClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // The connector waits for a response as long as its client's settings say. Our own clients
        // bound the whole attempt instead; those that look for credentials wait a second or five at
        // an address that may not exist.
        let mut bounded = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT);
        bounded.set_read_timeout(settings.read_timeout());
        self.0.http_connector(&bounded.build(), components)
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
    use aws_smithy_types::config_bag::ConfigBag;

    use super::*;

    /// Sets up TLS, as the first request does.
    fn connect(client: &HttpsClient) {
        client
            .0
            .validate_base_client_config(&RuntimeComponentsBuilder::new("test"), &ConfigBag::base())
            .unwrap();
    }

    #[test]
    fn tls_can_be_set_up_with_the_aws_roots_and_with_those_of_a_file() {
        connect(&HttpsClient::with_aws_roots());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/roots.pem");
        connect(&HttpsClient::with_roots_from_file(path).unwrap());
    }

    #[test]
    fn broken_and_missing_certificates_are_found_before_tls_is_set_up() {
        assert_eq!(check_roots(AWS_ROOTS), Ok(()));
        let broken = [AWS_ROOTS, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"].concat();
        assert_eq!(check_roots(&broken), Err("names a file in which a certificate is broken"));
        assert_eq!(check_roots(b"no PEM"), Err("names a file without certificates in PEM"));
        let missing = HttpsClient::with_roots_from_file("/nonexistent.pem").unwrap_err();
        assert!(missing.starts_with("names a file that cannot be read: "), "{missing}");
    }
}

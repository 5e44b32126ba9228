//! The HTTP client that fetches the key set and exchanges Basic credentials.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HeaderMap, HeaderName};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use crate::{BuildError, with_causes};

/// The limits of an [`HttpClient`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// The time from the start of the request to the last byte of the response. 5 s by default,
    /// because a caller waits meanwhile.
    pub timeout: Duration,
    /// The time to establish a connection. 2 s by default.
    pub connect_timeout: Duration,
    /// The maximum size of a response body. 256 KiB by default, which is more than any honest
    /// response has: a key set is a few keys of some 200 bytes, a token at most 12 KiB.
    pub max_body_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            max_body_bytes: 256 * 1024,
        }
    }
}

/// An HTTP/1.1 client over rustls. It uses the same crypto as the signatures (ring) and trusts the
/// certificate authorities that the machine trusts.
///
/// It follows no redirect, because keys and credentials belong to the configured address.
///
/// It keeps connections open for the next request. If an open connection turns out to be dead, the
/// request is sent once more over a new one. So it is for requests that may be repeated: reading
/// keys, and asking for a token without a refresh token, which changes nothing at the issuer.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pooled: Connections,
    /// Keeps no connection open, so each of its requests gets a new one.
    unpooled: Connections,
    limits: HttpLimits,
}

type Connections = Client<HttpsConnector<HttpConnector>, String>;

/// The reason why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The URL is neither `https` nor `http` on loopback.
    #[error("{0}")]
    UntrustedUrl(&'static str),
    /// The response did not end within the client's timeout.
    #[error("no complete response within {0:?}")]
    TimedOut(Duration),
    /// The response body is not UTF-8.
    #[error("the response is not UTF-8")]
    NotUtf8,
    /// The connection failed, or the response body is too large. The text names the causes.
    #[error("{0}")]
    Failed(String),
}

impl HttpClient {
    /// Creates a client. It opens no connection yet.
    pub fn new(limits: HttpLimits) -> Result<Self, BuildError> {
        Self::with_more_roots(limits, &[])
    }

    /// Creates a client that also trusts the certificates of a PEM text, such as that of a proxy
    /// which inspects TLS.
    pub fn with_more_roots(limits: HttpLimits, pem: &[u8]) -> Result<Self, BuildError> {
        let tls = tls_config(pem).map_err(BuildError::HttpClient)?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(limits.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let mut builder = Client::builder(TokioExecutor::new());
        let pooled = builder.build(connector.clone());
        let unpooled = builder.pool_max_idle_per_host(0).build(connector);
        Ok(Self { pooled, unpooled, limits })
    }

    /// Requests a JSON document with GET and returns the response, whatever its status, with the
    /// body as text. The URL must be `https`, or `http` on loopback.
    pub async fn get(&self, url: &str) -> Result<Response<String>, HttpError> {
        self.get_trusted(&trusted_url(url).map_err(HttpError::UntrustedUrl)?).await
    }

    /// Like [`get`](Self::get), for a URL that [`trusted_url`] returned.
    pub(crate) async fn get_trusted(&self, url: &Uri) -> Result<Response<String>, HttpError> {
        let request = Request::get(url).header(ACCEPT, "application/json").body(String::new());
        self.send(request.map_err(|error| HttpError::Failed(error.to_string()))?).await
    }

    /// Sends a request to a URL that [`trusted_url`] returned. It may reach the server twice.
    pub(crate) async fn send(&self, request: Request<String>) -> Result<Response<String>, HttpError> {
        let response = async {
            let response = match self.pooled.request(request.clone()).await {
                // The connection was open and broke before the response: the server or a firewall
                // had closed it, or this process was frozen meanwhile.
                Err(error) if !error.is_connect() => self.unpooled.request(request).await,
                response => response,
            };
            let (parts, body) =
                response.map_err(|error| HttpError::Failed(with_causes(&error)))?.into_parts();
            let body = Limited::new(body, self.limits.max_body_bytes).collect().await;
            let body = body.map_err(|error| HttpError::Failed(with_causes(&*error)))?.to_bytes();
            let text = String::from_utf8(body.into()).map_err(|_| HttpError::NotUtf8)?;
            Ok(Response::from_parts(parts, text))
        };
        let timeout = self.limits.timeout;
        tokio::time::timeout(timeout, response).await.map_err(|_| HttpError::TimedOut(timeout))?
    }
}

/// Trusts the machine's certificate authorities and the certificates of a PEM text.
fn tls_config(pem: &[u8]) -> Result<ClientConfig, String> {
    let roots: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("a certificate is broken: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).map_err(|error| error.to_string())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        // The platform's own verifier, which checks certificates like any other.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// Parses a URL that keys and credentials may travel to and from: `https`, or `http` on loopback.
pub(crate) fn trusted_url(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
    let is_loopback = uri.host().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback => Ok(uri),
        Some("http") => {
            Err("http is allowed on loopback only, because an attacker on the network could answer instead; \
                 use https")
        }
        _ => Err("it is not an https URL"),
    }
}

/// Returns the header's value as a number of seconds, if it is one.
pub(crate) fn seconds(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

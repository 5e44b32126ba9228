//! The HTTP client that the key set is fetched and Basic credentials are exchanged with.

use std::net::IpAddr;
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// From the connection to the last byte of the answer: a caller waits meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// More than any honest answer has: a key set is a few keys of some 200 bytes, a token at most 12 KiB.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Speaks HTTP/1.1, over rustls and the same crypto as the signatures (ring), trusting whom the machine trusts. It
/// follows no redirect: keys and credentials belong to the address that was configured.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<HttpConnector>, String>);

impl HttpClient {
    /// Opens no connection yet. The error is the TLS library's words.
    pub(crate) fn new() -> Result<Self, String> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())
            .map_err(|error| error.to_string())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// The answer with its body as text, or why there is none, in words for the log.
    pub(crate) async fn send(&self, request: Request<String>) -> Result<Response<String>, String> {
        let answer = async {
            let response = self.0.request(request).await.map_err(|error| with_causes(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
            let body = body.map_err(|error| with_causes(&*error))?.to_bytes();
            let text = String::from_utf8(body.into()).map_err(|_| "the answer is not UTF-8".to_owned())?;
            Ok(Response::from_parts(parts, text))
        };
        let late = |_| format!("no answer within {} s", TIMEOUT.as_secs());
        tokio::time::timeout(TIMEOUT, answer).await.map_err(late)?
    }
}

/// An address that keys and credentials may travel from and to: `https`, or `http` on this machine.
pub(crate) fn trusted(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
    let is_local = uri.host().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_local => Ok(uri),
        Some("http") => {
            Err("http is for this machine alone: whoever stands between could answer in its place")
        }
        _ => Err("it is not an https URL"),
    }
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

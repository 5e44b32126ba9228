//! A layer for axum, or any tower service, that admits the callers that a [`Policy`] allows.
//!
//! An admitted request carries its caller as [`Verified`] in its extensions. Every other request is
//! answered according to RFC 6750 section 3.1, with an empty body:
//!
//! | request | status | `WWW-Authenticate` |
//! |---|---|---|
//! | no credentials | 401 | `Bearer` |
//! | two Authorization headers, or `Bearer` without a token | 400 | `Bearer error="invalid_request"` |
//! | invalid token | 401 | `Bearer error="invalid_token"` |
//! | caller lacks the scopes | 403 | `Bearer error="insufficient_scope"` with the required `scope` |
//! | caller lacks the roles, path parameter differs from the claim, or no rule matches the path | 403 | `Bearer error="insufficient_scope"` |
//! | token, while the key set is unavailable | 503 with `Retry-After` | |
//!
//! With HTTP Basic ([`ProtectLayer::with_basic`]) every 401 also has a `Basic` challenge, and there
//! are more responses:
//!
//! - 401 if the credentials are wrong,
//! - 403 if the client needs more than Basic can express,
//! - 429 with `Retry-After` after too many failures of the peer, of the client at this API, or of
//!   the client at the issuer,
//! - 503 while the issuer is unreachable.
//!
//! The reason goes to the log (`tracing`, target `countersign_verify`), without the token. A path
//! goes there cut and escaped ([`log_text`]).
//!
//! Put the layer around the outermost router. Inside a nested router, the path has lost its prefix,
//! and the policy would decide about a different path. A CORS layer goes outside of this one: it
//! must answer a browser's preflight, which has no token, and mark the refusals too.

#[cfg(feature = "fetch")]
use std::fmt;
use std::future::Future;
#[cfg(feature = "fetch")]
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "fetch")]
use crate::BuildError;
#[cfg(feature = "fetch")]
use crate::basic_exchange::{BasicError, BasicExchange};
use crate::policy::Policy;
use crate::{TokenError, Verified, Verifier, log_text};

/// Protects the service that it wraps.
///
/// ```
/// # use countersign_verify::{JwkSet, Verifier, policy::Policy, tower::ProtectLayer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let verifier = Verifier::builder("https://issuer.example.com")
/// #     .audience("https://api.example.com").keys(JwkSet::default()).build()?;
/// let policy = Policy::from_toml(r#"
///     [[rule]]
///     methods = ["GET"]
///     path = "/reports"
///     scopes = ["reports:read"]
/// "#)?;
/// let layer = ProtectLayer::new(verifier, policy);
/// // axum: Router::new().route("/reports", get(reports)).layer(layer)
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ProtectLayer {
    guard: Arc<Guard>,
    #[cfg(feature = "fetch")]
    peer_address: Option<PeerAddress>,
}

/// A service behind a [`ProtectLayer`].
#[derive(Debug, Clone)]
pub struct Protect<S> {
    layer: ProtectLayer,
    inner: S,
}

/// The function that returns the address of the peer that sent a request.
#[cfg(feature = "fetch")]
#[derive(Clone)]
struct PeerAddress(Arc<PeerAddressFn>);

#[cfg(feature = "fetch")]
type PeerAddressFn = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

#[cfg(feature = "fetch")]
impl fmt::Debug for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerAddress")
    }
}

#[derive(Debug)]
struct Guard {
    verifier: Verifier,
    policy: Policy,
    #[cfg(feature = "fetch")]
    basic: Option<BasicExchange>,
}

impl ProtectLayer {
    /// Admits callers with a token that `verifier` accepts, if `policy` allows their claims on the
    /// path.
    pub fn new(verifier: Verifier, policy: Policy) -> Self {
        Self {
            guard: Arc::new(Guard {
                verifier,
                policy,
                #[cfg(feature = "fetch")]
                basic: None,
            }),
            #[cfg(feature = "fetch")]
            peer_address: None,
        }
    }

    /// Like [`new`](Self::new), but also accepts HTTP Basic. The credentials are exchanged for a
    /// token at `token_endpoint`, and the result is cached under a keyed hash of the credentials
    /// for at most 60 s.
    ///
    /// A Basic caller is a client that may use `client_credentials` for the verifier's audience,
    /// without an operator and with one brand or none. A client with several brands, or one that
    /// must name an operator, gets 403 and the advice to use a token.
    ///
    /// After 15 failures at a client, its other new pairs are answered 429: one more every 225 s is
    /// exchanged. So guesses at this API stay below the issuer's threshold for a client and an
    /// address, which all callers of the API share. Pairs that were right before, and generated
    /// secrets, are never held back. Add [`peer_address`](Self::peer_address), so that one stranger
    /// cannot hold back the others.
    #[cfg(feature = "fetch")]
    pub fn with_basic(verifier: Verifier, policy: Policy, token_endpoint: &str) -> Result<Self, BuildError> {
        let basic = Some(BasicExchange::new(token_endpoint, &verifier)?);
        Ok(Self { guard: Arc::new(Guard { verifier, policy, basic }), peer_address: None })
    }

    /// Sets the function that returns a peer's address, from what the server put into the request's
    /// extensions or from a header that your own proxy sets. After five failed Basic credentials
    /// from one IPv4 address or IPv6 /56, its other new pairs are answered 429: one more every
    /// 225 s is exchanged.
    ///
    /// In axum, with `into_make_service_with_connect_info::<SocketAddr>()`:
    ///
    /// ```ignore
    /// layer.peer_address(|request| Some(request.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
    /// ```
    ///
    /// Behind a proxy, the address of the connection is the proxy's: all callers would count as one
    /// peer. Never take a header that a caller can set.
    #[cfg(feature = "fetch")]
    #[must_use]
    pub fn peer_address(
        mut self,
        peer_address: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.peer_address = Some(PeerAddress(Arc::new(peer_address)));
        self
    }

    #[cfg(feature = "fetch")]
    fn peer_of(&self, request: &Parts) -> Option<IpAddr> {
        self.peer_address.as_ref().and_then(|PeerAddress(peer_address)| peer_address(request))
    }
}

impl<S> Layer<S> for ProtectLayer {
    type Service = Protect<S>;

    fn layer(&self, inner: S) -> Protect<S> {
        Protect { layer: self.clone(), inner }
    }
}

impl<S, B, R> Service<Request<B>> for Protect<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Only the service that was polled may be called, so the clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let layer = self.layer.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match layer.authorize(&parts).await {
                Ok(caller) => {
                    parts.extensions.insert(caller);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(rejection) => Ok(layer.guard.respond(&rejection)),
            }
        })
    }
}

/// The response to a caller that is not admitted.
#[derive(Debug)]
enum Rejection {
    NoCredentials,
    InvalidRequest,
    InvalidToken,
    InsufficientScope {
        scope: Option<String>,
    },
    Unavailable,
    #[cfg(feature = "fetch")]
    Basic(BasicError),
}

/// The credentials in the Authorization header.
enum Credentials<'a> {
    Bearer(&'a str),
    #[cfg(feature = "fetch")]
    Basic {
        header: &'a HeaderValue,
        credentials: &'a str,
        exchange: &'a BasicExchange,
    },
}

impl<'a> Credentials<'a> {
    /// Reads the one Authorization header. A scheme that the layer does not accept counts as no
    /// credentials (RFC 6750 section 3.1).
    #[cfg_attr(not(feature = "fetch"), expect(unused_variables, reason = "only Basic needs the guard"))]
    fn from_headers(headers: &'a HeaderMap, guard: &'a Guard) -> Result<Self, Rejection> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Rejection::NoCredentials)?;
        if values.next().is_some() {
            return Err(Rejection::InvalidRequest);
        }
        let text = value.to_str().map_err(|_| Rejection::InvalidRequest)?;
        let (scheme, credentials) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("Bearer") {
            let token = credentials.trim_matches(' ');
            return if token.is_empty() { Err(Rejection::InvalidRequest) } else { Ok(Self::Bearer(token)) };
        }
        #[cfg(feature = "fetch")]
        if let Some(exchange) = guard.basic.as_ref().filter(|_| scheme.eq_ignore_ascii_case("Basic")) {
            // A proxy joined two headers: Basic credentials contain no comma.
            return if credentials.contains(',') {
                Err(Rejection::InvalidRequest)
            } else {
                Ok(Self::Basic { header: value, credentials, exchange })
            };
        }
        Err(Rejection::NoCredentials)
    }
}

impl ProtectLayer {
    /// Returns the caller, if the policy allows it on this path.
    async fn authorize(&self, request: &Parts) -> Result<Verified, Rejection> {
        let Guard { verifier, policy, .. } = &*self.guard;
        let caller = match Credentials::from_headers(&request.headers, &self.guard)? {
            Credentials::Bearer(token) => verifier.verify(token).await.map_err(|error| {
                tracing::info!(reason = %error, "token rejected");
                match error {
                    TokenError::KeysUnavailable => Rejection::Unavailable,
                    _ => Rejection::InvalidToken,
                }
            })?,
            #[cfg(feature = "fetch")]
            Credentials::Basic { header, credentials, exchange } => {
                let caller = exchange.authenticate(header, credentials, self.peer_of(request), verifier);
                caller.await.map_err(Rejection::Basic)?
            }
        };
        let (method, path) = (request.method.as_str(), request.uri.path());
        match policy.decide(method, path, &caller) {
            Ok(_) => Ok(caller),
            Err(refusal) => {
                let (client_id, sub, jti) = (&caller.client_id, &caller.sub, &caller.jti);
                let (method, path) = (log_text(method), log_text(path));
                tracing::info!(client_id, sub, jti, method, path, reason = %refusal, "caller refused");
                Err(Rejection::InsufficientScope { scope: refusal.scope() })
            }
        }
    }
}

impl Guard {
    #[cfg_attr(not(feature = "fetch"), expect(clippy::unused_self, reason = "Basic needs `fetch`"))]
    fn accepts_basic(&self) -> bool {
        #[cfg(feature = "fetch")]
        return self.basic.is_some();
        #[cfg(not(feature = "fetch"))]
        false
    }

    fn respond<R: Default>(&self, rejection: &Rejection) -> Response<R> {
        let mut response = Response::new(R::default());
        let (status, challenge) = rejection.status_and_challenge();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(seconds) = rejection.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        // Scopes are printable ASCII without quotes (RFC 6749 section 3.3), so every challenge is a
        // valid header value.
        if let Some(challenge) = challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::UNAUTHORIZED && self.accepts_basic() {
            headers.append(WWW_AUTHENTICATE, BASIC_CHALLENGE);
        }
        response
    }
}

impl Rejection {
    fn status_and_challenge(&self) -> (StatusCode, Option<String>) {
        let error = |code: &str| Some(format!(r#"Bearer error="{code}""#));
        match self {
            Self::NoCredentials => (StatusCode::UNAUTHORIZED, Some("Bearer".into())),
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, error("invalid_request")),
            Self::InvalidToken => (StatusCode::UNAUTHORIZED, error("invalid_token")),
            Self::InsufficientScope { scope: None } => (StatusCode::FORBIDDEN, error("insufficient_scope")),
            Self::InsufficientScope { scope: Some(scope) } => {
                let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scope}""#);
                (StatusCode::FORBIDDEN, Some(challenge))
            }
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None),
            #[cfg(feature = "fetch")]
            Self::Basic(error) => match error {
                BasicError::InvalidClient => (StatusCode::UNAUTHORIZED, Some("Bearer".into())),
                BasicError::NeedsToken => (StatusCode::FORBIDDEN, Some(NEEDS_TOKEN.into())),
                BasicError::Throttled(_) => (StatusCode::TOO_MANY_REQUESTS, None),
                BasicError::Unavailable | BasicError::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, None),
            },
        }
    }

    /// Returns the value of `Retry-After`, in seconds.
    fn retry_after(&self) -> Option<u64> {
        match self {
            #[cfg(feature = "fetch")]
            Self::Basic(BasicError::Throttled(seconds)) => Some(*seconds),
            #[cfg(feature = "fetch")]
            Self::Basic(BasicError::Unavailable | BasicError::TimedOut) => Some(1),
            Self::Unavailable => Some(1),
            _ => None,
        }
    }
}

#[cfg(feature = "fetch")]
const NEEDS_TOKEN: &str = r#"Bearer error="insufficient_scope", error_description="HTTP Basic cannot name a brand, an operator or an API: request a token at the token endpoint and send it""#;

/// The issuer reads credentials as UTF-8: without the parameter, some clients encode them in Latin-1 (RFC 7617 section
/// 2.1).
const BASIC_CHALLENGE: HeaderValue =
    HeaderValue::from_static(r#"Basic realm="countersign", charset="UTF-8""#);

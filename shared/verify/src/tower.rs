//! A layer for axum, or any tower service, that lets in whom a [`Policy`] admits.
//!
//! A request that gets through carries its caller as [`Verified`] in its extensions. Every other one is answered as
//! RFC 6750 section 3.1 says, with an empty body:
//!
//! | what came | status | `WWW-Authenticate` |
//! |---|---|---|
//! | no credentials | 401 | `Bearer` |
//! | two Authorization headers, or `Bearer` without a token | 400 | `Bearer error="invalid_request"` |
//! | a token that does not hold | 401 | `Bearer error="invalid_token"` |
//! | a caller without the scopes | 403 | `Bearer error="insufficient_scope"` with the `scope` needed |
//! | a caller without the roles, another's path parameter, or a path that no rule names | 403 | `Bearer error="insufficient_scope"` |
//! | a token, while the key set cannot be had | 503 with `Retry-After` | |
//!
//! With HTTP Basic ([`ProtectLayer::with_basic`]) every 401 also challenges for `Basic`, and there are: 401 for a wrong pair,
//! 403 for a client that must say more than Basic can, 429 with the issuer's `Retry-After` after too many failures, and
//! 503 while the issuer cannot be asked.
//!
//! The reason goes to the log (`tracing`, target `countersign_verify`), without the token.
//!
//! The layer belongs around the outermost router: within a nested one the path has lost its prefix, and the policy
//! would be asked about another.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

#[cfg(feature = "fetch")]
use crate::BuildError;
#[cfg(feature = "fetch")]
use crate::basic_exchange::{BasicError, BasicExchange};
use crate::policy::Policy;
use crate::{TokenError, Verified, Verifier};

/// Protects what it is laid around.
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
pub struct ProtectLayer(Arc<Guard>);

/// A service behind a [`ProtectLayer`].
#[derive(Debug, Clone)]
pub struct Protect<S> {
    guard: Arc<Guard>,
    inner: S,
}

#[derive(Debug)]
struct Guard {
    verifier: Verifier,
    policy: Policy,
    #[cfg(feature = "fetch")]
    basic: Option<BasicExchange>,
}

impl ProtectLayer {
    /// Lets in callers with a token that `verifier` accepts and whose claims `policy` admits to the path.
    pub fn new(verifier: Verifier, policy: Policy) -> Self {
        Self(Arc::new(Guard {
            verifier,
            policy,
            #[cfg(feature = "fetch")]
            basic: None,
        }))
    }

    /// Like [`new`](Self::new), and takes HTTP Basic too: the pair is exchanged for a token at `token_endpoint` and
    /// the token kept, under a keyed hash of the pair, for at most 60 s.
    ///
    /// A Basic caller is a client that may use `client_credentials` for the verifier's audience, without an operator
    /// and with its one brand or none. A client with several brands, or one that must name an operator, is answered
    /// 403 and told to use a token.
    #[cfg(feature = "fetch")]
    pub fn with_basic(verifier: Verifier, policy: Policy, token_endpoint: &str) -> Result<Self, BuildError> {
        let basic = Some(BasicExchange::at(token_endpoint, &verifier)?);
        Ok(Self(Arc::new(Guard { verifier, policy, basic })))
    }
}

impl<S> Layer<S> for ProtectLayer {
    type Service = Protect<S>;

    fn layer(&self, inner: S) -> Protect<S> {
        Protect { guard: Arc::clone(&self.0), inner }
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was polled ready is the one to call; the clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            let (method, path) = (request.method().as_str(), request.uri().path());
            match guard.admit(method, path, request.headers()).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(refusal) => Ok(guard.answer(&refusal)),
            }
        })
    }
}

/// What a refused caller is told.
#[derive(Debug)]
enum Denied {
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

/// What the Authorization header holds.
enum Presented<'a> {
    Bearer(&'a str),
    #[cfg(feature = "fetch")]
    Basic(&'a HeaderValue, &'a BasicExchange),
}

impl<'a> Presented<'a> {
    /// The one Authorization header. Methods that the layer does not take count as no credentials (RFC 6750 section
    /// 3.1).
    fn read(headers: &'a HeaderMap, guard: &'a Guard) -> Result<Self, Denied> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Denied::NoCredentials)?;
        if values.next().is_some() {
            return Err(Denied::InvalidRequest);
        }
        let text = value.to_str().map_err(|_| Denied::InvalidRequest)?;
        let (scheme, credentials) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("Bearer") {
            let token = credentials.trim_matches(' ');
            return if token.is_empty() { Err(Denied::InvalidRequest) } else { Ok(Self::Bearer(token)) };
        }
        #[cfg(feature = "fetch")]
        if let Some(basic) = &guard.basic
            && scheme.eq_ignore_ascii_case("Basic")
        {
            // Two headers joined on the way: no Basic credentials contain a comma.
            return if credentials.contains(',') {
                Err(Denied::InvalidRequest)
            } else {
                Ok(Self::Basic(value, basic))
            };
        }
        Err(Denied::NoCredentials)
    }
}

impl Guard {
    /// The caller, if the policy admits one with these credentials to this path.
    async fn admit(&self, method: &str, path: &str, headers: &HeaderMap) -> Result<Verified, Denied> {
        let caller = match Presented::read(headers, self)? {
            Presented::Bearer(token) => self.verifier.verify(token).await.map_err(|error| {
                tracing::info!(reason = %error, "token refused");
                match error {
                    TokenError::KeysUnavailable => Denied::Unavailable,
                    _ => Denied::InvalidToken,
                }
            })?,
            #[cfg(feature = "fetch")]
            Presented::Basic(header, basic) => {
                basic.caller(header, &self.verifier).await.map_err(Denied::Basic)?
            }
        };
        match self.policy.decide(method, path, &caller) {
            Ok(_) => Ok(caller),
            Err(refusal) => {
                let (client_id, sub, jti) = (&caller.client_id, &caller.sub, &caller.jti);
                tracing::info!(client_id, sub, jti, method, path, reason = %refusal, "caller refused");
                Err(Denied::InsufficientScope { scope: refusal.scope() })
            }
        }
    }

    fn takes_basic(&self) -> bool {
        #[cfg(feature = "fetch")]
        return self.basic.is_some();
        #[cfg(not(feature = "fetch"))]
        false
    }

    fn answer<R: Default>(&self, refusal: &Denied) -> Response<R> {
        let mut response = Response::new(R::default());
        let (status, challenge) = refusal.status_and_challenge();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(seconds) = refusal.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        // Scopes are printable ASCII without quotes (RFC 6749 section 3.3), so every challenge is a header's value.
        if let Some(challenge) = challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::UNAUTHORIZED && self.takes_basic() {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="countersign""#));
        }
        response
    }
}

impl Denied {
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
                BasicError::SlowedDown(_) => (StatusCode::TOO_MANY_REQUESTS, None),
                BasicError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None),
            },
        }
    }

    /// Seconds.
    fn retry_after(&self) -> Option<u64> {
        match self {
            #[cfg(feature = "fetch")]
            Self::Basic(BasicError::SlowedDown(seconds)) => Some(*seconds),
            #[cfg(feature = "fetch")]
            Self::Basic(BasicError::Unavailable) => Some(1),
            Self::Unavailable => Some(1),
            _ => None,
        }
    }
}

#[cfg(feature = "fetch")]
const NEEDS_TOKEN: &str = r#"Bearer error="insufficient_scope", error_description="HTTP Basic cannot say for which brand, operator or API: get a token at the token endpoint and send that""#;

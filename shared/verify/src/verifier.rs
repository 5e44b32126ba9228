//! Verification of access tokens: from the string in the Authorization header to trusted claims.

use std::ops::Deref;

#[cfg(feature = "fetch")]
use crate::jwks_cache::JwksCache;
use crate::{Claims, Clock, JwkSet, Timestamp, TokenError, jws};

/// The clock skew that is tolerated: the issuer's clock and ours may each be 60 s off, in opposite
/// directions.
const IAT_TOLERANCE_SECONDS: u64 = 120;

/// Verifies the access tokens of one issuer for one API. A clone is cheap and shares the JWKS
/// cache.
#[derive(Debug, Clone)]
pub struct Verifier {
    issuer: String,
    /// `None` if any audience is accepted.
    audience: Option<String>,
    types: &'static [&'static str],
    clock: Clock,
    keys: Keys,
}

/// The source of the keys.
#[derive(Debug, Clone)]
enum Keys {
    Fixed(JwkSet),
    #[cfg(feature = "fetch")]
    Fetched(JwksCache),
}

/// Claims that a [`Verifier`] has verified. Only a verifier creates them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    claims: Claims,
    kid: String,
}

impl Verified {
    /// Returns the id of the key that signed the token.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl Deref for Verified {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.claims
    }
}

impl Verifier {
    /// Starts a verifier for tokens whose `iss` is exactly `issuer`.
    pub fn builder(issuer: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder {
            issuer: issuer.into(),
            audience: Audience::Unset,
            keys: None,
            #[cfg(feature = "fetch")]
            jwks_url: None,
            types: &["at+jwt"],
            clock: Clock::system(),
        }
    }

    /// Verifies a token according to RFC 9068 section 4, with ES256 alone, and returns its claims.
    /// With a fetched key set, it waits for the network only if no set is cached, the set lacks the
    /// token's key, or the max-age has passed. In the last case one caller waits, for at most 2 s,
    /// and the others use the set at hand.
    #[cfg_attr(
        not(feature = "fetch"),
        expect(clippy::unused_async, reason = "the signature is the same with and without `fetch`")
    )]
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        match &self.keys {
            Keys::Fixed(keys) => self.verify_with(token, keys),
            #[cfg(feature = "fetch")]
            Keys::Fetched(cache) => {
                let keys = cache.current().await?;
                match self.verify_with(token, &keys) {
                    Err(TokenError::UnknownKey) => {
                        let keys = cache.newest_after(&keys).await?;
                        self.verify_with(token, &keys)
                    }
                    outcome => outcome,
                }
            }
        }
    }

    /// Verifies a token with these keys. [`verify`](Self::verify) calls it with its own key set.
    pub fn verify_with(&self, token: &str, keys: &JwkSet) -> Result<Verified, TokenError> {
        self.verify_at(token, keys, self.clock.now())
    }

    /// Verifies a token with these keys as of `now`, for a caller that decides everything about a
    /// request as of one moment. The verifier's own clock is not read.
    pub fn verify_at(&self, token: &str, keys: &JwkSet, now: Timestamp) -> Result<Verified, TokenError> {
        let (claims, kid) = jws::verify::<Claims>(token, keys, self.types)?;
        if claims.iss != self.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if self.audience.as_ref().is_some_and(|audience| claims.aud != *audience) {
            return Err(TokenError::WrongAudience);
        }
        let now = now.seconds();
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        if claims.iat > now.saturating_add(IAT_TOLERANCE_SECONDS) {
            return Err(TokenError::IssuedInFuture);
        }
        Ok(Verified { claims, kid })
    }

    /// Returns the audience that tokens must have, or `None` if any is accepted.
    #[cfg(all(feature = "fetch", feature = "tower"))]
    pub(crate) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    #[cfg(all(feature = "fetch", feature = "tower"))]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// The reason why a verifier, a layer or an HTTP client cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Neither [`VerifierBuilder::audience`] nor its dangerous alternative was called, or the
    /// audience is empty.
    #[error("the verifier has no audience: set the API that tokens must be meant for")]
    NoAudience,
    /// No key set was passed, and the feature `fetch` is off.
    #[error("the verifier has no keys: pass a key set, or enable the feature `fetch`")]
    NoKeys,
    /// The URL of the key set cannot be used.
    #[error("the JWKS URL {url} cannot be used: {reason}")]
    JwksUrl {
        /// The URL.
        url: String,
        /// The reason.
        reason: &'static str,
    },
    /// The URL at which Basic credentials are exchanged cannot be used.
    #[error("the token endpoint {url} cannot be used: {reason}")]
    TokenEndpoint {
        /// The URL.
        url: String,
        /// The reason.
        reason: &'static str,
    },
    /// The operating system provides no random bytes.
    #[error("the operating system provides no random bytes")]
    NoRandomness,
    /// The HTTP client cannot be set up; the text is the TLS library's.
    #[error("the HTTP client cannot be set up: {0}")]
    HttpClient(String),
}

/// Builds a [`Verifier`].
#[derive(Debug, Clone)]
pub struct VerifierBuilder {
    issuer: String,
    audience: Audience,
    keys: Option<JwkSet>,
    #[cfg(feature = "fetch")]
    jwks_url: Option<String>,
    types: &'static [&'static str],
    clock: Clock,
}

#[derive(Debug, Clone)]
enum Audience {
    Unset,
    Any,
    Exactly(String),
}

impl VerifierBuilder {
    /// Sets the API that tokens must be meant for. It is compared with the whole `aud`.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Audience::Exactly(audience.into());
        self
    }

    /// Accepts tokens for any API. This is right for a tool that displays tokens. It is wrong for
    /// an API, which would accept tokens that were issued for other APIs (RFC 9068 section 5).
    #[must_use]
    pub fn dangerously_accept_any_audience(mut self) -> Self {
        self.audience = Audience::Any;
        self
    }

    /// Sets the issuer's keys, for example from a file. Nothing is fetched then.
    #[must_use]
    pub fn keys(mut self, keys: JwkSet) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Sets the URL of the key set, `{issuer}/.well-known/jwks.json` by default. It must be
    /// `https`, or `http` on loopback. It has no effect together with [`keys`](Self::keys).
    #[cfg(feature = "fetch")]
    #[must_use]
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.jwks_url = Some(url.into());
        self
    }

    /// Accepts `typ` `JWT` in addition to `at+jwt`, for clients whose tokens have that type.
    #[must_use]
    pub fn accept_typ_jwt(mut self) -> Self {
        self.types = &["at+jwt", "JWT"];
        self
    }

    /// Sets the source of the current time, the machine's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the verifier. It fetches nothing yet.
    pub fn build(self) -> Result<Verifier, BuildError> {
        let audience = match self.audience {
            Audience::Exactly(audience) if !audience.is_empty() => Some(audience),
            Audience::Any => None,
            Audience::Exactly(_) | Audience::Unset => return Err(BuildError::NoAudience),
        };
        #[cfg(feature = "fetch")]
        let fetched = || {
            let url = self.jwks_url.unwrap_or_else(|| format!("{}/.well-known/jwks.json", self.issuer));
            JwksCache::new(&url, self.clock.clone()).map(Keys::Fetched)
        };
        #[cfg(not(feature = "fetch"))]
        let fetched = || Err(BuildError::NoKeys);
        let keys = self.keys.map_or_else(fetched, |keys| Ok(Keys::Fixed(keys)))?;
        Ok(Verifier { issuer: self.issuer, audience, types: self.types, clock: self.clock, keys })
    }
}
